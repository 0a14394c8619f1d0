"""Forms of values, in words: the kind, and what of it a student has to know."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from builder.teaching import forms
from builder.teaching.forms import form


class Pair(NamedTuple):
    left: int
    right: str


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, "a number"),
        (2.5, "a number"),
        (np.float32(1), "a number"),
        (np.array(1.0), "a number"),
        (True, "`True` or `False`"),
        (np.bool_(True), "`True` or `False`"),
        ("so", "a string"),
        (None, "`None`"),
        (torch.tensor(1.0), "a number"),
        (torch.zeros(2, 3), "a tensor of shape `(2, 3)`"),
        (torch.zeros(2) > 1, "a tensor of truth values of shape `(2,)`"),
        (np.zeros((1, 2), bool), "an array of truth values of shape `(1, 2)`"),
        ({"b": 1, "a": 2.0}, "a dict with `'a'`, `'b'`; its values: a number"),
        ({(1, "x"): "y", 2: 3}, "a dict with `2`, `(1, 'x')`; its values: a number or a string"),
        ({30: 1, 3: 2, 128.0: 3}, "a dict with `3`, `30`, `128`; its values: a number"),
        ({np.float64(0.1): 1, 1e-6: 2}, "a dict with `1e-06`, `0.1`; its values: a number"),
        (
            {(10, "b"): 1, (10, "a"): 1, (9.5, "c"): 1, "z": 1, ("y", 1): 1},
            "a dict with `'z'`, `(9.5, 'c')`, `(10, 'a')`, `(10, 'b')`, `('y', 1)`; "
            "its values: a number",
        ),
        (dict.fromkeys(range(30), 0), "a dict with 30 keys; its values: a number"),
        ([1, 2, 3], "a list of 3, each a number"),
        ((1, "x"), "a tuple of 2: a number; a string"),
        ([1, "x"] * 5, "a list of 10"),
        (
            [[1, "x"], [2]],
            "a list of 2: (a list of 2: a number; a string); a list of 1, each a number",
        ),
        ([{"a": 1}, 2], "a list of 2: (a dict with `'a'`; its values: a number); a number"),
        ([], "an empty list"),
        (Pair(1, "x"), "a Pair of 2: a number; a string"),
        (lambda x, scale=1.0: x, "a function of `x, scale`"),
        (Thing(), "an object of class `Thing`"),
    ],
)
def test_a_form_says_what_is_needed_and_nothing_of_the_value(value: object, told: str) -> None:
    assert form(value) == told


def test_the_check_of_a_form_passes_for_that_form_only() -> None:
    lines = forms.checks({"one": form([1, 2]), "two": form(1.5)})
    code = f"{forms.SOURCE}\n{lines}"
    exec(code, {"one": [3, 4], "two": 2})
    exec(code, {"one": [3, 4], "two": torch.tensor(2.0)})
    with pytest.raises(AssertionError, match="one is a list of 3, each a number"):
        exec(code, {"one": [3, 4, 5], "two": 2})
    with pytest.raises(AssertionError, match="two is a string"):
        exec(code, {"one": [3, 4], "two": "2"})
