"""Success on the headline's stream, to move: what counts as success, and for which mixtures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from moe.experiments.recovery.headline import GATES, Record
from moe.experiments.shown.interactive.figure import Control, Interactive, Panel, moving
from moe.experiments.shown.interactive.marks import Mark, line, points

LEVELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_SHOWN = 40  # places of a curve
_HELD, _LEARNED, _TRUE = GATES
_LOOKS = {
    "squared loss": ("vermilion", "--", "squared loss"),
    "L_4": ("blue", "", "L₄"),
    _HELD: ("sky", "--", "L_log, experts from L₄, σ held"),
    _LEARNED: ("blue", "", "L_log, experts from L₄, σ learned"),
    _TRUE: ("green", "-.", "L_log, true experts, σ held"),
}


def shares(errors: Tensor) -> NDArray[np.float64]:
    """(levels, T): the share of the columns (T, seeds) that lie below each level."""
    below = [(errors < level).double().mean(1).numpy() for level in LEVELS]
    found: NDArray[np.float64] = np.stack(below)
    return found


def _curve(name: str, samples: Tensor, runs: Sequence[Tensor]) -> Mark:
    """Without the start, where no sample has been seen."""
    at = np.unique(np.linspace(1, len(samples) - 1, _SHOWN).round().astype(int))
    colour, dash, label = _LOOKS[name]
    values = np.stack([shares(errors[at]) for errors in runs])
    return line(samples[at], values, by=("kind", "level"), colour=colour, dash=dash, label=label)


def _em(sizes: Sequence[int], runs: Sequence[Tensor]) -> list[Mark]:
    values, by = np.stack([shares(errors) for errors in runs]), ("kind", "level")
    return [
        line(sizes, values, by=by, colour="black", dash=":", width=1.5),
        points(sizes, values, by=by, colour="black", marker="s", label="EM on stored samples"),
    ]


def _panel(what: str, marks: list[Mark]) -> Panel:
    alt = f"Lines: the share of mixtures whose {what} are found, against the samples seen"
    x, y = "samples seen", "share of mixtures"
    return Panel(alt, marks, x, y, what, log="x", ratio=0.85, y_range=(-0.03, 1.03))


def _saying(record: Record, kind: str, level: int) -> str:
    def at_end(errors: Tensor) -> str:
        return f"{int((errors[-1] < LEVELS[level]).sum())} of {errors.shape[1]}"

    many = f"{record.spec.em_sizes[-1]:,}"
    return (
        f"Success: an error below {LEVELS[level]:g}; {kind} experts. At the end the squared loss "
        f"has the experts of {at_end(record.regressor['squared loss'])} mixtures, L₄ of "
        f"{at_end(record.regressor['L_4'])}, EM on {many} samples of {at_end(record.em)}. Gates: "
        f"squared loss {at_end(record.gate['squared loss'])}, L_log with σ held "
        f"{at_end(record.gate[_HELD])}, learned {at_end(record.gate[_LEARNED])}, EM "
        f"{at_end(record.em_gate)}."
    )


@moving
def success(records: dict[str, Record]) -> Interactive:
    """Left: experts; right: gates. Curves over the samples seen, EM at its sizes."""
    every = list(records.values())
    one = every[0]  # all have the same numbers of samples
    experts = [
        _curve(name, one.regressor_samples, [r.regressor[name] for r in every])
        for name in ("squared loss", "L_4")
    ]
    seen = {"squared loss": one.regressor_samples, **dict.fromkeys(GATES, one.gate_samples)}
    gates = [_curve(name, at, [r.gate[name] for r in every]) for name, at in seen.items()]
    sizes = one.spec.em_sizes
    panels = [
        _panel("experts", experts + _em(sizes, [r.em for r in every])),
        _panel("gates", gates + _em(sizes, [r.em_gate for r in every])),
    ]
    names = list(records)
    controls = [
        Control("kind", "mixtures", [f"{name} experts" for name in names], menu=True),
        Control("level", "error below", [f"{level:g}" for level in LEVELS], 3),
    ]
    return Interactive(
        controls, panels, lambda kind, level: _saying(every[kind], names[kind], level)
    )
