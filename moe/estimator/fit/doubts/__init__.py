"""What speaks against a fit that has been found."""
