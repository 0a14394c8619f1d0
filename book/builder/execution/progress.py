"""How far the running chapters are: bars on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

_EVERY = 60.0  # seconds between lines in a log


def cells_file(target: Path) -> Path:
    """Where a chapter that runs has the number of cells that it has passed, text counted too."""
    return target.with_name(f"{target.stem}.cells")


def trials_file(target: Path) -> Path:
    """Where the sweep that a chapter is in writes how many of its trials are done."""
    return target.with_name(f"{target.stem}.trials")


class Progress:
    """Watches the files that the executing processes write; `look` is called about once a second.

    targets: the notebook to be and its number of cells, for each chapter.
    """

    def __init__(self, targets: Sequence[tuple[Path, int]]) -> None:
        self._cells = dict(targets)
        self._bars: dict[Path, tqdm] = {}
        self._terminal = sys.stderr.isatty()
        self._told = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for bar in self._bars.values():
            bar.close()

    def look(self) -> None:
        running = [target for target in self._cells if cells_file(target).is_file()]
        if self._terminal:
            for target in running:
                self._draw(target)
        elif time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            for target in running:
                print(f"  {target.stem}: {describe(target, self._cells[target])}", flush=True)

    def ended(self, target: Path) -> None:
        self._cells.pop(target, None)
        if (bar := self._bars.pop(target, None)) is not None:
            bar.close()

    def _draw(self, target: Path) -> None:
        cells = self._cells[target]
        if target not in self._bars:
            self._bars[target] = tqdm(total=cells, desc=target.stem, leave=False, unit="cell")
        bar = self._bars[target]
        bar.n = min(executed_cells(target), cells)
        bar.set_postfix_str(_trials(target), refresh=True)


def executed_cells(target: Path) -> int:
    try:
        return int(cells_file(target).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # ValueError: it is being written
        return 0


def describe(target: Path, cells: int) -> str:
    """ "cell 14 of 40, 812 of 1,900 trials of its sweep"."""
    where = f"cell {min(executed_cells(target) + 1, cells)} of {cells}"
    return ", ".join(filter(None, [where, _trials(target)]))


def _trials(target: Path) -> str:
    try:
        done, total = map(int, trials_file(target).read_text(encoding="utf-8").split())
    except (FileNotFoundError, ValueError):
        return ""
    return f"{done:,} of {total:,} trials of its sweep" if done < total else ""
