"""Chapter 4: L_4 by samples, by moments, on a stream."""
