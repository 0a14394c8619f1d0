"""Executed notebooks and plain pages to the folder that Jupyter Book reads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import yaml

from builder import BuildError
from builder.contents import Chapter, injected
from builder.edition import Edition
from builder.record import claims as ledger
from builder.record import sources
from builder.record.provenance import NOT_EXECUTED, citation, foot, runs_table, versions_table

SKIPPED = {".md", ".py", ".ipynb", ".pyc"}
ELSEWHERE = {"headline.png": "figures/07_recovery-fig-07-headline.png"}
"""File that another page shows -> the figure of a chapter that takes its place at full size."""


def stage(
    root: Path,
    chapters: list[Chapter],
    executed: Mapping[str, Path],
    folder: Path,
    edition: Edition,
) -> None:
    """Fill `folder`: pages, configuration, static files; `executed` maps name -> notebook.

    A notebook chapter without an entry in `executed` is staged without outputs and says so. Raises
    BuildError where the ledger of claims is not in order.
    """
    made, claimed, linked = {}, {}, dict[str, sources.File]()
    for chapter in chapters:
        (folder / chapter.document).parent.mkdir(parents=True, exist_ok=True)
        if not chapter.is_notebook:
            shutil.copy(chapter.source, folder / f"{chapter.document}.md")
            continue
        metadata, files = _put(chapter, executed, folder, edition)
        linked |= files
        if chapter.name in executed:
            made[chapter.document] = metadata["provenance"]
            claimed[chapter.name] = metadata.get("claims", [])
    rows = ledger.ledger(chapters, claimed)
    if complaints := ledger.problems(rows):
        raise BuildError("\n".join(["The ledger of claims is not in order:", *complaints]))
    generated = {
        "runs.txt": runs_table(made),
        "versions.txt": versions_table(made),
        "claims.txt": ledger.tables(rows, {c.document: c.title for c in chapters}),
        "citation.txt": citation(root),
        "counts.txt": ledger.counts(rows),
        "slides.txt": _decks(chapters),
        "claims.json": ledger.as_json(rows, made),
    }
    for top in sorted({Path(c.document).parts[0] for c in chapters if "/" in c.document}):
        _copy_files(root / top, folder / top)
        (folder / top / "_generated").mkdir()
        for name, text in generated.items():
            (folder / top / "_generated" / name).write_text(text, encoding="utf-8")
        for name, content in linked.items():
            place = folder / top / "_static" / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    shutil.copy(root / "_toc.yml", folder / "_toc.yml")
    quoted = {"claims": ledger.substitutions(rows)}
    _write_config(root / "_config.yml", folder / "_config.yml", edition.banner, quoted)


def _put(
    chapter: Chapter, executed: Mapping[str, Path], folder: Path, edition: Edition
) -> tuple[dict[str, Any], dict[str, sources.File]]:
    """Put a chapter's notebook in the folder; returns its metadata and the files it links to."""
    if chapter.name in executed:
        notebook = nbformat.read(executed[chapter.name], as_version=4)
        notebook = chapter.with_outputs(notebook)
    else:
        notebook = chapter.notebook()
    notebook = edition.shown(notebook)
    _finish(notebook, chapter)
    linked = sources.insert_links(notebook, chapter)
    linked |= elsewhere(linked, notebook.metadata.get("provenance", {}).get("parameters", {}))
    nbformat.write(notebook, folder / f"{chapter.document}.ipynb")
    return dict(notebook.metadata), linked


def elsewhere(
    files: Mapping[str, sources.File], made: Mapping[str, Any]
) -> dict[str, sources.File]:
    """What of a chapter's files other pages show; made: the parameters of the chapter."""
    if made.get("profile") != "full":
        return {}
    return {name: files[drawn] for name, drawn in ELSEWHERE.items() if drawn in files}


def _decks(chapters: list[Chapter]) -> str:
    """A list of links to the slides, for pages in the folder of the chapters."""
    with_slides = [chapter for chapter in chapters if chapter.is_notebook]
    link = '- <a href="../slides/{}.html">{}</a>\n'.format
    return "".join(link(chapter.name, escape(chapter.title)) for chapter in with_slides)


def _finish(notebook: nbformat.NotebookNode, chapter: Chapter) -> None:
    """Hide what papermill injected; show claims; tell at the foot how the page came to be."""
    ledger.insert_boxes(notebook)
    for cell in notebook.cells:
        if injected(cell):
            cell.metadata["tags"].append("remove-cell")
        if "parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = sorted({*cell.metadata["tags"], "hide-input"})
    provenance = notebook.metadata.get("provenance")
    text = foot(chapter.name, provenance) if provenance else NOT_EXECUTED
    notebook.cells.append(nbformat.v4.new_markdown_cell(text, id="provenance"))


def _copy_files(source: Path, target: Path) -> None:
    """Everything beside the chapters that a page can show or link to."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_file() and path.suffix not in SKIPPED and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def _write_config(source: Path, target: Path, banner: str, quoted: dict[str, Any]) -> None:
    config = yaml.safe_load(source.read_text(encoding="utf-8"))
    config["parse"]["myst_substitutions"] = quoted
    config["sphinx"]["config"]["html_theme_options"]["announcement"] = banner
    target.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
