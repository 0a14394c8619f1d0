"""Worlds in which one thing is broken, who runs in them, and what repairs it."""
