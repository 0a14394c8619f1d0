"""Vector figures in fewer bytes: coordinates to a hundredth of a point, which no eye resolves."""

from __future__ import annotations

import re

_PLACES = re.compile(r'(\s(?:d|x|y|cx|cy)=")([^"]*)')
_PRECISE = re.compile(r"-?\d+\.\d{3,}")
_INDENT = re.compile(r"\n\s+(?=<)")


def light(svg: str) -> str:
    """The drawing with the numbers of its paths and of its markers' places rounded.

    Transformations stay as they are: they scale what they act on. All path commands of matplotlib
    are absolute, so that no error adds up.
    """
    return _INDENT.sub("\n", _PLACES.sub(lambda m: m[1] + _rounded(m[2]), svg))


def _rounded(numbers: str) -> str:
    numbers = " ".join(numbers.split())
    return _PRECISE.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), numbers)
