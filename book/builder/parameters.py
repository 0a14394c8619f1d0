"""The `parameters` cell of a chapter, and values given for it on the command line."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from nbformat import NotebookNode

from builder import BuildError

PROFILES = ("quick", "full")


def defaults(notebook: NotebookNode) -> dict[str, Any]:
    """Names and default values assigned in the cell tagged `parameters`; empty without one."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            return _assignments(cell.source)
    return {}


def _assignments(source: str) -> dict[str, Any]:
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name):
            try:
                found[target.id] = ast.literal_eval(value)
            except ValueError:
                raise BuildError(
                    f"parameters cell: {target.id} must be a literal (a number, a string, "
                    f"None, a list), got {ast.unparse(value)}"
                ) from None
    return found


def parse(arguments: Iterable[str]) -> dict[str, Any]:
    """`["seed=3", "mu=1e-3", "g=relu"]` -> `{"seed": 3, "mu": 0.001, "g": "relu"}`."""
    values = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not (equals and name.isidentifier()):
            raise BuildError(f"ARGS: expected name=value, got {argument!r}")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = yaml.safe_load(text)
    return values


def resolve(
    known: Mapping[str, Any], profile: str, overrides: Mapping[str, Any], chapter: str
) -> dict[str, Any]:
    """What to inject: the profile, where the chapter knows it, and the caller's values.

    Raises BuildError for a name the chapter does not have and for a value of another type.
    """
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        names = ", ".join(known) or "none"
        raise BuildError(f"{chapter}: unknown parameter {', '.join(unknown)}; known: {names}")
    injected = {"profile": profile} if "profile" in known else {}
    injected.update(overrides)
    for name, value in injected.items():
        if not _fits(value, known[name]):
            raise BuildError(
                f"{chapter}: {name} must be of type {type(known[name]).__name__}, got {value!r}"
            )
    if injected.get("profile", profile) not in PROFILES:
        raise BuildError(
            f"{chapter}: profile must be {' or '.join(PROFILES)}, got {injected['profile']!r}"
        )
    return injected


def _fits(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default) or {type(value), type(default)} == {list, tuple}
