"""What the results of a chapter depend on, as digests: equal digests, no need to execute again."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from builder import execute
from builder.contents import Chapter
from moe.experiments.engine.code import dependencies, source_digest

PACKAGES = (
    *("torch", "numpy", "scipy", "scikit-learn", "joblib", "matplotlib"),
    *("ipykernel", "jupytext", "papermill"),
)


def versions() -> dict[str, str]:
    """Python and the packages whose version can change a number or a figure."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def ingredients(chapter: Chapter, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Everything the outputs of `chapter` depend on: name -> digest or value.

    Of the chapter itself these are the code cells and their tags: prose, captions and alternative
    texts can change without an execution.
    """
    root, folder = chapter.root, chapter.source.parent
    code = _python(chapter.code_cells())
    files = _modules(code, root, folder)
    texts = [code, *(f.read_text(encoding="utf-8") for f in files)]
    files |= set(_data_files(texts, root, folder)) - {chapter.source}
    found = {str(f.relative_to(root)): _digest(f) for f in files}
    found[str(chapter.source.relative_to(root))] = _cells_digest(chapter)
    found["how chapters are executed"] = _digest(Path(execute.__file__))
    found["parameters"] = json.dumps(dict(parameters), sort_keys=True)
    found |= {f"{name} version": value for name, value in versions().items()}
    return dict(sorted(found.items()))


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Names of the ingredients that differ."""
    return sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))


def _digest(path: Path) -> str:
    if path.suffix == ".py":
        return source_digest(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cells_digest(chapter: Chapter) -> str:
    cells = [c for c in chapter.notebook().cells if c.cell_type == "code"]
    tagged = [(cell.source, sorted(cell.metadata.get("tags", []))) for cell in cells]
    return hashlib.sha256(json.dumps(tagged).encode()).hexdigest()


def _python(cells: list[str]) -> str:
    """The cells as one module, with IPython's magics turned into calls."""
    transform = TransformerManager().transform_cell
    return "\n".join(transform(source) for source in cells)


def _modules(code: str, root: Path, folder: Path) -> set[Path]:
    """Of the package `moe` and beside the chapter; none where the code does not parse, since then
    the chapter fails."""
    roots = {path.stem: folder for path in folder.glob("*.py")}
    try:
        return set(dependencies(code, {**roots, "moe": root}).values())
    except SyntaxError:
        return set()


def _data_files(texts: list[str], root: Path, folder: Path) -> Iterator[Path]:
    """Files of the repository that a string in the code names, or that lie in a folder it names.

    A name counts alone too: `DATA / "tones.csv"` finds data/tones.csv beside the chapter.
    """
    beside = {p.name: p for p in sorted((folder / "data").rglob("*")) if p.is_file()}
    for name in {name for text in texts for name in _strings(text)}:
        if name in beside:
            yield beside[name]
        for start in (folder, root):
            if not os.path.exists(os.path.join(start, name)):
                continue
            path = (start / name).resolve()
            if path == root or root not in path.parents or path in (folder, *folder.parents):
                continue
            if path.is_file():
                yield path
            elif path.is_dir() and path.parent.name == "data":
                yield from (p for p in path.rglob("*") if p.is_file())


@lru_cache(1024)
def _strings(code: str) -> frozenset[str]:
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return frozenset()
    found = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return frozenset(
        text
        for text in found
        if isinstance(text, str) and 0 < len(text) < 200 and text.isprintable()
    )
