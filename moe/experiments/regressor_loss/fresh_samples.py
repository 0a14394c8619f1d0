"""L_4 on a stream of fresh samples: what the square of a batch's average does (book, chapter 4).

E[lambda (M_B - 1)^2] = lambda (M - 1)^2 + (lambda / B) Var(Q_2 t_3(a)) for a batch of B samples
(derived). The second part is a positive quartic that the population loss does not have: it holds
the rows' parts outside the experts' span, like a ridge. Two half batches,
lambda (M_1 - 1)(M_2 - 1), have no such part; rows in the top-k eigenspace of an estimate of M do
not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.gaussian_integrals import exact_proportions
from moe.experiments.common.mixtures import mixtures_of
from moe.losses import dual_basis, l4_population, l4_samples
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE, random_rows
from moe.moments.estimate import score_moment
from moe.moments.transforms import OutputTransform, output_transform
from moe.moments.whitening import whiten
from moe.randomness import stream
from moe.solvers.gradient import gradient_descent

WAYS = ("plug-in", "two half batches", "projected, plug-in")


@dataclass(frozen=True)
class Spec:
    """``seeds`` mixtures of k linear experts in R^d, orthonormal or merely unit, gates of norm
    gate_norm; for each of ``batches`` the same number of steps, of a length that shrinks as
    1 / (1 + 5 t), t from 0 to 1 over the run. pilot: samples for the eigenspace that "projected"
    keeps."""

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 2.0
    orthonormal: bool = True
    mu: float = 0.5
    lam: float = 10.0
    batches: tuple[int, ...] = (200, 1_000)
    steps: int = 300
    step: float = 0.01
    pilot: int = 10_000
    seeds: int = 6
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """errors (batches, WAYS, seeds): E_reg of the dual at the end; outside: length of the rows
    outside the experts' span there over that at the start in R^d; diverged: left every bound, the
    last finite rows then count. population, population_outside (seeds,): the same by descent in R^d
    on exact expectations, from the same starts with the same steps."""

    spec: Spec
    errors: Tensor
    outside: Tensor
    diverged: Tensor
    population: Tensor
    population_outside: Tensor


def second_form(rows: Tensor, x: Tensor, y: Tensor, quadratic: OutputTransform) -> Tensor:
    """Q_2(y) t_3(a_i, x) averaged over a batch: rows (..., k, d) -> (..., k)."""
    q = (quadratic(y) / quadratic.normaliser).unsqueeze(-1)
    squares = (x @ rows.mT).square()
    return (q * (squares - rows.square().sum(-1).unsqueeze(-2))).mean(-2)


def length_terms(
    rows: Tensor, x: Tensor, y: Tensor, quadratic: OutputTransform
) -> tuple[Tensor, Tensor]:
    """Two estimates of sum_i (M[a_i,a_i] - 1)^2 from one batch of even size: the square of the
    average, and the product of two halves' averages, whose mean is exact."""
    half = x.shape[-2] // 2
    first = second_form(rows, x[..., :half, :], y[..., :half], quadratic) - 1
    second = second_form(rows, x[..., half:, :], y[..., half:], quadratic) - 1
    return ((first + second) / 2).square().sum(-1), (first * second).sum(-1)


def run(spec: Spec) -> Record:
    """All batch sizes and ways see the same mixtures and starts, all ways the same samples."""
    truths = mixtures_of(spec)
    generator = stream("data", spec.seed)

    def batch(size: int) -> tuple[Tensor, Tensor]:
        drawn = [truth.sample(size, generator) for truth in truths]
        return torch.stack([x for x, _ in drawn]), torch.stack([y for _, y in drawn])

    start = random_rows(spec.seeds, spec.k, spec.d, stream("starts", spec.seed))
    quartic, quadratic = (output_transform("linear", spec.sigma, m) for m in (4, 2))
    eye = torch.eye(spec.d, dtype=torch.float64).expand(spec.seeds, -1, -1)
    whitener = torch.zeros_like(eye)
    for into, x, y in zip(whitener, *batch(spec.pilot), strict=True):
        into[:, : spec.k] = whiten(score_moment(x, y, quadratic).tensor, spec.k).whitener
    back = torch.stack([eye, eye, whitener])
    inside = start @ torch.linalg.pinv(whitener).mT  # the part of a start that the eigenspace has
    starts = torch.stack([start, start, inside])

    def batch_loss(size: int) -> Callable[[Tensor], Tensor]:
        def loss(rows: Tensor) -> Tensor:
            a, (x, y) = rows @ back.mT, batch(size)
            square, product = length_terms(a, x, y, quadratic)
            lengths = torch.stack([square[0], product[1], square[2]])
            return l4_samples(a, x, y, quartic, quadratic, spec.mu, 0.0) + spec.lam * lengths

        return loss

    shares = [exact_proportions(truth) for truth in truths]

    def population(rows: Tensor) -> Tensor:
        parts = zip(rows[0], truths, shares, strict=True)
        losses = [l4_population(a, t.regressors, p, spec.mu, spec.lam) for a, t, p in parts]
        return torch.stack(losses)[None]

    ends = [_descend(spec, batch_loss(n), starts, back, truths) for n in spec.batches]
    exact = _descend(spec, population, starts[:1], back[:1], truths)
    errors, outside, diverged = (torch.stack(part) for part in zip(*ends, strict=True))
    return Record(spec, errors, outside, diverged, exact[0][0], exact[1][0])


def _descend(
    spec: Spec,
    loss: Callable[[Tensor], Tensor],
    starts: Tensor,
    back: Tensor,
    truths: list[MoE],
) -> tuple[Tensor, Tensor, Tensor]:
    """E_reg, relative length outside the span, and whether it ran off: (ways, seeds) each."""
    ways, seeds = starts.shape[:2]
    descent = gradient_descent(
        lambda flat: loss(flat.unflatten(0, (ways, seeds))).flatten(),
        [starts.flatten(0, 1)],
        step=lambda iteration: spec.step / (1 + 5 * iteration / spec.steps),
        iterations=spec.steps,
        every=spec.steps,
    )
    rows = descent.parameters[0].unflatten(0, (ways, seeds)) @ back.mT
    errors, outside = [], []
    for own in rows:
        for a, start, truth in zip(own, starts[0], truths, strict=True):
            errors.append(regressor_error_of(dual_basis(a), truth.regressors))
            span = torch.linalg.qr(truth.regressors.T).Q
            left = (a - a @ span @ span.T).norm() / (start - start @ span @ span.T).norm()
            outside.append(float(left))
    table = torch.tensor([errors, outside], dtype=torch.float64).view(2, ways, seeds)
    return table[0], table[1], descent.diverged.view(ways, seeds)
