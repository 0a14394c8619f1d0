"""What several test files share: samples, normal numbers, rotations, and a look at figures."""

from __future__ import annotations

import csv
import io
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from moe.experiments.shown.figures_data import data_of
from moe.model.mixture import MoE, random_moe
from moe.randomness import stream


def samples(k: int, d: int, n: int, seed: int = 0, **options: Any) -> tuple[MoE, Tensor, Tensor]:
    """A random truth (options: see ``random_moe``) and n samples of it, from streams of their own:
    a solver that gets any other stream starts without knowing either."""
    truth = random_moe(k, d, generator=stream("truth", seed), **options)
    return truth, *truth.sample(n, stream("data", seed))


def normal(*shape: int, seed: int = 0, purpose: str = "normal") -> Tensor:
    return torch.randn(*shape, generator=stream(purpose, seed), dtype=torch.float64)


def rotation(d: int, seed: int = 0) -> Tensor:
    basis: Tensor = torch.linalg.qr(normal(d, d, seed=seed, purpose="rotation")).Q
    return basis


def assert_shows(figure: Figure, *names: str) -> None:
    """The figure draws, its legends name exactly ``names``, a part of every line is seen, and its
    data call every series and every panel by a name."""
    figure.canvas.draw()
    rows = csv.DictReader(io.StringIO(data_of(figure)[0]))
    named = {(row["panel"], row["kind"], row["label"]) for row in rows}
    assert not [row for row in named if row[2].isdigit() or row[0].isdigit()]
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    texts = [text.get_text() for legend in legends if legend for text in legend.get_texts()]
    assert set(texts) == set(names), texts
    for axes in figure.axes:
        if axes.axison:  # else it holds a legend only
            (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
            corners = axes.transData.transform([(left, low), (right, high)])
            for line in axes.lines:
                points = line.get_transform().transform(line.get_xydata())
                inside = ((corners[0] - 1 <= points) & (points <= corners[1] + 1)).all(1)
                assert inside.any(), f"{line.get_label()} is out of sight"
