"""L_4 from samples in all of R^d, which for k < d often has no lower bound (book, chapter 4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from moe.experiments.regressor_loss import descent as l4_descent
from moe.experiments.regressor_loss.descent import descend, draw, dual_basis
from moe.landscape.certificate import lambda_that_bounds
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
    e: Tensor, second: Tensor, fourth: Tensor, mu: float, lam: float, rows: int = 1
) -> Tensor:
    """r {lambda M[e,e]^2 + (r - 1 - mu) T[e,e,e,e]} at unit e/|e|, (..., d) -> (...): the factor of
    l^4 in L_4 when r = ``rows`` rows are l e and the others zero. Negative somewhere: L_4 has no
    lower bound (derived). For mu < 1 one row falls only where T[e,e,e,e] > 0, two where it is < 0.
    """
    e = e / e.norm(dim=-1, keepdim=True)
    d = len(second)
    pairs = (e[..., :, None] * e[..., None, :]).flatten(-2)
    along = ((pairs @ fourth.reshape(d * d, d * d)) * pairs).sum(-1)
    return rows * (lam * (pairs @ second.flatten()).square() + (rows - 1 - mu) * along)


def steepest_escape(
    second: Tensor, fourth: Tensor, mu: float, lam: float, generator: torch.Generator
) -> tuple[float, Tensor]:
    """The lowest quartic coefficient of one row or of two, over 32 descents each on the unit
    sphere, and its direction."""
    found = []
    for rows in (1, 2):
        starts = torch.randn(32, len(second), generator=generator, dtype=second.dtype)
        descent = gradient_descent(
            lambda e, r=rows: quartic_coefficient(e, second, fourth, mu, lam, r),
            [starts],
            step=0.02,
            iterations=200,
            every=200,
        )
        best = int(descent.losses[-1].argmin())
        e = descent.parameters[0][best]
        found.append((float(descent.losses[-1][best]), e / e.norm()))
    return min(found, key=lambda one: one[0])


def run(spec: Spec) -> Record:
    """The same samples and the same kind of moments, with and without the projection."""
    rows = []
    for n in spec.sizes:
        for trial in range(spec.trials):
            base = replace(spec.base, n=n, seed=child_seed(spec.seed, trial))
            projected = l4_descent.run(base)
            truth, x, y = draw(base)
            quadratic = output_transform(base.nonlinearity, base.sigma, 2)
            quartic = output_transform(base.nonlinearity, base.sigma, 4)
            second = score_moment(x, y, quadratic, base.method).tensor
            fourth = score_moment(x, y, quartic, base.method).tensor
            eye = torch.eye(base.d, dtype=x.dtype)
            descent, ridge = (
                descend(replace(base, delta=delta), second, fourth, eye, truth)
                for delta in (0.0, spec.delta)
            )
            ways = stream("directions", base.seed)
            escape, e = steepest_escape(second, fourth, base.mu, base.lam, ways)
            span = torch.linalg.qr(truth.T).Q
            kept = whiten(second, base.k).basis
            stayed = descent.parameters[0][~descent.diverged]
            late = [regressor_error_of(dual_basis(a @ kept @ kept.T), truth) for a in stayed]
            rows.append(
                [
                    float(projected.errors[-1].median()),
                    float(descent.observed[-1].median()),
                    float(ridge.observed[-1].median()),
                    float(torch.tensor(late).median()) if late else float("nan"),
                    projected.proof.margin,
                    float(descent.diverged.double().mean()),
                    escape,
                    float((e - span @ (span.T @ e)).norm()),
                ]
            )
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
