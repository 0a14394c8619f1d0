"""The population's L_log with the true regressors: one minimum for two experts, not for three."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.gated_networks.twins import two_experts
from moe.experiments.gating_loss.landscape.population import (
    descend,
    exchanged,
    near_twins,
    population,
)
from moe.model.mixture import MoE, full_gating
from moe.randomness import stream


@dataclass(frozen=True)
class PhaseSpec:
    """near_twins over angles (degrees) and noise levels; quadrature of ``points`` inputs."""

    angles: tuple[float, ...] = (2.0, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
    sigmas: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0)
    gate_norm: float = 2.0
    cosine: float = 0.0
    points: int = 512
    nodes: int = 8


@dataclass(frozen=True, eq=False)
class PhaseRecord:
    """By angle and sigma (angles, sigmas): excess, nats by which the second minimum found lies
    above the one reached from W* (NaN where none was found); curvature, the least eigenvalue of the
    Hessian there; apart, the distance of the two; slope, the gradient's norm; from_zero, how far
    from the first minimum descent from W = 0 ends."""

    spec: PhaseSpec
    excess: Tensor
    curvature: Tensor
    apart: Tensor
    slope: Tensor
    from_zero: Tensor


def run_phase(spec: PhaseSpec) -> PhaseRecord:
    """Where does descent end, in the population, from the exchanged gates and from the second
    minimum of the next larger sigma? The end further from the first minimum counts."""
    rows = []
    for angle in spec.angles:
        follow: list[Tensor] = []
        column = []
        for sigma in reversed(spec.sigmas):
            truth = near_twins(angle, spec.gate_norm, sigma, cosine=spec.cosine)
            exact = population(truth, spec.points, spec.nodes)
            best = descend(exact, truth.gating)
            ends = [descend(exact, start) for start in (exchanged(truth), *follow)]
            other = max(ends, key=lambda end: float((end - best).norm()))
            apart = float((other - best).norm())
            follow = [other] if apart > 1e-3 else []
            excess = exact.loss(other) - exact.loss(best) if apart > 1e-3 else math.nan
            least = float(torch.linalg.eigvalsh(exact.hessian(other))[0])
            slope = float(exact.gradient(other).norm())
            zero = float((descend(exact, torch.zeros_like(best)) - best).norm())
            column.append([excess, least, apart, slope, zero])
        rows += column[::-1]
    table = torch.tensor(rows, dtype=torch.float64)
    return PhaseRecord(spec, *table.T.reshape(5, len(spec.angles), len(spec.sigmas)))


def onset(angle: float, gate_norm: float, cosine: float, sigmas: tuple[float, ...]) -> float:
    """The least sigma / |a_1 - a_3| among ``sigmas`` at which near_twins have a second minimum;
    infinite if none."""
    record = run_phase(PhaseSpec((angle,), sigmas, gate_norm, cosine))
    found = [s for s, excess in zip(sigmas, record.excess[0].tolist(), strict=True) if excess > 0]
    return min(found, default=math.inf) / (2 * math.sin(math.radians(angle) / 2))


@dataclass(frozen=True)
class PlaneSpec:
    """L_log of two orthogonal linear experts over the plane of w and a_1 - a_2."""

    sigma: float = 0.3
    gate_norm: float = 2.0
    extent: float = 4.0
    grid: int = 31
    starts: tuple[tuple[float, float], ...] = ((-3.0, 1.0), (2.5, -1.5), (-1.5, -3.0))
    step: float = 4.0
    iterations: int = 400
    points: int = 256
    nodes: int = 12
    drawn: int = 3_000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PlaneRecord:
    """axis (G,); loss (G, G), first index along a_1 - a_2; em, descent: for each start the path
    (T, 2) of (component along a_1 - a_2, along w); truth (2,); away (starts, T): descent's distance
    to W* in all of R^d. A sample's coordinates place (n, 2) and r_1 r_2 (n,)."""

    spec: PlaneSpec
    axis: Tensor
    loss: Tensor
    em: list[Tensor]
    descent: list[Tensor]
    away: Tensor
    truth: Tensor
    place: Tensor
    undecided: Tensor


