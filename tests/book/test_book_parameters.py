"""Parameters of a chapter: what its cell declares, what the command line may set."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from builder import BuildError
from builder.parameters import defaults, parse, resolve


def notebook(source: str, tags: list[str]) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": tags})
    made: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=[cell])
    return made


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("3", 3), ("-2", -2), ("0.5", 0.5), ("1e-3", 0.001), ("relu", "relu"), ("''", "")),
        *(("true", True), ("False", False), ("null", None), ("None", None), ("[3, 5]", [3, 5])),
    ],
)
def test_values_are_scalars_of_yaml_or_python(text: str, value: Any) -> None:
    parsed = parse([f"name={text}"])["name"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("argument", ["seed", "=3", "a b=3", "3=4"])
def test_an_argument_that_is_no_assignment_is_refused(argument: str) -> None:
    with pytest.raises(BuildError, match="expected name=value, got"):
        parse([argument])


def test_defaults_are_the_literals_of_the_tagged_cell() -> None:
    source = 'profile = "quick"\nseed: int = 0\ntrials = None  # 20 in full\nmu = -0.5\nks = [3, 5]'
    expected = {"profile": "quick", "seed": 0, "trials": None, "mu": -0.5, "ks": [3, 5]}
    assert defaults(notebook(source, ["parameters", "hide-input"])) == expected
    assert defaults(notebook(source, [])) == {}


def test_a_default_that_is_no_literal_is_refused() -> None:
    with pytest.raises(BuildError, match=r"n must be a literal .*, got 2 \* m"):
        defaults(notebook("n = 2 * m", ["parameters"]))


KNOWN = {"profile": "quick", "seed": 0, "mu": 0.5, "trials": None, "ks": [3]}


def test_the_profile_is_injected_and_values_replace_defaults() -> None:
    assert resolve(KNOWN, "full", {"mu": 1}, "x") == {"profile": "full", "mu": 1}
    assert resolve(KNOWN, "full", {"profile": "quick"}, "x") == {"profile": "quick"}
    assert resolve(KNOWN, "full", {"trials": 5, "ks": (1,)}, "x")["trials"] == 5


def test_a_chapter_without_a_parameters_cell_gets_nothing() -> None:
    assert resolve({}, "full", {}, "x") == {}
    with pytest.raises(BuildError, match="unknown parameter seed; known: none"):
        resolve({}, "full", {"seed": 1}, "x")


@pytest.mark.parametrize("wrong", [{"seed": "three"}, {"seed": 1.5}, {"seed": True}, {"mu": "a"}])
def test_a_value_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BuildError, match=r"x: (seed|mu) must be of type (int|float), got"):
        resolve(KNOWN, "full", wrong, "x")


def test_a_profile_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BuildError, match="profile must be quick or full, got 'slow'"):
        resolve(KNOWN, "full", {"profile": "slow"}, "x")
