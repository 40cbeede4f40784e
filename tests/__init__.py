"""The tests; those of one module are in the file of its name."""
