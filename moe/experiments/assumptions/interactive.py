"""One assumption broken more and more, to move: which one, and how much."""

from __future__ import annotations

import numpy as np

from moe.experiments.assumptions.sweeps import EM, FAR, L4, ORACLE, RECOVER, Record
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import line, points

LEAST = 1e-5  # errors below are drawn here
_PLAIN = {"$": "", r"\log_2": "log₂", r"\rho": "ρ", r"\nu": "ν"}  # the TeX in the knobs' names
_LOOKS = {
    L4: ("blue", "", "o", "L₄"),
    FAR: ("sky", "--", "^", "L₄, many samples"),
    RECOVER: ("vermilion", "-.", "s", "recover"),
    EM: ("orange", ":", "^", "EM, random starts"),
    ORACLE: ("black", "--", "o", "EM from the truth"),
}


def _saying(record: Record, name: str, degree: float) -> str:
    def told(method: str) -> str:
        value = record.median(name, method, degree)
        return "no answer" if np.isnan(value) else f"{value:.2g}"

    knob = VIOLATIONS[name].knob
    for tex, letters in _PLAIN.items():
        knob = knob.replace(tex, letters)
    where = "all holds" if degree == 0 else f"{knob}: {degree:g}"
    doubts = record.doubts(name, degree)
    noticed = f"recover doubts {int(doubts.sum())} of {len(doubts)} fits"
    return (
        f"{name[0].upper()}{name[1:]}; {where}. Median error: L₄ {told(L4)}, recover "
        f"{told(RECOVER)}, EM from the truth {told(ORACLE)}; {noticed}."
    )


@moving
def broken_assumption(record: Record) -> Interactive:
    """Median errors against the degree, counted from 0 where all holds; a mark where the slider
    stands, or at the largest degree that was tried."""
    names = list(record.spec.violations)
    degrees = [record.degrees(name) for name in names]
    most = max(map(len, degrees))
    marks, by = [], ("violation", "degree")
    at = np.array([[min(i, len(tried) - 1) for i in range(most)] for tried in degrees])
    for method, (colour, dash, marker, label) in _LOOKS.items():
        values = np.full((len(names), most), np.nan)
        for row, name in enumerate(names):
            found = [record.median(name, method, degree) for degree in degrees[row]]
            values[row, : len(found)] = np.maximum(found, LEAST)
        places = np.arange(most)
        look = {"colour": colour, "marker": marker}
        now = np.take_along_axis(values, at, 1)[..., None]
        marks += [
            line(places, values, by=("violation",), colour=colour, dash=dash, label=label),
            points(places, values, by=("violation",), size=3, **look),
            points(at[..., None], now, by=by, size=6.5, **look),
        ]
    panel = Panel(
        "Lines: median regressor error against how far an assumption is broken, for five methods",
        marks,
        "degree, counted from none",
        "regressor error",
        log="y",
        ratio=0.6,
        x_ticks=[(i, str(i)) for i in range(most)],
    )
    controls = [
        Control("violation", "what is broken", names, menu=True),
        Control("degree", "how far", [str(i) for i in range(most)], most - 1),
    ]
    return Interactive(
        controls,
        [panel],
        lambda violation, degree: _saying(
            record, names[violation], degrees[violation][at[violation, degree]]
        ),
    )
