"""What the results of a chapter depend on, as digests: equal digests, no need to execute again."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import joblib
from IPython.core.inputtransformer2 import TransformerManager

from builder.contents import Chapter
from builder.execution import execute
from moe.experiments.engine.code import dependencies, source_digest

PACKAGES = (
    *("torch", "numpy", "scipy", "scikit-learn", "joblib", "matplotlib"),
    *("ipykernel", "jupytext", "papermill"),
)


@lru_cache(1)
def versions() -> Mapping[str, str]:
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
    root = chapter.root
    found, names = _modules(_python(chapter.code_cells()), chapter)
    data = set(_data_files(names, root, chapter.source.parent)) - {chapter.source}
    found |= {str(path.relative_to(root)): _digest(path) for path in data}
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


def _modules(code: str, chapter: Chapter) -> tuple[dict[str, str], list[str]]:
    """What of the package `moe` and beside the chapter its code can execute, file -> digest, and
    the strings in all that code.

    Stays in the build folder, for the sources that it was told of last.
    """
    root, folder = chapter.root, chapter.source.parent
    sources = sorted({*folder.glob("*.py"), *(root / "moe").rglob("*.py")})
    contents = [(str(path.relative_to(root)), path.read_bytes()) for path in sources]
    finders = [Path(file).read_bytes() for file in (__file__, dependencies.__code__.co_filename)]
    key = joblib.hash([code, contents, finders, platform.python_version()])
    kept = root / "_build" / "finished" / f"{chapter.name}.modules.json"
    if kept.is_file() and (known := json.loads(kept.read_text("utf-8")))["key"] == key:
        return known["files"], known["names"]
    files, names = _told(code, root, folder)
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps({"key": key, "files": files, "names": names}), "utf-8")
    os.replace(part, kept)
    return files, names


def _told(code: str, root: Path, folder: Path) -> tuple[dict[str, str], list[str]]:
    """No file where the code does not parse, since then the chapter fails."""
    roots = {path.stem: folder for path in folder.glob("*.py")}
    try:
        files = set(dependencies(code, {**roots, "moe": root}).values())
    except SyntaxError:
        files = set()
    texts = [code, *(path.read_text(encoding="utf-8") for path in files)]
    names = sorted({name for text in texts for name in _strings(text)})
    return {str(path.relative_to(root)): _digest(path) for path in files}, names


def _data_files(names: Iterable[str], root: Path, folder: Path) -> Iterator[Path]:
    """Files of the repository that one of these strings names, or that lie in a folder it names.

    A name counts alone too: `DATA / "tones.csv"` finds data/tones.csv beside the chapter.
    """
    beside = {p.name: p for p in sorted((folder / "data").rglob("*")) if p.is_file()}
    for name in names:
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
