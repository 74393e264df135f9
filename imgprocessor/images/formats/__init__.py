"""What is particular to one file format: encoders, and what EXIF data says."""
