"""One expert too many: what more experts can hold, and how errors fall with n."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.what_came_after.likelihood import (
    Form,
    log_density,
    maximise,
    with_ones,
)
from moe.model.mixture import drawn
from moe.moments.quadrature import gauss_hermite
from moe.randomness import child_seed, stream

KNOWN, SPLIT, FREE = "k known", "one too many", "one too many, free"
KINDS = (KNOWN, SPLIT, FREE)
NAMES = {
    KNOWN: "two experts fitted",
    SPLIT: "three, through the origin",
    FREE: r"three, own intercepts and $\sigma$",
}
# how many powers of the distance between two halves of an expert the densities differ by
ORDERS = {KNOWN: 1, SPLIT: 2, FREE: 4}


@dataclass(frozen=True)
class Spec:
    """n samples of a random mixture of two linear experts in R^d, sigma = 0.5, gates with offsets.

    kind: KNOWN fits two experts; SPLIT three, through the origin and with a common sigma, like the
    truth; FREE three with intercepts and sigmas of their own, which are zero and equal in truth.
    """

    kind: str
    n: int
    d: int = 2
    sigma: float = 0.5

    def form(self, experts: int) -> Form:
        free = self.kind == FREE
        return Form(experts, self.d, intercepts=free, own_sigmas=free)


@dataclass(frozen=True)
class Record:
    """values[name][kind]: a tensor (sizes, data sets), for each name that ``trial`` returns."""

    sizes: tuple[int, ...]
    values: dict[str, dict[str, Tensor]]


def two_directions(d: int, generator: torch.Generator) -> Tensor:
    """Random unit vectors (2, d), at least 60 degrees apart up to sign."""
    while True:
        rows = torch.randn(2, d, generator=generator, dtype=torch.float64)
        rows = rows / rows.norm(dim=1, keepdim=True)
        if abs(float(rows[0] @ rows[1])) < 0.5:
            return rows


def truth(spec: Spec, seed: int) -> tuple[Tensor, Tensor]:
    """Experts (2, d), at least 60 degrees apart, of length 1.5; gates (2, d + 1)."""
    generator = stream("truth", seed)
    rows = two_directions(spec.d, generator)
    gate = torch.randn(spec.d, generator=generator, dtype=torch.float64)
    offset = torch.randn(1, generator=generator, dtype=torch.float64) / 2
    gating = torch.stack(
        [torch.cat([gate / gate.norm(), offset]), torch.zeros(spec.d + 1).double()]
    )
    return 1.5 * rows, gating


def sample(spec: Spec, seed: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """n samples of the mixture of that seed, x (n, d), y (n,)."""
    rows, gating = truth(spec, seed)
    x = torch.randn(n, spec.d, generator=generator, dtype=torch.float64)
    gate = torch.softmax(with_ones(x) @ gating.T, 1)
    return x, drawn(gate, x @ rows.T, spec.sigma, generator)[0]


def exact(spec: Spec, rows: Tensor, gating: Tensor) -> Tensor:
    """theta of the truth with its own two experts."""
    wide = torch.nn.functional.pad(rows, (0, spec.form(2).width - spec.d))
    return spec.form(2).pack(wide, gating, torch.full((2,), spec.sigma, dtype=torch.float64))


def halved(
    spec: Spec, rows: Tensor, gating: Tensor, which: int, own: Tensor, gate: Tensor
) -> Tensor:
    """theta of the truth with expert ``which`` in two halves moved by +- own (width,) and, in their
    gates, +- gate (d + 1,). At zero it is the truth: that takes the offsets."""
    form = spec.form(3)
    order = [1 - which, which, which]
    A = torch.nn.functional.pad(rows, (0, form.width - spec.d))[order]
    W = gating[order].clone()
    A[1], A[2] = A[1] + own, A[2] - own
    W[1], W[2] = W[1] + gate, W[2] - gate
    W[1:, -1] -= np.log(2.0)
    return form.pack(A, W - W[-1], torch.full((3,), spec.sigma, dtype=torch.float64))


def starts(spec: Spec, seed: int) -> list[Tensor]:
    """The truth; or both ways to halve an expert of it, each with two random moves of 0.3 in every
    coefficient: near the truth, so that nothing is the start's fault."""
    rows, gating = truth(spec, seed)
    if spec.kind == KNOWN:
        return [exact(spec, rows, gating)]
    generator, width = stream("starts", seed, spec.n), spec.form(3).width
    found = []
    for which in (0, 1):
        for _ in range(2):
            move = 0.3 * torch.randn(width + spec.d + 1, generator=generator, dtype=torch.float64)
            found.append(halved(spec, rows, gating, which, move[:width], move[width:]))
    return found


