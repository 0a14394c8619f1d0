"""The chapters to run and to change: the notebooks of the site, copied to a folder of one's own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builder import BuildError
from builder.pages.hosts import FOLDER

COPIED = ".copied.json"
"""In the folder: name of a notebook -> digest of what was copied."""


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


def fill(site: Path, folder: Path) -> Filled:
    """Copy the site's notebooks that the folder has not, or has as they were copied from an older
    site; what a reader has changed stays.

    Raises BuildError where the site has none.
    """
    notebooks = sorted((site / FOLDER).glob("*.ipynb"))
    if not notebooks:
        raise BuildError(f"{site} has no notebooks: make quick, or make book")
    folder.mkdir(parents=True, exist_ok=True)
    before, filled = _copied(folder), Filled()
    copied = dict(before)
    for notebook in notebooks:
        name, place, wanted = notebook.name, folder / notebook.name, _digest(notebook)
        there = _digest(place) if place.exists() else ""
        if there in ("", before.get(name)) and there != wanted:
            (filled.renewed if there else filled.new).append(name)
            _replace(place, notebook.read_bytes())
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


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _replace(place: Path, content: bytes) -> None:
    part = place.with_name(f".{place.name}.{os.getpid()}")
    part.write_bytes(content)
    os.replace(part, place)
