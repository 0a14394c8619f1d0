"""What a test costs that decides between an efficient estimate and one that is always right.

In units of n^{-1/2}, near the softmax model: the estimate that is right for every gate errs by
v + z, the softmax one by v + beta, v independent of z ~ N(0, D) (the latter is efficient, Hausman
1978), beta its bias. The softmax one is taken where T = (z - beta)' D^-1 (z - beta) <= c. Then the
risk exceeds that of always being right by

    E[1{T <= c} (|beta|^2 - |z|^2)],

since the cross term 2 <v, beta - z> has mean zero given z (derived). Lengths in the norm in which
the right estimate has covariance I, so D <= I. With D diagonal, beta = D^{1/2} b, the excess is
linear in the entries of D for a fixed b, so that the worst D is a projection. If b lies in its
range one direction is worse than several; that no other b is worse still was seen by drawing.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

from moe.moments.quadrature import gauss_hermite

_NODES = 200


def excess(bias: float, degrees: int, level: float) -> float:
    """E[1{T <= c} (b^2 - z^2)] for D = e e', beta = b e: T = (z - b)^2 + chi-squared of
    ``degrees`` - 1, c the upper ``level`` point of chi-squared of ``degrees``."""
    node, weight = gauss_hermite(_NODES)
    left = chi2.isf(level, degrees) - np.square(node - bias)
    taken = chi2.cdf(left, degrees - 1)
    return float(weight @ (taken * (bias**2 - np.square(node))))


def worst_excess(degrees: int, level: float) -> float:
    """The largest excess over all biases, as a share of the right estimate's own risk, which is
    ``degrees``."""
    end = minimize_scalar(
        lambda bias: -excess(bias, degrees, level),
        bounds=(0.0, 3.0 * chi2.isf(level, degrees) ** 0.5),
        method="bounded",
    )
    return -float(end.fun) / degrees
