"""L_4's three forms - samples, moments, population - at the same regressors (book, chapter 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.gaussian_integrals import exact_proportions
from moe.losses import l4_moments, l4_population, l4_samples
from moe.model.mixture import random_moe
from moe.moments.estimate import Moments
from moe.moments.transforms import output_transform
from moe.randomness import stream


@dataclass(frozen=True)
class Spec:
    """A random mixture, ``points`` random regressors A and ``trials`` data sets of each size."""

    k: int = 3
    d: int = 5
    sigma: float = 0.1
    gate_norm: float = 1.0
    nonlinearity: str = "linear"
    mu: float = 0.5
    lam: float = 10.0
    delta: float = 0.1
    sizes: tuple[int, ...] = (1_000, 4_000, 16_000, 64_000)
    trials: int = 20
    points: int = 16
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """population (points,); moments (sizes, trials, points): L_4 there; rounding: the largest
    |samples - moments| / max(1, |moments|) over the first trial of each size."""

    spec: Spec
    population: Tensor
    moments: Tensor
    rounding: float

    @property
    def rms_error(self) -> Tensor:
        """Root mean square of (moments - population) over trials and points, (sizes,)."""
        return (self.moments - self.population).square().mean((1, 2)).sqrt()

    @property
    def slope(self) -> float:
        """Least-squares slope of log rms error against log n; theory says -1/2."""
        log_n = torch.tensor(self.spec.sizes, dtype=torch.float64).log()
        log_n = log_n - log_n.mean()
        return float(log_n @ self.rms_error.log() / log_n.square().sum())


def run(spec: Spec) -> Record:
    """Draw the mixture, the points and the data sets; evaluate the three forms."""
    truth = random_moe(
        spec.k,
        spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        nonlinearity=spec.nonlinearity,
        generator=stream("truth", spec.seed),
    )
    quartic = output_transform(spec.nonlinearity, spec.sigma, 4)
    quadratic = output_transform(spec.nonlinearity, spec.sigma, 2)
    shape = (spec.points, spec.k, spec.d)
    points, samples = stream("points", spec.seed), stream("data", spec.seed)
    regressors = torch.randn(shape, generator=points, dtype=torch.float64) / spec.d**0.5
    weights = (spec.mu, spec.lam, spec.delta)
    population = l4_population(regressors, truth.regressors, exact_proportions(truth), *weights)
    values, rounding = [], 0.0
    for n in spec.sizes:
        for trial in range(spec.trials):
            x, y = truth.sample(n, samples)
            second = Moments(quadratic, spec.d).update(x, y).tensor()
            fourth = Moments(quartic, spec.d).update(x, y).tensor()
            values.append(l4_moments(regressors, second, fourth, *weights))
            if trial == 0:
                direct = torch.stack(
                    [l4_samples(a, x, y, quartic, quadratic, *weights) for a in regressors]
                )
                gap = (direct - values[-1]).abs() / values[-1].abs().clamp_min(1.0)
                rounding = max(rounding, float(gap.max()))
    moments = torch.stack(values).reshape(len(spec.sizes), spec.trials, spec.points)
    return Record(spec, population, moments, rounding)
