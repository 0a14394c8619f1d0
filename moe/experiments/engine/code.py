"""A digest of the code that a function can execute: equal digests, equal results."""

from __future__ import annotations

import ast
import hashlib
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path
from types import CodeType
from typing import Any

PACKAGES = ("torch", "numpy", "scipy")
_SOURCE, _PACKAGE = 1, 5  # modulefinder's own numbers for a file and a folder


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
    for name, path in sorted(dependencies(f"from {module} import trial", roots).items()):
        digest.update(f"{name} {source_digest(path)}".encode())
    return digest.hexdigest()


def source_digest(path: Path) -> str:
    """Hex digest of what a Python file does: comments, layout and docstrings do not count.

    A file that does not parse counts as it stands.
    """
    return _meaning(path.read_bytes())


@lru_cache(1024)
def _meaning(text: bytes) -> str:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return hashlib.sha256(text).hexdigest()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def dependencies(code: str, roots: Mapping[str, Path]) -> dict[str, Path]:
    """Dotted name -> file of all modules under ``roots`` that running ``code`` can execute.

    ``roots``: top-level name -> the folder that holds it. A package that loads names lazily (it has
    a ``__getattr__``) counts whole where ``import package`` binds it, and where such a name is
    imported from it. Imports by computed names are not seen. Raises SyntaxError for ``code`` that
    does not parse.
    """
    finder = _Finder(roots)
    finder.scan_code(compile(code, "<code>", "exec"), finder.add_module("__main__"))
    for top, root in roots.items():
        if finder.loads_more_of(top):
            for path in sorted((root / top).rglob("*.py")):
                name = ".".join(path.relative_to(root).with_suffix("").parts)
                finder.import_hook(name.removesuffix(".__init__"))
    return {n: Path(m.__file__) for n, m in finder.modules.items() if m.__file__}


class _Finder(ModuleFinder):
    """Knows the modules under ``roots`` and no others."""

    modules: Any

    def __init__(self, roots: Mapping[str, Path]) -> None:
        super().__init__(path=[])
        self.roots, self.bound = roots, set[str]()

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        if path is None:
            if name not in self.roots:
                raise ImportError(name)
            path = [str(self.roots[name])]
        folder = Path(path[0], name)
        if _is_namespace(folder):
            return None, str(folder), ("", "", _PACKAGE)
        return super().find_module(name, path, parent)

    def load_package(self, fqname: str, pathname: str) -> Any:
        if not _is_namespace(Path(pathname)):
            return super().load_package(fqname, pathname)
        package: Any = self.add_module(fqname)
        package.__path__ = [pathname]
        return package

    def load_module(self, fqname: str, fp: Any, pathname: str, file_info: Any) -> Any:
        if file_info[2] != _SOURCE:
            return super().load_module(fqname, fp, pathname, file_info)
        module: Any = self.add_module(fqname)
        module.__file__ = pathname
        self.scan_code(_compiled(fp.read(), pathname), module)
        return module

    def scan_opcodes(self, co: CodeType) -> Iterator[tuple[str, Any]]:
        for kind, told in _opcodes(co):
            if kind == "absolute_import":
                names, module = told
                bound = (
                    module.partition(".")[0] if names is None else module if "*" in names else ""
                )
                self.bound.add(bound)
            yield kind, told

    def loads_more_of(self, package: str) -> bool:
        """Whether names of a package are asked for that its files do not hold."""
        known = self.modules[package].globalnames if package in self.modules else ()
        missing = [n for n in self.badmodules if n.rpartition(".")[0] == package]
        unknown = any(n.rpartition(".")[2] not in known for n in missing)
        return "__getattr__" in known and (unknown or package in self.bound)


@lru_cache(1024)
def _compiled(text: bytes, path: str) -> CodeType:
    return compile(text, path, "exec")


@lru_cache(16_384)
def _opcodes(code: CodeType) -> tuple[tuple[str, Any], ...]:
    """What modulefinder reads out of a code object: imports, and names that are set."""
    return tuple(ModuleFinder(path=[]).scan_opcodes(code))


def _is_namespace(folder: Path) -> bool:
    """Whether a folder is a package without an __init__.py, which modulefinder does not know."""
    return (
        folder.is_dir()
        and not folder.with_suffix(".py").is_file()
        and not (folder / "__init__.py").is_file()
    )


def _top(module: str) -> str:
    return module.partition(".")[0]


def _root(top: str) -> Path:
    if top == "moe":
        return Path(__file__).resolve().parents[3]
    module = sys.modules[top]
    folders = [*getattr(module, "__path__", [])]  # a package, with or without an __init__.py
    return Path(folders[0] if folders else str(module.__file__)).resolve().parent
