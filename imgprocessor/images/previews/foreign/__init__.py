"""What office programs and cameras write, and the libraries of others that draw it."""
