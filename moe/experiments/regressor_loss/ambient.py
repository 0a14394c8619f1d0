"""L_4 from samples in all of R^d, which for k < d often has no lower bound (book, chapter 4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from moe.experiments.regressor_loss import descent as l4_descent
from moe.experiments.regressor_loss.descent import draw, whitened
from moe.landscape.certificate import certificate, lambda_that_bounds
from moe.losses import dual_basis
from moe.metrics import regressor_error_of
from moe.moments.estimate import score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import whiten
from moe.randomness import child_seed, stream
from moe.solvers.gradient import gradient_descent


@dataclass(frozen=True)
class Spec:
    """``trials`` mixtures for each number of samples; the descent's settings in ``base``.

    delta: the weight of delta/2 |A|^2 in one of the descents; the others have none.
    """

    sizes: tuple[int, ...] = (2_000, 20_000)
    trials: int = 4
    delta: float = 1.0
    base: l4_descent.Spec = field(
        default_factory=lambda: l4_descent.Spec(d=8, method="average", starts=6, every=400)
    )
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """All (sizes, trials). projected, ambient, ridge: median E_reg over starts at the end of the
    descents in the eigenspace of M, in R^d, and in R^d with delta; afterwards: of the rows that the
    descents in R^d that did not run off end with, projected on the eigenspace of M only then (NaN
    where all ran off);
    margin: of the certificate that L_4 is bounded in the eigenspace, proved where positive;
    ran_off: share of starts that left every bound in R^d; escape: the lowest factor of l^4 over
    unit e, for one row or two (``steepest_escape``); outside: length of that e outside span{a*}."""

    spec: Spec
    projected: Tensor
    ambient: Tensor
    ridge: Tensor
    afterwards: Tensor
    margin: Tensor
    ran_off: Tensor
    escape: Tensor
    outside: Tensor


def quartic_coefficient(
    e: Tensor, second: Tensor, fourth: Tensor, mu: float, lam: float, rows: Tensor | int = 1
) -> Tensor:
    """r {lambda M[e,e]^2 + (r - 1 - mu) T[e,e,e,e]} at unit e/|e|, (..., d) -> (...): the factor of
    l^4 in L_4 when r = ``rows`` rows are l e and the others zero. Negative somewhere: L_4 has no
    lower bound (derived). For mu < 1 one row falls only where T[e,e,e,e] > 0, two where it is < 0.

    second (..., d, d), fourth (..., d, d, d, d), for e (..., d) or (..., S, d).
    """
    e = e / e.norm(dim=-1, keepdim=True)
    pairs = (e[..., :, None] * e[..., None, :]).flatten(-2)
    along = ((pairs @ _matrix(fourth)) * pairs).sum(-1)
    held = (pairs @ second.flatten(-2)[..., None])[..., 0]
    return rows * (lam * held.square() + (rows - 1 - mu) * along)


def losses_in_space(
    rows: Tensor, second: Tensor, fourth: Tensor, mu: float, lam: float, delta: Tensor
) -> Tensor:
    """``moe.losses.l4_moments`` of many data sets at once: rows (B, S, k, d), moments (B, d, d) and
    (B, d, d, d, d), delta (B,) -> (B, S)."""
    pairs = (rows[..., :, None] * rows[..., None, :]).flatten(-2)
    cross = (pairs @ _matrix(fourth)[:, None]) @ pairs.mT
    lengths = (pairs @ second.flatten(-2)[:, None, :, None])[..., 0]
    own = cross.diagonal(dim1=-2, dim2=-1).sum(-1)
    value = cross.sum((-2, -1)) - (1 + mu) * own + lam * (lengths - 1).square().sum(-1)
    return value + delta[:, None] / 2 * rows.square().sum((-2, -1))


def _matrix(fourth: Tensor) -> Tensor:
    """A tensor (..., d, d, d, d) as a map of pairs of axes (..., d^2, d^2)."""
    return fourth.flatten(-4, -3).flatten(-2)


def steepest_escape(
    second: Tensor, fourth: Tensor, mu: float, lam: float, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """For each of B data sets the lowest quartic coefficient of one row or of two, over descents on
    the unit sphere from ``starts`` (2, B, S, d), and its direction: (B,), (B, d)."""
    rows = torch.tensor([1, 2])[:, None, None]
    shape = starts.shape
    descent = gradient_descent(
        lambda e: quartic_coefficient(e.view(shape), second, fourth, mu, lam, rows).flatten(),
        [starts.flatten(0, -2)],
        step=0.02,
        iterations=200,
        every=200,
    )
    values = descent.losses[-1].view(shape[:-1]).transpose(0, 1).flatten(1)
    ends = descent.parameters[0].view(shape).transpose(0, 1).flatten(1, 2)
    best = values.argmin(1)
    e = ends[torch.arange(len(ends)), best]
    return values.amin(1), e / e.norm(dim=-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class _Case:
    """One data set: the experts, its moments in R^d and in whitened coordinates, the projection on
    M's eigenspace, the certificate's margin."""

    base: l4_descent.Spec
    truth: Tensor
    second: Tensor
    fourth: Tensor
    whitener: Tensor
    inside: Tensor
    kept: Tensor
    margin: float


def _case(base: l4_descent.Spec) -> _Case:
    truth, x, y = draw(base)
    second, fourth = (
        score_moment(x, y, output_transform(base.nonlinearity, base.sigma, m), base.method).tensor
        for m in (2, 4)
    )
    whitener, inside = whitened(base, x, y)
    basis = whiten(second, base.k).basis
    margin = certificate(inside, base.mu, base.lam).margin
    return _Case(base, truth, second, fourth, whitener, inside, basis @ basis.T, margin)


def _descend(
    cases: list[_Case], seconds: Tensor, fourths: Tensor, delta: float
) -> tuple[Tensor, Tensor]:
    """Where the descents of all cases end, (B, S, k, dim), and which left every bound (B, S)."""
    base, dim = cases[0].base, seconds.shape[-1]
    shape = (base.starts, base.k, dim)
    starts = torch.stack(
        [
            torch.randn(shape, generator=stream("starts", case.base.seed), dtype=seconds.dtype)
            for case in cases
        ]
    )
    each = torch.full((len(cases),), delta, dtype=seconds.dtype)
    descent = gradient_descent(
        lambda rows: losses_in_space(
            rows.view_as(starts), seconds, fourths, base.mu, base.lam, each
        ).flatten(),
        [(starts / dim**0.5).flatten(0, 1)],
        step=base.step,
        iterations=base.iterations,
        every=base.iterations,
    )
    return descent.parameters[0].view_as(starts), descent.diverged.view(len(cases), -1)


def _median_errors(rows: Tensor, truth: Tensor, back: Tensor) -> float:
    errors = [regressor_error_of(dual_basis(a @ back), truth) for a in rows]
    return float(torch.tensor(errors).median()) if errors else float("nan")


def run(spec: Spec) -> Record:
    """The same samples and the same kind of moments, with and without the projection; all data sets
    descend as one batch."""
    cases = [
        _case(replace(spec.base, n=n, seed=child_seed(spec.seed, trial)))
        for n in spec.sizes
        for trial in range(spec.trials)
    ]
    second, fourth = (
        torch.stack([getattr(c, name) for c in cases]) for name in ("second", "fourth")
    )
    base = spec.base
    whole = torch.eye(base.k, dtype=second.dtype).expand(len(cases), -1, -1)
    projected, _ = _descend(cases, whole, torch.stack([case.inside for case in cases]), 0.0)
    free, ran_off = _descend(cases, second, fourth, 0.0)
    ridge, _ = _descend(cases, second, fourth, spec.delta)
    ways = [
        torch.randn(2, 32, base.d, generator=stream("directions", c.base.seed), dtype=second.dtype)
        for c in cases
    ]
    escape, e = steepest_escape(second, fourth, base.mu, base.lam, torch.stack(ways, 1))
    eye = torch.eye(base.d, dtype=second.dtype)
    rows = []
    for i, case in enumerate(cases):
        span = torch.linalg.qr(case.truth.T).Q
        errors = (
            _median_errors(ends[i], case.truth, back)
            for ends, back in ((projected, case.whitener.T), (free, eye), (ridge, eye))
        )
        late = _median_errors(free[i][~ran_off[i]], case.truth, case.kept)
        outside = float((e[i] - span @ (span.T @ e[i])).norm())
        off = float(ran_off[i].double().mean())
        rows.append([*errors, late, case.margin, off, float(escape[i]), outside])
    table = torch.tensor(rows, dtype=torch.float64).reshape(len(spec.sizes), spec.trials, -1)
    return Record(spec, *table.unbind(-1))


def along_one_direction(base: l4_descent.Spec, sizes: tuple[int, ...], trials: int) -> Tensor:
    """(2, sizes, trials): the factor of l^4 in L_4 for one row l e and for two, e a fixed unit
    vector outside the experts' span; a mixture and a data set of its own for each trial."""
    quadratic, quartic = (output_transform(base.nonlinearity, base.sigma, m) for m in (2, 4))
    factors = []
    for n in sizes:
        for trial in range(trials):
            one = replace(base, n=n, seed=child_seed(base.seed, "direction", n, trial))
            truth, x, y = draw(one)
            z = x @ torch.linalg.qr(truth.T, mode="complete").Q[:, -1]
            second = (quadratic(y) * (z.square() - 1)).mean() / quadratic.normaliser
            hermite = z**4 - 6 * z.square() + 3
            fourth = (quartic(y) * hermite).mean() / quartic.normaliser
            held = base.lam * second.square()
            factors += [float(r * (held + (r - 1 - base.mu) * fourth)) for r in (1, 2)]
    table = torch.tensor(factors, dtype=torch.float64).view(len(sizes), trials, 2)
    return table.permute(2, 0, 1)


def lambdas_that_bound(
    base: l4_descent.Spec, spare: tuple[int, ...], sizes: tuple[int, ...], trials: int
) -> Tensor:
    """(spare, sizes, trials): a lambda that surely bounds L_4 of all of R^d for k = 2 and
    d = 2 + spare; infinite where M is not positive definite."""
    needed = []
    for beyond in spare:
        for n in sizes:
            for trial in range(trials):
                seed = child_seed(base.seed, "bounding", n, trial)
                one = replace(base, k=2, d=2 + beyond, n=n, seed=seed)
                _, x, y = draw(one)
                second, fourth = (
                    score_moment(x, y, output_transform(one.nonlinearity, one.sigma, m), "average")
                    for m in (2, 4)
                )
                lam = lambda_that_bounds(second.tensor, fourth.tensor, base.mu, rows=2)
                needed.append(lam)
    return torch.tensor(needed, dtype=torch.float64).view(len(spare), len(sizes), trials)
