"""For whom a book is made: teachers see solutions, students do not."""

from __future__ import annotations

from dataclasses import dataclass

from nbformat import NotebookNode

from builder.teaching.exercises import without_solutions

QUICK = "Quick profile: small sizes, few seeds. <code>make book</code> builds the full-size book."


@dataclass(frozen=True)
class Edition:
    """A book: kind is the folder that it is built in, banner what stands above every page."""

    kind: str
    banner: str = ""
    solutions: bool = True

    def shown(self, notebook: NotebookNode) -> NotebookNode:
        """What of a chapter this edition shows."""
        return notebook if self.solutions else without_solutions(notebook)


def edition_of(profile: str, *, students: bool = False) -> Edition:
    """The book under a profile, "quick" or "full"; for students in a folder of its own."""
    banner = QUICK if profile == "quick" else ""
    return Edition("students" if students else profile, banner, not students)
