"""Chapter 12: the assumptions broken one at a time."""
