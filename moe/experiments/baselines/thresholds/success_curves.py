"""Success against the number of samples: a logistic curve in log n, where it crosses 1/2 and 95 %.

The curve is P(success) = 1 / (1 + exp(-b (log n - log n50))), so log n95 = log n50 + log(19) / b.
Its two parameters get a grid: log n50 flat, b flat in log b. That gives an answer where all small
sizes fail and all large ones succeed too, where the likelihood alone has b infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.problems import Setting
from moe.randomness import stream

DRAWS = 400
_STEEPNESS = torch.logspace(math.log10(0.7), math.log10(14.0), 14, dtype=torch.float64)
_STEP, _MARGIN = 0.05, 2.5
LEVELS = (0.5, 0.95)


@dataclass(frozen=True, eq=False)
class Draws:
    """The logarithm of a size, or a linear combination of such: an estimate, and two ways to draw
    it anew, (DRAWS,) each: over data sets, and from the posterior of independent runs."""

    log: float
    resampled: Tensor
    posterior: Tensor

    @property
    def value(self) -> float:
        return math.exp(self.log)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """What covers both ways' intervals. Where no small size succeeds and no large one fails the
        data sets alone say nothing about what lies between, and where data sets recur at several
        sizes the posterior alone is too sure."""
        both = torch.stack([self.resampled, self.posterior])
        tail = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=both.dtype)
        low, high = torch.quantile(both, tail, dim=1).exp()
        return min(self.value, float(low.min())), max(self.value, float(high.max()))

    def __sub__(self, other: Draws) -> Draws:
        """Of the quotient of two sizes."""
        return combined([1.0, -1.0], [self, other])


def combined(weights: Sequence[float], several: Sequence[Draws]) -> Draws:
    """Of the product of sizes to the powers ``weights``."""
    return Draws(
        sum(w * one.log for w, one in zip(weights, several, strict=True)),
        sum_of(weights, [one.resampled for one in several]),
        sum_of(weights, [one.posterior for one in several]),
    )


def sum_of(weights: Sequence[float], several: Sequence[Tensor]) -> Tensor:
    return torch.stack([w * one for w, one in zip(weights, several, strict=True)]).sum(0)


class Posterior:
    """Of the curve, given outcomes: sizes n, data sets (numbers below ``pool``), success or not."""

    def __init__(self, sizes: Sequence[int], runs: Sequence[int], won: Sequence[bool]) -> None:
        self._sizes = sorted(set(sizes))
        self._cell = torch.tensor([self._sizes.index(n) for n in sizes])
        self._runs, self._won = torch.tensor(runs), torch.tensor(won, dtype=torch.float64)
        logs = torch.tensor(self._sizes, dtype=torch.float64).log()
        middle = torch.arange(float(logs[0]) - _MARGIN, float(logs[-1]) + _MARGIN, _STEP)
        self._middle = middle.double()[:, None].expand(-1, len(_STEEPNESS))
        margin = _STEEPNESS[:, None] * (logs - self._middle[..., None])
        self._up = torch.nn.functional.logsigmoid(margin).flatten(0, 1)
        self._down = torch.nn.functional.logsigmoid(-margin).flatten(0, 1)

    def _cells(self, weights: Tensor) -> Tensor:
        """Posterior weights (B, cells) where data set r counts weights[:, r] times."""
        each = weights[:, self._runs]
        table = torch.zeros(len(weights), len(self._sizes), dtype=torch.float64)
        won = table.index_add(1, self._cell, each * self._won)
        lost = table.index_add(1, self._cell, each * (1 - self._won))
        return torch.softmax(won @ self._up.T + lost @ self._down.T, 1)

    def _values(self, level: float) -> Tensor:
        """log of the size at which success has probability ``level``, by cell."""
        return (self._middle + math.log(level / (1 - level)) / _STEEPNESS).flatten()

    def quantiles(self, level: float, wanted: Sequence[float]) -> list[float]:
        """Of the size at which success has probability ``level``; runs as if independent."""
        weights = torch.ones(1, int(self._runs.max()) + 1, dtype=torch.float64)
        values, cells = self._values(level), self._cells(weights)
        return [math.exp(float(_quantile(cells, values, q))) for q in wanted]

    def success(self, n: float) -> float:
        """Probability of success at n, the posterior's mean."""
        weights = torch.ones(1, int(self._runs.max()) + 1, dtype=torch.float64)
        curve = torch.sigmoid(_STEEPNESS * (math.log(n) - self._middle)).flatten()
        return float((self._cells(weights) @ curve)[0])

    def draws(self, level: float, pool: int, seed: int) -> Draws:
        """Data sets are weighed by independent exponential variables (the Bayesian bootstrap), the
        same for every curve, so that quotients of sizes are those of the same data sets."""
        values = self._values(level)
        generator = stream("resampling", 0, pool)
        anew = torch.rand(DRAWS, pool, generator=generator, dtype=torch.float64).log().neg()
        anew = anew / anew.mean(1, keepdim=True)
        plain = self._cells(torch.ones(1, pool, dtype=torch.float64))
        picks = torch.multinomial(plain[0], DRAWS, True, generator=stream("posterior", seed))
        jitter = torch.rand(DRAWS, generator=stream("jitter", seed), dtype=torch.float64) - 0.5
        return Draws(
            float(_quantile(plain, values, 0.5)),
            _quantile(self._cells(anew), values, 0.5),
            values[picks] + _STEP * jitter,
        )


def _quantile(weights: Tensor, values: Tensor, q: float) -> Tensor:
    """Quantile (B,) of the values (C,) under weights (B, C)."""
    order = values.argsort()
    below = weights[:, order].cumsum(1)
    index = (below < q).sum(1).clamp_max(len(values) - 1)
    return values[order][index]


def over_of(settings: Sequence[Setting]) -> str:
    """What a line of curves goes over: d where that differs and k does not, else k."""
    crowds, sizes = ({getattr(one, name) for one in settings} for name in ("k", "d"))
    return "d" if len(crowds) == 1 < len(sizes) else "k"
