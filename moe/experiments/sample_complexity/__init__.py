"""Chapter 9: how many samples, by law and by measurement."""
