"""Chapter 2: where the squared loss and the likelihood lead from random starts."""
