"""Chapter 1: what gates do, and what a mixture's data can tell."""
