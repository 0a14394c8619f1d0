"""The ledger: what a chapter states, where it comes from, what was found, and whether it held.

A chapter calls `claim` where its numbers stand. A claim that does not hold raises, like `assert`;
one that holds leaves a record in the notebook, from which the book makes the box beside the cell,
the page of claims, its counts, `claims.json` and the verdicts on the first page.

Whether a claim holds is decided by the functions of this package, one module a chapter. They take
records of experiments and return a `Finding`; so a test can hand them a record in which the claim
is just false, and see that they notice.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from moe.experiments.common.ledger import (
    MIME,
    SOURCES,
    UNTRIED,
    VERDICTS,
    Claim,
    number,
    sentence,
)
from moe.experiments.common.shares import Share
from moe.randomness import stream

_IDENTITY = re.compile(r"\d\d(-[a-z0-9]+)+")


class ClaimError(AssertionError):
    """A claim of the book does not hold: what was stated, and what was seen."""


@dataclass(frozen=True)
class Finding:
    """What a check saw. `holds` is None where the run is too small to tell.

    `value` is the number that decides, or a few words; `interval` its 95 % interval, where it is a
    measurement.
    """

    holds: bool | None
    value: float | str | None = None
    interval: tuple[float, float] | None = None


def claim(
    identity: str,
    statement: str,
    holds: bool | Finding | None,
    *,
    source: str,
    verdict: str,
    value: float | str | None = None,
    interval: tuple[float, float] | None = None,
    finding: str = "",
) -> None:
    """State something in the ledger, and stop the chapter where it does not hold.

    Args:
        identity: chapter and name, as "05-landscape"; unique in the book.
        statement: the sentence, in Markdown, without its full stop; it stands in a table too, so
            bars are written as \\lvert.
        holds: whether the page bears the *verdict* out. None: this profile is too small to tell.
        source: marks of `SOURCES`, joined by ", ".
        verdict: one of `VERDICTS`.
        value, interval: what decided, unless a `Finding` brings them.
        finding: what came out, in words; for a verdict other than "proved" or "reproduced" this
            is what a reader needs most.

    Raises:
        ClaimError: it does not hold.
        ValueError: an argument is not of the form above.
    """
    if isinstance(holds, Finding) and (value is not None or interval is not None):
        raise ValueError("value, interval: expected None beside a Finding, which brings its own")
    seen = holds if isinstance(holds, Finding) else Finding(_truth(holds), value, interval)
    came = number(seen.value, seen.interval)
    record = Claim(
        _checked("identity", identity, bool(_IDENTITY.fullmatch(identity)), "like 05-landscape"),
        _line("statement", statement),
        _checked("source", source, set(source.split(", ")) <= SOURCES.keys(), "of " + _or(SOURCES)),
        _checked("verdict", verdict, verdict in VERDICTS, "one of " + _or(VERDICTS)),
        came and _line("value", came),
        finding and _line("finding", finding),
    )
    if seen.holds is not None and not seen.holds:
        raise ClaimError(f"{identity} does not hold: {statement}; seen: {record.value or 'false'}")
    _publish(record, tried=seen.holds is not None)


def all_of(*findings: Finding | bool | None) -> Finding:
    """Holds where all of them do; the value is that of the first."""
    parts = [f if isinstance(f, Finding) else Finding(_truth(f)) for f in findings]
    if any(part.holds is False for part in parts):
        holds: bool | None = False
    else:
        holds = None if any(part.holds is None for part in parts) else True
    return Finding(holds, parts[0].value, parts[0].interval)


def share(successes: int, trials: int) -> tuple[float, tuple[float, float]]:
    """A share of independent trials, with Wilson's 95 % interval."""
    of = Share(int(successes), int(trials))
    return of.value, of.interval()


def over_clusters(
    values: Sequence[ArrayLike], draws: int = 2_000
) -> tuple[float, tuple[float, float]]:
    """The mean over clusters of runs, with a 95 % interval that draws clusters, not runs, anew.

    Runs on one data set are not independent trials: `values` has one entry a data set, the outcomes
    of its runs.
    """
    means = np.array([np.mean(np.asarray(v, dtype=float)) for v in values])
    picks = torch.randint(len(means), (draws, len(means)), generator=stream("resampling")).numpy()
    low, high = np.quantile(means[picks].mean(axis=1), [0.025, 0.975])
    return float(means.mean()), (float(low), float(high))


def geometric_mean(
    logs: Sequence[ArrayLike],
) -> tuple[float, tuple[float, float]]:
    """`over_clusters` of logarithms, taken back: a geometric mean with its 95 % interval."""
    middle, (low, high) = over_clusters(logs)
    return math.exp(middle), (math.exp(low), math.exp(high))


def _truth(holds: Any) -> bool | None:
    return None if holds is None else bool(holds)


def _line(name: str, text: str) -> str:
    fits = text.isprintable() and bool(text) and not text.endswith(".") and "|" not in text
    return _checked(name, text, fits, "a line without full stop, bar or control character")


def _or(names: dict[str, str]) -> str:
    return ", ".join(map(repr, names))


def _checked(name: str, text: str, right: bool, expected: str) -> str:
    if not right:
        raise ValueError(f"{name}: expected {expected}, got {text!r}")
    return text


def _publish(record: Claim, tried: bool) -> None:
    """Into the running notebook; outside of one there is nothing to do."""
    if "IPython" not in sys.modules or sys.modules["IPython"].get_ipython() is None:
        return
    from IPython.display import publish_display_data

    data = asdict(record) | {"tried": tried}
    outcome = record.verdict if tried else UNTRIED
    text = sentence(record.statement, record.source, outcome, record.came)
    publish_display_data({MIME: data, "text/markdown": text})
