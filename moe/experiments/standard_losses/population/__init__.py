"""The standard losses of infinitely many samples, and certificates of their minima."""
