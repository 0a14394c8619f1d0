"""What chapter 9 claims of `recover`: where it begins to succeed, and what fails before that."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from moe.experiments.common.claims import Finding, over_clusters
from moe.experiments.common.scaling import bootstrap
from moe.experiments.sample_complexity.errors import GOAL
from moe.experiments.sample_complexity.onset import Onset


def jump(onsets: Sequence[Onset]) -> Finding:
    """From the largest size that is not enough to the next one tried, which is, the median error
    falls tenfold at least; the sizes are neighbours on the grid."""
    pairs = [
        (fail.error, win.error)
        for onset in onsets
        for tries in onset.tries
        for fail, win in pairwise(tries)
        if win.success and not fail.success
    ]
    if len(pairs) < 5:
        return Finding(None)
    before, after = torch.tensor(pairs, dtype=torch.float64).quantile(0.5, dim=0).tolist()
    return Finding(before > 10 * after, f"from {before:.2g} to {after:.2g}")


def spread(onsets: Sequence[Onset]) -> Finding:
    """Of one mixture, all data sets begin to succeed within a factor of two in n."""
    ratios = [float(onset.first.max() / onset.first.min()) for onset in onsets]
    return Finding(max(ratios) <= 2, f"a factor of {max(ratios):.2g} at most")


def search_fails(onsets: Sequence[Onset]) -> Finding:
    """Where `recover` fails, EM from the truth is right, with a likelihood higher by a nat or more:
    in more than half of the failures. Runs on the same seed are one cluster; fewer than six of
    them are too few to say so."""
    by_seed: list[list[bool]] = [[] for _ in onsets[0].tries]
    for onset in onsets:
        for outcomes, tries in zip(by_seed, onset.tries, strict=True):
            outcomes += [t.oracle < GOAL and t.ahead > 1 for t in tries if not t.success]
    seen = [outcomes for outcomes in by_seed if outcomes]
    if not seen:
        return Finding(None)
    value, interval = over_clusters(seen)
    tell = len(seen) >= 6 or interval[1] < 0.5
    return Finding(interval[0] > 0.5 if tell else None, value, interval)


def more_starts_need_less(few: Onset, many: Onset) -> Finding:
    """On the same data sets, more starts lower the size that is enough for some, for no more than
    half, and raise it for fewer than half as many; the value counts them."""
    less, more = int((many.first < few.first).sum()), int((many.first > few.first).sum())
    sets = len(few.tries)
    if sets < 6:
        return Finding(None)
    return Finding(2 * more < less <= sets / 2, f"fewer on {less} of {sets}, more on {more}")


def multiple_grows(onsets: Sequence[Onset]) -> Finding:
    """The samples a parameter that are enough rise from the first of the list to its last, in the
    geometric mean over data sets with the whole of its interval, which draws both lists of data
    sets anew; in between the means fall nowhere by more than 5 per cent. The value has the means.
    A data set for which no size is enough counts as the next step of the grid. A rise that fewer
    than nine data sets cannot tell from none decides nothing."""
    logs = []
    for onset in onsets:
        sizes = onset.spec.sizes
        beyond = sizes[-1] ** 2 / sizes[-2]
        logs.append((onset.first.clamp_max(beyond) / onset.spec.parameters).log())
    first, last = logs[0], logs[-1]
    sets = min(len(first), len(last))
    gain = bootstrap(lambda i: last[i].mean(1) - first[i.flip(0)].mean(1), sets)
    multiples = [float(part.mean().exp()) for part in logs]
    rising = all(b >= 0.95 * a for a, b in pairwise(multiples))
    few = rising and gain.low <= 0 < gain.value and sets < 9
    holds = None if few else rising and gain.low > 0
    return Finding(holds, ", ".join(f"{multiple:.3g}" for multiple in multiples))
