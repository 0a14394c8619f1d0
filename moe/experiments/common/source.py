"""Where a figure or table of a page was made: what an output tells the book about itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIME = "application/vnd.moe.source+json"
_ROOT = Path(__file__).resolve().parents[3]


def source(function: Callable[..., Any], csv: str, note: str = "") -> dict[str, Any]:
    """The entry MIME of an output: file from the root, line and name of ``function``; its data.

    note: how ``csv`` differs from what is shown; empty where it does not.
    """
    function = inspect.unwrap(function)
    code = function.__code__
    file = Path(code.co_filename).resolve()
    place = file.relative_to(_ROOT) if file.is_relative_to(_ROOT) else Path(file.name)
    found = {"file": place.as_posix(), "line": code.co_firstlineno, "function": code.co_name}
    return {**found, "csv": csv, "note": note}
