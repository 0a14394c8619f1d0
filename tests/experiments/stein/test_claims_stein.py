"""Each check of chapter 3's claims sees a record in which the claim is just false."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moe.experiments.stein import claims as decide
from moe.experiments.stein import estimators as stein
from moe.experiments.stein import moment_error


@pytest.fixture(scope="module")
def split() -> stein.Record:
    return stein.run(stein.Spec())


def changed(values: Tensor, where: tuple[int, ...], value: float) -> Tensor:
    values = values.clone()
    values[where] = value
    return values


def test_a_part_that_is_missing_is_seen(split: stein.Record) -> None:
    assert decide.parts_add_up([split]).holds
    assert not decide.parts_add_up([split, replace(split, direct=split.direct + 2e-10)]).holds
    silent = replace(split, terms=changed(split.terms, (1, 0), 2e-12))
    assert not decide.parts_add_up([silent]).holds


def test_a_gate_that_stays_in_the_moment_is_seen(split: stein.Record) -> None:
    assert decide.gates_drop_out([split]).holds
    leaking = replace(split, terms=changed(split.terms, (2, 2), 2e-12))
    assert not decide.gates_drop_out([leaking]).holds
    assert not decide.gates_drop_out([replace(split, recovered=2e-10)]).holds
    easy = replace(split, terms=changed(split.terms, (1, 2), 0.09 * float(split.terms[1, 3])))
    assert not decide.gates_drop_out([easy]).holds, "the cube would have done as well"


@pytest.mark.parametrize(
    ("sampled", "error", "holds"),
    [(1.03, 0.01, True), (1.05, 0.01, False), (1.0, 0.06, False)],
)
def test_a_wrong_constant_or_a_blunt_check_is_seen(
    sampled: float, error: float, holds: bool
) -> None:
    right = moment_error.Checked(1.0, 1.0, 0.01)
    checks = [right, moment_error.Checked(1.0, sampled, error)]
    assert decide.constants_agree(checks).holds is holds


def test_a_rule_that_is_no_lower_bound_is_seen() -> None:
    table = torch.tensor([[10.0, 2.0], [3.0, 1.1]])
    assert decide.too_low(table, [False, True]).holds
    assert not decide.too_low(changed(table, (1, 1), 0.99), [False, True]).holds
    assert not decide.too_low(changed(table, (1, 1), 10.5), [False, True]).holds


def measured(shift: float = 0.0, trials: int = 40) -> moment_error.Record:
    """Records whose squared errors scatter by 20 per cent about a prediction that is (1 + shift)
    times too low."""
    spec = moment_error.Spec(("tanh", "relu"), methods=("average", "least_squares"), trials=trials)
    scatter = 1 + 0.2 * torch.tensor([-1.0, 1.0]).repeat(trials // 2)
    constants = torch.tensor([[4.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    both = torch.stack([scatter, scatter.flip(0)])[:, None, None]
    errors = constants[..., None, None] / torch.tensor(spec.sizes)[:, None] * both * (1 + shift)
    return moment_error.Record(spec, errors, constants)


def test_errors_that_miss_their_prediction_at_one_size_are_seen() -> None:
    right = measured()
    assert decide.prediction_met(right, ["tanh"]).holds
    off = right.errors.clone()
    off[0, 0, 1] *= 1.2
    assert not decide.prediction_met(replace(right, errors=off), ["tanh"]).holds
    assert decide.prediction_met(replace(right, errors=off), ["relu"]).holds
    assert not decide.prediction_met(measured(trials=2), ["tanh"]).holds, "too few to tell"


def test_a_typical_error_as_large_as_the_mean_is_seen() -> None:
    assert not decide.typical_is_better(measured(shift=0.05), ["relu"]).holds
    assert decide.typical_is_better(measured(shift=-0.3), ["relu"]).holds


def test_an_estimate_that_loses_once_is_seen() -> None:
    second = {"linear": (0.8, 0.5), "tanh": (0.6, 0.59)}
    assert decide.best_for_second(second).holds
    assert not decide.best_for_second(second | {"tanh": (0.6, 0.61)}).holds
    fourth = {"linear": (1.02, 0.7), "tanh": (0.8, 1.2)}
    assert decide.best_for_fourth(fourth, {"tanh"}).holds
    assert not decide.best_for_fourth(fourth, {"linear", "tanh"}).holds
    assert not decide.best_for_fourth(fourth | {"gelu": (1.01, 1.02)}, {"tanh"}).holds


def test_a_gain_that_is_not_the_predicted_one_is_seen() -> None:
    right = measured()
    assert decide.gain_as_predicted(right).holds
    less = right.errors.clone()
    less[0, 0] /= 1.5
    assert not decide.gain_as_predicted(replace(right, errors=less)).holds
