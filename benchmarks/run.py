"""One table of what the package reaches and costs, each row measured beside its reference.

python -m benchmarks.run [table ...]: without names the tables of SHORT, about four minutes. Two
idle cores, or the rows that compare two workers or threads with one mean nothing.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable

import torch

from benchmarks import recovery, scale
from benchmarks.measure import Row
from moe.exceptions import DoubtfulFitWarning

SHORT: tuple[Callable[[], Iterable[Row]], ...] = (
    recovery.limits,
    recovery.accuracy,
    recovery.l4,
    recovery.search,
    scale.moments,
    scale.streaming,
    scale.sweeping,
    scale.memory,
)
LONG: tuple[Callable[[], Iterable[Row]], ...] = (
    recovery.large,
    recovery.cells,
    recovery.efficiency,
)


def main(names: list[str]) -> None:
    tables = {table.__name__: table for table in (*SHORT, *LONG)}
    unknown = set(names) - set(tables)
    if unknown:
        raise SystemExit(f"unknown table {sorted(unknown)}: expected some of {list(tables)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DoubtfulFitWarning)
    print(f"torch {torch.__version__}, one thread where not said otherwise")
    print(f"{'':94s}    value   goal")
    for table in [tables[name] for name in names] or SHORT:
        for row in table():
            print(f"{row.name:94s} {row.value:8.3g}   {row.goal}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
