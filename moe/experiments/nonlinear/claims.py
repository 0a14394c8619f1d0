"""What chapter 11 claims, decided from its records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from moe.experiments.common.claims import Finding, geometric_mean, over_clusters
from moe.experiments.common.ledger import number
from moe.experiments.nonlinear.centred import METHODS
from moe.experiments.nonlinear.centred import Cell as Measured
from moe.experiments.nonlinear.least import Bound
from moe.experiments.nonlinear.noise import Curve
from moe.experiments.nonlinear.own import Told
from moe.experiments.nonlinear.recovery import Cell
from moe.experiments.nonlinear.starts import Cell as Followed
from moe.moments.centring import Costs


def never_worse(table: Mapping[str, Costs]) -> Finding:
    """The centred average errs less than the plain one for every g; the value is the range of the
    ratio of root mean square errors."""
    ratios = [(cost.centred / cost.average) ** 0.5 for cost in table.values()]
    return Finding(max(ratios) < 1, f"{min(ratios):.2f} to {max(ratios):.2f}")


def centred_wins(table: Mapping[str, Costs], names: set[str]) -> Finding:
    """The centred average errs less than least squares for exactly these g."""
    seen = {name for name, cost in table.items() if cost.centred < cost.least_squares}
    return Finding(
        seen == names, ", ".join(name.replace("_", " ") for name in table if name in seen)
    )


def as_predicted(cells: Sequence[Measured]) -> Finding:
    """Mean over data sets of n |T_hat - T|^2 of both averages within four standard errors of the
    exact one, each below a tenth."""
    ratios = [cell.ratio(method) for cell in cells for method in ("average", "centred")]
    errors = [float(ratio.std()) / math.sqrt(len(ratio)) for ratio in ratios]
    off = [
        abs(float(ratio.mean()) - 1) / error for ratio, error in zip(ratios, errors, strict=True)
    ]
    return Finding(max(off) < 4 and max(errors) < 0.1, f"{max(off):.1f} standard errors at most")


def gains(cells: Sequence[Measured]) -> Finding:
    """On the same samples the centred average of T is nearer than the other two, on average over
    data sets, for every cell; the value is the largest ratio to the better of them."""
    place, worst = METHODS.index("centred"), 0.0
    for cell in cells:
        mean = cell.errors.mean(1)
        others = torch.cat([mean[:place], mean[place + 1 :]])
        worst = max(worst, float((mean[place] / others.min()).sqrt()))
    return Finding(worst < 1, worst)


def bounded_is_least(bounds: Sequence[Bound]) -> Finding:
    """The bumps reach the least error of any function of the output to a thousandth, and never
    undercut it, with both sets of conditions."""
    ratios = [b.bounded / b.least for b in bounds] + [b.every / b.least_every for b in bounds]
    holds = max(ratios) < 1.001 and min(ratios) > 1 - 1e-3
    return Finding(holds, f"{100 * (max(ratios) - 1):.2g} % above at most")


def many_times(bounds: Sequence[Bound], names: Sequence[str], times: float) -> Finding:
    """For these g the polynomial's better estimate has at least so many times the error."""
    ratios = {bound.name: bound.polynomial / bound.bounded for bound in bounds}
    seen = [ratios[name] for name in names]
    return Finding(min(seen) > times, f"{min(seen):,.3g} to {max(seen):,.3g}")


def conditions_price(bound: Bound, times: float) -> Finding:
    """No function of the output that meets all conditions errs below half of what the polynomial
    does; the bounded transform for the span errs below it by so many times. By quadrature."""
    all_met, in_span = bound.polynomial / bound.least_every, bound.polynomial / bound.bounded
    return Finding(all_met < 2 and in_span > times, f"{all_met:.3g} and {in_span:.3g}")


def relieved(bounds: Sequence[Bound], times: float) -> Finding:
    """Fewer conditions lower the least error for every g, for one at least by so many times."""
    ratios = [bound.least_every / bound.least for bound in bounds]
    holds = min(ratios) >= 1 and max(ratios) > times
    return Finding(holds, f"{number(min(ratios))} to {number(max(ratios))}")


def nearer(cells: Sequence[Cell], n: int, above: str, below: str) -> Finding:
    """Geometric mean over g and data sets of E_reg of one method over another's; holds where the
    interval over data sets lies above one."""
    logs = [
        [float((cell.at(above, n)[s] / cell.at(below, n)[s]).log()) for cell in cells]
        for s in range(len(cells[0].at(below, n)))
    ]
    value, ends = geometric_mean(logs)
    return Finding(ends[0] > 1, value, ends)


def law_met(cells: Sequence[Cell], n: int, limits: Sequence[float], factor: float) -> Finding:
    """At n the median of n E_reg with bounded transforms lies within a factor of the law's median,
    for every g."""
    ratios = [
        float(cell.at("bounded", n).median()) * n / limit
        for cell, limit in zip(cells, limits, strict=True)
    ]
    worst = max(abs(math.log(ratio)) for ratio in ratios)
    return Finding(worst < math.log(factor), f"{min(ratios):.2f} to {max(ratios):.2f}")


def recovered(cells: Sequence[Cell], n: int, goal: float) -> Finding:
    """``recover`` ends below the goal in every data set of every g."""
    values = torch.cat([cell.at("recover", n) for cell in cells])
    return Finding(bool((values < goal).all()), f"{int((values < goal).sum())} of {len(values)}")


def reached_more(cells: Sequence[Followed]) -> Finding:
    """Share of data sets in which EM arrives from the bounded start, less that from the polynomial
    start: mean over g with its interval over data sets; holds above zero."""
    gains = torch.stack(
        [c.reached("bounded").double() - c.reached("polynomial").double() for c in cells]
    )
    middle, interval = over_clusters([list(row) for row in gains.T.tolist()])
    return Finding(interval[0] > 0, middle, interval)


def far_apart(curve: Curve, sigma: float, times: float) -> Finding:
    """At sigma L_4 needs at least so many times the samples of the Cramer-Rao bound, with bounded
    transforms too."""
    _, bounded, bound = curve.at(sigma)
    return Finding(bounded / bound > times, bounded / bound)


def told_so(rows: Sequence[Told]) -> Finding:
    """The even one draws its warning, the step is refused, the others get a finite number."""
    by_name = {row.name: row for row in rows}
    even, refused = by_name["bump"], by_name["step"]
    fine = [row for row in rows if row.name not in ("bump", "step")]
    holds = (
        even.signs_lost
        and bool(refused.refused)
        and not any(row.signs_lost or row.refused for row in fine)
        and all(math.isfinite(row.needed) for row in fine)
    )
    return Finding(holds)
