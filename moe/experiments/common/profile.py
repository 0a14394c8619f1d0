"""Sizes by profile: what a chapter computes at full size, and what small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Profile:
    """The profile a chapter runs under, "quick" or "full"; called with sizes, it picks one.

    Raises ValueError for another name.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in ("quick", "full"):
            raise ValueError(f"profile: expected 'quick' or 'full', got {self.name!r}")

    @property
    def full(self) -> bool:
        return self.name == "full"

    def __call__(self, *, quick: T, full: T, given: T | None = None) -> T:
        """``given`` where the reader has given a number, else the profile's own size."""
        if given is not None:
            return given
        return full if self.full else quick

    def decides(self, finding: T) -> T | None:
        """The finding of a check that only the full size can decide; None, untried, under quick."""
        return finding if self.full else None
