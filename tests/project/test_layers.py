"""Imports run downwards only, floor by floor."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "moe"
FLOORS = [
    ["randomness", "exceptions", "threads"],
    ["checks"],
    ["model"],
    ["moments", "metrics"],
    ["losses", "likelihood"],
    ["solvers"],
    ["landscape"],
    ["recovery"],
    ["estimator"],
    ["experiments"],
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
            draws = path.name.startswith("figures") or path.name == "style.py"
            may = own in ("estimator", "experiments")
            assert may and draws, f"{path.name} imports matplotlib; figures may"
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


CHAPTERS = [
    *("gated_networks", "standard_losses", "stein", "regressor_loss", "landscape", "gating_loss"),
    *("recovery", "baselines", "sample_complexity", "any_gate"),
    *(
        "nonlinear",
        "assumptions",
        "what_came_after",
        "real_data",
    ),
]


def test_chapters_use_what_they_share_and_nothing_shared_uses_a_chapter() -> None:
    folder = PACKAGE / "experiments"
    assert {p.name for p in folder.iterdir() if p.is_dir()} - {"__pycache__"} == {
        *CHAPTERS,
        "common",
        "engine",
        "shown",
    }
    shared = {"common", "engine", "shown"}
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0]
        used = {m.split(".")[2] for m in imports(path) if m.startswith("moe.experiments.")}
        if own in shared:
            assert used <= shared, f"{path.name} uses {used}"
        elif own in CHAPTERS:
            later = set(CHAPTERS[CHAPTERS.index(own) + 1 :])
            assert not used & later, f"{own}/{path.name} uses a later chapter: {used & later}"


def test_no_folder_holds_more_than_a_dozen_modules() -> None:
    folders = {
        path.parent for top in ("moe", "book", "tests") for path in (ROOT / top).rglob("*.py")
    }
    for folder in folders:
        held = sum(path.name not in ("__init__.py", "conftest.py") for path in folder.glob("*.py"))
        assert held <= 12, f"{folder.relative_to(ROOT)} holds {held} modules"


def test_no_module_is_longer_than_250_lines() -> None:
    for top in ("moe", "book"):
        for path in (ROOT / top).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 250, f"{path.relative_to(ROOT)} has {lines} lines"
