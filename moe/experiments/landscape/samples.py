"""The landscape of L_4 from n samples, projected: where the minimum goes, and which weights keep
it (book, chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moe.experiments.landscape.lists import skewed_proportions
from moe.experiments.regressor_loss.descent import skewed_regressors
from moe.landscape import (
    conditioning,
    error_norm,
    first_order_displacement,
    global_minimum,
    population_tensor,
)
from moe.model.mixture import drawn, log_gate
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import child_seed, stream
from moe.solvers.l4 import L4Moments, NoMinimumError, l4_moments_of
from moe.solvers.quartic import QuarticSolution, minimise_quartic, random_starts

# error, moved, predicted, truth, other: M had fewer than k positive eigenvalues
_NOTHING = [torch.inf, torch.inf, torch.inf, 0.0, 0.0]


@dataclass(frozen=True)
class Spec:
    """k linear experts in R^d with pairwise inner product ``cosine``; gates of norm one orthogonal
    to them, with intercepts that make the proportions' skew; ``trials`` data sets for each of the
    sizes, ``starts`` random starts each. At margin_size samples: mus x margins weights."""

    k: int = 3
    d: int = 6
    skew: float = 1.5
    sigma: float = 0.1
    cosine: float = 0.3
    mu: float = 0.5
    lam: float = 5.0
    sizes: tuple[int, ...] = (1_000, 10_000)
    trials: int = 5
    starts: int = 16
    mus: tuple[float, ...] = (1 / 3, 0.8)
    margins: tuple[float, ...] = (1.1, 1.5, 2.2, 3.5, 6.0, 12.0)
    margin_size: int = 1_500
    margin_trials: int = 10
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """(sizes, trials) each. error: norm of T_hat - T; moved: Frobenius distance from the truth to
    the minimum that continues it, infinite where there is none; predicted: its first-order value;
    truth, other: shares of starts that end at that minimum, and at another one.
    lost (mus, margins): share of data sets in which descent from the truth ends at no minimum with
    a row near each expert; margin: lambda over mu / p_min; condition (mus, margins): the
    condition number of the population's Hessian at the truth."""

    spec: Spec
    error: Tensor
    moved: Tensor
    predicted: Tensor
    truth: Tensor
    other: Tensor
    lost: Tensor
    condition: Tensor


def intercepts(logits: Tensor, proportions: Tensor) -> Tensor:
    """c (k,) with mean softmax(logits + c) = proportions over the rows of logits (n, k)."""
    c = proportions.log()
    for _ in range(25):
        c = c + proportions.log() - (logits + c).softmax(-1).mean(0).log()
    return c - c[-1]


def draw(spec: Spec, n: int, seed: Any, *index: int) -> tuple[Tensor, Tensor, Tensor]:
    """True regressors (k, d), x (n, d), y (n,). p_i(x) = softmax_i(<w_i, x> + c_i)."""
    generator = stream("truth", seed, *index)
    regressors = skewed_regressors(spec.k, spec.d, spec.cosine, generator)
    span = torch.linalg.qr(regressors.T).Q
    gating = torch.randn(spec.k, spec.d, generator=generator, dtype=torch.float64)
    gating = gating - gating @ span @ span.T
    gating = gating / gating.norm(dim=1, keepdim=True).clamp_min(1e-12)
    gating[-1] = 0.0
    generator = stream("data", seed, *index)
    x = torch.randn(max(n, 20_000), spec.d, generator=generator, dtype=torch.float64)
    logits = log_gate(gating, x)
    gate = (logits + intercepts(logits, skewed_proportions(spec.k, spec.skew))).softmax(-1)[:n]
    x = x[:n]
    return regressors, x, drawn(gate, x @ regressors.T, spec.sigma, generator)[0]


def frame(moments: L4Moments, regressors: Tensor, proportions: Tensor) -> Tensor:
    """The orthonormal frame nearest to the v_m = sqrt(p_m) V' a*_m of the estimated whitener."""
    v = proportions.sqrt()[:, None] * regressors @ moments.whitening.whitener
    left, _, right = torch.linalg.svd(v)
    nearest: Tensor = left @ right
    return nearest


