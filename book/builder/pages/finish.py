"""All finishing touches, page by page, then what is no longer needed is taken away."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup
from joblib import cpu_count

from builder.contents import Chapter
from builder.edition import Edition
from builder.pages import decks, downloads, icons, pictures, previews, reading
from builder.pages.held import without_code
from builder.pages.hosts import FOLDER, package
from builder.pages.mathematics import Made, Setter, set_page
from builder.pages.reading import ICON
from builder.parallel import each
from builder.teaching import slides

_IDLE = (
    "*.map",
    "togglebutton.*",
    "*webpack-macros.html",
    "fontawesome.js*",
    "locales/**/*.mo",
    "locales/**/*.po",
)

_ENTRANCE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={address}">
<title>{name}</title>
{icon}</head>
<body><p><a href="{address}">{name}</a></p></body></html>
"""


@dataclass(frozen=True)
class Told:
    """What a page tells the others: its path with slashes, its labels, what links can show."""

    page: str
    labels: downloads.Labels
    shown: dict[previews.Place, str]


@dataclass(frozen=True)
class Finisher:
    """What the pages below `html` are finished with: configuration of TeX, folder of the formulas
    made before, chapters by page, name of the wheel, edition, repository, new names of pictures."""

    html: Path
    tex: dict[str, Any]
    kept: Path
    named: Mapping[str, Chapter]
    wheel: str
    edition: Edition
    repository: dict[str, str]
    smaller: Mapping[str, pictures.Picture]

    @cached_property
    def setter(self) -> Setter:
        return Setter(self.tex, self.kept)

    def repair(self, paths: Sequence[Path]) -> list[Told]:
        """All that is done to a page by itself, in place, and its deck; the mathematics of both
        stays TeX. Each page is read once, here."""
        return [self._repair(path) for path in paths]

    def complete(self, templates: Mapping[str, str], paths: Sequence[Path]) -> Made:
        """Previews and mathematics, in place; returns the formulas that were needed."""
        for path in paths:
            self._complete(path, templates)
        return self.setter.made

    def _repair(self, path: Path) -> Told:
        place = path.relative_to(self.html)
        page, up = place.as_posix(), "../" * (len(place.parts) - 1)
        chapter = self.named.get(page)
        text, put_back = without_code(path.read_text(encoding="utf-8"))
        soup = BeautifulSoup(text, "html.parser")
        labels = downloads.labels(soup)
        downloads.menu(soup, up, chapter, self.wheel, self.edition, self.repository)
        icons.draw(soup, self.html / icons.FONTS)
        pictures.point(soup, self.smaller)
        shown = previews.shown(soup, page)
        reading.repair(soup)
        previews.mark(soup, page, shown)
        path.write_text(put_back(str(soup)), encoding="utf-8")
        if chapter is not None and chapter.is_notebook:
            deck = put_back(slides.deck(soup, path.name, self.edition.banner))
            decks.write(self.html, chapter.name, deck)
        return Told(page, labels, {place: put_back(text) for place, text in shown.items()})

    def _complete(self, path: Path, templates: Mapping[str, str]) -> None:
        text, put_back = without_code(path.read_text(encoding="utf-8"))
        text = set_page(previews.insert(text, templates), self.setter)
        if path.parent.name == decks.FOLDER:
            text = slides.spoken(text)
        path.write_text(put_back(text), encoding="utf-8")


def finish(html: Path, root: Path, chapters: Sequence[Chapter], edition: Edition) -> None:
    """Finish the pages below `html` in place, on all cores.

    root holds the book's `_config.yml`, with the macros of its TeX and the repository, and
    `_build`, where formulas and pictures stay from build to build.
    """
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    tex: dict[str, Any] = config["sphinx"]["config"]["mathjax3_config"]["tex"]
    repository: dict[str, str] = config.get("repository") or {}
    kept = root / "_build" / "finished"
    taken = html / FOLDER
    taken.mkdir()
    wheel = downloads.build_wheel(root, taken)
    smaller = pictures.shrink(html, kept)
    named = {f"{chapter.document}.html": chapter for chapter in chapters}
    finisher = Finisher(html, tex, kept, named, wheel, edition, repository, smaller)
    told = [one for share in each(finisher.repair, _shares(pages(html))) for one in share]
    templates = {p.template: text for page in told for p, text in page.shown.items()}
    made = each(partial(finisher.complete, templates), _shares(pages(html)))  # decks among them
    Setter(tex, kept).keep(made)
    seen = {page.page.removesuffix(".html"): page.labels for page in told}
    known = downloads.places(html, chapters, seen, tex.get("macros", {}))
    downloads.write(taken, chapters, known, package(repository, wheel), edition)
    decks.add_reveal(html)
    _enter(html, chapters[0], config.get("title", ""))
    _take_away(html)


def _enter(html: Path, first: Chapter, title: str) -> None:
    """The site's own address leads to the first page; Jupyter Book's page for that has no name."""
    place = html / "index.html"
    if first.document != "index":
        name, address = escape(title or first.title), f"{first.document}.html"
        place.write_text(_ENTRANCE.format(name=name, address=address, icon=ICON), "utf-8")


def _take_away(html: Path) -> None:
    """What no page needs any more."""
    icons.trim(html)
    shutil.rmtree(html / "_sources", ignore_errors=True)
    for pattern in _IDLE:
        for path in html.rglob(pattern):
            path.unlink()


def pages(html: Path) -> list[Path]:
    """The book's own pages and decks: not those below `_static`."""
    every = sorted(html.rglob("*.html"))
    return [path for path in every if "_static" not in path.relative_to(html).parts]


def _shares(paths: list[Path]) -> list[list[Path]]:
    """The pages in a share a core, of about the same size: each to the lightest so far."""
    shares: list[list[Path]] = [[] for _ in range(min(cpu_count(), len(paths)))]
    weights = [0] * len(shares)
    for path in sorted(paths, key=lambda one: one.stat().st_size, reverse=True):
        lightest = weights.index(min(weights))
        shares[lightest].append(path)
        weights[lightest] += path.stat().st_size
    return shares
