"""Data sets: each read as it is laid out, into arrays and the words of the project."""
