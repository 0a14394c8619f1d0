"""Expectation-maximisation: its steps, its samples in chunks, and twins in NumPy and in cells."""

from moe.solvers.em.climb import EMResult, expectation_maximisation, sigma_floor

__all__ = ["EMResult", "expectation_maximisation", "sigma_floor"]
