"""requirements.lock: exact versions, for every Python that pyproject.toml allows."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from builder.pages.mathematics import MATHJAX, PARTS
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().split("\n") if line]
OLDEST = Version(PROJECT["requires-python"].removeprefix(">=") + ".0")


@pytest.mark.parametrize("locked", LOCK, ids=lambda locked: locked.name)
def test_every_locked_version_runs_on_the_oldest_python_allowed(locked: Requirement) -> None:
    (pin,) = locked.specifier
    found = importlib.metadata.distribution(locked.name)
    assert (pin.operator, pin.version) == ("==", Version(found.version).public)
    allowed = found.metadata.get_all("Requires-Python") or [""]
    assert OLDEST in SpecifierSet(allowed[0])


def test_everything_that_the_project_asks_for_is_locked() -> None:
    extras = dict(PROJECT["optional-dependencies"])
    assert extras.pop("lab") == ["jupyterlab>=4,<5"], "installed when a reader asks for it"
    asked = [PROJECT["dependencies"], *extras.values()]
    pins = {canonicalize_name(locked.name): next(iter(locked.specifier)) for locked in LOCK}
    for requirement in (Requirement(text) for group in asked for text in group):
        if requirement.name != PROJECT["name"]:
            assert pins[canonicalize_name(requirement.name)].version in requirement.specifier


def test_the_library_needs_neither_matplotlib_nor_tqdm() -> None:
    """Nor anything else that only the book needs; and `import moe` alone loads no torch,
    `recover` no scikit-learn."""
    asked = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert asked == {"joblib", "numpy", "scikit-learn", "scipy", "threadpoolctl", "torch"}
    program = """
import sys
blocked = ("matplotlib", "tqdm", "dask", "IPython", "papermill", "yaml", "filelock")
sys.modules.update(dict.fromkeys(blocked))
import moe
assert "torch" not in sys.modules, "public names load on first use"
from moe import random_moe, recover
truth = random_moe(2, 3, generator=moe.stream("truth", 0), sigma=0.1)
x, y = truth.sample(2_000, generator=moe.stream("samples", 0))
assert moe.regressor_error(recover(x, y, 2, sigma=0.1).model, truth) < 0.1
assert not {"sklearn", "pandas"} & set(sys.modules), "a second or two that nobody asked for"
from moe import MoERegressor
MoERegressor(n_experts=2).fit(x.numpy(), y.numpy()).predict(x.numpy())
for name in moe.__all__:
    getattr(moe, name)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_mathjax_is_the_file_that_was_looked_at() -> None:
    """MathJax 3.2.2 comes in a package of other people's, whose next release may hold another."""
    folder = files("mathjax").joinpath(MATHJAX)
    found = b"".join(folder.joinpath(f"{part}.js").read_bytes() for part in ("startup", *PARTS))
    assert b'"3.2.2"' in found
    assert hashlib.sha256(found).hexdigest() == (
        "337424476b08ec4cedf817d860f0529f8f87329adfcb66c82d15c478ebe11f6b"
    )
