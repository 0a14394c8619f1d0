"""Samples as EM reads them: in chunks, with what does not change from pass to pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from moe.likelihood.grams import Grams
from moe.solvers.linear import RIDGE

_CHUNK_ENTRIES, _LEAST_ROWS = 128_000, 1_000
_CACHED_ENTRIES = 20_000_000
_FORMED_GATES = 200  # more free weights: the gates' Hessian is not formed (measured)
_PRIOR_WEIGHT, PRIOR_SHARE = 0.3, 0.01
_FLOOR = 1e-7

Columns = tuple[Tensor, Tensor]
"""Places of the columns that experts, and that gates look at."""


class Terms(TypedDict):
    """How samples count, and which columns are looked at."""

    counts: Tensor | None
    columns: Columns | None


def sigma_floor(y: Tensor) -> float:
    """The smallest common sigma that EM learns: 1e-7 of the root mean square of y (n,)."""
    largest = float(y.abs().max())
    return _FLOOR * largest * float((y / largest).square().mean().sqrt()) if largest else 0.0


class Chunk(NamedTuple):
    """Some of the samples: the columns of x and y as rows, z (d + 1, n); of them those of x (d, n);
    x itself, rows (n, d); its Gram matrices; and how often each counts, None: once."""

    z: Tensor
    x: Tensor
    rows: Tensor
    grams: Grams
    counts: Tensor | None


class Samples:
    """Samples in chunks small enough to stay in the processor's cache, with room to work in."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        starts: int,
        k: int,
        learn: Collection[str],
        hard: bool,
        counts: Tensor | None = None,
        columns: Columns | None = None,
        prior_variance: float | None = None,
    ) -> None:
        self.n = len(x) if counts is None else float(counts.sum())
        self.learn, self.hard = learn, hard
        self.masks = None if columns is None else [_mask(x, places) for places in columns]
        self.own = "sigmas" in learn
        self.moved = k if "regressors" in learn else 0
        self.free = k - 1 if "gating" in learn else 0
        self.prior_weight = _PRIOR_WEIGHT * (x.shape[1] if columns is None else len(columns[0]))
        self.least_variance = sigma_floor(y) ** 2
        if prior_variance is None:
            prior_variance = PRIOR_SHARE * _variance(y, counts)
        self.prior_variance = max(prior_variance, self.least_variance)
        squares = x.square() if counts is None else x.square() * counts[:, None]
        self.curvature = float(squares.sum()) / x.shape[1]
        self.rows = len(x)
        self.reach = float(x.abs().sum(1).max())
        keep = x.numel() * (x.shape[1] + 1) // 2 <= _CACHED_ENTRIES
        formed = keep and self.free * x.shape[1] <= _FORMED_GATES
        self.pairs = self.free * (self.free + 1) // 2 if formed else 0
        self._read = x, y, counts, starts * k, keep
        self._room: dict[str, Tensor] = {}
        self._views: dict[tuple[str, int, int, int], Tensor] = {}

    def __iter__(self) -> Iterator[Chunk]:
        yield from self._chunks

    @cached_property
    def _chunks(self) -> list[Chunk]:
        """Made where they are read first: EM of small data has samples of its own."""
        x, y, counts, weights, keep = self._read
        rows = min(len(x), max(_LEAST_ROWS, _CHUNK_ENTRIES // weights))
        times = [None] * len(x.split(rows)) if counts is None else counts.split(rows)
        return [
            Chunk(
                z := torch.cat([part, out[:, None]], dim=1).T.contiguous(),
                z[:-1],
                own := z[:-1].T.contiguous(),
                Grams(own, keep),
                c,
            )
            for part, out, c in zip(x.split(rows), y.split(rows), times, strict=True)
        ]

    @cached_property
    def factor(self) -> Tensor:
        """Cholesky factor of the Gram matrix of the inputs, (d, d); of the identity where it has
        none in finite numbers."""
        parts = [
            grams(torch.ones_like(z[:1]) if counts is None else counts[None])[0]
            for z, _, _, grams, counts in self
        ]
        gram = torch.stack(parts).sum(0)
        gram.diagonal().add_(RIDGE[gram.dtype] * gram.diagonal().mean())
        factor, failed = torch.linalg.cholesky_ex(gram)
        sound = not bool(failed) and bool(torch.isfinite(factor).all())
        return factor if sound else torch.eye(len(gram), dtype=gram.dtype)

    def log_prior(self, sigma: Tensor) -> Tensor:
        """Of noise levels (S, k), inverse gamma in the variance, up to a constant: (S,)."""
        variance = sigma.square()
        penalty = (variance.log() + self.prior_variance / variance).sum(-1)
        return -0.5 * self.prior_weight * penalty

    def room(self, name: str, like: Tensor, starts: int, rows: int) -> Tensor:
        """(starts, rows, n) to write to, ``like`` (..., n); the same place every time."""
        key = name, starts, rows, like.shape[1]
        if key not in self._views:
            size = starts * rows * like.shape[1]
            if name not in self._room or len(self._room[name]) < size:
                self._room[name] = like.new_empty(size)
            self._views[key] = self._room[name][:size].view(starts, rows, like.shape[1])
        return self._views[key]


def _variance(y: Tensor, counts: Tensor | None) -> float:
    """Of y (n,), whose samples count so often."""
    if counts is None:
        return float(y.var())
    n = counts.sum()
    return float(counts @ (y - counts @ y / n).square() / (n - 1).clamp_min(1.0))


def _mask(x: Tensor, places: Tensor) -> Tensor:
    """One for the columns of x in ``places``, zero for others, (d,)."""
    return x.new_zeros(x.shape[1]).index_fill_(0, places, 1.0)
