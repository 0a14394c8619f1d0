"""Routed layers: experts that a noisy top-1 or top-2 router chooses (chapter 10)."""
