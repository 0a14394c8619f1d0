"""A homework's notebook, executed to its end whatever its cells do."""

from __future__ import annotations

import copy
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from builder import BuildError
from builder.contents import Chapter
from builder.execution.execute import prepare_environment

_TIMEOUT = 1_200


def execute(notebook: NotebookNode, chapter: Chapter) -> dict[str, str]:
    """Name of each cell -> its error, or nothing; the outputs are in the cells.

    Where a cell ends the program that runs the notebook, or does not end itself, all is run again
    without it. Raises BuildError where that does not help.
    """
    prepare_environment(chapter.root, 1)
    fatal = dict[str, str]()
    while True:
        trial, begun = copy.deepcopy(notebook), list[str]()
        for cell in trial.cells:
            if cell.id in fatal:
                cell.source = ""
        client = NotebookClient(
            trial,
            timeout=_TIMEOUT,
            kernel_name="python3",
            allow_errors=True,
            resources={"metadata": {"path": str(chapter.source.parent)}},
            on_cell_start=lambda cell, cell_index, begun=begun: begun.append(cell.id),
            on_cell_executed=_refuse_exit,
        )
        try:
            client.execute()
        except (DeadKernelError, CellTimeoutError) as error:
            if not begun or begun[-1] in fatal:
                raise BuildError(f"{chapter.name}: the cells cannot be run: {error}") from error
            fatal[begun[-1]] = _fate(error)
            continue
        notebook.cells = trial.cells
        return {cell.id: fatal.get(cell.id) or _error(cell) for cell in trial.cells}


def _refuse_exit(cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
    """After ``exit()`` the program would end in the middle of a later cell."""
    payload = execute_reply["content"].get("payload", [])
    if any(one.get("source") == "ask_exit" for one in payload):
        raise DeadKernelError(f"{cell.id}: exit()")


def _fate(error: Exception) -> str:
    if isinstance(error, CellTimeoutError):
        return f"it takes longer than {_TIMEOUT // 60} minutes"
    return "it ends the program that runs the cells"


def _error(cell: NotebookNode) -> str:
    errors = [out for out in cell.get("outputs", []) if out.output_type == "error"]
    return f"{errors[0].ename}: {errors[0].evalue}".rstrip(": ") if errors else ""
