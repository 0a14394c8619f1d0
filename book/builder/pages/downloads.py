"""From each page: the chapter as a notebook and as Markdown, and the package that they need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from bs4 import BeautifulSoup, Tag
from pybtex.database import parse_file

from builder import BuildError
from builder.contents import Chapter
from builder.edition import Edition
from builder.pages.hosts import hosts
from builder.pages.portable import Places, citations, portable

OF_PACKAGE = ("pyproject.toml", "README.md", "LICENSE")
"""What the package is built of, beside its modules."""
_BUILD = "from setuptools import build_meta; print(build_meta.build_wheel({target!r}))"


@dataclass(frozen=True)
class Labels:
    """What a page tells of labels: links, what it calls those it leads to; own, the numbers that
    its figures and equations bear; and the number of its chapter, if it has one."""

    links: dict[str, str]
    own: dict[str, str]
    number: str


def labels(soup: BeautifulSoup) -> Labels:
    """Of a page as Jupyter Book made it."""
    links, own = dict[str, str](), dict[str, str]()
    for link in soup.select("a.reference.internal[href*='#']"):
        links.setdefault(str(link["href"]).partition("#")[2], _text(link))
    for caption in soup.select(".caption-number"):
        owner = caption.find_parent(id=True)
        if isinstance(owner, Tag):
            own[str(owner["id"])] = _text(caption).rstrip(".")
    for equation in soup.select("div.math[id]"):
        if number := equation.select_one(".eqno"):
            own[str(equation["id"])] = _text(number).rstrip("#")
    heading = soup.select_one("h1 .section-number")
    return Labels(links, own, _text(heading).rstrip(".") if heading else "")


def places(
    html: Path, chapters: Sequence[Chapter], told: Mapping[str, Labels], macros: dict[str, Any]
) -> Places:
    """What the pages show for each label; `told` maps a chapter's document to its page's labels."""
    texts, names = dict[str, str](), dict[str, str]()
    for chapter in chapters:
        page = told[chapter.document]
        texts = {**page.links, **texts, **page.own}
        count = f"chapter {page.number}, " if page.number else ""
        names[chapter.name] = f"{count}{chapter.title}"
    works = dict[str, str]()
    for file in (chapters[0].root / "book").glob("*.bib"):
        works |= citations(parse_file(str(file)))
    ledger = html / "claims.json"
    rows = json.loads(ledger.read_text("utf-8"))["claims"] if ledger.is_file() else []
    return Places(texts, names, works, {row["identity"]: row for row in rows}, macros)


def _text(tag: Tag) -> str:
    return " ".join(tag.get_text().split())


def write(
    folder: Path, chapters: Sequence[Chapter], known: Places, package: str, edition: Edition
) -> None:
    """Each chapter as a notebook and as text; package is what pip installs in them, or nothing."""
    for chapter in chapters:
        if chapter.is_notebook:
            notebook = portable(edition.shown(chapter.notebook()), known, package)
            nbformat.write(notebook, folder / f"{chapter.name}.ipynb")
            jupytext.write(notebook, folder / f"{chapter.name}.md", fmt="md:myst")


def build_wheel(root: Path, folder: Path) -> str:
    """The package as a wheel, built in a copy; nothing where the root holds no package."""
    if not (root / "pyproject.toml").is_file():
        return ""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for name in OF_PACKAGE:
            shutil.copy(root / name, copy)
        shutil.copytree(root / "moe", copy / "moe", ignore=shutil.ignore_patterns("__pycache__"))
        built = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _BUILD.format(target=str(folder.resolve()))],
            cwd=copy,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    if built.returncode:
        raise BuildError(f"the package does not build:\n{built.stderr[-2000:]}")
    return built.stdout.split()[-1]


MENU = """
<li><a class="dropdown-item" href="{up}slides/{name}.html">Slides</a></li>
<li><a class="dropdown-item" download href="{up}_downloads/{name}.ipynb">
 Notebook (.ipynb)</a></li>
<li><a class="dropdown-item" download href="{up}_downloads/{name}.md">
 Notebook as text (.md)</a></li>
"""
PACKAGE = """<li><a class="dropdown-item" download href="{up}_downloads/{wheel}">
 The package (.whl)</a></li>
"""
RULE = """<li><hr class="dropdown-divider"></li>
"""
RUN = """<li><a class="dropdown-item" href="{address}">
 Run on {host}</a></li>
"""
SOLUTIONS = """
<li><label class="dropdown-item"><input type="checkbox" data-print="solutions" checked>
 Print solutions</label></li>
"""
PRINT = """
<li><label class="dropdown-item"><input type="checkbox" data-print="code"> Print code</label></li>
<li><button class="dropdown-item" onclick="window.print()">Print, or save as PDF</button></li>
"""


def menu(
    soup: BeautifulSoup,
    up: str,
    chapter: Chapter | None,
    wheel: str,
    edition: Edition,
    repository: dict[str, str],
) -> None:
    """The menu of a page: what can be taken along, where it runs, and what is printed."""
    for shown in soup.select(".dropdown-download-buttons"):
        text = RULE + (SOLUTIONS if edition.solutions else "") + PRINT
        if chapter is not None and chapter.is_notebook:
            taken = MENU + (PACKAGE if wheel else "")
            runs = hosts(repository, chapter.name) if edition.solutions else {}  # they show them
            links = "".join(RUN.format(host=host, address=place) for host, place in runs.items())
            text = taken.format(up=up, name=chapter.name, wheel=wheel) + links + text
        if entries := shown.select_one("ul"):
            entries.clear()
            entries.append(BeautifulSoup(text, "html.parser"))
        if button := shown.select_one("button"):
            button["aria-label"] = "Download or print this page"
            button["data-bs-auto-close"] = "outside"
