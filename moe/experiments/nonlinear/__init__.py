"""Chapter 11: every nonlinearity, the reader's own among them, and what each of them costs."""
