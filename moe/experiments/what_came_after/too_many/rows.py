"""L_4 with more rows than experts, from samples: does the number of rows that are left tell k?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning, TooFewEigenvaluesError
from moe.experiments.common.shares import Share
from moe.experiments.engine.sweep import by_spec, sweep
from moe.losses import l4_moments
from moe.model.mixture import random_moe
from moe.moments.transforms import output_transform
from moe.moments.whitening import whiten
from moe.randomness import child_seed, stream
from moe.recovery.selection import choose_k
from moe.solvers.l4 import noise_edge, robust_moment

TOLD, FEWER, MORE, NARROW = "k told", "one too few", "one too many", "k told, extra rows zero"
EIGENVALUES, HELD_OUT = "eigenvalues", "choose_k"
MU, MARGIN, EXTRA = 0.5, 3.0, 2
_PRESENT, _PARALLEL, _FAR = 0.3, 0.9, 100.0


@dataclass(frozen=True)
class Spec:
    """k random unit experts in R^d, gates of norm one, n samples; ``starts`` of L_4 with D + 2 rows
    in D dimensions; choosing: whether ``choose_k`` runs too."""

    n: int
    k: int = 3
    d: int = 6
    sigma: float = 0.1
    starts: int = 4
    choosing: bool = False


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """The number of experts that each way reads off the samples; 0: none, for want of a minimum."""
    truth = random_moe(spec.k, spec.d, sigma=spec.sigma, generator=stream("truth", seed))
    x, y = truth.sample(spec.n, stream("data", seed))
    quadratic, quartic = (output_transform(truth.nonlinearity, spec.sigma, m) for m in (2, 4))
    second = robust_moment(x, y, quadratic).tensor
    counted = int((torch.linalg.eigvalsh(second) > noise_edge(x, y, quadratic)).sum())
    found = {EIGENVALUES: float(counted)}
    p = truth.mixing_proportions(20_000, generator=stream("proportions", seed))
    strip = (MU / float(p.min()), (MU + 1) / float(p.max()))
    for name, size in ((TOLD, spec.k), (FEWER, spec.k - 1), (MORE, spec.k + 1)):
        try:
            whitening = whiten(second, size)
        except TooFewEigenvaluesError:
            found[name] = 0.0
            continue
        tensor = whitening.apply(robust_moment(x, y, quartic, whitening.basis).tensor)
        top = float(torch.linalg.eigvalsh(tensor.reshape(size**2, size**2))[-1])
        generator = stream("starts", seed, size)
        found[name] = float(count_rows(tensor, MU, MARGIN * MU * top, spec.starts, generator))
        if name == TOLD:
            lam = (strip[0] * strip[1]) ** 0.5 if strip[0] < strip[1] else float("nan")
            found[NARROW] = float(count_rows(tensor, MU, lam, spec.starts, generator, True))
    if spec.choosing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtfulFitWarning)
            found[HELD_OUT] = float(choose_k(x, y, max_experts=spec.d, folds=2, seed=seed).k)
    return found


def count_rows(
    tensor: Tensor,
    mu: float,
    lam: float,
    starts: int,
    generator: torch.Generator,
    every: bool = False,
) -> int:
    """Directions among the rows of the lowest minimum of L_4 with D + 2 rows; T (D, D, D, D).

    Rows shorter than 0.3 do not count; rows with |cos| > 0.9 count once, or, ``every``, each. 0
    where no start ends within a radius of 100.
    """
    size = len(tensor)
    if lam != lam:  # there is no strip
        return 0
    best, rows = float("inf"), None
    for _ in range(starts):
        start = torch.randn(size + EXTRA, size, generator=generator, dtype=tensor.dtype)
        point, value, fine = _minimum(tensor, mu, lam, start / size**0.5)
        if fine and value < best:
            best, rows = value, point
    if rows is None:
        return 0
    present = rows[rows.norm(dim=1) > _PRESENT]
    if every:
        return len(present)
    return different(present)


def different(rows: Tensor) -> int:
    """How many directions, up to sign, rows (m, D) point into."""
    unit = torch.nn.functional.normalize(rows)
    kept: list[Tensor] = []
    for row in unit:
        if all(abs(float(row @ other)) < _PARALLEL for other in kept):
            kept.append(row)
    return len(kept)


def _minimum(tensor: Tensor, mu: float, lam: float, start: Tensor) -> tuple[Tensor, float, bool]:
    """L-BFGS; false where it has run off: L_4 is then not bounded below."""
    identity = torch.eye(len(tensor), dtype=tensor.dtype)

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(flat.copy()).view_as(start).requires_grad_()
        loss = l4_moments(point, identity, tensor, mu, lam)
        (slope,) = torch.autograd.grad(loss, point)
        return loss.item(), slope.flatten().numpy()

    end = minimize(
        value, start.flatten().numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    point = torch.from_numpy(end.x).view_as(start)
    return point, float(end.fun), float(point.norm()) < _FAR and end.fun == end.fun


@dataclass(frozen=True)
class Row:
    """Shares of data sets in which each way finds k."""

    spec: Spec
    right: dict[str, Share]
    mean: dict[str, float]


def run(sizes: tuple[int, ...], runs: int, seed: int = 0, chosen: int = 0) -> list[Row]:
    """Every n on ``runs`` data sets; ``choose_k`` on the first ``chosen`` of them."""
    seeds = [child_seed(seed, run) for run in range(runs)]
    done = by_spec(sweep(trial, [Spec(n) for n in sizes], seeds), runs)
    held = (
        by_spec(
            sweep(trial, [Spec(n, choosing=True, starts=1) for n in sizes], seeds[:chosen]), chosen
        )
        if chosen
        else [[] for _ in sizes]
    )
    rows = []
    for n, trials, more in zip(sizes, done, held, strict=True):
        spec = Spec(n)
        names = list(trials[0].result)
        answers = {name: [t.result[name] for t in trials] for name in names}
        if more:
            answers[HELD_OUT] = [t.result[HELD_OUT] for t in more]
        rows.append(
            Row(
                spec,
                {
                    name: Share(sum(a == spec.k for a in every), len(every))
                    for name, every in answers.items()
                },
                {name: sum(every) / len(every) for name, every in answers.items()},
            )
        )
    return rows
