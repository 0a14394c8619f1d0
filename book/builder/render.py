"""The staged folder to HTML, every warning an error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from builder import BuildError

_JUPYTER_BOOK = """
import gc
from jupyter_book.cli.main import main
gc.freeze()
gc.set_threshold(50_000, 20, 100)
main()
"""
"""Trees of documents are many small objects that live long: Python looks through them for garbage
less often than it would, which was a third of the time."""
_OPTIONS = ("--all", "-n", "--keep-going")
_NOTEBOOK = re.compile(r"(\S+)\.ipynb:(\d+)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def render(staged: Path, output: Path, strict: bool) -> Path:
    """Run Jupyter Book; returns the folder of the HTML. BuildError lists the warnings.

    Nothing is executed here. An incremental build would forget the warnings of the one before it,
    hence `--all`.
    """
    command = [sys.executable, "-c", _JUPYTER_BOOK, "build", str(staged)]
    command += ["--path-output", str(output), *_OPTIONS, *(["-W"] if strict else [])]
    result = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    html = output / "_build" / "html"
    if result.returncode or not (html / "index.html").is_file():
        raise BuildError(explain(result.stdout + result.stderr, staged))
    return html


def explain(log: str, staged: Path) -> str:
    """The warnings and errors of a Sphinx log, with places in the sources; else its last lines."""
    lines = _ANSI.sub("", log).replace(f"{staged}/", "").splitlines()
    told = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    told = list(dict.fromkeys(_NOTEBOOK.sub(_place, line) for line in told))
    return "\n".join(["Jupyter Book refused the pages:", *(told or lines[-30:])])


def _place(match: re.Match[str]) -> str:
    """myst-nb counts 10,000 lines a cell: `x.ipynb:30002` is line 2 of the third cell."""
    cell, line = divmod(int(match[2]), 10_000)
    return f"{match[1]}.md (line {line} of cell {cell}, text cells counted)"
