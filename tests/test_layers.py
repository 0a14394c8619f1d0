"""Imports run downwards only, floor by floor."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "moe"
FLOORS = [
    ["randomness", "checks", "nonlinearity", "hermite", "grams", "slices", "passes"],
    ["transforms", "model", "least_squares"],
    ["coordinates", "moments", "losses", "likelihood", "metrics"],
    ["efficiency", "diagnostics", "solvers", "landscape"],
    ["recovery", "results", "streaming"],
    ["estimator", "selection", "experiments"],
    ["claims"],
    ["plotting"],
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def top(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards_only(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert own in FLOOR, f"moe/{own} stands on no floor: add it to FLOORS"
    for module in imports(path):
        if module == "matplotlib" or module.startswith("matplotlib."):
            assert own == "plotting", f"{path.name} imports matplotlib; only moe.plotting may"
        if module.startswith("moe.") and top(module) != own:
            assert FLOOR[top(module)] <= FLOOR[own], f"{path.name} imports upwards: {module}"
        assert module != "moe", f"{path.name} imports the whole package"


def test_modules_of_one_floor_do_not_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for path in MODULES:
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        below = {top(module) for module in imports(path) if module.startswith("moe.")}
        edges.setdefault(own, set()).update(below - {own})
    done: set[str] = set()
    while len(done) < len(edges):
        ready = {name for name, below in edges.items() if below <= done} - done
        assert ready, f"circular imports among {sorted(set(edges) - done)}"
        done |= ready
