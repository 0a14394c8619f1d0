"""A digest of the code that a function can execute: equal digests, equal results."""

from __future__ import annotations

import ast
import hashlib
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "numpy", "scipy")


def code_digest(module: str, roots: Mapping[str, Path] | None = None) -> str:
    """Hex digest of ``module``, all that it imports of its own package and of `moe`, and versions.

    The versions are those of Python, torch, numpy and scipy. ``roots``: top-level name -> the
    folder that holds it; by default those of ``module`` and of `moe`, wherever they were imported
    from. Files are read, not executed; the parents' __init__.py count, since importing runs them.
    """
    roots = {top: _root(top) for top in (_top(module), "moe")} if roots is None else roots
    digest = hashlib.sha256(f"python {platform.python_version()}".encode())
    for package in PACKAGES:
        digest.update(f"{package} {version(package)}".encode())
    for name, path in sorted(dependencies(module, roots).items()):
        digest.update(f"{name} {source_digest(path)}".encode())
    return digest.hexdigest()


def source_digest(path: Path) -> str:
    """Hex digest of what a Python file does: comments, layout and docstrings do not count.

    A file that does not parse counts as it stands.
    """
    text = path.read_bytes()
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return hashlib.sha256(text).hexdigest()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def dependencies(module: str, roots: Mapping[str, Path]) -> dict[str, Path]:
    """Dotted name -> file of all modules under ``roots`` that importing ``module`` can execute.

    A package imported by its own name may load names lazily, so that every module its __init__.py
    names in a string counts then.
    """
    waiting, found = {(module, False)}, dict[str, Path]()
    seen = set[tuple[str, bool]]()
    while waiting:
        name, whole = step = waiting.pop()
        seen.add(step)
        path = _file(name, roots)
        if path is None:
            continue
        found[name] = path
        parts = name.split(".")
        package = parts if path.name == "__init__.py" else parts[:-1]
        waiting |= {(".".join(parts[:i]), False) for i in range(1, len(parts))}
        waiting |= set(_imports(ast.parse(path.read_bytes()), package, whole, roots))
        waiting -= seen
    return found


def _imports(
    tree: ast.Module, package: list[str], whole: bool, roots: Mapping[str, Path]
) -> Iterator[tuple[str, bool]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                yield (inside, True) if _file(inside, roots) else (base, True)
        elif whole and isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.lstrip(".")
            yield from ((name, True) for name in (text, ".".join([*package, text])))


def _file(module: str, roots: Mapping[str, Path]) -> Path | None:
    parts = module.split(".")
    root = roots.get(parts[0])
    if root is None or not all(part.isidentifier() for part in parts):
        return None
    base = root.joinpath(*parts)
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)


def _top(module: str) -> str:
    return module.partition(".")[0]


def _root(top: str) -> Path:
    if top == "moe":
        return Path(__file__).resolve().parents[3]
    module = sys.modules[top]
    folders = [*getattr(module, "__path__", [])]  # a package, with or without an __init__.py
    return Path(folders[0] if folders else str(module.__file__)).resolve().parent
