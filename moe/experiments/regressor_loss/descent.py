"""Gradient descent on L_4 from samples, in whitened coordinates (book, chapter 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from moe.experiments.common.gaussian_integrals import exact_proportions
from moe.landscape.certificate import Certificate, certificate
from moe.losses import dual_basis, l4_moments
from moe.metrics import match, regressor_error_of
from moe.model.mixture import MoE
from moe.model.nonlinearity import as_nonlinearity
from moe.moments.estimate import score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import whiten
from moe.randomness import child_seed, stream
from moe.solvers.gradient import Descent, gradient_descent
from moe.solvers.quartic import minimise_quartic, random_starts


def skewed_regressors(k: int, d: int, cosine: float, generator: torch.Generator) -> Tensor:
    """k unit rows in R^d with pairwise inner product ``cosine``, in a random orientation."""
    gram = torch.full((k, k), float(cosine), dtype=torch.float64)
    factor = torch.linalg.cholesky(gram.fill_diagonal_(1.0))
    frame = torch.linalg.qr(torch.randn(d, k, generator=generator, dtype=torch.float64)).Q
    return factor @ frame.T


@dataclass(frozen=True)
class Spec:
    """k experts with pairwise inner product ``cosine``, gates of norm ``gate_norm`` orthogonal to
    them, n samples, ``starts`` random starts. method: how moments are estimated."""

    k: int = 3
    d: int = 6
    n: int = 20_000
    sigma: float = 0.1
    cosine: float = 0.3
    gate_norm: float = 1.0
    nonlinearity: str = "linear"
    method: Literal["auto", "average", "least_squares"] = "auto"
    mu: float = 0.5
    lam: float = 10.0
    delta: float = 0.0
    starts: int = 12
    step: float = 4e-3
    iterations: int = 400
    every: int = 4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """iterations (T,); errors, values (T, starts): E_reg and L_4 on the way; ran_off (starts,):
    the descent left every bound; then its last finite point counts; by_lengths (starts,):
    lambda sum_i (1 - |b_i|^2) at the end, which is L_4 at a critical point; norms (starts,):
    sum_i |b_i|^2 there; proof: what these moments prove about their L_4."""

    spec: Spec
    iterations: Tensor
    errors: Tensor
    values: Tensor
    ran_off: Tensor
    by_lengths: Tensor
    norms: Tensor
    proof: Certificate


def mixture(spec: Spec) -> MoE:
    """The model that the data come from."""
    generator = stream("truth", spec.seed)
    regressors = skewed_regressors(spec.k, spec.d, spec.cosine, generator)
    span = torch.linalg.qr(regressors.T).Q
    gating = torch.randn(spec.k, spec.d, generator=generator, dtype=torch.float64)
    gating = gating - gating @ span @ span.T
    gating = spec.gate_norm * gating / gating.norm(dim=1, keepdim=True)
    gating[-1] = 0.0
    return MoE(regressors, gating, spec.sigma, as_nonlinearity(spec.nonlinearity))


def draw(spec: Spec) -> tuple[Tensor, Tensor, Tensor]:
    """The experts a*_i (k, d), x (n, d), y (n,)."""
    model = mixture(spec)
    x, y = model.sample(spec.n, stream("data", spec.seed))
    return model.regressors, x, y


def descend(
    spec: Spec,
    second: Tensor,
    fourth: Tensor,
    back: Tensor,
    truth: Tensor,
) -> Descent:
    """Descend on L_4(M, T) from starts with rows N(0, I / dim), by ``spec.seed``; observe E_reg of
    the dual of rows @ back, where back (dim, d) leads to the coordinates of the truth."""

    def error(rows: Tensor) -> Tensor:
        return torch.tensor([regressor_error_of(dual_basis(r @ back), truth) for r in rows])

    dim, generator = len(second), stream("starts", spec.seed)
    starts = torch.randn(spec.starts, spec.k, dim, generator=generator, dtype=truth.dtype)
    return gradient_descent(
        lambda rows: l4_moments(rows, second, fourth, spec.mu, spec.lam, spec.delta),
        [starts / dim**0.5],
        step=spec.step,
        iterations=spec.iterations,
        observe=error,
        every=spec.every,
    )


def whitened(spec: Spec, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """V of the second moment, and the fourth moment in the coordinates that it defines."""
    quadratic = output_transform(spec.nonlinearity, spec.sigma, 2)
    whitening = whiten(score_moment(x, y, quadratic, spec.method).tensor, spec.k)
    quartic = output_transform(spec.nonlinearity, spec.sigma, 4)
    inside = score_moment(x, y, quartic, spec.method, whitening.basis).tensor
    return whitening.whitener, whitening.apply(inside)


def run(spec: Spec) -> Record:
    """Moments, whitening, descent; the error is that of pinv(A_min)' at every recorded step."""
    truth, x, y = draw(spec)
    whitener, tensor = whitened(spec, x, y)
    eye = torch.eye(spec.k, dtype=x.dtype)
    descent = descend(spec, eye, tensor, whitener.T, truth)
    ends = descent.parameters[0]
    return Record(
        spec,
        descent.iterations,
        descent.observed,
        descent.losses,
        descent.diverged,
        spec.lam * (1 - ends.square().sum(-1)).sum(-1),
        ends.square().sum((-2, -1)),
        certificate(tensor, spec.mu, spec.lam),
    )


def proportion_errors(spec: Spec, trials: int) -> Tensor:
    """(trials, 2): mean absolute error of the proportions read from the lengths of A_min's dual,
    |row|^2 + mu / lambda, and from the whitener, 1 / |V' row|^2 for unit rows; k <= 4."""
    errors = []
    for trial in range(trials):
        one = replace(spec, seed=child_seed(spec.seed, "proportions", trial))
        truth, x, y = draw(one)
        whitener, tensor = whitened(one, x, y)
        starts = random_starts(one.starts, one.k, stream("starts", one.seed))
        end = minimise_quartic(tensor, one.mu, one.lam, starts)
        rows = dual_basis(end.points[end.best] @ whitener.T)
        rows = rows[match(rows, truth)]
        exact, lengths = exact_proportions(mixture(one)), rows.norm(dim=1, keepdim=True)
        ways = (
            lengths[:, 0].square() + one.mu / one.lam,
            1 / (rows / lengths @ whitener).square().sum(-1),
        )
        errors.append([float((way - exact).abs().mean()) for way in ways])
    return torch.tensor(errors, dtype=torch.float64)
