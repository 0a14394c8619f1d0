"""Each check of chapter 1's claims sees a record in which the claim is just false."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moe.experiments.gated_networks import claims as decide
from moe.experiments.gated_networks import gates, twins


def changed(values: Tensor, where: tuple[int, ...], value: float) -> Tensor:
    values = values.clone()
    values[where] = value
    return values


@pytest.fixture(scope="module")
def soft() -> gates.SharpnessRecord:
    spec = gates.SharpnessSpec(experts=(2,), norms=(0.5, 1.0, 8.0, 16.0), n=2_000, trials=3)
    return gates.sharpness(spec)


def test_a_gate_that_hardens_too_soon_or_not_steadily_is_seen(soft: gates.SharpnessRecord) -> None:
    assert decide.softness(soft).holds
    entropy = soft.entropy[2]
    hard = entropy.clone()
    hard[1] = 0.74
    late = entropy.clone()
    late[3] = 0.16
    back = changed(entropy, (2, 0), float(entropy[1, 0]) + 0.01)
    for wrong in (hard, late, back):
        assert not decide.softness(replace(soft, entropy={2: wrong})).holds


def test_a_selection_by_orthogonal_gates_is_seen() -> None:
    none = gates.SelectionRecord(
        torch.zeros(2, 3), torch.ones(2, 3), torch.full((2, 3), 0.01, dtype=torch.float64)
    )
    strong = replace(none, mean=none.mean + 0.2)
    assert decide.selection(none, strong).holds
    assert not decide.selection(replace(none, mean=changed(none.mean, (1, 2), 0.051)), strong).holds
    wide = replace(none, deviation=changed(none.deviation, (0, 1), 1.036))
    assert not decide.selection(wide, strong).holds
    assert not decide.selection(none, replace(none, mean=none.mean + 0.09)).holds


def test_a_bias_where_there_should_be_none_is_seen_and_one_that_is_missing_too() -> None:
    biases = {("tanh", 2): (0.0, 1e-6), ("tanh", 3): (0.04, 0.1), ("relu", 2): (0.5, 1.2)}
    assert decide.span_bias(biases, {"tanh"}).holds
    assert not decide.span_bias(biases | {("tanh", 2): (0.0, 1e-3)}, {"tanh"}).holds
    assert not decide.span_bias(biases | {("relu", 2): (0.01, 1.2)}, {"tanh"}).holds


@pytest.fixture(scope="module")
def pair() -> twins.TwinRecord:
    norms = (0.25, 0.35, 0.5, 1.0)
    return twins.run(twins.TwinSpec(norms=norms, n=2_000, trials=3))


def test_another_law_of_the_twin_is_seen(pair: twins.TwinRecord) -> None:
    assert decide.twin_law(pair).holds
    assert not decide.twin_law(replace(pair, leading=pair.leading * 48 / 47)).holds
    assert not decide.twin_law(replace(pair, regressor_errors=pair.regressor_errors + 1e-3)).holds
    assert not decide.twin_law(replace(pair, gating_errors=pair.gating_errors - 1e-3)).holds


def test_a_squared_error_that_tells_the_twins_apart_is_seen(pair: twins.TwinRecord) -> None:
    found = decide.tell_apart(pair)
    assert found.holds
    assert found.interval is not None
    assert not decide.tell_apart(replace(pair, in_square=pair.in_square / 20)).holds
    assert not decide.tell_apart(replace(pair, in_likelihood=pair.in_likelihood * 5)).holds
    assert not decide.tell_apart(replace(pair, excess=pair.noise / 99)).holds
