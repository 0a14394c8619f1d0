"""What the moments of one data set prove about their own L_4 (derived; book, chapters 4 and 5).

For rows b_i, x_i = |b_i|^2, and the symmetric (k^2, k^2) matrix Mat(T) of a symmetric tensor T,
T[a,a,b,b] = <a (x) b, Mat(T) a (x) b>. With tau and -nu its largest and smallest eigenvalue, both
clipped at zero, the part of degree four of L_4 in whitened coordinates is at least

    (lambda - mu tau - (rows - 1) nu) sum_i x_i^2 = margin sum_i x_i^2,

and at most max(tau, lambda + mu nu) (sum_i x_i)^2. In population tau = 1 / min_m p_m and nu = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.checks import check_positive


@dataclass(frozen=True)
class Certificate:
    """margin > 0 proves that L_4 of these moments has a lower bound; at or below 0 nothing is
    proved. growth: no direction of degree four is steeper than growth |B|^4."""

    rows: int
    lam: float
    margin: float
    growth: float

    @property
    def bounded(self) -> bool:
        return self.margin > 0

    @property
    def critical_radius(self) -> float:
        """|B| at every critical point is at most this: sum_i x_i <= rows lambda / margin."""
        return (self.rows * self.lam / self.margin) ** 0.5 if self.bounded else float("inf")

    def level_radius(self, level: float) -> float:
        """A bound of |B| wherever L_4 <= level; 0 where no point can have L_4 that low.

        With N = |B|^2: margin N^2 / rows - 2 lambda N + lambda rows <= level.
        """
        if not self.bounded:
            return float("inf")
        excess = self.lam**2 + self.margin * (level / self.rows - self.lam)
        squared = self.rows * (self.lam + excess**0.5) / self.margin if excess >= 0 else 0.0
        return squared**0.5

    def safe_step(self, level: float) -> float:
        """A step of gradient descent for which it stays where L_4 <= level and cannot go up:
        below one over the largest curvature there, 12 growth N + 4 lambda."""
        return 0.99 / (12 * self.growth * self.level_radius(level) ** 2 + 4 * self.lam)


def certificate(
    tensor: Tensor, mu: float, lam: float, *, second: Tensor | None = None, rows: int | None = None
) -> Certificate:
    """The certificate of L_4 with the moments tensor (d, d, d, d) and second (d, d).

    second: M, the identity by default (whitened coordinates). Where M is positive definite with
    least eigenvalue m the lambda term is at least lambda m^2 sum_i x_i^2; where it is not, the
    margin is not positive. growth is computed with M's largest eigenvalue.
    rows: as many as coordinates by default. Only a margin in whitened coordinates gives radii.
    """
    mu, lam = check_positive(mu, "mu"), check_positive(lam, "lam")
    d = tensor.shape[0]
    count = d if rows is None else rows
    spectrum = torch.linalg.eigvalsh(tensor.reshape(d * d, d * d))
    tau, nu = max(0.0, float(spectrum[-1])), max(0.0, -float(spectrum[0]))
    least = largest = 1.0
    if second is not None:
        values = torch.linalg.eigvalsh(second)
        least, largest = max(0.0, float(values[0])), float(values.abs().max())
    margin = lam * least**2 - mu * tau - (count - 1) * nu
    return Certificate(count, lam, margin, max(tau, lam * largest**2 + mu * nu))


def lambda_that_bounds(second: Tensor, tensor: Tensor, mu: float, rows: int) -> float:
    """A lambda above which L_4 of these moments surely has a lower bound: infinite where M is not
    positive definite. If then M[e,e] = 0 and T[e,e,e,e] > 0 for some e, no lambda gives one."""
    trial = certificate(tensor, mu, 1.0, second=second, rows=rows)
    least = max(0.0, float(torch.linalg.eigvalsh(second)[0]))
    return (least**2 - trial.margin) / least**2 if least > 0 else float("inf")
