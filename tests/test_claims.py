"""moe.experiments.common.claims and the ledger that the book makes from it."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag
from builder import BuildError
from builder.contents import read_contents
from builder.pipeline import build

from moe.experiments.common.claims import (
    ClaimError,
    Finding,
    all_of,
    claim,
    over_clusters,
    share,
)
from moe.experiments.common.ledger import number

state = partial(claim, source="derived", verdict="measured")


def edit(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new), encoding="utf-8")


def page(root: Path, name: str) -> BeautifulSoup:
    html = root / "_build" / "quick" / "html" / "book" / f"{name}.html"
    return BeautifulSoup(html.read_text(encoding="utf-8"), "html.parser")


def words(soup: Tag) -> str:
    return " ".join(soup.get_text().split())


def test_a_claim_that_does_not_hold_raises_with_what_was_seen() -> None:
    state("05-landscape", "no bad minima", True)
    state("05-landscape", "no bad minima", None)
    with pytest.raises(ClaimError, match=r"05-landscape does not hold: no bad minima; seen: 0.5"):
        state("05-landscape", "no bad minima", Finding(False, 0.5))
    with pytest.raises(AssertionError):
        state("05-landscape", "no bad minima", False)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("identity", "landscape"),
        ("identity", "05-Landscape"),
        ("statement", "It ends."),
        ("statement", "|a|"),
        ("statement", ""),
        ("finding", "two\nlines"),
        ("value", "$|a|$"),
        ("statement", "$\rho$"),
        ("source", "hearsay"),
        ("source", "paper,derived"),
        ("verdict", "true"),
    ],
)
def test_a_claim_of_another_form_is_refused_by_name(argument: str, value: str) -> None:
    right = dict(identity="05-landscape", statement="no bad minima")
    with pytest.raises(ValueError, match=f"{argument}: expected"):
        state(**(right | {argument: value}), holds=True)  # type: ignore[arg-type]


def test_a_value_beside_a_finding_is_refused() -> None:
    with pytest.raises(ValueError, match="expected None beside a Finding"):
        state("05-landscape", "no bad minima", Finding(True, 1.0), value=2.0)


def test_all_of_is_no_stronger_than_its_weakest_part() -> None:
    assert all_of(Finding(True, 3.0), True) == Finding(True, 3.0)
    assert all_of(Finding(True), None).holds is None
    assert all_of(None, False, True).holds is False


def test_numbers_are_written_in_three_digits() -> None:
    assert number(None) == ""
    assert number("12 of 20") == "12 of 20"
    assert number(0.123456, (0.1, 0.15)) == "0.123 (0.1 to 0.15)"
    assert number(12345.6) == "12,346"
    assert number(0.0) == "0"
    assert number(1.234e-7) == r"$1.2 \cdot 10^{-7}$"
    assert number(float("inf")) == "infinite"
    assert number(float("nan"), (float("nan"), float("nan"))) == ""
    assert number(0.5, (0.1, float("nan"))) == "0.5"


def test_intervals_of_shares_and_of_clusters() -> None:
    value, (low, high) = share(8, 10)
    assert value == 0.8
    assert (low, high) == pytest.approx((0.490, 0.943), abs=1e-3)  # Wilson, by hand
    alone = over_clusters([[1.0] * 10, [0.0] * 10])
    assert alone == (0.5, (0.0, 1.0)), "twenty runs on two data sets are two trials"
    value, (low, high) = over_clusters([[1, 0]] * 50 + [[1, 1]] * 50)
    assert value == 0.75
    assert high - low == pytest.approx(2 * 1.96 * 0.25 / 10, rel=0.1)


def test_the_ledger_of_a_built_book(tiny: Path) -> None:
    ledger, chapter = page(tiny, "ledger"), page(tiny, "one")
    assert "as one would hope" in words(ledger)
    assert "One is measured: 1 (0.5 to 2)." in words(page(tiny, "index"))
    assert "Many are one paper, recalled Not tried at this size cell" in words(ledger)
    counts, first, *_ = [words(table) for table in ledger.select("table")]
    assert counts.startswith("outcome paper derived here all")
    assert counts.endswith("all 1 1 2")
    assert first.startswith("Statement Source Outcome Where One is")
    box = words(chapter.select("div.claims")[0])
    assert re.search(r"Claim\. One is .* \(derived here\)\. Measured: 1 \(0\.5 to 2\); as one", box)
    assert not chapter.select("div.cell_output div.claims"), "the box is no output of a cell"
    links = [str(a["href"]) for a in ledger.select("table a")]
    assert links == ["one.html#claim-01-one", "one.html#claim-01-large"]
    assert chapter.find(id="claim-01-one")
    data = json.loads((tiny / "_build" / "quick" / "html" / "claims.json").read_text())
    assert [c["identity"] for c in data["claims"]] == ["01-one", "01-large"]
    assert data["claims"][0]["value"] == "1 (0.5 to 2)"
    assert [c["tried"] for c in data["claims"]] == [True, False]
    assert data["runs"]["book/one"]["parameters"]["scale"] == 1.0


def test_a_false_claim_stops_the_build_and_names_it(tiny: Path) -> None:
    edit(tiny, "book/one.md", "Finding(scale > 0", "Finding(scale > 1")
    with pytest.raises(BuildError, match="01-one does not hold") as caught:
        build(tiny, "quick")
    assert "book/one.md" in str(caught.value)
    assert "as one would hope" in words(page(tiny, "ledger")), "the last good book stays"


def test_a_verdict_on_a_claim_that_nobody_makes_stops_the_build(tiny: Path) -> None:
    edit(tiny, "book/index.md", '"01-one"].verdict', '"01-two"].verdict')
    with pytest.raises(BuildError, match="index"):
        build(tiny, "quick")


def test_two_claims_of_one_name_stop_the_build(tiny: Path) -> None:
    edit(tiny, "book/one.md", '"01-large"', '"01-one"')
    with pytest.raises(BuildError, match="two claims are called 01-one"):
        build(tiny, "quick")


ROOT = Path(__file__).resolve().parents[1]
EXECUTED = [chapter for chapter in read_contents(ROOT) if chapter.is_notebook]


def test_every_theorem_is_claimed() -> None:
    from builder.record.claims import declared

    for chapter in EXECUTED:
        labels = re.findall(r":label: (?:thm|prop|lem|cor)-(\d\d-[\w-]+)", chapter.text)
        missing = set(labels) - set(declared(chapter))
        assert not missing, f"{chapter.name}: not claimed: {', '.join(sorted(missing))}"


def test_pages_quote_claims_that_exist() -> None:
    from builder.record.claims import declared

    made = {identity for chapter in EXECUTED for identity in declared(chapter)}
    for chapter in read_contents(ROOT):
        quoted = set(re.findall(r'claims\["([^"]+)"\]', chapter.text))
        assert quoted <= made, f"{chapter.document}: {quoted - made}"
