"""Send every visitor the best picture that their screen and their network can take."""

__version__ = "0.1.0"
