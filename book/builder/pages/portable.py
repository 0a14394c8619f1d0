"""A chapter as a notebook that runs elsewhere: plain Markdown, an install line, its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nbformat
from nbformat import NotebookNode
from pybtex.database import BibliographyData

INSTALL = """\
# Once: the package{where}.
try:
    import moe.experiments
except ModuleNotFoundError:
    %pip install "{package}"
"""
_OPEN = re.compile(r"^(:{3,}|`{3,})\{(?:prf:)?([a-z-]+)\}[ ]*(.*)$")
_ENDS = {"proof": "∎", "hint": "\n</details>"}
_ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
_TARGET = re.compile(r"(?m)^\([\w-]+\)=\n")
_EQUATION = re.compile(r"\$\$[ ]*\((eq-[\w-]+)\)")
_QUOTED = re.compile(r"\{\{ *claims\[[\"']([\w-]+)[\"']\]\.(\w+)(?:\.(\w+)\(\))? *\}\}")


@dataclass(frozen=True)
class Places:
    """What the text may refer to: labels, chapters' names, works cited, claims, macros of TeX."""

    texts: Mapping[str, str] = field(default_factory=dict)
    chapters: Mapping[str, str] = field(default_factory=dict)
    works: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    macros: Mapping[str, Any] = field(default_factory=dict)

    def role(self, kind: str, target: str) -> str:
        """What a role like {eq}`label` shows."""
        label = re.sub(r"^.*<([^<>]+)>$", r"\1", target)
        if kind == "term":
            return target.partition("<")[0].strip()
        if kind == "doc":
            return f"*{self.chapters.get(label.rpartition('/')[2], label)}*"
        if kind.startswith("cite"):
            works = "; ".join(self.works.get(key.strip(), key) for key in label.split(","))
            return works if kind == "cite:t" else f"({works})"
        return self.texts.get(label) or self.texts.get(f"equation-{label}") or label


def citations(works: BibliographyData) -> dict[str, str]:
    """Key -> "Makkuva et al., 2020"."""
    found = {}
    for key, entry in works.entries.items():
        names = [" ".join(p.prelast_names + p.last_names) for p in entry.persons.get("author", [])]
        who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        found[key] = re.sub(r"[{}\\]", "", f"{who or key}, {entry.fields.get('year', '')}")
    return found


_BESIDE = ", a file beside this notebook (from the same menu of the book's page)"


def portable(notebook: NotebookNode, places: Places, package: str) -> NotebookNode:
    """The cells of a chapter's source for any Jupyter: no output, no directive, no role; `package`
    is what pip is to install, a file or an address, or nothing."""
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cells.append(nbformat.v4.new_markdown_cell(plain(cell.source, places)))
            continue
        tags = cell.metadata.get("tags", [])
        folded = {"jupyter": {"source_hidden": True}} if "hide-input" in tags else {}
        metadata = {"tags": tags, **folded} if tags else {}
        cells.append(nbformat.v4.new_code_cell(cell.source, metadata=metadata))
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if caption := figure.get("caption"):
            number = places.texts.get(figure.get("name", ""), "Figure")
            caption = f"*{number}:* {plain(caption, places)}"
            cells.append(nbformat.v4.new_markdown_cell(caption))
    if package:
        where = _BESIDE if package.startswith("./") else ""
        line = INSTALL.format(where=where, package=package)
        cells.insert(1, nbformat.v4.new_code_cell(line))
    cells.insert(1, nbformat.v4.new_markdown_cell(_commands(places.macros)))
    for count, cell in enumerate(cells):
        cell["id"] = f"cell-{count}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _commands(macros: Mapping[str, Any]) -> str:
    """The book's macros, for formulas that cells display."""
    made = []
    for name, value in macros.items():
        body, count = value if isinstance(value, list) else (value, 0)
        made.append(rf"\newcommand{{\{name}}}{f'[{count}]' if count else ''}{{{body}}}")
    note = "*A chapter of the book, to run and to change. References lead to the book's pages.*"
    return f"{note} ${''.join(made)}$"


def plain(text: str, places: Places) -> str:
    """MyST as the Markdown that every Jupyter shows."""
    text = _TARGET.sub("", text)
    lines, ends = [], list[tuple[str, str]]()
    options = False
    for line in text.split("\n"):
        if opened := _OPEN.match(line):
            fence, kind, title = opened.groups()
            ends.append((fence, _ENDS.get(kind, "")))
            lines.append(_head(kind, title))
            options = True
        elif ends and line.strip() == ends[-1][0]:
            mark = ends.pop()[1]
            lines += [mark] if mark else []
        elif options and (found := re.match(r"^:([a-z]+):[ ]*(.*)$", line)):
            if found[1] == "label" and (number := places.texts.get(found[2])):
                lines[-1] = re.sub(r"^\*\*\w+", f"**{number}", lines[-1])
        else:
            if options and line.strip():
                lines.append("")
                options = False
            lines.append(line)
    return _inline("\n".join(lines), places)


def _head(kind: str, title: str) -> str:
    name = kind.capitalize()
    if kind == "hint":
        return "<details><summary>Hint</summary>"
    if kind == "solution":
        return f"**Solution of** {{ref}}`{title.strip()}`"
    if kind in ("admonition", "note", "warning", "tip"):
        return f"**{title or name}**"
    return f"**{name}.**" + (f" *{title}*" if title else "")


def _inline(text: str, places: Places) -> str:
    def quoted(match: re.Match[str]) -> str:
        value = str(places.claims.get(match[1], {}).get(match[2], ""))
        return getattr(value, match[3])() if match[3] else value

    def numbered(match: re.Match[str]) -> str:
        number = places.texts.get(f"equation-{match[1]}", "").strip("()")
        return (rf"\tag{{{number}}}" if number else "") + " $$"

    text = _QUOTED.sub(quoted, text)
    text = _EQUATION.sub(numbered, text)
    text = _ROLE.sub(lambda m: places.role(m[1], m[2]), text)
    return expand(text, places.macros)


def expand(text: str, macros: Mapping[str, Any]) -> str:
    r"""TeX without the book's own macros: ``\E{x}`` becomes ``\mathbb{E}\left[x\right]``."""
    for name, value in macros.items():
        body, count = value if isinstance(value, list) else (value, 0)
        while found := re.search(rf"\\{name}(?![a-zA-Z])", text):
            end, given = found.end(), list[str]()
            for _ in range(count):
                argument, end = _argument(text, end)
                given.append(argument)
            filled = body
            for place, argument in enumerate(given, 1):
                filled = filled.replace(f"#{place}", argument)
            text = text[: found.start()] + filled + text[end:]
    return text


def _argument(text: str, start: int) -> tuple[str, int]:
    """The argument in braces, or the one character, at `start`; where it ends."""
    while text[start] == " ":
        start += 1
    if text[start] != "{":
        return text[start], start + 1
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0) * (text[at - 1] != "\\")
        if depth == 0:
            return text[start + 1 : at], at + 1
    raise ValueError(f"no end of the argument: {text[start : start + 40]!r}")
