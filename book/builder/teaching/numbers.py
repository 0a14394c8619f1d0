"""What pages call a label, "Proposition 5.2", found in the sources: no book need be built."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from pybtex.database import parse_file

from builder.contents import Chapter
from builder.pages.portable import Places, citations

_BLOCK = re.compile(
    r"(?m)^:{3,}\{(?:prf:)?(\w+)\}[^\n]*\n(?::(?!label)\w+:[^\n]*\n)*:label: *(\S+)"
)
_EQUATION = re.compile(r"\$\$ *\((eq-[\w-]+)\)")
_SECTION = re.compile(r"(?m)^\(([\w-]+)\)=\n+#+ +(.+)$")


def places(root: Path, chapters: Sequence[Chapter]) -> Places:
    """What the text of the chapters may refer to; only those with cells have numbers."""
    texts, names, works = dict[str, str](), dict[str, str](), dict[str, str]()
    for chapter in chapters:
        names[chapter.name] = chapter.title
    for number, chapter in enumerate((c for c in chapters if c.is_notebook), 1):
        names[chapter.name] = f"chapter {number}, {chapter.title}"
        texts |= _labels(chapter, number)
    for file in (root / "book").glob("*.bib"):
        works |= citations(parse_file(str(file)))
    return Places(texts, names, works, {}, _macros(root / "_config.yml"))


def _labels(chapter: Chapter, number: int) -> dict[str, str]:
    """Each kind has its own numbers in a chapter, in the order in which they stand."""
    counts, found = Counter[str](), dict[str, str]()
    for kind, label in _named(chapter):
        counts[kind] += 1
        place = f"{number}.{counts[kind]}"
        found[label] = f"({place})" if kind == "" else f"{kind} {place}"
    return {**found, **dict(_SECTION.findall(chapter.text))}


def _named(chapter: Chapter) -> Iterator[tuple[str, str]]:
    """Kind and label of all that is numbered."""
    for cell in chapter.notebook().cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "caption" in figure:
            yield "Fig.", figure.get("name", "")
        if cell.cell_type == "markdown":
            for kind, label in _BLOCK.findall(cell.source):
                yield kind.capitalize(), label
            for label in _EQUATION.findall(cell.source):
                yield "", f"equation-{label}"


def _macros(config: Path) -> dict[str, object]:
    if not config.is_file():
        return {}
    known = yaml.safe_load(config.read_text(encoding="utf-8"))["sphinx"]["config"]
    macros: dict[str, object] = known["mathjax3_config"]["tex"].get("macros", {})
    return macros
