"""The squared loss fitted to the end: an expert too many, linear or curved, and other gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.what_came_after.likelihood import with_ones
from moe.experiments.what_came_after.too_many.rates import distance, two_directions
from moe.model.mixture import full_gating
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import child_seed, stream

SOFTMAX, SIGMOID = "softmax", "sigmoid"
Case = tuple[str, str, int]
"""Nonlinearity, gate, number of experts fitted."""
NAMES: dict[Case, str] = {
    ("tanh", SOFTMAX, 2): "tanh, two fitted",
    ("linear", SOFTMAX, 2): "linear, two fitted",
    ("tanh", SOFTMAX, 3): "tanh, three fitted",
    ("linear", SOFTMAX, 3): "linear, three fitted",
    ("tanh", SIGMOID, 3): "tanh, three, sigmoid gates",
}


@dataclass(frozen=True, eq=False)
class Regression:
    """Where Levenberg and Marquardt's method ended: experts, gates (K, d + 1), the mean square of
    the residuals, and the length of its gradient."""

    rows: Tensor
    gating: Tensor
    loss: float
    gradient_norm: float


def weights(gating: Tensor, x: Tensor, gate: str) -> Tensor:
    """Softmax of the affine scores, or the sigmoid of each: (n, K)."""
    scores = with_ones(x) @ gating.T
    return torch.softmax(scores, 1) if gate == SOFTMAX else torch.sigmoid(scores)


def mean(rows: Tensor, gating: Tensor, x: Tensor, g: Nonlinearity, gate: str = SOFTMAX) -> Tensor:
    """sum_i q_i(x) g(<a_i, x> + b_i), (n,); rows (K, d), or (K, d + 1) with intercepts b_i."""
    looks = with_ones(x)[:, : rows.shape[1]]
    return (weights(gating, x, gate) * g(looks @ rows.T)).sum(1)


def fit_mean(
    rows: Tensor,
    gating: Tensor,
    x: Tensor,
    y: Tensor,
    g: Nonlinearity,
    gate: str = SOFTMAX,
    steps: int = 200,
) -> Regression:
    """Least squares from one start; a softmax's last row is zero and stays so."""
    K, width = rows.shape
    free = K - 1 if gate == SOFTMAX else K
    wide = with_ones(x)
    looks = wide[:, :width]

    def parts(theta: Tensor) -> tuple[Tensor, Tensor]:
        w = theta[K * width :].view(free, -1)
        return theta[: K * width].view(K, width), full_gating(w) if gate == SOFTMAX else w

    def residuals(theta: Tensor) -> Tensor:
        a, w = parts(theta)
        return mean(a, w, x, g, gate) - y

    def jacobian(theta: Tensor) -> Tensor:
        a, w = parts(theta)
        eta, q = looks @ a.T, weights(w, x, gate)
        value = g(eta)
        centre = (q * value).sum(1, keepdim=True)
        turn = q * (value - centre) if gate == SOFTMAX else q * (1 - q) * value
        own = (q * g.derivative(eta))[:, :, None] * looks[:, None]
        gates = turn[:, :free, None] * wide[:, None]
        return torch.cat([own.flatten(1), gates.flatten(1)], 1)

    start = torch.cat([rows.flatten(), gating[:free].flatten()])
    theta, loss, slope = _levenberg(residuals, jacobian, start, steps)
    return Regression(*parts(theta), loss, slope)


def _levenberg(
    residuals: Callable[[Tensor], Tensor],
    jacobian: Callable[[Tensor], Tensor],
    theta: Tensor,
    steps: int,
) -> tuple[Tensor, float, float]:
    """Levenberg and Marquardt's method: the end, the mean square there, its gradient's length."""
    damping, e = 1e-3, residuals(theta)
    loss = float(e.square().mean())
    slope = torch.tensor(torch.inf)
    for _ in range(steps):
        J = jacobian(theta)
        slope, gram = J.T @ e / len(e), J.T @ J / len(e)
        if float(slope.norm()) < 1e-10 * (1 + loss):
            break
        scale = gram.diagonal().mean()
        for _ in range(20):
            solid = gram + damping * scale * torch.eye(len(theta), dtype=theta.dtype)
            there = theta - torch.linalg.solve(solid, slope)
            e_there = residuals(there)
            reached = float(e_there.square().mean())
            if reached < loss:
                break
            damping *= 4
        else:
            break
        theta, e, loss, damping = there, e_there, reached, max(damping / 5, 1e-12)
    return theta, loss, 2 * float(slope.norm())


@dataclass(frozen=True)
class Spec:
    """n samples y = f(x) + sigma xi of the mean f of two experts with slopes of length 2 in R^d and
    intercepts, fitted by ``experts`` of their kind; gate: of both truth and fit."""

    nonlinearity: str
    gate: str
    experts: int
    n: int
    d: int = 2
    sigma: float = 0.05


