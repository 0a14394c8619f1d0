"""L_4's three forms - samples, moments, population - at the same regressors (book, chapter 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.polynomial.hermite_e import hermevander
from torch import Tensor

from moe.experiments.common.gaussian_integrals import (
    exact_proportions,
    grid_rule,
    line_rule,
    noise_averaged,
)
from moe.losses import l4_moments, l4_population, l4_samples
from moe.model.mixture import MoE, random_moe, random_rows
from moe.model.nonlinearity import as_nonlinearity
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
    points, samples = stream("points", spec.seed), stream("data", spec.seed)
    regressors = random_rows(spec.points, spec.k, spec.d, points)
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


def exact_moment(model: MoE, nonlinearity: str, degree: int) -> Tensor:
    """E[Q(y) S(x)] / c of degree 2 or 4, with the gates, for k experts in R^3 by quadrature.

    Each expert's part in coordinates of its own, so that a kink of g is the edge of a panel; there
    the entries of S are products of Hermite polynomials of one coordinate each.
    """
    g = as_nonlinearity(nonlinearity)
    transform = output_transform(g, model.sigma, degree)
    z, z_weight = line_rule(g.kinks)
    across, across_weight = grid_rule(2, nodes=32)
    weight = (z_weight * noise_averaged(transform, g, model.sigma, z))[:, None] * across_weight
    hermite = [
        torch.from_numpy(hermevander(t.numpy(), degree)) for t in (z, across[:, 0], across[:, 1])
    ]
    entries = torch.cartesian_prod(*[torch.arange(3)] * degree)
    orders = torch.nn.functional.one_hot(entries, 3).sum(1).unbind(1)
    moment = torch.zeros((3,) * degree, dtype=torch.float64)
    for m, a in enumerate(model.regressors):
        frame = torch.cat([a[None], torch.linalg.svd(a[None]).Vh[1:]])
        x = (z[:, None, None] * a + across @ frame[1:]).reshape(-1, 3)
        gated = weight * model.gate(x)[:, m].view_as(weight)
        sums = torch.einsum("np,na,pb,pc->abc", gated, *hermite)
        own = sums[orders].view((3,) * degree)  # entries in the frame: products of He
        for _ in range(degree):
            own = torch.tensordot(own, frame, dims=([0], [0]))
        moment += own
    return moment / transform.normaliser
