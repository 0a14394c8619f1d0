"""The modules that a piece of code can execute, told from its imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from builder.contents import Chapter
from builder.execution.keys import changes, ingredients

from moe.experiments.engine.code import dependencies

BOOK = Path(__file__).parent.parent.parent / "book"
SOURCES = {
    "moe/__init__.py": """
from importlib import import_module
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
    "book/helpers.py": "from moe import metrics\n",
}
MODEL = {"moe", "moe.model"}
LOSSES = {*MODEL, "moe.losses"}
RECOVERY = {*LOSSES, "moe.recovery", "moe.solvers", "moe.solvers.em", "moe.metrics"}
PACKAGE = {"moe", *(f"moe.{n}" for n in ("model", "losses", "recovery", "metrics"))}
PACKAGE |= {"moe.solvers", "moe.solvers.em", "moe.solvers.quartic"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def found(code: str, root: Path) -> set[str]:
    return set(dependencies(code, {"moe": root, "helpers": root / "book"}))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy", set[str]()),
        ("from moe import losses\nlosses.l4(x)", LOSSES),
        ("from moe.losses import l4", LOSSES),
        ("from moe import __version__", {"moe"}),
        ("from moe.solvers import quartic", {"moe", "moe.solvers", "moe.solvers.quartic"}),
        ("import helpers", {"helpers", "moe", "moe.metrics"}),
        ("def f():\n    from moe.recovery import recover", RECOVERY),
    ],
)
def test_imports_lead_to_the_modules_used(code: str, expected: set[str], root: Path) -> None:
    assert found(code, root) == expected


@pytest.mark.parametrize(
    "code",
    [
        "from moe import *",
        "from moe import recover",
        "import moe",
        "import moe as m\nm.recover(x, y)",
        "import moe.losses\nmoe.recover(x, y)",
        "import around",
    ],
)
def test_a_package_that_loads_names_lazily_counts_whole(code: str, root: Path) -> None:
    """Where it is imported itself, or a name that it has no module for, in a module too."""
    (root / "around.py").write_text("def f():\n    import moe\n")
    assert set(dependencies(code, {"moe": root, "around": root})) >= PACKAGE


def test_code_that_does_not_parse_is_refused(root: Path) -> None:
    with pytest.raises(SyntaxError):
        found("this is no Python", root)


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


def test_data_named_in_a_module_are_ingredients_of_the_chapters_that_use_it(root: Path) -> None:
    (root / "book" / "data").mkdir()
    for name in ("tones.csv", "other.csv"):
        (root / "book" / "data" / name).write_text("1,2\n")
    (root / "moe" / "losses.py").write_text("SOURCES = {'tones': ('tones.csv', 2)}\n")
    (root / "book" / "x.md").write_text(
        CHAPTER.replace('Path("data") / "tones.csv"', "l4('tones')")
    )
    before = ingredients(Chapter(root, "book/x"), {})
    assert "book/data/tones.csv" in before and "book/data/other.csv" not in before
    (root / "book" / "data" / "tones.csv").write_text("1,3\n")
    (root / "book" / "data" / "other.csv").write_text("1,3\n")
    assert changes(before, ingredients(Chapter(root, "book/x"), {})) == ["book/data/tones.csv"]


def test_the_builder_does_without_torch() -> None:
    """Each of its processes would pay for it at the start."""
    told = "import sys, builder.pipeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], cwd=BOOK, check=False).returncode == 0
