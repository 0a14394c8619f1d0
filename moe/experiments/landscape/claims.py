"""What decides the claims of chapter 5, the landscape of L_4."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding, share
from moe.experiments.landscape import lists as landscape
from moe.experiments.landscape import phase as landscape_phase
from moe.experiments.landscape import samples as landscape_samples
from moe.experiments.landscape import stability as landscape_stability
from moe.experiments.landscape.escape import Record as Film
from moe.landscape import CriticalPoints, critical_points
from moe.randomness import stream

_REDRAWS = 1_000


def listed(record: landscape.Record) -> Finding:
    """In every complete list the minima are those that the theorem counts; where L_4 is unbounded
    the truth is not among them; for mu < 1 all other points have a way down."""
    points, right = 0, []
    for case in record.cases.values():
        if case.listed is None:
            continue
        points += len(case.listed)
        minima = case.listed.count("truth"), case.listed.count("spurious minimum")
        right.append(minima == case.expected if case.expected else minima[0] == 0)
        right.append(case.listed.count("maximum") == 1)
        if case.expected and record.spec.mu < 1:
            right.append(set(case.listed.kinds) == {"truth", "strict saddle", "maximum"})
    return Finding(all(right), f"{points:,} critical points, all of two to four experts")


def lengths_tell_values(points: CriticalPoints, lam: float) -> bool:
    """L_4 = lambda sum_i (1 - |b_i|^2) at every listed point."""
    by_length = lam * (1 - points.squares.sum(-1)).sum(-1)
    scale = 1 + float(points.values.abs().max())
    return float((points.values - by_length).abs().max()) < 1e-6 * scale


def nothing_new(record: landscape.Record) -> Finding:
    """The search ends at no point that the lists lack."""
    found = strangers = 0
    for case in record.cases.values():
        if case.listed is not None and not bool(case.listed.continuum.any()):
            found += len(case.matches)
            strangers += int((case.matches < 0).sum())
    return Finding(strangers == 0 and found > 0, f"{strangers} of {found:,} different points found")


def cut_by_lines(proportions: Tensor, closeness: float) -> Finding:
    """Spurious minima just beyond mu = 1 and lambda = (mu + 1) / p_max, none just before either;
    degenerate ones on the second line; on the first only saddles that are not strict."""
    edge = 2.5 / float(proportions.max())
    far = 2 * edge
    counts = [
        critical_points(proportions, mu, lam).count("spurious minimum") > 0
        for mu, lam in (
            (1 - closeness, far),
            (1 + closeness, far),
            (1.5, (1 - closeness) * edge),
            (1.5, (1 + closeness) * edge),
        )
    ]
    at_one, above = critical_points(proportions, 1.0, far), critical_points(proportions, 1.5, edge)
    flat = torch.tensor([kind == "degenerate" for kind in at_one.kinds])
    alone = bool((at_one.supports[flat].sum(-1) <= 1).all())
    segments = [above.kinds[i] == "degenerate" for i in above.continuum.nonzero().flatten()]
    right = counts == [False, True, False, True] and at_one.count("spurious minimum") == 0
    held = bool(flat.any()) and alone and any(segments)
    return Finding(right and held, f"listed at {closeness:.0%} on both sides of each line")


def where_the_lines_say(record: landscape_phase.Record) -> Finding:
    """Where only the truth is a minimum no start ends at another place, and next to none runs out
    of steps; where L_4 is unbounded none reaches a truth; beyond, some end elsewhere."""
    benign, beyond = record.where("benign"), record.where("spurious minima")
    reached = float(record.truth[benign].mean())
    strip = benign & (torch.tensor(record.spec.mus) > 1)
    right = float(record.other[benign].max()) == 0 and reached > 0.99 and bool(strip.any())
    lost = float(record.truth[record.where("unbounded")].max()) == 0
    away = float(record.other[beyond].mean())
    starts = int(benign.sum()) * record.spec.starts
    words = f"{reached:.1%} of {starts:,} starts; beyond the lines {1 - away:.0%}"
    return Finding(right and lost and 0.1 < away < 0.9, words)


def best_weights(record: landscape_stability.Record) -> Finding:
    """The closed form of the best lambda is not beaten on the grid, and at mu near one some saddle
    is nearly flat. The number: the mu whose weakest way out of a saddle is steepest."""
    best = bool((record.best[:, 1] <= 1.01 * record.condition.min(1).values).all())
    flat = float(record.escape[-1]) < 0.3 * float(record.escape.max())
    peak = record.spec.escape_mus[int(record.escape.argmax())]
    return Finding(best and flat, peak)


def survives(fractions: Tensor) -> Finding:
    """Every error of the proven norm leaves the minimum within the proven radius. The number: the
    largest displacement over that radius."""
    return Finding(bool((fractions <= 1).all()), float(fractions.max()))


def silent(record: landscape_samples.Record, tolerance: float) -> Finding:
    """At every size the median error of T is above what the proof allows, at the largest n by this
    factor at least. It is measured in the norm of the (k^2, k^2) matrix, at most k times the
    proof's norm."""
    errors = record.error.median(1).values / record.spec.k
    return Finding(bool((errors > tolerance).all()), float(errors[-1]) / tolerance)


