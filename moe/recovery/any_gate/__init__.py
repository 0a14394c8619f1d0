"""Experts without a model of the gate, and any classifier as the gate."""
