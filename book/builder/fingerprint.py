"""Whether the pages have to be made anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    builder = Path(__file__).parent
    files = {path for folder in (root / "moe", *tops) for path in folder.rglob("*")}
    files |= {*executed.values(), *(c.source for c in chapters), *(root / n for n in _OF_BOOK)}
    contents = [_contents(files, root), _contents({*builder.rglob("*")}, builder)]
    return str(joblib.hash([edition, sorted(executed), contents]))


def _contents(files: Iterable[Path], folder: Path) -> list[tuple[str, bytes]]:
    """What is in those of the files that exist and that Python did not make."""
    found = (path for path in sorted(files) if path.is_file() and path.suffix != ".pyc")
    return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in found]
