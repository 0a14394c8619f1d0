"""Chapter 14: real data."""
