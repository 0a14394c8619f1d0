"""What a test costs that decides between an efficient estimate and one that is always right.

In units of n^{-1/2}, near the softmax model: the estimate that is right for every gate errs by
e + f, the softmax one by e + beta, e independent of f ~ N(0, D) (the latter is efficient, Hausman
1978), beta its bias. The softmax one is taken where b' D^-1 b <= l, b = f - beta their difference.
Then the risk exceeds that of always being right by

    E[1{b' D^-1 b <= l} (|beta|^2 - |f|^2)],

since the cross term 2 <e, beta - f> has mean zero given f (derived). Lengths in the norm in which
the right estimate has covariance I, so D <= I. With D diagonal, beta = D^{1/2} u, the excess is
linear in the entries of D for a fixed u, so that the worst D is a projection. If u lies in its
range one direction is worse than several; that no other u is worse still was seen by drawing.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

from moe.moments.quadrature import gauss_hermite

_NODES = 200


def excess(bias: float, degrees: int, level: float) -> float:
    """E[1{b' D^-1 b <= l} (bias^2 - f^2)] for D of one direction, bias along it: b' D^-1 b is
    (f - bias)^2 + chi-squared of ``degrees`` - 1, l the upper ``level`` point of chi-squared of
    ``degrees``."""
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
