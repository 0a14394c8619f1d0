"""What decides the claims of chapter 4, the regressors' loss L_4."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding, share
from moe.experiments.regressor_loss import ambient as l4_ambient
from moe.experiments.regressor_loss import descent as l4_descent
from moe.experiments.regressor_loss import fresh_samples as l4_stream
from moe.experiments.regressor_loss import three_forms
from moe.experiments.regressor_loss import weights as l4_weights
from moe.landscape import critical_points, largest_delta
from moe.randomness import stream

_REDRAWS = 1_000


def rate(record: three_forms.Record) -> Finding:
    """The slope of log error against log n is -1/2 within 0.15; data sets are drawn anew for its
    interval."""
    trials = record.spec.trials
    picks = torch.randint(trials, (_REDRAWS, trials), generator=stream("resampling"))
    squares = (record.moments - record.population).square().mean(-1)  # (sizes, trials)
    log_n = torch.tensor(record.spec.sizes, dtype=torch.float64).log()
    log_n = log_n - log_n.mean()
    again = squares[:, picks].mean(-1).sqrt().log()  # (sizes, redraws)
    slopes = log_n @ again / log_n.square().sum()
    levels = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.quantile(slopes, levels).tolist()
    return Finding(abs(record.slope + 0.5) < 0.15, record.slope, (low, high))


def only_between_zero_and_one(record: l4_weights.Record) -> Finding:
    """All starts reach the truth where 0 < mu < 1, and not all anywhere else."""
    inside = [0 < mu < 1 for mu in record.spec.mus]
    pairs = list(zip(inside, record.success.tolist(), strict=True))
    words = ", ".join(
        f"{reached:.1%} at $\\mu = {mu:g}$"
        for mu, reached in zip(record.spec.mus, record.success.tolist(), strict=True)
    )
    return Finding(all((reached == 1.0) == benign for benign, reached in pairs), words)


def valley(record: l4_weights.Record) -> Finding:
    """At mu = 0 some starts fail, and all that fail end at the valleys' value."""
    spec = record.spec
    level = 2 * spec.lam / (spec.lam * spec.proportions[2] + 1)
    ends = record.valley
    right = len(ends) > 0 and float((ends - level).abs().max()) < 1e-8
    return Finding(spec.mus[0] == 0 and right, f"all of {len(ends)} failing starts at this value")


def threshold_of_delta(proportions: Tensor, mu: float, lam: float, closeness: float) -> Finding:
    """Of all critical points for orthogonal experts only truths are minima just below delta*, and
    there are others just above; everything else has a way down."""
    limit, right = largest_delta(proportions, mu, lam), []
    for factor in (1 - closeness, 1 + closeness):
        points = critical_points(proportions, mu, lam, delta=factor * limit)
        minima = points.count("truth"), points.count("spurious minimum")
        ways = points.count("strict saddle") + points.count("maximum")
        right.append(sum(minima) + ways == len(points) and minima[0] > 0)
        right.append((minima[1] > 0) == (factor > 1))
    return Finding(all(right), limit)


def sharing(record: l4_weights.Record) -> Finding:
    """At the largest delta some of the starts end with two rows at one expert, lower than the
    minimum next to the truth; without delta none do."""
    count = record.spec.delta_starts
    part, interval = share(round(float(record.shared[-1]) * count), count)
    lower = float(record.lowest[-1]) < float(record.value[-1])
    return Finding(float(record.shared[0]) == 0 and part > 0 and lower, part, interval)


def turned(record: l4_weights.Record, orthonormal: float) -> Finding:
    """The slides' length term turns the minimum when experts are not orthogonal, like mu^2 at
    first; when they are (E_reg ``orthonormal``) it does not, and the general form never does."""
    slides, general = record.norm_penalty[:, 0], record.general[:, 0]
    square = (record.spec.penalty_mus[1] / record.spec.penalty_mus[0]) ** 2
    growth = float(slides[1] / slides[0]) / square
    exact = max(float(general.max()), orthonormal) < 1e-10
    biased = bool((slides.diff() > 0).all()) and float(slides[-1]) > 0.01
    return Finding(exact and biased and abs(growth - 1) < 0.15, float(slides[-1]))


