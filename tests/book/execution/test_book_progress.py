"""What `make book` tells while chapters run."""

from __future__ import annotations

from pathlib import Path

import pytest
from builder.execution import progress
from builder.execution.progress import Progress, cells_file, describe, executed_cells, trials_file
from builder.pipeline import build


def test_a_chapter_tells_its_cell_and_the_trials_of_its_sweep(tmp_path: Path) -> None:
    target = tmp_path / "08_baselines.ipynb"
    assert executed_cells(target) == 0
    assert describe(target, 40) == "cell 1 of 40"
    cells_file(target).write_text("2")
    trials_file(target).write_text("812 1900")
    assert describe(target, 40) == "cell 3 of 40, 812 of 1,900 trials of its sweep"
    trials_file(target).write_text("1900 1900")
    assert describe(target, 40) == "cell 3 of 40"


def test_a_log_gets_a_line_a_minute_for_each_running_chapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one.ipynb", tmp_path / "two.ipynb"
    cells_file(one).write_text("1")
    with Progress([(one, 5), (two, 7)]) as running:
        running.look()
        assert capsys.readouterr().out == ""
        monkeypatch.setattr(progress, "_EVERY", -1.0)
        running.look()
        assert capsys.readouterr().out == "  one: cell 2 of 5\n"
        running.ended(one)
        running.look()
        assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    one = tmp_path / "one.ipynb"
    cells_file(one).write_text("1")
    trials_file(one).write_text("3 9")
    with Progress([(one, 5)]) as running:
        running.look()
        running.ended(one)
    shown = capsys.readouterr().err
    assert "one:  20%" in shown
    assert "3 of 9 trials" in shown


def test_nothing_is_left_of_it_after_a_build(tiny: Path) -> None:
    build(tiny, "quick")
    left = [p.name for p in (tiny / "_build" / "quick" / "notebooks").iterdir()]
    assert sorted(left) == ["one.ipynb", "two.ipynb"]
