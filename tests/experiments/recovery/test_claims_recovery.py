"""The checks behind the recovery chapter's claims notice when a claim is just false."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moe.experiments.engine.sweep import Trial
from moe.experiments.recovery import claims as recovery
from moe.experiments.recovery.em_starts import Record as Starts
from moe.experiments.recovery.em_starts import Spec as StartsSpec
from moe.experiments.recovery.headline import GATES, Record
from moe.experiments.recovery.headline_stream import Spec
from moe.experiments.recovery.how_many import Spec as HowMany
from moe.experiments.recovery.stages import Record as Stages
from moe.experiments.recovery.stages import Spec as StagesSpec
from moe.randomness import stream

SEEDS = 12


def falling(start: float, end: float, steps: int = 40) -> Tensor:
    """Curves (steps, SEEDS) that fall geometrically."""
    t = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    return (start * (end / start) ** t).expand(-1, SEEDS).clone()


def level(value: float) -> Tensor:
    return torch.full((SEEDS,), value, dtype=torch.float64)


def record(**changes: object) -> Record:
    """One in which every claim holds."""
    samples = torch.arange(40)
    gates = dict(
        zip(GATES, (falling(1.0, 0.15), falling(1.0, 0.03), falling(1, 0.02)), strict=True)
    )
    gates[GATES[0]][20:] = 0.15
    made = Record(
        Spec(seeds=SEEDS),
        samples,
        {"squared loss": falling(0.8, 0.5), "L_4": falling(0.8, 0.015)},
        samples,
        {"squared loss": falling(1.0, 0.9), **gates},
        level(1e-5)[None],
        level(0.03)[None],
        level(1e-5)[None],
        {"squared loss": level(1e-3), "L_4": level(0.014)},
        level(0.2),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_squared_loss_is_called_stuck_only_where_it_could_have_succeeded() -> None:
    good = record()
    assert recovery.mostly([recovery.stuck(good), recovery.stuck(good)]).holds
    hopeless = record(oracle={"squared loss": level(0.06), "L_4": level(0.01)})
    assert not recovery.mostly([recovery.stuck(hopeless)]).holds
    half = torch.arange(SEEDS) < SEEDS * 7 // 12  # seven of twelve: not shown to be most
    found = recovery.mostly([half])
    assert found.holds is False and found.value == "7 of 12"


def test_most_runs_of_one_setting_do_not_make_up_for_few_of_the_other() -> None:
    every, none = torch.ones(SEEDS, dtype=torch.bool), torch.zeros(SEEDS, dtype=torch.bool)
    assert recovery.mostly([every, every]).holds
    assert not recovery.mostly([every, none]).holds
    assert recovery.seldom([none, none]).holds and not recovery.seldom([every, none]).holds


def test_l4_is_near_zero_only_where_it_is() -> None:
    far = record(regressor={"squared loss": falling(0.8, 0.5), "L_4": falling(0.8, 0.06)})
    assert recovery.falls_to_zero(record(), record(), 0.03).holds
    assert not recovery.falls_to_zero(record(), far, 0.2).holds
    assert not recovery.falls_to_zero(far, record(), 0.2).holds
    assert not recovery.falls_to_zero(record(), record(), 0.02).holds  # then batches do not matter


def test_a_plateau_is_flat_above_the_end_and_left() -> None:
    smooth = falling(0.8, 0.01)
    assert not recovery.plateaus(smooth).any()
    rests = smooth.clone()
    rests[10:15, 3] = 0.3
    assert recovery.plateaus(rests).tolist() == [s == 3 for s in range(SEEDS)]
    stays = smooth.clone()
    stays[10:, 3] = 0.3  # never left
    assert not recovery.plateaus(stays).any()
    short = smooth.clone()
    short[30:32, 3] = 0.3
    assert not recovery.plateaus(short).any()


@pytest.mark.parametrize(
    ("which", "curve"),
    [
        (GATES[1], falling(1.0, 0.12)),  # learned: hardly nearer than held
        (GATES[0], falling(1.0, 0.15)),  # held: still falling at the end
    ],
)
def test_the_gates_reproduce_only_if_held_levels_off_and_learned_does_not(
    which: str, curve: Tensor
) -> None:
    good = record()
    assert recovery.gates_reproduce(good).holds
    assert recovery.learning_helps(good).all()
    assert not recovery.gates_reproduce(replace(good, gate=good.gate | {which: curve})).holds


def finite(**changes: Tensor) -> Stages:
    names = {name: torch.full((2, 20), 1e-3, dtype=torch.float64) for name in STAGE_FIELDS}
    names["l4"] = torch.full((2, 20), 0.03, dtype=torch.float64)
    for name in ("covered_regressors", "covered_gates"):
        names[name] = 0.95 + 0.02 * torch.randn(2, 20, generator=GENERATOR, dtype=torch.float64)
    return Stages(StagesSpec(seeds=20), **(names | changes))


STAGE_FIELDS = [name for name in Stages.__dataclass_fields__ if name != "spec"]
GENERATOR = stream("covered")


def test_the_oracle_is_reached_in_experts_and_gates_alike() -> None:
    assert recovery.ends_at_the_oracle(finite()).holds
    off = torch.full((2, 20), 1e-3, dtype=torch.float64)
    off[:, :4] *= 1.06  # a fifth of the data sets
    assert not recovery.ends_at_the_oracle(finite(gate_final=off)).holds
    assert not recovery.ends_at_the_oracle(finite(final=off)).holds


def test_gains_are_measured_at_the_largest_size_and_leave_out_what_did_not_run() -> None:
    assert recovery.experts_gain(finite()).value == pytest.approx(30)
    slight = torch.full((2, 20), 0.019, dtype=torch.float64)
    slight[:, 0] = float("nan")
    assert not recovery.experts_gain(finite(l4=slight)).holds
    assert recovery.gates_gain(finite()).holds
    assert not recovery.gates_gain(finite(gate_log=torch.full((2, 20), 1.6e-3).double())).holds


def test_standard_errors_off_by_a_quarter_are_noticed() -> None:
    assert recovery.calibrated(finite()).holds
    narrow = torch.full((2, 20), 0.883, dtype=torch.float64)  # P(|z| < 1.96 / 1.25)
    assert not recovery.calibrated(finite(covered_gates=narrow)).holds
    assert not recovery.calibrated(finite(covered_regressors=narrow)).holds
    few = torch.tensor([[0.5, 1.0]], dtype=torch.float64).expand(2, 2)
    assert recovery.covers(finite(covered_gates=few), "gates").holds is None


def starts(**changes: list[float]) -> Starts:
    shares = {name: [1.0] * 20 for name in Starts.__dataclass_fields__ if name != "spec"}
    return Starts(StartsSpec(), **(shares | changes))


def test_em_is_not_called_as_good_if_l4_wins_at_one_size() -> None:
    assert recovery.no_better_starts([starts(), starts()]).holds
    worse = starts(learned=[1.0] * 16 + [0.0] * 4)
    assert not recovery.no_better_starts([starts(), worse]).holds


def test_holding_sigma_is_blamed_only_if_the_truth_was_within_reach() -> None:
    stuck = [1.0] * 12 + [0.0] * 8
    assert recovery.held_gets_stuck(starts(held=stuck)).holds
    assert not recovery.held_gets_stuck(starts()).holds
    assert not recovery.held_gets_stuck(starts(held=stuck, oracle_held=stuck)).holds
    assert not recovery.held_gets_stuck(starts(held=stuck, learned=[1.0] * 17 + [0.0] * 3)).holds


def test_a_rate_of_all_has_an_interval_too() -> None:
    value, low, high = recovery.rate([1.0] * 20)
    assert value == high == 1 and round(low, 2) == 0.84


def test_k_is_found_only_with_enough_data_sets_to_say_so() -> None:
    def trials(right: int, runs: int) -> list[Trial]:
        specs = HowMany(k=3)
        return [
            Trial(specs, s, {"chosen": 3.0 if s < right else 2.0, "distinct": 2.0}, 0.0)
            for s in range(runs)
        ]

    assert recovery.found_k(trials(20, 20), 600).holds
    assert recovery.found_k(trials(16, 20), 600).holds is False
    assert recovery.found_k(trials(4, 4), 600).holds is None
