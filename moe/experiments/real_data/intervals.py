"""Means over repeated splits of one data set, whose training parts overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t


@dataclass(frozen=True)
class Resampled:
    """The mean over J random splits, its corrected standard error and 95 % interval.

    Splits of one data set are not independent: their training parts share most samples. The usual
    s^2 / J is then too small. Nadeau and Bengio (2003) put (1/J + n_2/n_1) s^2 in its place, n_1
    samples to fit, n_2 held out, and Student's t with J - 1 degrees of freedom: a rule of thumb
    (no unbiased estimate of that variance exists; Bengio, Grandvalet 2004).
    """

    mean: float
    error: float
    interval: tuple[float, float]
    splits: int

    @property
    def above(self) -> bool:
        """Whether the interval lies above zero."""
        return self.interval[0] > 0

    @property
    def below(self) -> bool:
        """Whether it lies below zero."""
        return self.interval[1] < 0


def resampled(values: Sequence[float], held_out: float = 0.2, level: float = 0.95) -> Resampled:
    """Of one value a split; held_out: n_2 / (n_1 + n_2). Raises ValueError for fewer than two.

    With 0 there is no correction: for a sentence about this data set alone, given which splits are
    independent draws.
    """
    seen = np.asarray(values, dtype=np.float64)
    if len(seen) < 2:
        raise ValueError(f"values: expected two splits or more, got {len(seen)}")
    mean, variance = float(seen.mean()), float(seen.var(ddof=1))
    error = math.sqrt((1 / len(seen) + held_out / (1 - held_out)) * variance)
    half = float(t.ppf((1 + level) / 2, len(seen) - 1)) * error
    return Resampled(mean, error, (mean - half, mean + half), len(seen))
