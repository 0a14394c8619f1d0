"""What chapter 9 claims: laws of errors, the edge of success, savings, onsets, efficiency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding, over_clusters
from moe.experiments.common.error_law import ErrorLaw
from moe.experiments.common.scaling import Estimate, bootstrap, crossing, samples_to_reach, slope
from moe.experiments.sample_complexity.efficiency import Record
from moe.experiments.sample_complexity.errors import Cell, limit_laws, predicted
from moe.experiments.sample_complexity.onset import Onset
from moe.randomness import stream

GOAL = 0.05
_RARE = 0.001  # a claim that a law governs some cells is dropped where one is as unlikely as that


def span(values: Sequence[float] | Tensor, digits: int = 3) -> str:
    """The smallest to the largest, in words."""
    numbers = [float(v) for v in values]
    return f"{min(numbers):.{digits}g} to {max(numbers):.{digits}g}"


def relative(cell: Cell, method: str) -> Tensor:
    """n times the median error over the median of the limit law, (sizes,)."""
    return cell.sizes(method) * cell.median(method) / predicted(cell.spec)[method]


def range_of_medians(cell: Cell, method: str, tail: float = _RARE) -> tuple[float, float]:
    """Where the law puts the last entry of `relative` for so many data sets, but for ``tail``."""
    spec, sets = cell.spec, cell.errors[method].shape[1]
    law = limit_laws(spec.k, spec.sigma, spec.gate_norm, spec.nonlinearity)[method]
    draws = law.in_dimension(spec.d).worst(8_000 * sets)
    medians = draws.view(-1, sets).quantile(0.5, dim=1) / draws.median()
    low, high = medians.quantile(medians.new_tensor([tail / 2, 1 - tail / 2]))
    return float(low), float(high)


def heights(cells: Sequence[Cell]) -> Finding:
    """At the largest n the median error of L_4 is the law's, as closely as medians of so few data
    sets can tell."""
    ratios, inside = [], []
    for cell in cells:
        for method in cell.spec.methods:
            low, high = range_of_medians(cell, method)
            ratios.append(float(relative(cell, method)[-1]))
            inside.append(low <= ratios[-1] <= high)
    return Finding(all(inside), f"{span(ratios)} of the law in {len(ratios)} cells")


def as_simulated(angles: Sequence[Tensor], laws: Sequence[ErrorLaw]) -> Finding:
    """Simulated n theta^2, (repeats, k) for each of two dimensions, have the laws' means, and so
    has their growth from the one to the other: within four standard errors, none above a tenth.
    """
    means = [one.mean(1) for one in angles]  # over experts, which share a data set
    expected = [float(law.squared_angles.mean()) for law in laws]
    seen = [float(mean.mean()) for mean in means]
    wrong = [float(mean.std()) / len(mean) ** 0.5 for mean in means]
    rows = list(zip(seen, expected, wrong, strict=True))
    rows.append((seen[1] - seen[0], expected[1] - expected[0], math.hypot(*wrong)))
    right = all(abs(s - e) < 4 * w and w < 0.1 * e for s, e, w in rows)
    return Finding(right, f"{span([s / e for s, e, _ in rows])} of the law")


def last_slopes(cells: Sequence[Cell], sizes: int = 3) -> Finding:
    """The mean slope of log median error against log n over the last ``sizes`` sizes is -1: it is
    within 0.12 of it, or its interval is no wider than 0.3 and contains it. A wider one cannot
    tell."""
    parts = [
        (c.sizes(m)[-sizes:].log(), c.errors[m][-sizes:]) for c in cells for m in c.spec.methods
    ]

    def statistic(index: Tensor) -> Tensor:
        found = []
        for logs, errors in parts:
            centred = logs - logs.mean()
            medians = errors[:, index].quantile(0.5, dim=-1).log()
            found.append(centred @ medians / centred.square().sum())
        return torch.stack(found).mean(0)

    mean = bootstrap(statistic, parts[0][1].shape[1])
    meets = mean.meets(-1.0, -1.0)
    near = abs(mean.value + 1) < 0.12
    wide = meets and not near and mean.high - mean.low > 0.3
    return Finding(None if wide else near or meets, mean.value, (mean.low, mean.high))


def grows_like_d(cells: Sequence[Cell], method: str) -> Finding:
    """The power of d in the number of samples to E_reg = 0.05 is one, within a quarter."""
    logs = torch.tensor([float(c.spec.d) for c in cells], dtype=torch.float64).log()
    weights = (logs - logs.mean()) / (logs - logs.mean()).square().sum()

    def statistic(index: Tensor) -> Tensor:
        medians = [c.errors[method][:, index].quantile(0.5, dim=-1) for c in cells]
        reach = [crossing(c.sizes(method), m, GOAL) for c, m in zip(cells, medians, strict=True)]
        return weights @ torch.stack(reach).log()

    found = bootstrap(statistic, cells[0].errors[method].shape[1])
    return Finding(abs(found.value - 1) <= 0.25, found.value, (found.low, found.high))


def affine_over_power(cells: Sequence[Cell], method: str) -> Estimate:
    """By how much n E_reg at the last two sizes is better described by the law, which is affine in
    d, than by the best power of d: the difference of the mean squared log residuals."""
    logs = torch.tensor([float(c.spec.d) for c in cells], dtype=torch.float64).log()
    design = torch.stack([torch.ones_like(logs), logs], 1)
    fit = design @ torch.linalg.pinv(design)
    law = torch.tensor([predicted(c.spec)[method] for c in cells], dtype=torch.float64).log()
    scaled = torch.stack([c.sizes(method)[-2:, None] * c.errors[method][-2:] for c in cells])

    def statistic(index: Tensor) -> Tensor:
        seen = scaled[:, :, index].quantile(0.5, dim=-1).log().mean(1)
        power, affine = seen - fit @ seen, seen - law[:, None]
        return power.square().mean(0) - affine.square().mean(0)

    return bootstrap(statistic, scaled.shape[2])


def edges(cells: Sequence[Cell], methods: Sequence[str]) -> list[Estimate]:
    """The n at which the median error passes 0.05, over the n at which the law's does."""
    found = []
    for cell in cells:
        for method in methods:
            reach = samples_to_reach(cell.sizes(method), cell.errors[method], GOAL)
            law = predicted(cell.spec)[method] / GOAL
            found.append(Estimate(reach.value / law, reach.low / law, reach.high / law))
    return found


