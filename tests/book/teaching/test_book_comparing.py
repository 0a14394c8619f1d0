"""Which answers count as right: of the solution's form, with its numbers where these are fixed."""

import ast
from typing import Any

import numpy as np
import pytest
import torch
from builder.teaching import comparing
from builder.teaching.comparing import settled
from builder.teaching.exercises import Exercise, writes
from builder.teaching.forms import SOURCE as FORM

NAN, INF = float("nan"), float("inf")


def compare(value: object, wanted: object, near: bool = True) -> None:
    names: dict[str, Any] = {}
    exec(f"{FORM}\n{comparing.SOURCE}", names)
    names["_compare"]("name", value, wanted, near)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.0005, 1.0),
        (2, 2.0),
        (torch.tensor(2.0), 2.0),
        (np.float64(2.0), 2),
        (torch.tensor([1e-17, 1.0]), torch.tensor([0.0, 1.0])),
        ([0.2, 0.8], [0.2, 0.8]),
        ({(1, 0): 2.0, "b": [3, 4]}, {"b": [3, 4.001], (1, 0): 2.0}),
        ((NAN, INF, 1.0), (NAN, INF, 1.0)),
        (["truth", "spurious"], ["truth", "spurious"]),
        (lambda x: x, lambda x: 2 * x),
        (None, None),
    ],
)
def test_another_route_to_the_same_answer_passes(value: object, wanted: object) -> None:
    compare(value, wanted)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.002, 1.0),
        (0.0, 1.0),
        (NAN, 1.0),
        (1.0, NAN),
        (-INF, INF),
        (torch.zeros(2), torch.tensor([0.0, 1.0])),
        ([[1.0] * 7, [2.0] * 7], [[1.0] * 7, [3.0] * 7]),
        ({"a": 1.0}, {"a": 2.0}),
        (["truth", "truth"], ["truth", "spurious"]),
        (True, False),
        ([torch.ones(2) > 2], [torch.ones(2) > 0]),
    ],
)
def test_another_answer_of_the_same_form_does_not(value: object, wanted: object) -> None:
    compare(value, wanted, near=False)
    with pytest.raises(AssertionError, match="name is not what it should be"):
        compare(value, wanted)


@pytest.mark.parametrize("value", ["1", {}, [1.0, 2.0], torch.zeros(3), None])
@pytest.mark.parametrize("near", [True, False])
def test_another_form_never_does(value: object, near: bool) -> None:
    with pytest.raises(AssertionError, match=r"name is .*, not a list of 3, each a number"):
        compare(value, [1.0, 2.0, 3.0], near)


def asking(task: str, *code: str) -> Exercise:
    made = (writes(ast.parse(line).body[0]) for line in code)
    names = sorted(set().union(*made) - {"f"})
    return Exercise("ex-x", "", task, "", code, ("assert True",), tuple(names))


@pytest.mark.parametrize(
    ("task", "code", "fixed"),
    [
        ("", ["a = 1", "b = a + p"], {"a", "b"}),
        ("", ["a = draw(stream('data', seed))", "b = a.mean()", "c = p.sum()"], {"c"}),
        ("Take `stream('data', seed)`.", ["a = draw(stream('data', seed))"], {"a"}),
        ('Take `draw(stream( "data",seed))`.', ["a = draw(stream('data', seed))"], {"a"}),
        ("Take `stream('other', seed)`.", ["a = draw(stream('data', seed))"], set()),
        ("", ["def f():\n    return stream('data', seed)", "a = f()", "b = 2"], {"b"}),
        ("", ["a = found(spec, trials=3)"], set()),
        ("", ["a = {}", "for one in seeds:\n    a[one] = 1"], set()),
        ("`a`, your choice; `b`, its square.", ["a = 3", "b = a**2", "c = 1"], {"c"}),
    ],
)
def test_numbers_count_where_the_task_tells_all_they_hang_on(
    task: str, code: list[str], fixed: set[str]
) -> None:
    assert settled(asking(task, *code)) == fixed


def test_the_solution_is_run_on_what_was_given_whatever_became_of_it() -> None:
    names: dict[str, Any] = {"p": 3}
    exec(f"{FORM}\n{comparing.SOURCE}", names)
    names |= {"p": 0, "a": 9, "print": None}
    own, compared = comparing.lines(asking("", "print(p)", "a = p**2"))
    assert "print(p)" not in own, "what only shows is left out"
    exec(own, names)
    exec(compared, names)
    names["a"] = 10
    with pytest.raises(AssertionError):
        exec(compared, names)


def test_code_with_quotes_of_every_kind_is_kept() -> None:
    exercise = asking("", "a = '''x'''", 'b = "\\\\" + r"\\d"')
    names: dict[str, Any] = {"_given": {}, "_solved": lambda code, given: code}
    exec(comparing.lines(exercise)[0], names)
    assert names["_own"].strip() == "\n".join(exercise.code)
