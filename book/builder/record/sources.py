"""Below each figure and table: the function that made it, its source in the book, its data, and
the figure as a file to take away."""

from __future__ import annotations

import ast
import base64
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import Any

import nbformat
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from builder.contents import Chapter
from builder.pages.reading import ICON
from builder.record.vectors import light
from moe.experiments.shown.tables import MIME

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>{icon}
<link rel="stylesheet" href="source.css"></head>
<body><h1><code>{title}</code></h1>
{code}</body></html>
"""
_SHEET = """:root {{ color-scheme: light dark }}
body {{ margin: 1rem }}
pre {{ line-height: 1.4; overflow-x: auto }}
pre .linenos {{ margin-right: 1em; user-select: none }}
pre > span {{ scroll-margin-top: 4rem }}
pre > span:target {{ background: #3b78c455 }}
{light}
@media (prefers-color-scheme: dark) {{
{dark}
}}
"""
File = str | bytes
_STYLES = {"light": "a11y-high-contrast-light", "dark": "a11y-high-contrast-dark"}


def insert_links(notebook: NotebookNode, chapter: Chapter) -> dict[str, File]:
    """After each cell whose outputs tell where they come from, a line with links.

    Takes what they tell out of the outputs. Returns the files that the links lead to: name below
    `_static` -> text or bytes.
    """
    files: dict[str, File] = {}
    cells: list[NotebookNode] = []
    up = "../" * chapter.document.count("/") + "_static/"
    for cell in notebook.cells:
        cells.append(cell)
        lines = []
        for told in _told(cell):
            links = list(_links(told, _label(cell, told), chapter, files))
            lines += [f'<p class="made-by">{" · ".join(links).format(up=up)}</p>'] if links else []
        if lines:
            text = "\n".join(lines)
            cells.append(nbformat.v4.new_markdown_cell(text, id=f"source-{cell['id']}"[:64]))
    notebook.cells = cells
    return files


def _told(cell: NotebookNode) -> Iterator[dict[str, Any]]:
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if (told := data.pop(MIME, None)) is not None:
            yield {**told, "png": data.get("image/png")}


def _label(cell: NotebookNode, told: dict[str, Any]) -> str:
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    return str(figure.get("name") or told.get("function") or "table")


def _links(
    told: dict[str, Any], label: str, chapter: Chapter, files: dict[str, File]
) -> Iterator[str]:
    file, function = told.get("file"), str(told.get("function"))
    if file and (path := chapter.root / file).is_file():
        text = path.read_text(encoding="utf-8")
        page = f"source/{file.removesuffix('.py').replace('/', '.')}.html"
        if page not in files:
            files[page] = source_page(file, text)
            files["source/source.css"] = sheet()
        line = line_of(function, text) or told["line"]
        place = f"<code>{escape(file)}</code>, line {line} (function <code>{function}</code>)"
        yield f'source: <a href="{{up}}{page}#L-{line}">{place}</a>'
    stem = f"{chapter.name}-{label}"
    if told.get("csv"):
        name = _add(files, f"data/{stem}", ".csv", told["csv"])
        note = f" ({escape(told['note'])})" if told.get("note") else ""
        yield f'data: <a href="{{up}}{name}" download>CSV</a>{note}'
    if told.get("svg") and told["png"]:
        pdf, png = (base64.b64decode(told[form]) for form in ("pdf", "png"))
        drawn: dict[str, File] = {".svg": light(told["svg"]), ".pdf": pdf, ".png": png}
        names = [_add(files, f"figures/{stem}", suffix, file) for suffix, file in drawn.items()]
        forms = [f'<a href="{{up}}{name}" download>{name[-3:].upper()}</a>' for name in names]
        yield f"figure: {', '.join(forms)}"


def _add(files: dict[str, File], stem: str, suffix: str, content: File) -> str:
    """Keep the content under a name that is free, and return it."""
    name, count = f"{stem}{suffix}", 1
    while name in files:
        count += 1
        name = f"{stem}-{count}{suffix}"
    files[name] = content
    return name


def line_of(function: str, text: str) -> int | None:
    """The line of its ``def``: comments move it, and execute nothing anew."""
    return _lines(text).get(function)


@lru_cache(64)
def _lines(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, node.lineno)
    return found


@lru_cache(64)
def source_page(file: str, text: str) -> str:
    """A Python file as a page of its own, a place ``L-<number>`` for each line."""
    lines = HtmlFormatter(linenos="inline", linespans="L", wrapcode=True)
    return _PAGE.format(title=escape(file), icon=ICON, code=highlight(text, PythonLexer(), lines))


@lru_cache(1)
def sheet() -> str:
    """The colours of all such pages, for light and dark."""
    styles = {name: HtmlFormatter(style=style) for name, style in _STYLES.items()}
    return _SHEET.format(**{n: form.get_style_defs(".highlight") for n, form in styles.items()})
