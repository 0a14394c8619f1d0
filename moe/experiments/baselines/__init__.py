"""Chapter 8: every contestant at its best."""