def distance(rows: Tensor, shares: Tensor, true: Tensor) -> float:
    """(sum_i p_i min_j |a_i - a_j*|^2)^(1/2): the mean distance to the nearest true expert."""
    nearest = torch.cdist(rows, true).amin(1)
    return float((shares @ nearest.square()).sqrt())


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """distance: of the experts; mean: root mean square error of E[y | x]; hellinger: of the
    densities, both on fresh samples; share: of the least used expert; gradient: at the end."""
    rows, gating = truth(spec, seed)
    x, y = sample(spec, seed, spec.n, stream("data", seed, spec.n))
    form = spec.form(2 if spec.kind == KNOWN else 3)
    end = maximise(form, starts(spec, seed), x, y, least_sigma=spec.sigma / 5)
    found, gates, _ = form.parts(end.theta)
    shares = torch.softmax(with_ones(x) @ gates.T, 1).mean(0)
    wide = torch.nn.functional.pad(rows, (0, form.width - spec.d))
    fresh = sample(spec, seed, 20_000, stream("fresh", seed))
    ratio = log_density(form, end.theta, *fresh)
    ratio = ratio - log_density(spec.form(2), exact(spec, rows, gating), *fresh)
    columns = with_ones(fresh[0])
    averages = [
        (torch.softmax(columns @ w.T, 1) * (columns[:, : form.width] @ a.T)).sum(1)
        for a, w in ((found, gates), (wide, gating))
    ]
    return {
        "distance": distance(found, shares, wide),
        "mean": float((averages[0] - averages[1]).square().mean().sqrt()),
        "hellinger": float(((ratio / 2).exp() - 1).square().mean().div(2).sqrt()),
        "share": float(shares.min()),
        "gradient": end.gradient_norm,
    }


def run(kinds: tuple[str, ...], sizes: tuple[int, ...], runs: int, seed: int = 0) -> Record:
    """Every kind at every n, on ``runs`` data sets."""
    specs = [Spec(kind, n) for kind in kinds for n in sizes]
    done = by_spec(sweep(trial, specs, [child_seed(seed, run) for run in range(runs)]), runs)
    values: dict[str, dict[str, Tensor]] = {}
    for name in ("distance", "mean", "hellinger", "share", "gradient"):
        found = torch.tensor(
            [[t.result[name] for t in trials] for trials in done], dtype=torch.float64
        )
        parts = found.view(len(kinds), len(sizes), runs)
        values[name] = dict(zip(kinds, parts, strict=True))
    return Record(sizes, values)


def nested_gap(copies: tuple[int, int], offsets: bool, slope: float = 1.5) -> float:
    """The least E KL(p || q) over x ~ N(0, 1) from the gate p of two experts, log odds slope x, to
    that of several at the places of the two: ``copies`` of each, with or without offsets."""
    node, weight = (torch.from_numpy(v) for v in gauss_hermite(60))
    p = torch.stack([torch.sigmoid(slope * node), torch.sigmoid(-slope * node)])
    columns = torch.stack([node, torch.ones_like(node)])[: 1 + offsets]

    def divergence(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.from_numpy(flat.copy()).requires_grad_()
        logs = torch.log_softmax(theta.view(sum(copies), -1) @ columns, 0)
        q = torch.stack([torch.logsumexp(part, 0) for part in logs.split(copies)])
        value = (p * (p.log() - q)).sum(0) @ weight
        (gradient,) = torch.autograd.grad(value, theta)
        return value.item(), gradient.numpy()

    generator = stream("starts", 0)
    size = sum(copies) * len(columns)
    tries = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(5)]
    sharp = {"gtol": 1e-8}
    ends = [minimize(divergence, t.numpy(), jac=True, options=sharp).fun for t in tries]
    return float(min(ends))
