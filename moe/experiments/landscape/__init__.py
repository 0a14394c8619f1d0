"""Chapter 5: the landscape of L_4, listed, searched and walked."""
