"""File formats, a module for each: an original's structure, decoder and EXIF data; the encoder."""
