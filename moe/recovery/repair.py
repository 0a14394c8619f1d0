"""Ends of EM, each mended alone: experts that found nothing are drawn again, sharp ones stay."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from moe.model.mixture import random_rows
from moe.model.nonlinearity import Nonlinearity
from moe.recovery.recombination import anneal, joined
from moe.solvers.em import EMResult

LITTER, SMALL = 4, 0.15
_BROAD, _LEAST, _LAST = 2.0, 15, 20


def repaired(
    x: Tensor,
    y: Tensor,
    nonlinearity: Nonlinearity,
    generator: torch.Generator,
    ends: EMResult,
    *,
    iterations: int = 60,
    tolerance: float = 1.0,
) -> EMResult:
    """Of each of S ends the best among itself and four children of its own; S ends, best first.

    Where samples are many, a start of EM that ends wrong has most experts right, and these are
    sharp, while a truth has two of them and what is left goes to a broad one. So a child keeps the
    sharp ones and draws the broad ones and a twin again (``redrawn``). An end has no other parent
    than itself: ends that were independent of each other still are. (Derived.)

    x (n, d), y (n,); ends as ``recombination.anneal`` gives them, sigma (S, k).
    """
    count = len(ends.regressors)
    rows, sigma = redrawn(ends, LITTER, y.std(), generator)
    n = enough(ends.sigma, y, x.shape[1])
    grown = anneal(x[:n], y[:n], rows, sigma, nonlinearity, iterations, tolerance)
    best = grown.log_likelihood.view(count, LITTER).argmax(1) + LITTER * torch.arange(count)
    last = grown[best]
    passes = ends.passes + round(grown.passes * n / len(y))
    if n < len(y):
        last = anneal(x, y, last.regressors, last.sigma, nonlinearity, _LAST, tolerance)
        passes += last.passes
    lines = [joined([ends[[s]], last[[s]]])[:1] for s in range(count)]
    return replace(joined(lines), passes=passes)


def enough(sigma: Tensor, y: Tensor, d: int) -> int:
    """How many of the samples y (n,) EM needs next, with experts' own noise levels sigma (S, k).

    A sharp expert, with a sigma of at most 0.15 of y's spread, knows its samples and leaves the
    rest to the others, which have the fewer rivals: so n falls with the share of experts that are
    not sharp yet, down to 15 samples a weight.
    """
    k, n = sigma.shape[1], len(y)
    broad = int((sigma > SMALL * y.std()).sum(1).max())
    return min(n, max(_LEAST * k * d, n * broad // k))


def redrawn(
    ends: EMResult, count: int, spread: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Regressors (S count, k, d) and sigmas (S count, k) where ``count`` children of every end
    begin. Random, with the spread of y, are experts whose sigma is more than twice the least one
    of that end, and the broader of the two experts nearest to each other, for where one truth has
    two experts another has none; all experts where no sigma is that large."""
    own, level = ends.regressors, ends.sigma
    starts, k, d = own.shape
    broad = level > _BROAD * level.amin(1, keepdim=True)
    if k > 1:
        apart = torch.cdist(own, own)
        apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        pair = apart.flatten(1).argmin(1)
        pair = torch.stack([pair // k, pair % k], 1)
        spare = pair.gather(1, level.gather(1, pair).argmax(1, keepdim=True))
        broad = (broad | torch.zeros_like(broad).scatter_(1, spare, True)) & broad.any(1)[:, None]
    broad = (broad | ~broad.any(1, keepdim=True)).repeat_interleave(count, 0)
    rows, sigma = (part.repeat_interleave(count, 0) for part in (own, level))
    fresh = random_rows(starts * count, k, d, generator, own.dtype)
    return torch.where(broad[..., None], fresh, rows), torch.where(broad, spread, sigma)