def truth(spec: Spec, seed: int) -> tuple[Tensor, Tensor]:
    """Experts (2, d + 1) with intercepts, slopes at least 60 degrees apart; gates (2, d + 1)."""
    generator = stream("truth", seed)
    rows = two_directions(spec.d, generator)
    gating = torch.randn(2, spec.d + 1, generator=generator, dtype=torch.float64)
    gating[:, :-1] *= 1.5 / gating[:, :-1].norm(dim=1, keepdim=True)
    gating[:, -1] /= 2
    if spec.gate == SOFTMAX:
        gating[1] = 0.0
    intercepts = torch.randn(2, 1, generator=generator, dtype=torch.float64) / 2
    return torch.cat([2 * rows, intercepts], 1), gating


def starts(spec: Spec, seed: int) -> list[tuple[Tensor, Tensor]]:
    """The truth; with one expert more, each expert halved, each half moved in two random ways."""
    rows, gating = truth(spec, seed)
    if spec.experts == 2:
        return [(rows, gating)]
    generator = stream("starts", seed, spec.n)
    found = []
    for which in (0, 1):
        order = [1 - which, which, which]
        for size in (0.3, 1.0):
            A, W = rows[order].clone(), gating[order].clone()
            move = size * torch.randn(spec.d + 1, generator=generator, dtype=torch.float64)
            turn = 0.3 * torch.randn(spec.d + 1, generator=generator, dtype=torch.float64)
            A[1], A[2], W[1], W[2] = A[1] + move, A[2] - move, W[1] + turn, W[2] - turn
            W[1:, -1] -= np.log(2.0)
            found.append((A, W - W[-1] if spec.gate == SOFTMAX else W))
    return found


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """distance: of the experts, by mean weight; worst: from a true expert to the nearest fitted;
    mean: root mean square error of the fitted mean on the samples' inputs; gradient at the end."""
    g = as_nonlinearity(spec.nonlinearity)
    rows, gating = truth(spec, seed)
    generator = stream("data", seed, spec.n)
    x = torch.randn(spec.n, spec.d, generator=generator, dtype=torch.float64)
    f = mean(rows, gating, x, g, spec.gate)
    y = f + spec.sigma * torch.randn(spec.n, generator=generator, dtype=torch.float64)
    ends = [fit_mean(a, w, x, y, g, spec.gate, 15) for a, w in starts(spec, seed)]
    best = min(ends, key=lambda end: end.loss)
    best = fit_mean(best.rows, best.gating, x, y, g, spec.gate)
    shares = weights(best.gating, x, spec.gate).mean(0)
    return {
        "distance": distance(best.rows, shares, rows),
        "worst": float(torch.cdist(rows, best.rows).amin(1).max()),
        "mean": float((mean(best.rows, best.gating, x, g, spec.gate) - f).square().mean().sqrt()),
        "gradient": best.gradient_norm,
    }


def along_halves(nonlinearity: str, seed: int = 0, length: float = 2.0) -> float:
    """The largest change of the mean, over 200 inputs, as an expert's halves part by +- length."""
    spec = Spec(nonlinearity, SOFTMAX, 3, 200)
    g = as_nonlinearity(nonlinearity)
    rows, gating = truth(spec, seed)
    x = torch.randn(200, spec.d, generator=stream("data", seed), dtype=torch.float64)
    W = gating[[1, 0, 0]].clone()
    W[1:, -1] -= np.log(2.0)
    base = mean(rows, gating, x, g)
    worst = 0.0
    for t in (0.5, 1.0, length):
        A = rows[[1, 0, 0]].clone()
        A[1, 0], A[2, 0] = A[1, 0] + t, A[2, 0] - t
        worst = max(worst, float((mean(A, W, x, g) - base).abs().max()))
    return worst


@dataclass(frozen=True)
class Record:
    """values[name][nonlinearity, gate, experts]: a tensor (sizes, data sets)."""

    sizes: tuple[int, ...]
    values: dict[str, dict[Case, Tensor]]


def run(cases: tuple[Case, ...], sizes: tuple[int, ...], runs: int, seed: int = 0) -> Record:
    """Every case at every n, on ``runs`` data sets."""
    specs = [Spec(*case, n) for case in cases for n in sizes]
    done = by_spec(sweep(trial, specs, [child_seed(seed, run) for run in range(runs)]), runs)
    values: dict[str, dict[Case, Tensor]] = {}
    for name in ("distance", "worst", "mean", "gradient"):
        table = torch.tensor(
            [[t.result[name] for t in trials] for trials in done], dtype=torch.float64
        )
        parts = table.view(len(cases), len(sizes), runs)
        values[name] = dict(zip(cases, parts, strict=True))
    return Record(sizes, values)
