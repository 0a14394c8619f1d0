"""Power laws and sample sizes read off error curves, with intervals over the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.randomness import stream

_LEVEL, _DRAWS = 0.95, 400


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95 % bootstrap interval over the seeds."""

    value: float
    low: float
    high: float

    def meets(self, low: float, high: float) -> bool:
        """Whether the interval and [low, high] have a point in common."""
        return self.low <= high and self.high >= low

    def show(self, digits: int = 3) -> str:
        """The value and its interval, to so many significant digits, thousands separated."""
        if not math.isfinite(self.value):
            return "not reached"
        value, low, high = (_significant(v, digits) for v in (self.value, self.low, self.high))
        return (
            f"{value} ({low} to {high})" if math.isfinite(self.high) else f"{value} ({low} or more)"
        )


def _significant(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return ""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:#.{digits}g}"


def bootstrap(
    statistic: Callable[[Tensor], Tensor], seeds: int, draws: int = _DRAWS, seed: int = 0
) -> Estimate:
    """``statistic`` of index tensors (B, seeds) -> (B,): at all seeds, and at seeds resampled.

    Seeds are resampled whole, so that errors at several n that come from one long sample, and
    methods that share it, keep their dependence.
    """
    generator = stream("resampling", seed)
    resampled = torch.randint(seeds, (draws, seeds), generator=generator)
    ends = torch.tensor([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], dtype=torch.float64)
    low, high = statistic(resampled).sort().values[(ends * (draws - 1)).round().long()].tolist()
    return Estimate(float(statistic(torch.arange(seeds)[None])), low, high)


def slope(x: Tensor, errors: Tensor) -> Estimate:
    """b in log error ~ c + b log x: least squares on the medians over seeds; errors (x, seeds)."""
    centred = x.double().log() - x.double().log().mean()

    def statistic(index: Tensor) -> Tensor:
        return centred @ _medians(errors, index).log() / centred.square().sum()

    return bootstrap(statistic, errors.shape[1])


def samples_to_reach(sizes: Tensor, errors: Tensor, goal: float = 0.05) -> Estimate:
    """The n from which on the median error stays below the goal; see `crossing`."""
    return bootstrap(lambda i: crossing(sizes, _medians(errors, i), goal), errors.shape[1])


def ratio_to_reach(
    sizes: tuple[Tensor, Tensor], errors: tuple[Tensor, Tensor], goal: float = 0.05
) -> Estimate:
    """How many times more samples the first method needs than the second; the seeds are paired."""

    def statistic(index: Tensor) -> Tensor:
        first, second = (
            crossing(n, _medians(e, index), goal) for n, e in zip(sizes, errors, strict=True)
        )
        return first / second

    return bootstrap(statistic, errors[0].shape[1])


def crossing(sizes: Tensor, medians: Tensor, goal: float) -> Tensor:
    """Where curves (n, B) cross the goal for the last time, linear in log n and log error: (B,).

    Infinite where the last size has not reached it; the first size where all have.
    """
    x, excess = sizes.double().log(), medians.log() - torch.tensor(goal).double().log()
    above = (excess > 0).double()
    last = (above * torch.arange(1, len(x) + 1)[:, None]).amax(0).long() - 1
    left, right = last.clamp_min(0), (last + 1).clamp_max(len(x) - 1)
    a, b = excess.gather(0, left[None])[0], excess.gather(0, right[None])[0]
    step = torch.where(a > b, a / (a - b), torch.zeros_like(a))
    found = (x[left] + step * (x[right] - x[left])).exp()
    found = torch.where(last < 0, sizes[0].double(), found)
    return torch.where(last == len(x) - 1, torch.inf, found)


def _medians(errors: Tensor, index: Tensor) -> Tensor:
    """Medians over resampled seeds: errors (x, seeds), index (B, seeds) -> (x, B)."""
    return errors[:, index].quantile(0.5, dim=-1)
