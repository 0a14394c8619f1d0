"""The modules of the repository that a piece of code can execute, found by reading its imports.

`import moe.losses` depends on moe/losses.py, on the __init__.py of its parents, and on whatever
those import in turn. A package may load its public names lazily: a dict literal `_PUBLIC` in its
__init__.py then says where each lives, so that `moe.recover` leads to moe/recovery and to
nothing else. Where the code cannot be told (a star import, the package passed around as a value, a
computed module name), everything counts: rather executed once too often than once too seldom.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


def find_modules(root: Path, folder: Path) -> dict[str, Path]:
    """Dotted name -> file: the package `moe`, and single modules that lie beside a chapter."""
    modules = {path.stem: path for path in sorted(folder.glob("*.py"))}
    for path in sorted((root / "moe").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def closure(source: str, modules: Mapping[str, Path]) -> set[str]:
    """Names of the modules that running `source` can execute."""
    resolver = _Resolver(modules)
    waiting, found = resolver.direct(source, package=""), set[str]()
    while waiting:
        name = waiting.pop()
        found.add(name)
        is_package = resolver.is_package(name)
        parent = name if is_package else name.rpartition(".")[0]
        text = modules[name].read_text(encoding="utf-8")
        lazy = is_package and bool(resolver.facts(name).public)
        waiting |= resolver.direct(text, parent, lazy) - found
    return found


@dataclass(frozen=True)
class _Facts:
    """What the __init__.py of a package tells about its attributes."""

    public: Mapping[str, str]
    dynamic: bool


@dataclass
class _Resolver:
    modules: Mapping[str, Path]
    _facts: dict[str, _Facts] = field(default_factory=dict)

    def is_package(self, name: str) -> bool:
        return self.modules[name].name == "__init__.py"

    def everything(self, package: str = "") -> set[str]:
        return {m for m in self.modules if not package or f"{m}.".startswith(f"{package}.")}

    def with_parents(self, name: str) -> set[str]:
        """`name` and the packages above it, as far as they exist in the repository."""
        parts = name.split(".")
        prefixes = {".".join(parts[: i + 1]) for i in range(len(parts))}
        return prefixes & self.modules.keys()

    def facts(self, package: str) -> _Facts:
        if package not in self._facts:
            tree = _parse(self.modules[package].read_text(encoding="utf-8"))
            public = next((d for node in tree.body if (d := _public(node))), {})
            places = {n: m if m in self.modules else f"{package}.{m}" for n, m in public.items()}
            functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
            self._facts[package] = _Facts(places, "__getattr__" in functions)
        return self._facts[package]

    def attribute(self, module: str, names: list[str]) -> set[str]:
        """Modules that the expression `module.names[0].names[1]...` can load."""
        found = self.with_parents(module)
        for name in names:
            if f"{module}.{name}" in self.modules:
                module = f"{module}.{name}"
                found.add(module)
                continue
            if module in self.modules and self.is_package(module):
                facts = self.facts(module)
                if name in facts.public:
                    found |= self.with_parents(facts.public[name])
                elif name == "*" or (facts.dynamic and not name.startswith("__")):
                    found |= self.everything(module)
            break
        return found

    def direct(self, source: str, package: str, lazy: bool = False) -> set[str]:
        """Modules that `source` names itself; `package` is where its relative imports start."""
        try:
            tree = _parse(source)
        except SyntaxError:
            return self.everything()
        found, bound = set[str](), dict[str, str]()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found |= self.with_parents(alias.name)
                    top = alias.name if alias.asname else alias.name.partition(".")[0]
                    bound[alias.asname or top] = top
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(node, package)
                for alias in node.names:
                    found |= self.attribute(base, [alias.name])
                    if f"{base}.{alias.name}" in self.modules:
                        bound[alias.asname or alias.name] = f"{base}.{alias.name}"
            elif isinstance(node, ast.Call) and _callee(node) in ("import_module", "__import__"):
                target = node.args[0] if node.args else None
                if isinstance(target, ast.Constant) and not str(target.value).startswith("."):
                    found |= self.with_parents(str(target.value))
                elif not lazy:
                    found |= self.everything()
        return found | self._uses(tree, {n: m for n, m in bound.items() if m in self.modules})

    def _uses(self, tree: ast.AST, bound: Mapping[str, str]) -> set[str]:
        """Modules reached through attributes of the imported modules that `bound` names."""
        found, inside = set[str](), set[ast.AST]()
        for node in ast.walk(tree):
            if node in inside:
                continue
            names: list[str] = []
            while isinstance(node, ast.Attribute):
                names.insert(0, node.attr)
                node = node.value
                inside.add(node)
            if isinstance(node, ast.Name) and node.id in bound:
                if names:
                    found |= self.attribute(bound[node.id], names)
                elif isinstance(node.ctx, ast.Load):
                    found |= self.attribute(bound[node.id], ["*"])
        return found


class _RuntimeOnly(ast.NodeTransformer):
    """Drops what stands under `if TYPE_CHECKING:`; it is never executed."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test).endswith("TYPE_CHECKING") else node


def _parse(source: str) -> ast.Module:
    tree = _RuntimeOnly().visit(ast.parse(source))
    assert isinstance(tree, ast.Module)
    return tree


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _public(node: ast.stmt) -> dict[str, str]:
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and target.id == "_PUBLIC":
            return {name: str(m).lstrip(".") for name, m in ast.literal_eval(node.value).items()}
    return {}
