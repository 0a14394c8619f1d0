"""Ends of EM bred with one another, in two populations that must come to the same answer."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from moe.metrics import regressor_error_of
from moe.model.mixture import random_rows
from moe.model.nonlinearity import Nonlinearity
from moe.solvers.em import EMResult, expectation_maximisation

POPULATION, CHILDREN = 12, 6
NEAR, KEEP = 0.15, 0.5
_SAME = 0.02
_SINGLE = 1e9
_FAIR, _STRANGERS = 96, 8


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether regressors (k, d) are the same up to order, sign and length: 1 - |cos| < 0.02."""
    return regressor_error_of(one, other) < _SAME


def joined(results: list[EMResult]) -> EMResult:
    """The starts of all results as the starts of one, best first, without their traces; their
    passes added up."""
    log_likelihood = torch.cat([result.log_likelihood for result in results])
    order = log_likelihood.argsort(descending=True, stable=True)
    return EMResult(
        torch.cat([result.regressors for result in results])[order],
        torch.cat([result.gating for result in results])[order],
        torch.cat([result.sigma for result in results])[order],
        log_likelihood[order],
        torch.cat([result.iterations for result in results])[order],
        torch.cat([result.converged for result in results])[order],
        torch.cat([result.trace[-1] for result in results])[order][None],
        sum(result.passes for result in results),
    )


def recombine(
    x: Tensor,
    y: Tensor,
    k: int,
    nonlinearity: Nonlinearity,
    generator: torch.Generator,
    ends: EMResult,
    *,
    starts: int,
    patience: int = 0,
    iterations: int = 60,
    tolerance: float = 1.0,
) -> EMResult:
    """Two populations of ends of EM, bred apart until their best ends agree; these, better first.

    A wrong end has some of its experts right, and which ones differs from end to end. Where two
    ends share an expert it is probably right, since wrong experts are many. So a child of two ends
    keeps what they share (``offspring``), draws the rest anew, and runs EM, which has fewer
    experts left to find. The 12 highest likelihoods of a population survive; 6 children a
    generation. (Derived, in the manner of genetic EM: Pernkopf and Bouchaffra 2005; book, chapter
    8.)

    Relatives may agree on what is wrong. The two populations never mix, so if their best ends agree
    (``agree``) that is evidence as good as that of two independent starts. Breeding ends when they
    have agreed for ``patience`` further generations, or when ``starts`` starts are spent; or when
    after 96 starts the best ends share less than an eighth of their experts (``shared``), as at
    k = 12 with four samples a weight: there 288 starts led nowhere either.

    x (n, d), y (n,); each expert has its own sigma and the weights are equal, as in
    ``restarts.race``, whose ``ends`` are dealt out to the populations.
    """
    spread = y.std()
    size = max(1, min(POPULATION, starts // 2))
    rows, sigma = (
        random_rows(2 * size, k, x.shape[1], generator, x.dtype),
        spread.expand(2 * size, k),
    )
    born = anneal(x, y, rows, sigma, nonlinearity, iterations, tolerance)
    populations = [joined([ends[i::2], born[i::2]])[:POPULATION] for i in (0, 1)]
    spent, settled, passes = 2 * size, 0, ends.passes + born.passes
    while spent + 2 * CHILDREN <= starts:
        leaders = [each.regressors[0] for each in populations]
        settled = settled + 1 if agree(*leaders) else 0
        hopeless = spent >= _FAIR and k > _STRANGERS * int(shared(*leaders).sum())
        if settled > patience or hopeless:
            break
        spent += 2 * CHILDREN
        litters = [offspring(each, CHILDREN, spread, generator) for each in populations]
        rows, sigma = (torch.cat(parts) for parts in zip(*litters, strict=True))
        grown = anneal(x, y, rows, sigma, nonlinearity, iterations, tolerance)
        passes += grown.passes
        halves = grown[:CHILDREN], grown[CHILDREN:]
        populations = [
            joined([each, half])[:POPULATION]
            for each, half in zip(populations, halves, strict=True)
        ]
    return replace(joined([each[:1] for each in populations]), passes=passes)


def anneal(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    sigma: Tensor,
    nonlinearity: Nonlinearity,
    iterations: int,
    tolerance: float,
) -> EMResult:
    """EM from regressors (S, k, d) in which each expert has its own sigma (S, k); equal weights.

    In single precision where the samples allow it (``_single``), which halves the cost: the prior
    of the sigma_i keeps them above a thousandth of y's spread, four digits above rounding, and
    what is compared here is compared by a nat. Ends come back in the precision of x.
    """
    parts = (x, y, regressors, sigma)
    start, level = regressors, sigma
    if x.dtype == torch.float64 and _single(x, y):
        x, y, start, level = (part.float() for part in parts)
    fit = expectation_maximisation(
        x,
        y,
        start,
        torch.zeros_like(start),
        level,
        nonlinearity,
        learn=("regressors", "sigmas"),
        iterations=iterations,
        tolerance=tolerance,
    )
    return fit.to(parts[0].dtype)


def _single(x: Tensor, y: Tensor) -> bool:
    """Whether squares of the samples are normal numbers in single precision, with y's spread well
    above its rounding."""
    spread = float(y.std())
    small = max(float(x.abs().max()), float(y.abs().max()), 1 / spread) < _SINGLE
    return small and float(y.square().mean().sqrt()) < 100 * spread


def shared(rows: Tensor, others: Tensor) -> Tensor:
    """(..., k): which of the experts (..., k, d) the others have, within 0.15 of their length."""
    return torch.cdist(rows, others).amin(-1) < NEAR * rows.norm(dim=-1)


def offspring(
    ends: EMResult, count: int, spread: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Regressors (count, k, d) and sigmas (count, k) where children of ``ends``, best first, begin.

    Two ends are drawn, the better the likelier: rank floor(S u^2), u uniform. Of the better one
    the child keeps each expert that the other has too (within 0.15 of its length), and with
    probability one half each of its sharper half. All other rows are random, with the spread of
    y. Twins, which share everything, have a child that is random throughout.
    """
    size, k, d = ends.regressors.shape
    draws = torch.rand(count, 2, generator=generator, dtype=spread.dtype).square()
    first, second = (draws[:, 0] * size).long(), (draws[:, 1] * (size - 1)).long()
    second = second + (second >= first).long()
    better, worse = torch.minimum(first, second), torch.maximum(first, second)
    rows, sigma = ends.regressors[better], ends.sigma[better]
    common = shared(rows, ends.regressors[worse])
    lucky = torch.rand(count, k, generator=generator, dtype=spread.dtype) < KEEP
    sharp = sigma <= sigma.median(1, keepdim=True).values
    kept = (common | (sharp & lucky)) & ~common.all(1, keepdim=True)
    fresh = random_rows(count, k, d, generator, rows.dtype)
    return torch.where(kept[..., None], rows, fresh), torch.where(kept, sigma, spread)
