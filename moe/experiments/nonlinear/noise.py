"""How the samples needed grow with the noise: L_4's, and the least of any unbiased estimate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moe.experiments.nonlinear.recovery import GOAL, Spec, limit


@dataclass(frozen=True)
class Curve:
    """Samples for E_reg = 0.1 of the reference mixture, at each sigma, by the laws of many samples:
    L_4's with polynomials, with bounded transforms, and the Cramer-Rao bound."""

    nonlinearity: str
    sigmas: tuple[float, ...]
    polynomial: tuple[float, ...]
    bounded: tuple[float, ...]
    bound: tuple[float, ...]

    def at(self, sigma: float) -> tuple[float, float, float]:
        """(polynomial, bounded, bound) there."""
        place = self.sigmas.index(sigma)
        return self.polynomial[place], self.bounded[place], self.bound[place]


def curve(spec: Spec, sigmas: tuple[float, ...]) -> Curve:
    """By quadrature, and by Monte Carlo to about one per cent for the bound."""
    specs = [replace(spec, sigma=sigma, sizes=(), recovered=()) for sigma in sigmas]
    laws = [
        tuple(limit(each, way) / GOAL for each in specs)
        for way in ("polynomial", "bounded", "recover")
    ]
    return Curve(spec.nonlinearity, sigmas, laws[0], laws[1], laws[2])