def edge_at_law(cells: Sequence[Cell], methods: Sequence[str]) -> Finding:
    """The edge lies within a factor of 1.4 of the law's. Unknown for fewer than nine data sets."""
    ratios = [edge.value for edge in edges(cells, methods)]
    words = f"{span(ratios)} of the law's $n$"
    if cells[0].errors[methods[0]].shape[1] < 9:
        return Finding(None, words)
    return Finding(all(1 / 1.4 <= ratio <= 1.4 for ratio in ratios), words)


def edge_before_law(cells: Sequence[Cell], methods: Sequence[str]) -> Finding:
    """The edge lies below the law's n, within a factor of five, as far as intervals tell."""
    found = edges(cells, methods)
    below = all(edge.low < 1 and edge.high > 0.2 for edge in found)
    middle = math.exp(sum(math.log(edge.value) for edge in found) / len(found))
    return Finding(
        below and middle < 0.8, f"{span([edge.value for edge in found])} of the law's $n$"
    )


def powers(cells: Sequence[Cell], method: str) -> tuple[float, Estimate]:
    """The power of k in n E_reg over the cells whose law is known: of the law, and as measured at
    the largest n."""
    known = [cell for cell in cells if method in predicted(cell.spec)]
    k = torch.tensor([float(cell.spec.k) for cell in known])
    law = torch.tensor([[predicted(cell.spec)[method]] for cell in known], dtype=torch.float64)
    return slope(k, law).value, slope(k, torch.stack([c.errors[method][-1] for c in known]))


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
    columns = [record.values[name].tolist() for record in records]
    rows = [[c[i] for c in columns if i < len(c)] for i in range(max(map(len, columns)))]
    kept = [[value for value in row if not math.isnan(value)] for row in rows]
    return [row for row in kept if row]


def coverage_of_medians(sets: int, cases: int = 1_000) -> float:
    """How often `bootstrap`'s interval from so many data sets holds the median, by simulation.

    The errors are uniform; a median and its bootstrap commute with rising functions, so that other
    distributions give the same, up to the average of the two middle values of an even number.
    """
    errors = torch.rand(cases, sets, generator=stream("errors"), dtype=torch.float64)
    held = 0
    for index, case in enumerate(errors):
        found = bootstrap(lambda i, e=case: e[i].quantile(0.5, dim=1), sets, seed=index)  # type: ignore[misc]
        held += found.meets(0.5, 0.5)
    return held / cases
