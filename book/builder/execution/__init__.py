"""Chapters to executed notebooks: kernels, processes, progress, and when to execute again."""