def slow_errors(record: landscape_samples.Record) -> Finding:
    """The slope of the log of the median error against log n is above -1/2, with the whole of its
    interval; fewer than ten data sets may be too few to say so."""
    log_n = torch.tensor(record.spec.sizes, dtype=torch.float64).log()
    log_n = log_n - log_n.mean()
    trials = record.spec.trials
    picks = torch.randint(trials, (_REDRAWS, trials), generator=stream("resampling"))

    def slope(errors: Tensor) -> Tensor:
        return log_n @ errors.median(-1).values.log().flatten(1) / log_n.square().sum()

    slopes = slope(record.error[:, picks])
    levels = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.quantile(slopes, levels).tolist()
    value = float(slope(record.error[:, None]))
    few = trials < 10 and low <= -0.5 < value
    return Finding(None if few else low > -0.5, value, (low, high))


def displaced(record: landscape_samples.Record) -> Finding:
    """At the largest n the minimum is there, displaced by what the first order predicts: median of
    the ratios, between 0.6 and 1.7, over data sets drawn anew."""
    found = record.moved[-1].isfinite()
    ratios = (record.moved[-1] / record.predicted[-1])[found]
    picks = torch.randint(len(ratios), (_REDRAWS, len(ratios)), generator=stream("resampling"))
    levels = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.quantile(ratios[picks].median(1).values, levels).tolist()
    there, middle = float(found.double().mean()) >= 0.6, float(ratios.median())
    return Finding(there and 0.6 < middle < 1.7, middle, (low, high))


def reached_in_samples(record: landscape_samples.Record) -> Finding:
    """In at least four of five data sets of the largest n nine of ten random starts end at the
    minimum that continues the truth, and in no smaller share of them than at the smallest n."""
    found = (record.truth >= 0.9).sum(1).tolist()
    value, interval = share(found[-1], record.truth.shape[1])
    return Finding(value >= 0.8 and found[-1] >= found[0], value, interval)


def two_aims(record: landscape_samples.Record) -> Finding:
    """A small margin loses minima; from 3.5 on a larger one saves at most a tenth of the data sets,
    and multiplies the condition number; the smaller mu is not the more robust. The number: the
    largest share of data sets that the last step of lambda, from 3.5 to the end, saves."""
    lost, margins = record.lost, torch.tensor(record.spec.margins)
    middle = int((margins >= 3.5).nonzero()[0])
    falls = bool((lost[:, 0] > lost[:, -1] + 0.2).all())
    saved = float((lost[:, middle] - lost[:, -1]).max())
    dear = bool((record.condition[:, -1] > 3 * record.condition.min(1).values).all())
    smaller = float(lost[0].mean()) >= float(lost[1].mean()) - 0.05
    return Finding(falls and saved <= 0.1 and dear and smaller, saved)


def leaves(times: Tensor, kappa: Tensor, distances: tuple[float, ...]) -> Finding:
    """From every saddle the time to leave grows by log(distance ratio) / kappa, within 5 %. The
    number: the least and largest ratio of measured to predicted growth."""
    decades = torch.tensor(distances[0] / distances[-1], dtype=torch.float64).log()
    ratios = (times[:, -1] - times[:, 0]) * kappa / decades
    low, high = float(ratios.min()), float(ratios.max())
    return Finding(low > 0.95 and high < 1.05, f"{low:.3f} to {high:.3f} over {len(kappa)} saddles")


def waits_at_saddles(film: Film) -> Finding:
    """The selected path's closest wait is at the value of the saddle, within 5 % of the whole fall,
    and the loss never rises; paths that arrive late came closer to a saddle, in the median."""
    fall = film.values.diff() < 1e-9 * (1 + film.values[0].abs())
    if not film.waits:
        return Finding(False, "no wait")
    closest = min(film.waits, key=lambda wait: wait.distance)
    drop = float(film.values[0] - film.values[-1])
    off = abs(float(film.values[closest.step]) - closest.saddle_value) / drop
    late = film.arrival >= film.arrival.quantile(0.9)
    nearer = float(film.closest[late].median()) < float(film.closest[~late].median())
    return Finding(bool(fall.all()) and off < 0.05 and nearer, off)
