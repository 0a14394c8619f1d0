"""Whether the pages have to be made anew."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import joblib

from builder.contents import Chapter
from builder.edition import Edition
from builder.pages.downloads import OF_PACKAGE

_OF_BOOK = ("_toc.yml", "_config.yml", "CITATION.cff", *OF_PACKAGE)


def fingerprint(
    root: Path, chapters: Sequence[Chapter], executed: Mapping[str, Path], edition: Edition
) -> str:
    """One digest of all files that the pages are made of and of the builder: equal digests, equal
    pages. `executed` maps a chapter's name to its notebook."""
    tops = {root / Path(c.document).parts[0] for c in chapters if "/" in c.document}
    folders = {root / "moe", Path(__file__).parent, *tops}
    files = {path for folder in folders for path in folder.rglob("*") if path.suffix != ".pyc"}
    files |= {*executed.values(), *(c.source for c in chapters), *(root / n for n in _OF_BOOK)}
    named = [(os.path.relpath(path, root), path) for path in files if path.is_file()]
    contents = [(name, path.read_bytes()) for name, path in sorted(named)]
    return str(joblib.hash([edition, sorted(executed), contents]))
