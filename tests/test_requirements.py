"""requirements.lock: exact versions, for every Python that pyproject.toml allows."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
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
    asked = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    pins = {canonicalize_name(locked.name): next(iter(locked.specifier)) for locked in LOCK}
    for requirement in (Requirement(text) for group in asked for text in group):
        if requirement.name != PROJECT["name"]:
            assert pins[canonicalize_name(requirement.name)].version in requirement.specifier
