"""Vector figures in fewer bytes: coordinates to a hundredth of a point, which no eye resolves, and
paths told step by step."""

from __future__ import annotations

import re

_PATH = re.compile(r'(\sd=")([^"]*)')
_PLACES = re.compile(r'(\s(?:x|y|cx|cy)=")([^"]*)')
_PRECISE = re.compile(r"-?\d+\.\d{3,}")
_INDENT = re.compile(r"\n\s+(?=<)")
_COMMAND = re.compile(r"([MLQCz])([^A-Za-z]*)")
_PAIRS = {"M": 1, "L": 1, "Q": 2, "C": 3}
"""Points that a command takes at a time."""


def light(svg: str) -> str:
    """The drawing with the numbers of its paths and of its markers' places rounded.

    Transformations stay as they are: they scale what they act on.
    """
    svg = _PATH.sub(lambda m: m[1] + _stepwise(m[2]), svg)
    return _INDENT.sub("\n", _PLACES.sub(lambda m: m[1] + _rounded(m[2]), svg))


def _rounded(number: str) -> str:
    return _PRECISE.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), number)


def _stepwise(path: str) -> str:
    """The path, whose commands are absolute as all of matplotlib's, in relative ones.

    Places are rounded first, and the steps between them are whole hundredths: no error adds up.
    Any other path stays as it is.
    """
    commands = _COMMAND.findall(path)
    if "".join(a + b for a, b in commands) != path:
        return path
    told, last, here, start = list[str](), "", (0, 0), (0, 0)
    for command, numbers in commands:
        if command == "z":
            told.append("z")
            last, here = "z", start
            continue
        places = [round(100 * float(number)) for number in numbers.split()]
        size = 2 * _PAIRS[command]
        for first in range(0, len(places), size):
            group = places[first : first + size]
            steps = [place - here[axis % 2] for axis, place in enumerate(group)]
            told.append(("" if command == last else command.lower()) + _joined(steps))
            here = (group[-2], group[-1])
            start = here if command == "M" else start
            last = "L" if command == "M" else command  # after a move numbers alone are lines
    return " ".join(told).replace(" -", "-")


def _joined(hundredths: list[int]) -> str:
    numbers = (f"{value / 100:.2f}".rstrip("0").rstrip(".") for value in hundredths)
    return " ".join(re.sub(r"^(-?)0\.", r"\1.", number) for number in numbers)
