"""Where slides lie: beside the book's pages, with its figures; or each in one file to carry."""

from __future__ import annotations

import base64
import re
import shutil
from importlib.resources import files
from mimetypes import guess_type
from pathlib import Path

from builder import BuildError

FOLDER = "slides"
REVEAL = "_static/reveal"
_PARTS = ("dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js", "LICENSE")
_STYLE = re.compile(r'<link rel="stylesheet" href="([^"]+)">')
_SCRIPT = re.compile(r'<script src="([^"]+)"></script>')
_IMAGE = re.compile(r'(<img\b[^>]*\bsrc=")([^"]+)(")')
_AWAY = re.compile(r'<a\b[^>]*href="\.\./[^"]*"[^>]*>(.*?)</a>', re.DOTALL)


def add_reveal(html: Path) -> None:
    """reveal.js, of which all decks of a book share one copy."""
    (html / REVEAL).mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        source = files("sphinx_revealjs").joinpath("_static/revealjs", part)
        shutil.copy(str(source), html / REVEAL / Path(part).name)


def write(html: Path, name: str, text: str) -> None:
    (html / FOLDER).mkdir(exist_ok=True)
    (html / FOLDER / f"{name}.html").write_text(text, encoding="utf-8")


def carry(html: Path, folder: Path, name: str = "") -> list[Path]:
    """The deck called `name`, or each, of a built book as one file in `folder`.

    Raises BuildError where the book has none.
    """
    decks = sorted((html / FOLDER).glob(f"{name or '*'}.html"))
    if not decks:
        raise BuildError(
            f"no slides of {name or 'any chapter'} in {html}: make quick, or make book"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for deck in decks:
        (folder / deck.name).write_text(in_one_file(deck), encoding="utf-8")
    return [folder / deck.name for deck in decks]


def in_one_file(deck: Path) -> str:
    """The deck with all that it loads inside; links to the book's pages become plain text."""

    def text(match: re.Match[str]) -> str:
        return (deck.parent / match[1]).read_text(encoding="utf-8")

    def script(match: re.Match[str]) -> str:
        return f"<script>{text(match).replace('</script', '<' + chr(92) + '/script')}</script>"

    def image(match: re.Match[str]) -> str:
        data = base64.b64encode((deck.parent / match[2]).read_bytes()).decode()
        kind = guess_type(match[2])[0] or "image/webp"
        return f"{match[1]}data:{kind};base64,{data}{match[3]}"

    html = _AWAY.sub(lambda m: m[1], deck.read_text(encoding="utf-8"))
    html = _IMAGE.sub(image, html)
    html = _STYLE.sub(lambda m: f"<style>{text(m)}</style>", html)
    return _SCRIPT.sub(script, html)
