"""What chapter 9 claims of L_4: laws of errors, the edge of success, savings, powers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding
from moe.experiments.common.error_law import ErrorLaw
from moe.experiments.common.scaling import (
    Estimate,
    bootstrap,
    crossing,
    ratio_to_reach,
    samples_to_reach,
    slope,
)
from moe.experiments.sample_complexity.errors import GOAL, Cell, limit_laws, predicted
from moe.randomness import stream

_RARE = 0.001  # a claim that a law governs some cells is dropped where one is as unlikely as that


def span(values: Sequence[float] | Tensor, digits: int = 3) -> str:
    """The smallest to the largest, in words."""
    numbers = [float(v) for v in values]
    return f"{min(numbers):.{digits}g} to {max(numbers):.{digits}g}"


def relative(cell: Cell, method: str) -> Tensor:
    """n times the median error over the median of the limit law, (sizes,)."""
    return cell.sizes(method) * cell.median(method) / predicted(cell.spec)[method]


def reach(cell: Cell, method: str) -> Estimate:
    """The n from which on the median error stays below 0.05."""
    return samples_to_reach(cell.sizes(method), cell.errors[method], GOAL)


def saving(cell: Cell, method: str) -> Estimate:
    """How many times more samples plain moments need for that; data sets are paired."""
    n = cell.sizes("average"), cell.sizes(method)
    return ratio_to_reach(n, (cell.errors["average"], cell.errors[method]), GOAL)


def slope_of(cell: Cell, method: str) -> Estimate:
    """Of log median error on log n, over the sizes from 3,000 on."""
    sizes = cell.sizes(method)
    return slope(sizes[sizes >= 3_000], cell.errors[method][sizes >= 3_000])


def early(cell: Cell, method: str) -> float:
    """The geometric mean of `relative` over the sizes from 1,000 to 3,000."""
    sizes = cell.sizes(method)
    chosen = (sizes >= 1_000) & (sizes <= 3_000)
    return float(relative(cell, method)[chosen].log().mean().exp())


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
    has their growth from the one to the other: within four standard errors. Unknown where one of
    these is above a tenth.
    """
    means = [one.mean(1) for one in angles]  # over experts, which share a data set
    expected = [float(law.squared_angles.mean()) for law in laws]
    seen = [float(mean.mean()) for mean in means]
    wrong = [float(mean.std()) / len(mean) ** 0.5 for mean in means]
    rows = list(zip(seen, expected, wrong, strict=True))
    rows.append((seen[1] - seen[0], expected[1] - expected[0], math.hypot(*wrong)))
    right = all(abs(s - e) < 4 * w for s, e, w in rows)
    loose = any(w > 0.1 * e for _, e, w in rows)
    words = f"{span([s / e for s, e, _ in rows])} of the law"
    return Finding(None if right and loose else right, words)


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
            at, law = reach(cell, method), predicted(cell.spec)[method] / GOAL
            found.append(Estimate(at.value / law, at.low / law, at.high / law))
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


def powers(cells: Sequence[Cell], method: str) -> tuple[float, Estimate | None]:
    """The power of k in n E_reg over the cells whose law is known: of the law, and as measured at
    the largest n, where the cells have the method."""
    known = [cell for cell in cells if method in predicted(cell.spec)]
    k = torch.tensor([float(cell.spec.k) for cell in known])
    law = torch.tensor([[predicted(cell.spec)[method]] for cell in known], dtype=torch.float64)
    tried = [cell.errors[method][-1] for cell in known if method in cell.errors]
    return slope(k, law).value, slope(k, torch.stack(tried)) if tried else None


def powers_agree(cells: Sequence[Cell], methods: Sequence[str]) -> Finding:
    """The measured powers of k are the laws', within 0.15 and as far as their intervals tell."""
    pairs = [powers(cells, method) for method in methods]
    agree = all(m is not None and m.meets(law - 0.15, law + 0.15) for law, m in pairs)
    return Finding(agree, span([law for law, _ in pairs]))


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
