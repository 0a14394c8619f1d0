"""The claims of chapter 10 notice when they are just false."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import assert_shows, normal
from scipy.stats import chi2
from torch import Tensor

from moe.experiments.any_gate import claims as judge
from moe.experiments.any_gate import figures, interactive, tables
from moe.experiments.any_gate.efficiency import claims as steps
from moe.experiments.any_gate.efficiency import pretest
from moe.experiments.any_gate.efficiency import tables as step_tables
from moe.experiments.any_gate.efficiency.agreement import Trial
from moe.experiments.any_gate.efficiency.classified import Row
from moe.experiments.any_gate.efficiency.orders import EIGHT, FOUR
from moe.experiments.any_gate.efficiency.steps import Steps
from moe.experiments.any_gate.efficiency.variances import LIKELIHOOD, Variances
from moe.experiments.any_gate.gates import gated_experts
from moe.experiments.any_gate.likelihood import rare
from moe.experiments.any_gate.likelihood.coverage import Covered
from moe.experiments.any_gate.likelihood.curves import (
    CONSTANT,
    DOUBTED,
    L4,
    OFFSETS,
    RECOVER,
    SOFTMAX,
    Record,
    Spec,
)
from moe.experiments.any_gate.likelihood.curves import run as run_curves
from moe.experiments.any_gate.likelihood.limits import Limits
from moe.experiments.any_gate.likelihood.limits import Spec as LimitSpec
from moe.experiments.any_gate.moments import Agreement
from moe.experiments.any_gate.saddles import Left
from moe.experiments.any_gate.scores import CELLS, SHARPENED, Score
from moe.experiments.shown.interactive.marks import LEVELS
from moe.randomness import child_seed, stream

SPEC = Spec(
    kinds=("softmax", "quadrants"), sigmas=(0.2, 1.0), sizes=(1_000, 10_000), recovered=(10_000,)
)
POWERS = {L4: -1.0, CONSTANT: -1.0, SOFTMAX: 0.0, OFFSETS: -1.0, RECOVER: 0.0}
HEIGHTS = {L4: 1.0, CONSTANT: 0.1, SOFTMAX: 0.3, OFFSETS: 0.05, RECOVER: 0.3}


def record(powers: dict[str, float] = POWERS, heights: dict[str, float] = HEIGHTS) -> Record:
    """Errors heights[method] (n / 1000)^powers[method], with a scatter of a tenth over mixtures."""
    scatter = torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64)
    whole = Record(SPEC, {})

    def errors(method: str, sigma: float) -> Tensor:
        n = torch.tensor(whole.sizes(method, sigma), dtype=torch.float64) / 1_000
        return heights[method] * n[:, None] ** powers[method] * scatter

    cells = {
        (kind, sigma): {method: errors(method, sigma) for method in POWERS}
        for kind in SPEC.kinds
        for sigma in SPEC.sigmas
    }
    return replace(whole, errors=cells)


def test_moments_that_differ_or_that_need_no_transform_are_noticed() -> None:
    good = [Agreement("tree", m, 0.5, 1e-14, 0.1) for m in (2, 3, 4)]
    assert judge.moments_hold(good).holds
    assert not judge.moments_hold([*good, replace(good[0], transformed=1e-9)]).holds
    assert not judge.moments_hold([replace(each, plain=1e-3) for each in good]).holds
    assert judge.breaks(0.3, 0.01).holds
    assert not judge.breaks(0.3, 0.04).holds


def test_scores_inside_or_outside_are_noticed() -> None:
    good = [
        Score("tree", CELLS, 1e-7, 1e-17, 1e-7),
        Score("tree", SHARPENED, 1e-2, 1e-17, 1e-2),
    ]
    assert judge.stationary(good, True).holds
    assert not judge.stationary(good, False).holds, "other g leave a score outside the span"
    assert not judge.stationary([replace(good[0], inside=1e-4), good[1]], True).holds
    assert not judge.stationary([replace(good[0], outside=1e-4), good[1]], True).holds
    assert not judge.stationary([good[0], replace(good[1], inside=1e-4)], True).holds


def test_curves_that_fall_or_level_off_are_told_apart() -> None:
    at = (1.0, SOFTMAX, 1_000, 10_000)
    assert judge.levels_off(record(), *at).holds
    assert not judge.falls(record(), *at).holds
    falling = record(POWERS | {SOFTMAX: -0.8})
    assert judge.falls(falling, *at).holds
    assert not judge.levels_off(record(heights=HEIGHTS | {SOFTMAX: 0.015}), *at).holds
    assert not judge.levels_off(
        record(POWERS | {SOFTMAX: -1.1}, HEIGHTS | {SOFTMAX: 9.0}), *at
    ).holds


def test_a_wrong_gate_that_passes_or_a_right_one_that_does_not_is_noticed() -> None:
    found = record()
    for (kind, _), cell in found.errors.items():
        cell[DOUBTED] = torch.full((1, 3), float(kind != "softmax"), dtype=torch.float64)
    finding = judge.wrong_gates_are_doubted(found, 1.0, 10_000)
    assert finding.holds and "softmax 0 of 3" in str(finding.value)
    for kind in ("quadrants", "softmax"):
        told = found.errors[kind, 1.0][DOUBTED]
        told[0, 1] = 1 - told[0, 1]
        assert judge.wrong_gates_are_doubted(found, 1.0, 10_000).holds is False
        told[0, 1] = 1 - told[0, 1]
    alone = replace(found, spec=replace(found.spec, kinds=("quadrants",)))
    assert judge.wrong_gates_are_doubted(alone, 1.0, 10_000).holds is None


def test_ratios_and_who_wins() -> None:
    assert judge.always_better(record(), 10_000).holds
    assert not judge.always_better(record(heights=HEIGHTS | {CONSTANT: 1.1}), 10_000).holds
    assert judge.against_recover(record(), 1.0, 10_000).holds
    assert not judge.against_recover(record(heights=HEIGHTS | {RECOVER: 0.015}), 1.0, 10_000).holds
    assert judge.offsets_explain(record(), 1.0, 10_000).holds
    assert not judge.offsets_explain(record(heights=HEIGHTS | {OFFSETS: 5.0}), 1.0, 10_000).holds
    assert not any(judge.wins(record(), SOFTMAX, L4, 10_000).values())
    assert all(judge.wins(record(), SOFTMAX, L4, 1_000).values())


def test_ignoring_every_gate_or_none_is_noticed() -> None:
    gates = (["quadrants"], ["softmax"])
    found = record()  # softmax errs thirty times more than constant proportions at 10,000 samples
    assert not judge.depends_on_the_gate(found, 10_000, *gates, 0.5).holds
    for sigma in SPEC.sigmas:
        found.errors["softmax", sigma][SOFTMAX] *= 0.01
    assert judge.depends_on_the_gate(found, 10_000, *gates, 0.5).holds
    found.errors["quadrants", 0.2][SOFTMAX] *= 0.01
    assert judge.depends_on_the_gate(found, 10_000, *gates, 0.5).holds, "below the least sigma"
    assert not judge.depends_on_the_gate(found, 10_000, *gates, 0.2).holds
    found.errors["softmax", 0.2][SOFTMAX] *= 100
    assert not judge.depends_on_the_gate(found, 10_000, *gates, 0.5).holds
    assert judge.depends_on_the_gate(found, 10_000, ["shells"], ["softmax"], 0.5).holds is None


def test_a_classifier_that_gains_nothing_or_harms_is_noticed() -> None:
    row = Row("steps", 2e-2, 1e-2, 4e-3, 4e-3, 3e-3, 1e-3, 5e-4, 5e-4, 1e-1, 4e-4, "tree", 100.0)
    rows = [row, replace(row, constant=1.1e-3)]
    assert steps.classifier_gains(rows).holds
    assert not steps.classifier_gains([row, replace(row, classified=2e-3)]).holds
    assert steps.never_far_above(rows).holds
    assert not steps.never_far_above([row, replace(row, competing=3e-2)]).holds
    assert len(step_tables.classified(rows).values) == 2


def test_a_softmax_that_is_refused_too_often_or_taken_wrongly_is_noticed() -> None:
    right = Trial("softmax", 1.2e-3, 1e-3, 1e-3, True, 0.5)
    refused = replace(right, competing=1.2e-3, taken=False, p_value=0.01)
    near = Trial("bent", 1e-3, 1e-1, 1e-3, False, 1e-9)
    fooled = replace(near, softmax=2e-3, competing=2e-3, taken=True, p_value=0.3)
    assert steps.efficient([*[right] * 9, refused, near]).holds
    assert steps.efficient([*[right] * 3, *[refused] * 3]).holds is None
    assert steps.efficient([refused] * 3).holds is False
    found = steps.hardly_fooled([right, *[near] * 8, fooled])
    assert found.holds and found.value == "1.08, at worst 2.00"
    assert steps.hardly_fooled([near, fooled]).holds is None
    assert steps.hardly_fooled([right, fooled, fooled]).holds is False
    table = step_tables.agreement([right, refused, near, fooled])
    assert [row[1] for row in table.values] == ["1 of 2", "1 of 2"]


def test_what_a_pretest_costs_is_what_drawing_shows() -> None:
    """The proposition, with any noise v of the efficient estimate; and no other place of the bias,
    nor more directions, is worse."""
    degrees, level, n = 10, 0.05, 100_000
    v, z = normal(n, degrees, purpose="v"), normal(n, degrees, purpose="z")
    bound = float(chi2.isf(level, degrees))

    def drawn(scale: Tensor, bias: Tensor) -> tuple[float, float]:
        noise, beta = scale.sqrt() * z, scale.sqrt() * bias
        taken = (z - bias).square().sum(1) <= bound
        right, softmax = v + noise, v + beta
        more = taken * (softmax.square() - right.square()).sum(1)
        return float(more.mean()), float(more.std()) / n**0.5

    first = torch.eye(degrees, dtype=torch.float64)[0]
    for bias in (0.0, 1.0, 3.0, 5.0):
        mean, error = drawn(first, bias * first)
        assert abs(mean - pretest.excess(bias, degrees, level)) < 4 * error
    worst = degrees * pretest.worst_excess(degrees, level)
    assert worst == pytest.approx(
        max(pretest.excess(b / 20, degrees, level) for b in range(200)), rel=1e-3
    )
    for number in range(20):
        scale = torch.rand(degrees, generator=stream("scale", number), dtype=torch.float64)
        way = normal(degrees, purpose="way", seed=number)
        mean, error = drawn(scale, way * 3.0 / way.norm())
        assert mean < worst + 3 * error


def test_a_step_or_a_maximum_that_gains_nothing_is_noticed() -> None:
    row = Row("steps", 2e-2, 1e-2, 4e-3, 4e-3, 3e-3, 1e-3, 5e-4, 5e-4, 1e-1, 4e-4, "tree", 100.0)
    refused = replace(row, average=math.nan, l4=math.nan, one_step=math.nan)
    assert steps.steps_gain([row, row, refused]).holds
    assert not steps.steps_gain([row, row, replace(row, one_step=1.2e-2)]).holds
    assert not steps.steps_gain([row, row, replace(row, constant=3.5e-3)]).holds
    assert steps.steps_gain([row, refused]).holds is None


def test_orders_that_gain_nothing_or_go_on_gaining_are_noticed() -> None:
    found = [Steps(1e-2, 4e-3, 4e-3, 3e-3), Steps(2e-2, 9e-3, 4e-3, 3e-3)]
    refused = Steps(*[math.nan] * 4)
    assert steps.lower_orders_gain([*found, refused]).holds
    assert steps.lower_orders_gain([*found, Steps(1e-3, 4e-3, 4e-3, 3e-3)]).holds is None
    assert steps.lower_orders_gain([replace(s, four_orders=3e-2) for s in found]).holds is False
    assert steps.lower_orders_gain([found[0], refused]).holds is None
    ends = Variances(1.0, (0.5, 0.5), {FOUR: 20.0, EIGHT: 16.0, LIKELIHOOD: 4.0})
    assert steps.orders_saturate([ends]).holds
    assert not steps.orders_saturate([ends, replace(ends, of={**ends.of, EIGHT: 9.0})]).holds
    assert not steps.orders_saturate([ends, replace(ends, of={**ends.of, LIKELIHOOD: 9.0})]).holds
    assert len(step_tables.orders([ends, replace(ends, sigma=0.5)]).values) == 3


def test_a_limit_at_the_truth_or_lost_in_the_error_of_the_points_is_noticed() -> None:
    def limits(right: float, off: float, apart: float) -> Limits:
        value = torch.ones(2, 3, dtype=torch.float64)
        errors = {"softmax": right * value, "tree": off * value, "network": 1e-4 * value}
        return Limits(LimitSpec(), errors, dict.fromkeys(errors, apart * value[0]))

    assert judge.inconsistent(limits(1e-8, 0.02, 0.004), ["tree"]).holds
    assert judge.inconsistent(limits(1e-8, 0.02, 0.006), ["tree"]).holds is None
    assert judge.inconsistent(limits(1e-8, math.nan, math.nan), ["tree"]).holds is None
    assert judge.inconsistent(limits(1e-5, 0.02, 0.001), ["tree"]).holds is False
    assert judge.inconsistent(limits(1e-8, 0.02, 1e-5), ["tree", "network"]).holds is False


def test_one_gate_under_which_an_error_rises_or_that_nobody_tried_is_noticed() -> None:
    found = record()
    assert judge.falls_everywhere(found, 1.0, L4, 1_000, 10_000).holds
    cell = found.errors["quadrants", 1.0]
    cell[L4][1, 0] = 1.1 * cell[L4][0, 0]
    assert not judge.falls_everywhere(found, 1.0, L4, 1_000, 10_000).holds
    cell[L4][1] = math.nan
    assert not judge.falls_everywhere(found, 1.0, L4, 1_000, 10_000).holds


def test_intervals_that_hold_more_often_are_noticed() -> None:
    value = torch.full((8,), 0.9, dtype=torch.float64)
    narrow, wide = (Covered("tree", value + by, value, value, value) for by in (-0.02, 0.02))
    assert judge.no_more_often([narrow], "observed", "sandwich").holds
    assert not judge.no_more_often([wide], "observed", "sandwich").holds


def test_a_truth_that_nothing_leaves_or_that_is_left_in_the_span_is_noticed() -> None:
    assert judge.leaves([Left(0.3, 0.01), Left(0.001, 0.001)]).holds
    assert not judge.leaves([Left(0.01, 0.001)]).holds
    assert not judge.leaves([Left(0.3, 0.1)]).holds


def test_intervals_too_narrow_or_too_wide_are_noticed() -> None:
    def covered(share: float) -> list[Covered]:
        value = torch.full((8,), share, dtype=torch.float64)
        return [Covered("tree", value, value, value, value)]

    assert judge.covers(covered(0.95), "any_gate", 0.9, 0.985).holds
    assert not judge.covers(covered(0.89), "any_gate", 0.9, 0.985).holds
    assert not judge.covers(covered(0.99), "any_gate", 0.9, 0.985).holds
    assert len(tables.coverage(covered(0.95)).values) == 1


def test_the_figure_shows_every_method_of_a_small_run() -> None:
    small = replace(SPEC, sizes=(500, 2_000), recovered=(), mixtures=1, sigmas=(0.5,), loud=())
    found = run_curves(small, workers=1)
    names = [figures.STYLES[method][3] for method in (L4, SOFTMAX, OFFSETS, CONSTANT)]
    value = torch.full((2, 1), 0.1, dtype=torch.float64)
    ends = Limits(LimitSpec(sigma=0.5), {"softmax": 0 * value, "quadrants": value}, {})
    figure = figures.errors_figure(found, ends)
    assert_shows(figure, *names, "softmax's limit")
    levels = [
        [float(np.asarray(line.get_ydata(), float)[0]) for line in a.lines[4:]] for a in figure.axes
    ]
    assert levels == [[], [0.1]], "no line where the limit is the truth"
    found.errors["quadrants", 0.5][L4][0] = torch.nan  # no mixture has an answer at that size
    lines = figures.errors_figure(found, ends).axes[1].lines
    drawn = [np.asarray(line.get_xdata()).tolist() for line in lines[:2]]
    assert drawn == [[2_000], [500, 2_000]]
    assert found.errors.keys() == run_curves(small, workers=1).errors.keys()
    assert len(tables.against_softmax(found, 2_000).values) == 2


def test_the_picked_gate_has_its_own_errors_and_its_own_map() -> None:
    spec = replace(SPEC, mixtures=3, seed=5)
    errors = {
        (kind, sigma): {
            method: torch.full((2, 3), height) * torch.tensor([1.0, 2.0, 9.0]) * (1 + i) * (1 + j)
            for method, height in HEIGHTS.items()
            if method != RECOVER
        }
        for i, kind in enumerate(spec.kinds)
        for j, sigma in enumerate(spec.sigmas)
    }
    errors["quadrants", 1.0][L4][0, 1:] = torch.nan  # refused
    errors["softmax", 1.0][L4][:] = torch.nan
    figure = interactive.errors_by_gate(Record(spec, errors)).data
    marks = {mark["label"]: mark for mark in figure["panels"][1]["marks"] if "label" in mark}
    assert set(marks) == {interactive._LOOKS[m][3] for m in (L4, SOFTMAX, OFFSETS, CONSTANT)}
    alone, softmax = marks["L₄ alone"]["y"], marks["softmax EM from the truth"]["y"]
    assert softmax[1][0] == [pytest.approx(0.3 * 2 * 2)] * 2  # quadrants, the lower noise
    assert alone[1][1] == [4, 8] and alone[0][1] == [None, None]
    assert "L₄ alone no answer" in figure["say"]["words"][0][1][0]
    assert "L₄ alone 8," in figure["say"]["words"][1][1][0]
    (gate,) = figure["panels"][0]["marks"]
    truth = gated_experts("quadrants", spec.k, spec.d, 0.2, child_seed(5, "quadrants", 0))
    v = torch.zeros(1, spec.d - spec.k, dtype=torch.float64)
    v[0, 0], v[0, 1] = 1.0, -1.5
    n, wide = interactive.CELLS, interactive.EXTENT
    column, row = (round((value / wide * n + n - 1) / 2) for value in (1.0, -1.5))
    shown = [LEVELS.index(layer[row * n + column]) / 63 for layer in gate["cells"][1]]
    assert shown == pytest.approx(truth.gate(v)[0, 1:].tolist(), abs=0.01)


def test_a_likelihood_leads_away_only_where_it_is_likelier_than_the_truth() -> None:
    lost = rare.End(0.3, 0.5, 0.02, 9.0, False, 0.3, True)
    kept = rare.End(0.01, 0.1, 0.01, 0.0, True, 0.0, True)
    assert rare.led_away([lost, kept]).holds
    assert rare.led_away([lost, replace(kept, moments=math.nan)]).holds
    assert not rare.led_away([replace(lost, ahead=0.5), kept]).holds
    assert rare.led_away([replace(lost, ahead=0.0, oracle=0.3, apart=0.0), kept]).holds
    assert not rare.led_away([replace(lost, ahead=-400.0, oracle=0.3), kept]).holds
    assert not rare.led_away([replace(lost, ahead=0.5, oracle=0.3), kept]).holds, "elsewhere"
    assert not rare.led_away([lost, replace(kept, error=math.nan, ahead=math.nan)]).holds
    assert not rare.led_away([replace(lost, climbed=False), kept]).holds
    assert not rare.led_away([kept]).holds
    assert not rare.led_away([lost, replace(kept, moments=0.005)]).holds
    alike = replace(lost, ahead=0.0, oracle=0.3, apart=0.0, moments=0.1, converged=True)
    assert rare.led_away([lost, alike, kept]).value == (
        "2 of 3, 1 of them doubted; in 1 of them the climb from the truth goes there itself; "
        "in 1 of them $L_4$ errs less"
    )
    assert len(rare.listed([rare.Spec(0.7), rare.Spec(0.7, 1)], [lost, kept]).values) == 2
