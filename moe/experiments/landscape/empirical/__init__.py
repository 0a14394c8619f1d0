"""The complete list of one's own samples, and what the samples prove beside it (chapter 5)."""
