"""A second copy of all uploads, in a bucket elsewhere: noted, copied, and read in need."""
