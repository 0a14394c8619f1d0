"""Tables of the chapter on the regressors' loss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from moe.experiments.regressor_loss import ambient, weights
from moe.experiments.shown.tables import Table, table
from moe.landscape import critical_points, largest_delta


def success(tried: weights.Record) -> Table:
    """The share of random starts that reach the truth, by mu."""
    rows = zip(tried.spec.mus, tried.success.tolist(), strict=True)
    return table((r"$\mu$", "starts that reach the truth"), rows, ("g", ".1%"))


def around_the_threshold(
    proportions: Tensor, pairs: Sequence[tuple[float, float]], closeness: float
) -> Table:
    """Minima of L_4 for orthogonal experts just below and just above delta*, for each (mu, lam)."""
    rows = []
    for mu, lam in pairs:
        limit = largest_delta(proportions, mu, lam)
        for delta in ((1 - closeness) * limit, (1 + closeness) * limit):
            points = critical_points(proportions, mu, lam, delta=delta)
            counts = (points.count("truth"), points.count("spurious minimum"))
            rows.append((mu, lam, limit, delta, *counts))
    head = (r"$\mu$", r"$\lambda$", r"$\delta^*$", r"$\delta$", "truths", "spurious minima")
    return table(head, rows, ("g", "g", ".4f", ".4f", "d", "d"))


def with_delta(tried: weights.Record) -> Table:
    """What delta does to the minimum next to the truth, and where random starts end."""
    rows = zip(
        tried.spec.deltas, tried.ridge.clamp_min(0).tolist(), tried.shared.tolist(), strict=True
    )
    near = r"$E_{\mathrm{reg}}$ of the minimum next to the truth"
    return table(
        (r"$\delta$", near, "starts that end with two rows at one expert"),
        rows,
        ("g", ".1e", ".0%"),
    )


def length_terms(tried: weights.Record) -> Table:
    """E_reg of the lowest minimum by mu, with the slides' length term and with the general one."""
    rows = [
        (mu, *slides, dual if dual > 1e-12 else 0.0, own)  # else rounding
        for mu, slides, (dual, own) in zip(
            tried.spec.penalty_mus,
            tried.norm_penalty.tolist(),
            tried.general.tolist(),
            strict=True,
        )
    ]
    names = [f"{form} form, {way} $A$" for form in ("slides'", "general") for way in _WAYS]
    return table((r"$\mu$", *names), rows, ("g", ".1e", ".2f", ".0e", ".2f"))


_WAYS = ("dual of", "rows of")


def in_space(record: ambient.Record) -> Table:
    """Descent in all of R^d, by n: holes, runs that left, and what is proved after projection."""
    rows = [
        (n, (escape < 0).double().mean(), escape.median(), out.median(), ran.mean(), proved)
        for n, escape, out, ran, proved in zip(
            record.spec.sizes,
            record.escape,
            record.outside,
            record.ran_off,
            (record.margin > 0).double().mean(1),
            strict=True,
        )
    ]
    head = ("$n$", "$L_4$ unbounded below", r"lowest factor of $\ell^4$")
    more = (
        "part of $e$ outside the span",
        "descents that ran off",
        "proved bounded after projection",
    )
    return table((*head, *more), rows, (",", ".0%", ".1e", ".2f", ".0%", ".0%"))
