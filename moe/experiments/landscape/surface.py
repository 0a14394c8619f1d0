"""L_4 for k = d = 2 as a surface to rotate, with sliders: HTML that loads nothing."""

from __future__ import annotations

import json
from pathlib import Path

# The path from the root of the repository, by which the book knows that a chapter depends on it.
_TEMPLATE = Path(__file__).parents[3] / "moe/experiments/landscape/surface.html"


def surface_html(mu: float = 0.5, lam: float = 2.5, p: float = 0.5) -> str:
    """A <div> and its <script>: min over both rows' lengths of L_4, by their angles
    (``moe.experiments.landscape.torus.over_lengths``), proportions (p, 1 - p).

    Sliders set mu, lambda, p and the tilt; mouse, touch and arrow keys rotate. ValueError outside
    the sliders' ranges.
    """
    for name, value, low, high in (
        ("mu", mu, 0.05, 3.0),
        ("lam", lam, 0.2, 15.0),
        ("p", p, 0.2, 0.5),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name}: expected {low} to {high}, the slider's range, got {value}")
    start = json.dumps({"mu": float(mu), "lam": float(lam), "p": float(p)})
    return _TEMPLATE.read_text(encoding="utf-8").replace("__START__", start)
