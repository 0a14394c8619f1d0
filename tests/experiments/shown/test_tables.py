"""Tables, sizes by profile and shares: what the chapters' cells are made of."""

import csv
import io
import math
from typing import Any

import pytest
import torch
from scipy.stats import binomtest

from moe.experiments.common.profile import Profile
from moe.experiments.common.shares import Share
from moe.experiments.shown.tables import MIME, Source, show, table


def test_a_table_shows_its_values_and_keeps_them_in_full() -> None:
    made = table(["$n$", "error"], [[1_000, 0.123456], [20_000, None]], [",d", ".1e"])
    assert made.markdown.splitlines() == [
        "| $n$ | error |",
        "| --- | --- |",
        "| 1,000 | 1.2e-01 |",
        "| 20,000 | – |",
    ]
    rows = list(csv.reader(io.StringIO(made.csv)))
    assert rows == [["$n$", "error"], ["1000", "0.123456"], ["20000", ""]]


def test_an_interval_takes_columns_of_its_own() -> None:
    made = table(
        ["a", "b", "c", "d"],
        [[1, (2, 3), (4, 3, 5), 1], [2, None, (torch.tensor(7), 6, 8), (0, 2)]],
    )
    rows = list(csv.reader(io.StringIO(made.csv)))
    names = [f"{name}{part}" for name in "bcd" for part in ("", ", low", ", high")]
    assert rows == [
        ["a", *names[1:]],
        ["1", "2", "3", "4", "3", "5", "1", "", ""],
        ["2", "", "", "7", "6", "8", "", "0", "2"],
    ]
    assert table(["a", "b"], []).csv == "a,b\n"


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (math.nan, None, "–"),
        (math.inf, ".2f", "∞"),
        (-0.25, ".2f", "−0.25"),
        (-0.00025, ".2f", "0.00"),
        (-0.00025, ".1e", "−2.5e-04"),  # the power is the page's to write
        (torch.tensor(0.5), ".0%", "50%"),
        ((0.25, 0.5), ".0%", "25% to 50%"),
        ((0.3, 0.25, 0.5), ".2f", "0.30 (0.25 to 0.50)"),
        (Share(3, 4), None, "3 of 4"),
        (True, str, "True"),
        ("$L_4$", ".2f", "$L_4$"),
        (1234, None, "1,234"),
    ],
)
def test_how_a_value_is_shown(value: object, form: str | None, shown: str) -> None:
    assert show(value, form) == shown


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="rows: expected 2 values in a row, got"):
        table(["a", "b"], [[1]])
    with pytest.raises(ValueError, match="form: expected at most 1 forms, got 2"):
        table(["a"], [], [".1f", ".2f"])


def test_no_two_columns_of_a_csv_have_one_name_and_none_is_without() -> None:
    made = table(["", "errors: mean", "worst", "times: mean", "worst"], [["a", 1, 2, 3, (4, 5)]])
    assert made.head[0] == "", "the page may leave the corner empty"
    assert made.csv.splitlines()[0].split(",") == [
        *("row", "errors: mean", "errors: worst", "times: mean"),
        *('"times: worst', ' low"', '"times: worst', ' high"'),
    ]
    for head in (["a", ""], ["a", "a"], ["a: b", "c", "c"], ["row", "a: b", "a: b"]):
        with pytest.raises(ValueError, match="head: expected names, no two alike"):
            table(head, [])


def test_a_table_names_the_function_that_made_it() -> None:
    from moe.experiments.landscape import tables

    here = table(["a"], [[1]])
    assert here.source is None, "a test, like a cell, is no function of the package"
    assert here._repr_mimebundle_()[MIME]["csv"] == "a\n1\n"
    code = compile("def made():\n    return table(['a'], [])\n", tables.__file__, "exec")
    scope: dict[str, Any] = {"table": table}
    exec(code, scope)
    assert scope["made"]().source == Source("moe/experiments/landscape/tables.py", 1, "made")


def test_a_profile_picks_sizes() -> None:
    quick, full = Profile("quick"), Profile("full")
    assert (quick(quick=1, full=2), full(quick=1, full=2)) == (1, 2)
    assert full(quick=1, full=2, given=7) == 7
    assert (quick.decides(False), full.decides(False)) == (None, False)
    with pytest.raises(ValueError, match="profile: expected 'quick' or 'full', got 'fast'"):
        Profile("fast")


def test_wilsons_interval_against_scipy() -> None:
    for successes, trials in ((0, 10), (3, 10), (10, 10), (37, 80)):
        expected = binomtest(successes, trials).proportion_ci(method="wilson")
        assert Share(successes, trials).interval() == pytest.approx(tuple(expected), abs=1e-12)


def test_data_sets_are_the_units_of_an_interval() -> None:
    runs, sets = Share(20, 40), Share(20, 40, 4)
    assert sets.value == runs.value
    assert sets.interval() == Share(2, 4).interval()
