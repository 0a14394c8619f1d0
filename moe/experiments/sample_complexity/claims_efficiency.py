"""What chapter 9 claims of maximum likelihood: its errors beside the bound, and its intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moe.experiments.common.claims import Finding, over_clusters
from moe.experiments.sample_complexity.efficiency import Record


def at_the_bound(records: Sequence[Record], name: str, slack: float = 0.1) -> Finding:
    """The mean squared error, over all records, is within ``slack`` of its bound; no record's own
    interval says otherwise. Unknown where the interval is wider than that."""
    mean, (low, high) = over_clusters(_by_set(records, name))
    meet = all(record.mean(name).meets(1 - slack, 1 + slack) for record in records)
    inside = 1 - slack <= low and high <= 1 + slack
    small = high - low > 2 * slack and low <= 1 + slack and high >= 1 - slack
    return Finding(None if small else meet and inside, mean, (low, high))


def covers(records: Sequence[Record], name: str) -> Finding:
    """The 95 % intervals contain 93 to 97 per cent of the parameters, in the mean over all records.
    Fewer than twenty data sets may be too few to say otherwise."""
    sets = _by_set(records, f"covered_{name}")
    mean, (low, high) = over_clusters(sets)
    inside = 0.93 <= mean <= 0.97
    few = not inside and len(sets) < 20 and low <= 0.97 and high >= 0.93
    return Finding(None if few else inside, mean, (low, high))


def above_the_bound(records: Sequence[Record], name: str, most: float = 1.35) -> Finding:
    """The mean squared error lies above its bound at every level of noise, by less than ``most``,
    and over all levels with the whole of its interval, which draws data sets."""
    mean, (low, high) = over_clusters(_by_set(records, name))
    each = [record.mean(name).value for record in records]
    return Finding(low > 1 and all(1 < value < most for value in each), mean, (low, high))


def _by_set(records: Sequence[Record], name: str) -> list[list[float]]:
    """The values of each data set, those of levels of noise that share its seed together."""
    columns = [record.each(name).tolist() for record in records]
    rows = [[c[i] for c in columns if i < len(c)] for i in range(max(map(len, columns)))]
    kept = [[value for value in row if not math.isnan(value)] for row in rows]
    return [row for row in kept if row]
