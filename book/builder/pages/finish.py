"""All finishing touches, page by page, then what is no longer needed is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup

from builder.contents import Chapter
from builder.edition import Edition
from builder.pages import decks, downloads, icons, pictures, reading
from builder.pages.mathematics import Setter, set_page
from builder.teaching import slides

_IDLE = ("*.map", "togglebutton.*", "fontawesome.js*", "locales/**/*.mo", "locales/**/*.po")


def finish(html: Path, root: Path, chapters: Sequence[Chapter], edition: Edition) -> None:
    """Finish the pages below `html` in place.

    root holds the book's `_config.yml`, with the macros of its TeX and the repository, and
    `_build`, where formulas and pictures stay from build to build.
    """
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    tex: dict[str, Any] = config["sphinx"]["config"]["mathjax3_config"]["tex"]
    repository: dict[str, str] = config.get("repository") or {}
    kept = root / "_build" / "finished"
    setter = Setter(tex, kept)
    wheel = downloads.write(html, root, chapters, tex.get("macros", {}), edition)
    named = {f"{chapter.document}.html": chapter for chapter in chapters}
    smaller = pictures.shrink(html, kept)
    decks.add_reveal(html)
    for path in pages(html):
        place = path.relative_to(html)
        up = "../" * (len(place.parts) - 1)
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        downloads.menu(soup, up, named.get(place.as_posix()), wheel, edition, repository)
        icons.draw(soup, html / icons.FONTS)
        reading.repair(soup)
        pictures.point(soup, smaller)
        path.write_text(set_page(str(soup), setter), encoding="utf-8")
        if (chapter := named.get(place.as_posix())) and chapter.is_notebook:
            text = set_page(slides.deck(soup, path.name, edition.banner), setter)
            decks.write(html, chapter.name, slides.spoken(text))
    setter.keep()
    icons.trim(html)
    for pattern in _IDLE:
        for path in html.rglob(pattern):
            path.unlink()


def pages(html: Path) -> list[Path]:
    """The book's own pages: not those below `_static`."""
    every = sorted(html.rglob("*.html"))
    return [path for path in every if "_static" not in path.relative_to(html).parts]
