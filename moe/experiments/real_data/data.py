"""The tables of book/data, which travel with the package: read, checked, split."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moe.randomness import numpy_stream

Array = NDArray[np.float64]
FOLDER = Path(__file__).parent / "book_data"  # in a checkout a link to book/data


@dataclass(frozen=True)
class Source:
    """A table: file, its output column (the last), what a row is, and the number of experts used
    in this chapter."""

    file: str
    title: str
    unit: str
    experts: int


SOURCES = {
    "tones": Source("tones.csv", "tone perception", "", 2),
    "nile": Source("nile.csv", "Nile", r"$10^8\,\mathrm{m}^3$", 2),
    "inflation": Source("inflation.csv", "US inflation", "% a year", 2),
    "motorcycle": Source("motorcycle.csv", "motorcycle", "g", 2),
    "airfoil": Source("airfoil.csv", "airfoil noise", "dB", 3),
    "concrete": Source("concrete.csv", "concrete", "MPa", 3),
}


@dataclass(frozen=True, eq=False)
class Data:
    """x (n, d) with its columns' names, y (n,) with its own."""

    columns: tuple[str, ...]
    output: str
    x: Array
    y: Array

    def rows(self, index: NDArray[np.int64]) -> Data:
        """Only these samples."""
        return Data(self.columns, self.output, self.x[index], self.y[index])


def digest(name: str) -> str:
    """Of the file's bytes: part of every trial's spec, so that a sweep's store knows the data."""
    return hashlib.sha256((FOLDER / SOURCES[name].file).read_bytes()).hexdigest()[:16]


@lru_cache
def load(name: str) -> Data:
    """A table by its name in ``SOURCES``. Raises ValueError for a cell that is no number."""
    with (FOLDER / SOURCES[name].file).open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{SOURCES[name].file}: expected numbers only ({error})") from error
    if not np.isfinite(values).all() or values.shape[1] != len(head):
        raise ValueError(f"{SOURCES[name].file}: expected {len(head)} finite numbers a row")
    return Data(tuple(head[:-1]), head[-1], values[:, :-1], values[:, -1])


def split(n: int, seed: int, held_out: float = 0.2) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A random part of n rows to fit, and the others, held out."""
    order = numpy_stream("split", seed).permutation(n)
    size = round(held_out * n)
    return np.sort(order[size:]), np.sort(order[:size])
