"""The gates' loss of infinitely many samples: its curvature and its minima."""
