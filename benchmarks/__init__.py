"""The figures that the README quotes, and how to run them again: `make bench`."""