def one_or_two_fall(factors: Tensor) -> Finding:
    """(2, sizes, trials): along one direction outside the span one row or two have a negative
    factor in a share of the data sets that rises with n, to most of them; neither alone in clearly
    more than half of them, and never both."""
    falls, trials = factors < 0, factors.shape[2]
    apart = not bool(falls.all(0).any())
    alone = [share(count, trials) for count in falls[:, -1].sum(1).tolist()]
    halves = all(part > 0.25 and interval[0] < 0.5 for part, interval in alone)
    counts = falls.any(0).sum(1).tolist()
    part, interval = share(counts[-1], trials)
    rises = counts[-1] > counts[0] and interval[0] > 0.5
    sizes = factors.abs().median(2).values
    shrinks = bool((sizes[:, -1] < sizes[:, 0] / 2).all())
    return Finding(apart and halves and rises and shrinks, part, interval)


def mostly_unbounded(record: l4_ambient.Record) -> Finding:
    """In most data sets a direction is found along which L_4 falls without bound; at the largest n
    it falls less steeply than at the smallest."""
    found = record.escape < 0
    depth = record.escape.abs().median(1).values
    shallower = float(depth[-1]) < float(depth[0])
    part, interval = share(int(found[-1].sum()), found.shape[1])
    whole = float(found.double().mean()) > 0.5
    return Finding(whole and shallower and bool((record.outside > 0.5).all()), part, interval)


def certified(record: l4_ambient.Record) -> Finding:
    """At the largest n the moments of every data set prove their own lower bound."""
    proved = record.margin[-1] > 0
    return Finding(bool(proved.all()), *share(int(proved.sum()), len(proved)))


def projection(record: l4_ambient.Record) -> Finding:
    """In every data set projected descents end nearer than those in R^d, with and without delta,
    and over data sets the median is at most a third; the number is the ratio at the largest n."""
    paired = bool((record.projected < record.ambient).all())
    medians = [
        series.nanmedian(1).values
        for series in (record.projected, record.ambient, record.ridge, record.afterwards)
    ]
    first, free, ridge, late = medians
    ahead = bool((free > 3 * first).all()) and bool((ridge > first).all())
    scored = float(late[-1]) < float(free[-1]) / 2
    return Finding(paired and ahead and scored, float(free[-1] / first[-1]))


def held_by_a_bias(record: l4_stream.Record) -> Finding:
    """Mixture by mixture: at the smallest batch the plug-in square leaves less outside the span
    than two half batches do, and a larger batch holds less; those, and exact expectations, do not
    shorten it. With the largest batch projecting first ends nearer than both, in the median: even
    such runs may leave every bound."""
    plug_in, halves, kept = record.errors[-1].median(-1).values
    outside, apart = record.outside[:, 0], record.outside[:, 1]
    holds = bool((outside[0] < apart[0]).all()) and bool((outside[-1] > outside[0]).all())
    free = float(apart.median(1).values.min()) > 0.9
    exact = float((record.population_outside - 1).abs().max()) < 1e-6
    better = float(kept) < float(plug_in) / 2 and float(kept) < float(halves) / 2
    words = (
        f"{float(outside[0].median()):.2f} of the start's length outside the span is left at "
        f"$B = {record.spec.batches[0]:,}$, {float(outside[-1].median()):.2f} at "
        f"$B = {record.spec.batches[-1]:,}$, {float(apart[-1].median()):.2f} without the bias"
    )
    return Finding(holds and free and exact and better, words)


def one_answer(record: l4_descent.Record) -> Finding:
    """All descents end at one value and one error, far below those of the starts."""
    final, values = record.errors[-1], record.values[-1]
    together = float(values.max() - values.min()) < 1e-4 and float(final.max() - final.min()) < 1e-4
    stayed = not bool(record.ran_off.any())
    found = float(record.errors[0].median()) > 3 * float(final.max())
    return Finding(together and stayed and found, float(final.median()))
