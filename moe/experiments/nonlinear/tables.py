"""Tables of chapter 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moe.experiments.nonlinear.least import Bound
from moe.experiments.nonlinear.noise import Curve
from moe.experiments.nonlinear.own import Told
from moe.experiments.nonlinear.recovery import GOAL, Cell, limit
from moe.experiments.nonlinear.starts import SUCCESS, WAYS
from moe.experiments.nonlinear.starts import Cell as Followed
from moe.experiments.shown.tables import Table, table
from moe.moments.centring import Costs


def costs(found: Mapping[str, Costs]) -> Table:
    """Root mean square errors of T relative to the plain average."""
    rows = [
        (_plain(name), (c.centred / c.average) ** 0.5, (c.least_squares / c.average) ** 0.5)
        for name, c in found.items()
    ]
    return table(["$g$", "centred average", "least squares"], rows, [None, ".3f", ".3f"])


def bounds(found: Sequence[Bound]) -> Table:
    """n E|T_hat - T|^2 of the polynomial and of both bounded transforms, with the least of each."""
    rows = [
        (
            *(_plain(b.name), b.sigma, b.polynomial, b.every, b.least_every, b.bounded, b.least),
            b.polynomial / b.bounded,
        )
        for b in found
    ]
    head = ["$g$", r"$\sigma$", "polynomial", "bounded, all conditions", "least of all"]
    head += ["bounded, in the span", "least in the span", "polynomial / bounded in the span"]
    return table(head, rows, [None, "g", *[".3g"] * 6])


def samples(cells: Sequence[Cell]) -> Table:
    """Samples that L_4 is predicted to need, E_reg measured over the law at the largest n, and what
    recover did."""
    rows = []
    for cell in cells:
        n = cell.spec.sizes[-1]
        met = float(cell.at("bounded", n).median()) * n / limit(cell.spec, "bounded")
        row: list[Any] = [_plain(cell.spec.nonlinearity)]
        row += [limit(cell.spec, way) / GOAL for way in ("polynomial", "bounded", "recover")]
        row.append(met)
        row += [float(cell.at(way, n).median()) for way in ("polynomial", "bounded")]
        row += [float(cell.errors["recover"][-1].median()), float(cell.converged[-1].mean())]
        rows.append(row)
    head = ["$g$", "$L_4$ needs: polynomials", "bounded", "Cramér–Rao", "measured / law, bounded"]
    head += ["$E_{\\mathrm{reg}}$: polynomials", "bounded", "recover", "trusts itself"]
    return table(head, rows, [None, *[".2g"] * 3, ".2f", *[".1e"] * 3, ".0%"])


def followed(cells: Sequence[Followed]) -> Table:
    """Data sets in which joint EM arrives, by where it began."""
    rows = [
        [
            _plain(c.spec.nonlinearity),
            *(int(c.reached(way).sum()) for way in WAYS),
            c.errors.shape[1],
        ]
        for c in cells
    ]
    head = ["$g$", "from $L_4$, polynomials", "from $L_4$, bounded", "from the truth", "data sets"]
    assert SUCCESS == 0.05
    return table(head, rows, [None, *["d"] * 4])


def noise(curves: Sequence[Curve]) -> Table:
    """Samples for E_reg = 0.1 at every sigma."""
    rows = [(_plain(c.nonlinearity), sigma, *c.at(sigma)) for c in curves for sigma in c.sigmas]
    head = ["$g$", r"$\sigma$", "$L_4$, polynomials", "bounded", "Cramér–Rao bound"]
    return table(head, rows, [None, "g", *[".2g"] * 3])


def told(rows: Sequence[Told]) -> Table:
    """What a user hears about every g."""
    values = []
    for row in rows:
        said = "refused" if row.refused else "a warning: signs are lost" if row.signs_lost else ""
        values.append((_plain(row.name), row.sigma, row.needed, said))
    head = ["$g$", r"$\sigma$", "samples for $L_4$", "and"]
    return table(head, values, [None, "g", ".2g", None])


def _plain(name: str) -> str:
    return name.replace("_", " ")


def noise_check(cell: Cell, curves: Sequence[Curve]) -> Table:
    """Measured at high noise beside what the laws predict at that n (capped at one)."""
    sigma, n = cell.spec.sigma, cell.spec.sizes[-1]
    curve = next(each for each in curves if each.nonlinearity == cell.spec.nonlinearity)
    polynomial, bounded, bound = curve.at(sigma)
    rows = [
        (label, n, min(1.0, 0.1 * law / n), float(cell.at(way, n).median()))
        for label, way, law in (
            ("$L_4$, polynomials", "polynomial", polynomial),
            ("$L_4$, bounded", "bounded", bounded),
            ("recover", "recover", bound),
        )
    ]
    head = ["sigmoid", "$n$", "law", "median $E_{\\mathrm{reg}}$"]
    return table(head, rows, [None, ",d", ".2g", ".2g"])
