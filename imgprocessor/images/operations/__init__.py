"""Operations on pixels: a module for each; what has nothing to do returns at once."""
