"""The whole book as one PDF: its pages joined to one, which Chromium prints.

One page, so that links between chapters work on paper too, and so that its headings become the
outline. Solutions are printed; code and controls are left out, and figures that move stand still.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from builder import BuildError
from builder.pages.held import without_drawings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 900
"""Longest that the browser may take."""
_GLYPHS = re.compile(r'<svg class="glyphs".*?</svg>', re.DOTALL)
_GLYPH = re.compile(r'<path id="([^"]+)"[^>]*/>')
_SHEET = re.compile(r'<link href="([^"]+)" rel="stylesheet"')
_LEFT_OUT = """script, style, template, button, input, noscript, a.headerlink, p.made-by,
details.hide, .moe-interactive"""
_IN_HEADINGS = "h1 .math, h2 .math, h3 .math, h4 .math"
_PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">
<title>{title}</title>
{sheets}
<style>
@page {{ size: A4; margin: 18mm 16mm 20mm }}
@page {{ @bottom-center {{ content: counter(page); font-size: 9pt }} }}
html {{ font-size: 11.5px }}
body {{ display: block }}
article {{ break-before: page }}
article:first-of-type {{ break-before: auto }}
.bd-article-container {{ max-width: none; padding: 0; width: 100% }}
.bd-article {{ padding: 0 !important }}
h1, h2, h3, h4 {{ break-after: avoid; color: #000; line-height: 1.3 }}
h1 {{ font-size: 1.7rem }}
h2 {{ font-size: 1.45rem }}
h3, h4 {{ font-size: 1.2rem }}
img {{ max-height: 21cm; object-fit: contain }}
figure, table, div.math, .sd-card, .formula {{ break-inside: avoid }}
div.math svg {{ max-width: 100% }}
body *:not(#none) {{ box-shadow: none !important }}
</style></head>
<body>{glyphs}<main><div class="bd-content"><div class="bd-article-container">
{articles}
</div></div></main></body></html>
"""


def joined(html: Path, documents: Sequence[str]) -> str:
    """The pages of these documents as one, which names files by their place on this machine."""
    names = [Path(document).name for document in documents]
    glyphs, articles, sheets, title = dict[str, str](), list[str](), "", ""
    for document, name in zip(documents, names, strict=True):
        page = html / f"{document}.html"
        if not page.is_file():
            raise BuildError(f"{page} was not built: make book, quick or students")
        text = page.read_text(encoding="utf-8")
        for outline in _GLYPHS.findall(text):
            glyphs |= {found[1]: found[0] for found in _GLYPH.finditer(outline)}
        if not sheets:
            sheets = _sheets(text, page.parent)
        held, put_back = without_drawings(_GLYPHS.sub("", text))
        soup = BeautifulSoup(held, "html.parser")
        article = soup.select_one("article.bd-article")
        if article is None:
            raise BuildError(f"{document}.html has no article to print")
        if not title and (heading := article.select_one("h1")):
            title = heading.get_text().rstrip("#").strip()
            if banner := soup.select_one(".bd-header-announcement__content"):
                banner.name = "p"
                del banner["class"]
                heading.insert_after(banner)
        articles.append(put_back(str(_printable(article, page.parent, name, names))))
    defined = "".join(glyphs[name] for name in sorted(glyphs))
    return _PAGE.format(
        title=escape(title),
        sheets=sheets,
        glyphs=f'<svg class="glyphs" aria-hidden="true"><defs>{defined}</defs></svg>',
        articles="\n".join(articles),
    )


def _as_text(formula: Tag) -> None:
    """The MathML in place of the drawing: the outline takes its words from what is printed."""
    said = formula.select_one(".mathml")
    formula.clear()
    if said is not None:
        formula.extend(list(said.children))


def _sheets(text: str, folder: Path) -> str:
    paths = (folder / unquote(urlsplit(found).path) for found in _SHEET.findall(text))
    return "\n".join(f'<link rel="stylesheet" href="{p.resolve().as_uri()}">' for p in paths)


def _printable(article: Tag, folder: Path, name: str, names: Sequence[str]) -> Tag:
    for idle in article.select(_LEFT_OUT):
        idle.decompose()
    for fold in article.select("details"):
        fold["open"] = ""
    for formula in article.select(_IN_HEADINGS):
        _as_text(formula)
    for one in article.select("[id]"):
        one["id"] = f"{name}--{one['id']}"
    article["id"] = name
    for picture in article.select("img"):
        del picture["loading"]
        if not str(picture["src"]).startswith("data:"):
            picture["src"] = (folder / unquote(str(picture["src"]))).resolve().as_uri()
    for link in article.select("a[href]"):
        if target := _target(str(link["href"]), name, names):
            link["href"] = target
        else:
            link.unwrap()
    return article


def _target(href: str, name: str, names: Sequence[str]) -> str:
    """Where a link leads in the joined page; nothing for files that lie beside it."""
    parts = urlsplit(href)
    if parts.scheme:
        return href
    page = Path(unquote(parts.path)).stem if parts.path else name
    if page not in names or (parts.path and Path(parts.path).suffix != ".html"):
        return ""
    return f"#{page}--{parts.fragment}" if parts.fragment else f"#{page}"


def browser() -> str:
    """The first Chromium on the path; raises BuildError where there is none."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise BuildError(
        f"make pdf prints with Chromium, and there is none here (looked for {', '.join(BROWSERS)}):"
        " install one, or print single pages from the menu at their top"
    )


def write(html: Path, documents: Sequence[str], target: Path) -> Path:
    """Print the documents of a built book to `target`.

    Raises BuildError where there is no Chromium, or where it writes no PDF.
    """
    command = [browser(), "--headless", "--disable-gpu", "--no-pdf-header-footer"]
    command += ["--generate-pdf-document-outline", "--disable-background-networking"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # it refuses to run as root with one
    with tempfile.TemporaryDirectory() as place:
        page, printed = Path(place) / "book.html", Path(place) / "book.pdf"
        page.write_text(joined(html, documents), encoding="utf-8")
        command += [f"--user-data-dir={place}/profile", f"--print-to-pdf={printed}", page.as_uri()]
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{command[0]} did not print within {SECONDS} s") from error
        if ran.returncode or not printed.is_file():
            raise BuildError(f"{command[0]} printed nothing: {ran.stderr.strip()[-500:]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(printed, target)
    return target
