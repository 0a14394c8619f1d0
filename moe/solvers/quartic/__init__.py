"""L_4 as a quartic form of a symmetric tensor, and its minima."""

from moe.solvers.quartic.minimise import (
    QuarticSolution,
    benign,
    check_weights,
    minimise_quartic,
    minimise_quartics,
    proportions_from_norms,
    quartic_gradient,
    quartic_hessian,
    quartic_loss,
    random_starts,
)

__all__ = [
    "QuarticSolution",
    "benign",
    "check_weights",
    "minimise_quartic",
    "minimise_quartics",
    "proportions_from_norms",
    "quartic_gradient",
    "quartic_hessian",
    "quartic_loss",
    "random_starts",
]
