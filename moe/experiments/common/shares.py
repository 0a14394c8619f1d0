"""How often something succeeded, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Share:
    """successes out of trials; units: how many of them are independent (None: all).

    Runs on one data set share its luck. With the data sets as units the interval is what it would
    be if the runs on a data set all ended alike: never too short.
    """

    successes: int
    trials: int
    units: int | None = None

    def __str__(self) -> str:
        return f"{self.successes} of {self.trials}"

    @property
    def value(self) -> float:
        return self.successes / self.trials

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's interval for the probability of success, of successes * units / trials in
        ``units`` trials (which need not be whole: ``scipy.stats.binomtest`` takes no others)."""
        z = NormalDist().inv_cdf((1 + level) / 2)
        n, p = self.units or self.trials, self.value
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5 / (1 + z**2 / n)
        low, high = centre - half, centre + half  # at 0 and 1 exact but for rounding
        return low if self.successes else 0.0, high if p < 1 else 1.0
