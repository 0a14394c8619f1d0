"""All finishing touches, page by page, then what is no longer needed is taken away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup
from joblib import cpu_count

from builder.contents import Chapter
from builder.edition import Edition
from builder.pages import decks, downloads, icons, pictures, previews, reading
from builder.pages.held import without_code
from builder.pages.mathematics import Made, Setter, set_page
from builder.parallel import each
from builder.teaching import slides

_IDLE = ("*.map", "togglebutton.*", "fontawesome.js*", "locales/**/*.mo", "locales/**/*.po")


@dataclass(frozen=True)
class Finisher:
    """What the pages below `html` are finished with: configuration of TeX, folder of the formulas
    made before, chapters by page, name of the wheel, edition, repository, new names of pictures,
    what links can show."""

    html: Path
    tex: dict[str, Any]
    kept: Path
    named: Mapping[str, Chapter]
    wheel: str
    edition: Edition
    repository: dict[str, str]
    smaller: Mapping[str, pictures.Picture]
    shown: Mapping[previews.Place, str]

    @cached_property
    def setter(self) -> Setter:
        return Setter(self.tex, self.kept)

    def __call__(self, pages: Sequence[Path]) -> Made:
        """Finish these pages in place and write their decks; returns the formulas they needed."""
        for path in pages:
            self._finish(path)
        return self.setter.made

    def _finish(self, path: Path) -> None:
        place = path.relative_to(self.html)
        chapter = self.named.get(place.as_posix())
        text, put_back = without_code(path.read_text(encoding="utf-8"))
        soup = BeautifulSoup(text, "html.parser")
        up = "../" * (len(place.parts) - 1)
        downloads.menu(soup, up, chapter, self.wheel, self.edition, self.repository)
        icons.draw(soup, self.html / icons.FONTS)
        reading.repair(soup)
        previews.insert(soup, place.as_posix(), self.shown)
        pictures.point(soup, self.smaller)
        path.write_text(put_back(set_page(str(soup), self.setter)), encoding="utf-8")
        if chapter is not None and chapter.is_notebook:
            deck = set_page(slides.deck(soup, path.name, self.edition.banner), self.setter)
            decks.write(self.html, chapter.name, put_back(slides.spoken(deck)))


def finish(html: Path, root: Path, chapters: Sequence[Chapter], edition: Edition) -> None:
    """Finish the pages below `html` in place, on all cores.

    root holds the book's `_config.yml`, with the macros of its TeX and the repository, and
    `_build`, where formulas and pictures stay from build to build.
    """
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    tex: dict[str, Any] = config["sphinx"]["config"]["mathjax3_config"]["tex"]
    kept = root / "_build" / "finished"
    paths = pages(html)
    finisher = Finisher(
        html,
        tex,
        kept,
        {f"{chapter.document}.html": chapter for chapter in chapters},
        downloads.write(html, root, chapters, tex.get("macros", {}), edition),
        edition,
        config.get("repository") or {},
        pictures.shrink(html, kept),
        previews.collect(html, paths),
    )
    decks.add_reveal(html)
    finisher.setter.keep(each(finisher, _shares(paths, cpu_count())))
    icons.trim(html)
    for pattern in _IDLE:
        for path in html.rglob(pattern):
            path.unlink()


def pages(html: Path) -> list[Path]:
    """The book's own pages: not those below `_static`."""
    every = sorted(html.rglob("*.html"))
    return [path for path in every if "_static" not in path.relative_to(html).parts]


def _shares(paths: list[Path], count: int) -> list[list[Path]]:
    """The pages in at most `count` shares, of about the same size: each to the lightest so far."""
    shares: list[list[Path]] = [[] for _ in range(min(count, len(paths)))]
    weights = [0] * len(shares)
    for path in sorted(paths, key=lambda one: one.stat().st_size, reverse=True):
        lightest = weights.index(min(weights))
        shares[lightest].append(path)
        weights[lightest] += path.stat().st_size
    return shares
