"""What holding sigma does to the population likelihood: slices, paths, a minimum followed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from scipy.optimize import root_scalar
from torch import Tensor

from moe.experiments.standard_losses.population.newton_kantorovich import Enclosure, enclose
from moe.experiments.standard_losses.population.population_losses import (
    log_population,
    newton,
    stack,
    unstack,
)
from moe.landscape.slices import Path, Slice, path_values, slice_values
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


def near_twins(separation: float = 20.0, sigma: float = 0.1) -> MoE:
    """k = 3 unit regressors in the plane, at 90, -30 and -30 + separation degrees; soft gates of
    norm one. Independent regressors need a third input: the certificate covers it."""
    angles = torch.tensor([90.0, -30.0, -30.0 + separation], dtype=torch.float64).deg2rad()
    regressors = torch.stack([angles.cos(), angles.sin()], 1)
    turns = torch.tensor([0.0, 120.0], dtype=torch.float64).deg2rad()
    gating = torch.stack([turns.cos(), turns.sin()], 1)
    return MoE(regressors, torch.cat([gating, torch.zeros_like(gating[:1])]), sigma)


_PICTURE_ANGLES = 48
CERTIFIED_AT = 0.3


@dataclass(frozen=True)
class Spec:
    """The truth (``near_twins``); where sigma is held for the slices and paths (sigmas) and for
    following the minimum (branch, upwards from the truth's sigma); sizes: angles of the quadrature
    rule (coarse, fine), points an axis of the slices, samples and starts of EM."""

    separation: float = 20.0
    sigma: float = 0.1
    sigmas: tuple[float, ...] = (1.0, 0.3, 0.1, 0.05)
    branch: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
    angles: tuple[int, int] = (120, 200)
    resolution: int = 25
    n: int = 2000
    starts: int = 60
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """stuck: the minimum with sigma held at the truth's, as Newton's method finds it; excess, in
    nats; error: its E_reg. ball: its certificate where sigma is held at ``CERTIFIED_AT``.

    slices, paths: by sigma in the spec's order, of the tempered loss F (see ``tempered``); the
    slice's plane holds the truth (0, 0), the stuck point (1, 0) and the truth with its experts in
    another order (u, 1), u = ``swap``; the path runs from the stuck point (0) to the truth (1).
    branch: at each held sigma that the minimum survives, (sigma, excess in nats, least curvature);
    vanished: the first sigma of the spec's branch at which it is gone, NaN if none.
    shares: name -> share of EM's random starts at the truth (E_reg < 0.02), noise held or learned;
    learned: the minimum that is left when sigma is learned, of the population: sigma, excess in
    nats over the truth, least curvature in (A, W), curvature of the profile in log sigma.
    """

    spec: Spec
    stuck: Tensor
    excess: float
    error: float
    ball: Enclosure
    slices: tuple[Slice, ...]
    paths: tuple[Path, ...]
    swap: float
    branch: Tensor
    vanished: float
    shares: dict[str, float]
    learned: tuple[float, float, float, float]


def tempered(value: Tensor, sigma: float) -> Tensor:
    """F_sigma = 2 sigma^2 (L - log(sigma sqrt(2 pi))), in units of y^2: between E min_i e_i^2
    (sigma -> 0) and E sum_i p_i e_i^2 (sigma -> infinity), nondecreasing in sigma (derived)."""
    return 2 * sigma**2 * (value - math.log(sigma * math.sqrt(2 * math.pi)))


def run(spec: Spec) -> Record:
    """Random starts of EM find the stuck point, Newton on the population loss certifies it."""
    truth = near_twins(spec.separation, spec.sigma)
    x, y = truth.sample(spec.n, stream("data", spec.seed))
    starts = stream("starts", spec.seed)
    start = torch.randn(spec.starts, 3, 2, generator=starts, dtype=torch.float64) / 2**0.5
    flat = torch.zeros_like(start)
    held = expectation_maximisation(
        x,
        y,
        start,
        flat,
        spec.sigma,
        truth.nonlinearity,
        learn=("regressors", "gating"),
        tolerance=1e-3,
    )
    learned = expectation_maximisation(x, y, start, flat, 1.0, truth.nonlinearity, tolerance=1e-3)
    shares = {
        name: sum(regressor_error_of(a, truth.regressors) < 0.02 for a in fit.regressors)
        / spec.starts
        for name, fit in (("held", held), ("learned", learned))
    }
    seedling = designed_trap(truth)
    loss = log_population(truth, spec.sigma, spec.angles[0])
    stuck = newton(loss, seedling)
    excess = float(loss.values(stuck[None]) - loss.values(stack(truth)[None]))
    coarse, fine = (log_population(truth, CERTIFIED_AT, angles) for angles in spec.angles)
    ball = enclose(newton(coarse, stuck), coarse, fine)
    regressors, _ = unstack(stuck, truth)
    ranked = sorted(relabellings(truth), key=lambda theta: float((theta - stuck).norm()))
    target, second = ranked[:2]
    along, off = stuck - target, second - target
    share = float(along @ off / (along @ along))
    across = off - share * along
    slices, paths = [], []
    for sigma in spec.sigmas:
        held_loss = log_population(truth, sigma, _PICTURE_ANGLES)
        plane = slice_values(
            held_loss.values, target, along, across, (-0.5, 1.5, -0.7, 1.7), spec.resolution
        )
        slices.append(Slice(plane.first, plane.second, tempered(plane.values, sigma)))
        line = path_values(held_loss.values, stuck, target, 81, margin=0.15)
        paths.append(Path(line.steps, tempered(line.values, sigma)))
    branch, vanished = follow(truth, stuck, target, spec)
    return Record(
        spec,
        stuck,
        excess,
        regressor_error_of(regressors, truth.regressors),
        ball,
        tuple(slices),
        tuple(paths),
        share,
        branch,
        vanished,
        shares,
        learn_sigma(truth, stuck, spec.angles[0]),
    )


def learn_sigma(truth: MoE, stuck: Tensor, angles: int) -> tuple[float, float, float, float]:
    """Lowest point of the profile sigma -> min of the population loss near the stuck minimum.

    The profile's slope in log sigma is the loss's own (envelope theorem); its zero by the secant
    method, its slope there by central differences; ``Record.learned``.
    """
    best, width = stack(truth), 0.02
    truths = float(log_population(truth, truth.sigma, angles).values(best[None]))

    def slope(log_sigma: float) -> float:
        nonlocal stuck
        loss = log_population(truth, math.exp(log_sigma), angles)
        stuck = newton(loss, stuck, goal=1e-9)
        return loss.noise_slope(stuck)

    start = math.log(1.5 * truth.sigma)
    level = root_scalar(slope, method="secant", x0=start, x1=start + 0.05, xtol=1e-6).root
    bend = (slope(level + width) - slope(level - width)) / (2 * width)
    loss = log_population(truth, math.exp(level), angles)
    stuck = newton(loss, stuck, goal=1e-9)
    value, _, hessian, _ = loss.derivatives(stuck)
    return math.exp(level), value - truths, float(torch.linalg.eigvalsh(hessian)[0]), bend


def designed_trap(truth: MoE) -> Tensor:
    """Where EM with sigma held ends in a large sample, started with one row for both twins and two
    rows for the first expert: theta (P,)."""
    first, twins = truth.regressors[0], truth.regressors[1:].mean(0)
    turn = torch.stack([first[1], -first[0]])
    rows = torch.stack([twins, first - 0.05 * turn, first + 0.05 * turn])
    x, y = truth.sample(4_000, stream("trap", 0))
    fit = expectation_maximisation(
        x,
        y,
        rows,
        torch.zeros_like(rows),
        truth.sigma,
        truth.nonlinearity,
        learn=("regressors", "gating"),
        tolerance=1e-3,
    )
    return torch.cat([fit.regressors[0], fit.gating[0, :-1]]).flatten()


def relabellings(truth: MoE) -> list[Tensor]:
    """theta of the truth in all k! orders of its experts."""
    models = []
    for order in permutations(range(truth.k)):
        gating = truth.gating[list(order)]
        models.append(MoE(truth.regressors[list(order)], gating - gating[-1], truth.sigma))
    return [stack(model) for model in models]


def follow(truth: MoE, stuck: Tensor, target: Tensor, spec: Spec) -> tuple[Tensor, float]:
    """The stuck minimum at each held sigma of spec.branch, from the one before: rows (sigma, excess
    over the minimum followed from the truth, least curvature); and the sigma where it is gone."""
    rows: list[tuple[float, float, float]] = []
    for sigma in spec.branch:
        loss = log_population(truth, sigma, _PICTURE_ANGLES if sigma > 0.15 else spec.angles[0])
        point = newton(loss, stuck, goal=1e-9)
        target = newton(loss, target, goal=1e-9)
        value, gradient, hessian, _ = loss.derivatives(point)
        excess = value - float(loss.values(target[None]))
        curvature = float(torch.linalg.eigvalsh(hessian)[0])
        if float(gradient.norm()) > 1e-8 or curvature <= 0 or float((point - stuck).norm()) > 1.5:
            return torch.tensor(rows, dtype=torch.float64), sigma
        rows.append((sigma, excess, curvature))
        stuck = point
    return torch.tensor(rows, dtype=torch.float64), math.nan
