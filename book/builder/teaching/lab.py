"""The chapters to run and to change, of the site or else of the sources, in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from builder import BuildError
from builder.contents import Chapter
from builder.pages.hosts import FOLDER

COPIED = ".copied.json"
"""In the folder: name of a notebook -> digest of what was written."""


@dataclass(frozen=True)
class Filled:
    """Names of notebooks: new in the folder; renewed, since nobody had touched the old one; kept
    as a reader has changed them, though the site has another one by now."""

    new: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"{len(self.new)} new notebooks, {len(self.renewed)} renewed"
        if self.kept:
            yield (
                "Changed in this folder, and kept, though the book has newer ones: "
                f"{', '.join(self.kept)}. To have a newer one, rename or delete yours."
            )


def of_site(site: Path) -> dict[str, bytes]:
    """Name -> notebook: plain Markdown, with outputs."""
    return {place.name: place.read_bytes() for place in (site / FOLDER).glob("*.ipynb")}


def of_sources(chapters: Iterable[Chapter]) -> dict[str, bytes]:
    """The same of a checkout that has built nothing yet: the text as it is written, no outputs."""
    return {
        f"{chapter.name}.ipynb": nbformat.writes(chapter.notebook()).encode()
        for chapter in chapters
        if chapter.is_notebook
    }


def fill(notebooks: Mapping[str, bytes], folder: Path) -> Filled:
    """Write those that the folder has not, or has as an older one was written; what a reader has
    changed stays.

    Raises BuildError where there are none.
    """
    if not notebooks:
        raise BuildError("there are no notebooks: make quick, or make book")
    folder.mkdir(parents=True, exist_ok=True)
    before, filled = _copied(folder), Filled()
    copied = dict(before)
    for name, content in sorted(notebooks.items()):
        place, wanted = folder / name, _digest(content)
        there = _digest(place.read_bytes()) if place.exists() else ""
        if there in ("", before.get(name)) and there != wanted:
            (filled.renewed if there else filled.new).append(name)
            _replace(place, content)
        elif there != wanted:
            if before.get(name) != wanted:
                filled.kept.append(name)
            continue
        copied[name] = wanted
    _replace(folder / COPIED, json.dumps(copied, indent=1).encode())
    return filled


def _copied(folder: Path) -> dict[str, str]:
    """What is known of earlier copies: nothing where the file cannot be read."""
    try:
        found = json.loads((folder / COPIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(place: Path, content: bytes) -> None:
    part = place.with_name(f".{place.name}.{os.getpid()}")
    part.write_bytes(content)
    os.replace(part, place)
