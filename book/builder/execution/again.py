"""Chapters executed twice from nothing: what they show must be the same, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from builder import BuildError
from builder.execution.execute import Job, run_all


def execute_in(folder: Path, jobs: list[Job], workers: int | None = None) -> list[Path]:
    """The notebooks of some jobs, executed in a folder without a trace of an earlier run: finished
    trials of sweeps are kept in it too. Raises BuildError where a cell fails."""
    placed = [Job(j.chapter, folder / j.target.name, j.parameters, j.provenance) for j in jobs]
    before = os.environ.get("MOE_STORE")
    os.environ["MOE_STORE"] = str(folder / "sweeps")
    try:
        failures = run_all(placed, workers, lambda job, outcome: None)
    finally:
        del os.environ["MOE_STORE"]
        if before is not None:
            os.environ["MOE_STORE"] = before
    if failures:
        raise BuildError("\n\n".join(str(failure) for failure in failures))
    return [job.target for job in placed]


def differences(one: Path, other: Path) -> list[str]:
    """What two executed notebooks of a chapter show that is not the same."""
    return list(_differences(*(nbformat.read(file, as_version=4) for file in (one, other))))


def _differences(one: NotebookNode, other: NotebookNode) -> Iterator[str]:
    if one.metadata.get("claims") != other.metadata.get("claims"):
        yield "the claims differ"
    shown, again = (list(_shown(notebook)) for notebook in (one, other))
    if len(shown) != len(again):
        yield f"{len(shown)} outputs, then {len(again)}"
    for (cell, kind, content), (_, _, then) in zip(shown, again, strict=False):
        if content != then:
            yield f"cell {cell}: {kind} differs"


def _shown(notebook: NotebookNode) -> Iterator[tuple[int, str, Any]]:
    """Every form of every output: number of its code cell, kind, content."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        for output in cell.outputs:
            for kind, content in output.get("data", {"text": output.get("text")}).items():
                yield number, kind, content
