"""What a line of the ledger of claims says: its parts, its words, its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan

MIME = "application/vnd.moe.claim+json"

SOURCES = {
    "paper": "the paper states it, as far as its public record shows",
    "slides": "the authors' public slides state it or show it in a plot",
    "recalled": "believed to be in the paper, from memory, unchecked against its text",
    "abstract": "the abstract of a later paper states it; no more of that paper was read",
    "classical": "a known result, cited where it is used",
    "derived": "derived for this book",
}
VERDICTS = {
    "proved": "the page proves it, and its cells check what the proof says",
    "reproduced": "a claim of others that the chapter's measurements bear out",
    "reproduced under conditions": "borne out where the finding says, and not beyond",
    "not reproduced": "a claim of others that fails here in the form in which it is stated",
    "measured": "a statement of this book, true of the runs of its page",
}
UNTRIED = "not tried at this size"


@dataclass(frozen=True)
class Claim:
    """One line of the ledger; `finding` says in words what came out, where that needs words."""

    identity: str
    statement: str
    source: str
    verdict: str
    value: str
    finding: str

    @property
    def came(self) -> str:
        """Value and finding, as far as there are any."""
        return "; ".join(filter(None, [self.value, self.finding]))


def sentence(statement: str, source: str, outcome: str, came: str) -> str:
    """A claim as Markdown."""
    end = f": {came}" if came else ""
    return f"{statement} ({source}). **{outcome.capitalize()}**{end}."


def number(value: float | str | None, interval: tuple[float, float] | None = None) -> str:
    """A value with its interval in three significant digits; words as they are. Nothing of what is
    not a number, as where a small profile has nothing to compare."""
    if isinstance(value, str):
        return value
    if value is None or isnan(value):
        return ""
    text = _digits(float(value))
    if interval is None or any(map(isnan, interval)):
        return text
    return f"{text} ({_digits(interval[0])} to {_digits(interval[1])})"


def _digits(value: float) -> str:
    if not isfinite(value):
        return "infinite" if value > 0 else "minus infinite"
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return rf"${mantissa} \cdot 10^{{{int(exponent)}}}$"
    return f"{value:,.0f}" if abs(value) >= 1_000 or value == int(value) else f"{value:.3g}"