def run(spec: Spec) -> Record:
    """Moments once for every data set, then everything in k dimensions."""
    p = skewed_proportions(spec.k, spec.skew)
    norms = global_minimum(p, spec.mu, spec.lam).squared_norms.sqrt()
    rows = []
    for n in spec.sizes:
        for trial in range(spec.trials):
            try:
                tensor, v = moments(spec, n, p, spec.seed, n, trial)
            except NoMinimumError:
                rows.append(_NOTHING)
                continue
            noise = tensor - population_tensor(p, v)
            shift = _moved(tensor, spec.mu, spec.lam, norms[:, None] * v)
            first_order = first_order_displacement(p, spec.mu, spec.lam, noise, v).norm()
            starts = random_starts(spec.starts, spec.k, stream("starts", spec.seed, n, trial))
            end = _minimise(tensor, spec.mu, spec.lam, starts)
            near = _near_truth(end, v)
            shares = [float(w.double().mean()) for w in (near, end.converged & ~near)]
            rows.append([error_norm(noise), shift, float(first_order), *shares])
    table = torch.tensor(rows, dtype=torch.float64).view(len(spec.sizes), spec.trials, -1)
    lost, condition = _margins(spec, p)
    error, moved, predicted, own, other = table.unbind(-1)
    return Record(spec, error, moved, predicted, own, other, lost, condition)


def moments(spec: Spec, n: int, p: Tensor, seed: int, *index: int) -> tuple[Tensor, Tensor]:
    """The whitened tensor of one data set, and the frame of the truth in its coordinates.
    NoMinimumError where M has fewer than k positive eigenvalues."""
    regressors, x, y = draw(spec, n, seed, *index)
    estimate = l4_moments_of(x, y, spec.k, as_nonlinearity("linear"), spec.sigma)
    return estimate.tensor, frame(estimate, regressors, p)


def _minimise(tensor: Tensor, mu: float, lam: float, starts: Tensor) -> QuarticSolution:
    return minimise_quartic(
        tensor, mu, lam, starts, first_order_iterations=50, max_iterations=60, radius=40.0
    )


def _near_truth(end: QuarticSolution, v: Tensor) -> Tensor:
    """(S,) bool: at a minimum with |cos| > 0.8 to one row of v each, each once."""
    held = (end.points / end.points.norm(dim=-1, keepdim=True) @ v.T).abs() > 0.8
    own: Tensor = ((held.sum(-1) == 1) & (held.sum(-2) == 1)).all(-1)
    return end.converged & own


def _moved(tensor: Tensor, mu: float, lam: float, truth: Tensor) -> float:
    """Distance from the truth to the minimum that descent from the truth finds, or infinity."""
    end = _minimise(tensor, mu, lam, truth.unsqueeze(0))
    return float((end.points[0] - truth).norm()) if bool(end.converged[0]) else float("inf")


def _margins(spec: Spec, p: Tensor) -> tuple[Tensor, Tensor]:
    smallest = float(p.min())
    weights = [[(mu, m * mu / smallest) for m in spec.margins] for mu in spec.mus]
    lost = torch.zeros(len(spec.mus), len(spec.margins), dtype=torch.float64)
    seed = child_seed(spec.seed, "margins")
    for trial in range(spec.margin_trials):
        try:
            tensor, v = moments(spec, spec.margin_size, p, seed, trial)
        except NoMinimumError:
            lost += 1 / spec.margin_trials
            continue
        for i, row in enumerate(weights):
            for j, (mu, lam) in enumerate(row):
                start = global_minimum(p, mu, lam).squared_norms.sqrt()[:, None] * v
                end = _minimise(tensor, mu, lam, start.unsqueeze(0))
                lost[i, j] += float(~_near_truth(end, v)[0]) / spec.margin_trials
    condition = [[conditioning(p, mu, lam) for mu, lam in row] for row in weights]
    return lost, torch.tensor(condition, dtype=torch.float64)
