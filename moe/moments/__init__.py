"""Moments in which gates cancel: transforms, estimates, passes (book, chapters 3 and 4)."""
