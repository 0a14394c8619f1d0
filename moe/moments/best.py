"""The output transforms of least error."""

from __future__ import annotations

import math

from moe.model.nonlinearity import Nonlinearity
from moe.moments.bounded import bounded_transform
from moe.moments.centring import costs
from moe.moments.estimate import chosen
from moe.moments.transforms import OutputTransform, solved_transform


def best_transforms(
    g: Nonlinearity, sigma: float, d: int, k: int, n: float = math.inf
) -> tuple[OutputTransform, OutputTransform]:
    """Q_2 for x in R^d and Q_4 for x in the experts' span, of least error (`moe.moments.bounded`);
    but for Q_2 the polynomial where that, fitted by least squares as far as n samples allow, errs
    less; for orthonormal experts of equal share. (At noise far above the outputs bumps, which reach
    three sigma beyond them, may miss the least error by a few per cent.)

    Polynomials where g has no bounded transforms. Raises NoTransformError where it has neither.
    """
    quadratic, quartic = (solved_transform(g, sigma, m) for m in (2, 4))
    level = rounded(sigma)
    try:
        two = bounded_transform(g, level, 2, d)
        four = bounded_transform(g, level, 4, k, in_span=True)
    except ValueError:
        return quadratic, quartic
    cost = costs(quadratic, d, k)
    own = cost.least_squares if chosen(quadratic, d, n) == "least_squares" else cost.centred
    return (quadratic if own < two.cost - 1 / k else two), four


def rounded(sigma: float) -> float:
    """In six digits: rounding errors of a noise level shall not change a bounded transform."""
    return float(f"{sigma:.6g}")
