"""Whether chapter 1's claims hold, given its records."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from moe.experiments.common.claims import Finding, over_clusters
from moe.experiments.gated_networks.gates import SelectionRecord, SharpnessRecord
from moe.experiments.gated_networks.twins import TwinRecord


def softness(record: SharpnessRecord) -> Finding:
    """Median over trials of the entropy: above 3/4 of log k at norm 1, above 15 % at norm 8, below
    at norm 16; in every trial it falls and the largest probability rises with the norm."""
    at = {norm: i for i, norm in enumerate(record.spec.norms)}
    middle = torch.stack([entropy.median(dim=1).values for entropy in record.entropy.values()])
    steady = all(bool((entropy.diff(dim=0) < 0).all()) for entropy in record.entropy.values())
    steady &= all(bool((largest.diff(dim=0) > 0).all()) for largest in record.largest.values())
    soft = middle[:, at[1.0]]
    hard = bool((middle[:, at[8.0]] > 0.15).all() and (middle[:, at[16.0]] < 0.15).all())
    value = f"{float(soft.min()):.2f} to {float(soft.max()):.2f} of $\\log k$"
    return Finding(steady and hard and bool((soft > 0.75).all()), value)


def selection(fair: SelectionRecord, selected: SelectionRecord) -> Finding:
    """With orthogonal gates mean and deviation of <a_i, x> among expert i's samples are 0 and 1
    within five standard errors; with gates in any direction some mean is ten or more away."""
    mean = float((fair.mean / fair.standard_error).abs().max())
    deviation = float(((fair.deviation - 1) / (fair.standard_error / 2**0.5)).abs().max())
    other = float((selected.mean / selected.standard_error).abs().max())
    value = f"{max(mean, deviation):.1f} standard errors at most, {other:.0f} without A4"
    return Finding(max(mean, deviation) < 5 and other > 10, value)


def span_bias(biases: Mapping[tuple[str, int], tuple[float, float]], odd: set[str]) -> Finding:
    """biases[g, k] = relative bias of (M, T): none for k = 2 and g odd up to a constant, above
    2 per cent in all other cases."""
    none = [max(bias) for (g, k), bias in biases.items() if k == 2 and g in odd]
    some = [bias for (g, k), bias in biases.items() if k > 2 or g not in odd]
    worst = max(t for _, t in some)
    least = min(min(bias) for bias in some)
    value = f"elsewhere {100 * least:.0f} to {100 * worst:.0f} %"
    return Finding(max(none) < 1e-4 and least > 0.02, value)


def twin_law(record: TwinRecord) -> Finding:
    """The twin's errors, and its excess over |w|^6 |delta|^2 / 48: that ratio, extrapolated from
    the three least norms to zero by a parabola in |w|^2, is one within 1 per cent."""
    squares = torch.tensor(record.spec.norms[:3], dtype=torch.float64).square()
    ratio = (record.excess / record.leading)[:3].double()
    limit = float(torch.linalg.solve(torch.linalg.vander(squares), ratio)[0])
    cosine = torch.tensor((1 - record.spec.overlap) / 2).to(record.regressor_errors)
    errors = torch.allclose(record.regressor_errors, cosine)
    errors &= torch.allclose(record.gating_errors, torch.full_like(record.gating_errors, 2**0.5))
    value = rf"{limit:.3f} of the law as $\lvert w\rvert \to 0$"
    return Finding(errors and abs(limit - 1) < 0.01, value)


def tell_apart(record: TwinRecord, norm: float = 1.0) -> Finding:
    """At that norm: samples to tell the twin from the truth by squared error, 500 times as many as
    by likelihood or more, over data sets; the twin predicts within 1 per cent of the truth."""
    at = record.spec.norms.index(norm)
    many, interval = over_clusters(record.in_square[at].tolist())
    few, (_, most) = over_clusters(record.in_likelihood[at].tolist())
    close = float(record.excess[at] / record.noise[at]) < 0.01
    return Finding(close and most < 5 and interval[0] > 500 * few, many, interval)