def run_plane(spec: PlaneSpec) -> PlaneRecord:
    """The loss on a grid, and the paths of EM and of descent with a step that needs no tuning."""
    truth = two_experts(0.0, spec.gate_norm, spec.sigma, d=3)
    exact = population(truth, spec.points, spec.nodes)
    axis = torch.linspace(-spec.extent, spec.extent, spec.grid, dtype=torch.float64)

    def at(along: float, across: float) -> Tensor:
        return torch.tensor([[0.0, along, across], [0.0, 0.0, 0.0]], dtype=torch.float64)

    loss = [[exact.loss(at(float(u), float(v))) for v in axis] for u in axis]
    em, descent, away = [], [], []
    for start in spec.starts:
        path, down = [at(*start)], [at(*start)]
        for _ in range(spec.iterations):
            free = down[-1][:1] - spec.step * exact.gradient(down[-1])
            down.append(full_gating(free))
        for _ in range(spec.iterations // 15):
            path.append(exact.em_step(path[-1]))
        em.append(torch.stack(path)[:, 0, 1:])
        descent.append(torch.stack(down)[:, 0, 1:])
        away.append((torch.stack(down) - truth.gating).flatten(1).norm(dim=1))
    x, y = truth.sample(spec.drawn, stream("data", spec.seed))
    undecided = truth.responsibilities(x, y).prod(1)
    return PlaneRecord(
        spec,
        axis,
        torch.tensor(loss, dtype=torch.float64),
        em,
        descent,
        torch.stack(away),
        truth.gating[0, 1:],
        x[:, 1:],
        undecided,
    )


def em_contraction(
    gate_norm: float,
    sigma: float,
    *,
    radii: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0),
    directions: int = 12,
    points: int = 128,
    seed: int = 0,
) -> Tensor:
    """Two orthogonal linear experts in R^4: the largest factor |w' - w*| / |w - w*| of one step of
    EM in the population, w at the distance radius gate_norm from w*, over random directions and
    those of +-w*, a_1 - a_2 and one orthogonal to all: (radii,)."""
    truth = two_experts(0.0, gate_norm, sigma, d=4)
    exact = population(truth, points, 12)
    best = descend(exact, truth.gating)
    ways = torch.randn(directions, 4, generator=stream("directions", seed), dtype=torch.float64)
    ways = torch.cat([ways, torch.eye(4, dtype=torch.float64)[1:], -truth.gating[:1]])
    ways = ways / ways.norm(dim=1, keepdim=True)
    factors = [
        [
            float((exact.em_step(best + full_gating(size * way[None])) - best).norm()) / size
            for way in ways
        ]
        for size in (radius * gate_norm for radius in radii)
    ]
    return torch.tensor(factors, dtype=torch.float64).amax(1)


def em_divergence(
    model: MoE, points: int, nodes: int, *, steps: int, starts: int = 6, seed: int = 0
) -> Tensor:
    """E KL(p || p*) of the gate after 0, 1, ... complete EM steps in the population, from random
    gates of norms up to 10: (starts, steps + 1)."""
    exact = population(model, points, nodes)
    mass, target = exact.weight.sum(0), exact.belief(model.gating)
    draws = torch.randn(
        starts, model.k, model.d, generator=stream("starts", seed), dtype=torch.float64
    )
    runs = []
    for size, gating in zip(torch.logspace(-0.5, 1, starts), draws, strict=True):
        gating = size * (gating - gating[-1]) / gating.norm()
        run = []
        for _ in range(steps + 1):
            own = exact.belief(gating)
            run.append(mass @ (own.exp() * (own - target)).sum(0))
            gating = exact.em_step(gating)
        runs.append(torch.stack(run))
    return torch.stack(runs)
