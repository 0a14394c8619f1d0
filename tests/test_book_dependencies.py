"""The modules that a piece of code can execute, told from its imports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from builder.contents import Chapter
from builder.dependencies import closure, find_modules
from builder.keys import changes, ingredients

SOURCES = {
    "moe/__init__.py": """
from importlib import import_module
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from moe.recovery import recover
_PUBLIC = {"recover": "moe.recovery", "MoE": "model"}
__version__ = "1"
def __getattr__(name):
    return getattr(import_module(_PUBLIC[name]), name)
""",
    "moe/model.py": "import torch\n",
    "moe/losses.py": "from moe.model import MoE\n",
    "moe/recovery.py": "def recover():\n    from .solvers import em\n    from . import losses\n",
    "moe/solvers/__init__.py": "",
    "moe/solvers/em.py": "from ..metrics import match\n",
    "moe/solvers/quartic.py": "",
    "moe/metrics.py": "",
    "moe/loader.py": "import importlib\ndef load(n):\n    return importlib.import_module(n)\n",
    "book/helpers.py": "import moe.metrics\n",
}
MODEL = {"moe", "moe.model"}
LOSSES = {*MODEL, "moe.losses"}
RECOVERY = {*LOSSES, "moe.recovery", "moe.solvers", "moe.solvers.em", "moe.metrics"}
PACKAGE = {"moe", *(f"moe.{n}" for n in ("model", "losses", "recovery", "metrics", "loader"))}
PACKAGE |= {"moe.solvers", "moe.solvers.em", "moe.solvers.quartic"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def modules(root: Path) -> Mapping[str, Path]:
    return find_modules(root, root / "book")


def test_modules_are_named_as_they_are_imported(root: Path, modules: Mapping[str, Path]) -> None:
    assert set(modules) == PACKAGE | {"helpers"}
    assert modules["moe.solvers"] == root / "moe" / "solvers" / "__init__.py"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy", set[str]()),
        ("import moe", {"moe"}),
        ("import moe\nmoe.__version__", {"moe"}),
        ("import moe\nmoe.MoE(3)", MODEL),
        ("import moe as m\nm.recover(x, y).model", RECOVERY),
        ("from moe import MoE as M, __version__", MODEL),
        ("from moe import losses\nlosses.l4(x)", LOSSES),
        ("import moe\nmoe.losses.l4(x)", LOSSES),
        ("import moe.losses as l", LOSSES),
        ("from moe.losses import l4", LOSSES),
        ("from moe.solvers import quartic", {"moe", "moe.solvers", "moe.solvers.quartic"}),
        ("import moe.solvers\nmoe.solvers.quartic.run()", {"moe"} | {"moe.solvers.quartic"}),
        ("import helpers", {"helpers", "moe", "moe.metrics"}),
        ("def f():\n    from moe.recovery import recover", RECOVERY),
        ("import importlib\nimportlib.import_module('moe.losses')", LOSSES),
    ],
)
def test_imports_lead_to_the_modules_used(
    code: str, expected: set[str], modules: Mapping[str, Path]
) -> None:
    found = closure(code, modules)
    assert found - {"moe.solvers"} == expected - {"moe.solvers"}
    assert ("moe.solvers" in found) == any(name.startswith("moe.solvers") for name in expected)


@pytest.mark.parametrize(
    "code",
    [
        "from moe import *",
        "import moe\nmoe.nobody_knows",
        "import moe\nprint(vars(moe))",
        "import moe\nf = getattr(moe, name)",
        "import importlib\nimportlib.import_module(name)",
        "import moe.loader",
        "this is no Python",
    ],
)
def test_what_cannot_be_told_depends_on_everything(code: str, modules: Mapping[str, Path]) -> None:
    assert closure(code, modules) >= PACKAGE


CHAPTER = """---
kernelspec: {name: python3, display_name: Python 3, language: python}
---

# Title

```{code-cell} ipython3
%matplotlib inline
from pathlib import Path

from moe.losses import l4

tones = Path("data") / "tones.csv"
```
"""


def test_a_key_holds_source_modules_data_parameters_and_versions(root: Path) -> None:
    (root / "book" / "data").mkdir()
    (root / "book" / "data" / "tones.csv").write_text("1,2\n")
    (root / "book" / "data" / "tones.md").write_text("source\n")
    (root / "book" / "x.md").write_text(CHAPTER)
    before = ingredients(Chapter(root, "book/x"), {"seed": 0})
    files = {name for name in before if "/" in name}
    modules = {f"moe/{name}.py" for name in ("__init__", "losses", "model")}
    assert files == {"book/x.md", "book/data/tones.csv", *modules}
    assert {"python version", "torch version", "numpy version"} <= before.keys()

    (root / "book" / "data" / "tones.csv").write_text("1,3\n")
    (root / "moe" / "recovery.py").write_text("changed = True\n")
    after = ingredients(Chapter(root, "book/x"), {"seed": 1})
    assert changes(before, after) == ["book/data/tones.csv", "parameters"]
