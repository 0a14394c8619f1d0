"""The likelihood: information, efficiency, and tests of a fit (book, chapters 6 and 9)."""
