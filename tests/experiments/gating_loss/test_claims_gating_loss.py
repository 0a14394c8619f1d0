"""The claims of chapter 6 fail on records in which they are just false."""

from __future__ import annotations

from dataclasses import replace

import torch

from moe.experiments.gating_loss import claims
from moe.experiments.gating_loss.convergence import ConvergenceRecord, ConvergenceSpec
from moe.experiments.gating_loss.dimension import DimensionRecord, DimensionSpec
from moe.experiments.gating_loss.landscape.convexity import ConvexityRecord, ConvexitySpec
from moe.experiments.gating_loss.landscape.minima import PhaseRecord, PhaseSpec
from moe.experiments.gating_loss.transfer import TransferRecord, TransferSpec

NAN = float("nan")


def full(*shape: int, value: float = 1.0) -> torch.Tensor:
    return torch.full(shape, value, dtype=torch.float64)


def changed(values: torch.Tensor, index: tuple[int, ...], value: float) -> torch.Tensor:
    values = values.clone()
    values[index] = value
    return values


def test_one_start_that_ends_elsewhere_is_enough() -> None:
    apart = full(3, 6, 2, 5, value=1e-6)
    record = ConvexityRecord(ConvexitySpec(), full(1), apart, full(1))
    assert claims.one_end(record).holds
    assert claims.one_end(record).value == "180 of 180 starts"
    away = claims.one_end(replace(record, apart=changed(apart, (2, 5, 1, 4), 0.02)))
    assert not away.holds
    assert away.value == "179 of 180 starts"


def phase() -> PhaseRecord:
    spec = PhaseSpec(angles=(5.0, 10.0), sigmas=(0.1, 0.3, 0.7))
    excess = torch.tensor([[NAN, 0.01, 0.02], [NAN, NAN, 0.01]], dtype=torch.float64)
    return PhaseRecord(
        spec, excess, full(2, 3, value=1e-3), full(2, 3), full(2, 3, value=1e-9), full(2, 3) * 1e-6
    )


def test_a_second_minimum_is_a_minimum_and_higher() -> None:
    record = phase()
    assert claims.second_minima(record).holds
    saddle = changed(record.curvature, (0, 1), -1e-4)
    assert not claims.second_minima(replace(record, curvature=saddle)).holds
    moving = changed(record.slope, (0, 1), 1e-4)
    assert not claims.second_minima(replace(record, slope=moving)).holds
    lower = changed(record.excess, (0, 1), -1e-6)
    assert not claims.second_minima(replace(record, excess=lower)).holds
    none = replace(record, excess=full(2, 3, value=NAN))
    assert not claims.second_minima(none).holds, "a map without one shows nothing"


def test_a_threshold_is_where_the_noise_is_a_few_times_the_distance() -> None:
    record = phase()
    assert claims.threshold(record).holds
    at_ten = changed(record.excess, (1, 1), 0.01)  # 0.3 is 1.7 times the distance there
    assert not claims.threshold(replace(record, excess=at_ten)).holds
    gone = changed(record.excess, (0, 2), NAN)  # there at 0.3, gone at 0.7
    assert not claims.threshold(replace(record, excess=gone)).holds
    assert claims.found_from_zero(record).holds
    missed = changed(record.from_zero, (0, 2), 4.0)
    assert not claims.found_from_zero(replace(record, from_zero=missed)).holds


def test_a_rate_a_tenth_below_the_prediction_is_noticed() -> None:
    one, ends = full(4), full(30, 4, value=1e-9)
    record = ConvergenceRecord(
        ConvergenceSpec(),
        em=ends,
        descent=ends,
        to_truth=full(30, 4),
        em_predicted=0.5 * one,
        em_measured=0.49 * one,
        descent_predicted=0.6 * one,
        descent_measured=0.59 * one,
        floor=one,
    )
    assert claims.geometric(record).holds
    assert claims.stops_at_the_floor(record).holds
    slow = changed(record.em_measured, (3,), 0.512)
    assert not claims.geometric(replace(record, em_measured=slow)).holds
    assert not claims.geometric(replace(record, em_measured=0.44 * one)).holds
    assert not claims.geometric(replace(record, descent=1e-6 * full(30, 4))).holds
    assert not claims.stops_at_the_floor(replace(record, floor=0.8 * one)).holds


def test_a_rate_that_rises_with_the_dimension_is_noticed() -> None:
    one = full(3, 4)
    record = DimensionRecord(
        DimensionSpec(dimensions=(6, 20, 100)),
        0.55 * one,
        0.55 * one,
        0.55 * one,
        0.5 * one,
        0.5 * one,
        *full(2, 4) / 2,
    )
    assert claims.same_in_every_dimension(record).holds
    rising = changed(record.fresh, (2, 0), 0.53)  # 6 per cent, in one trial
    assert not claims.same_in_every_dimension(replace(record, fresh=rising)).holds
    steeper = changed(record.descent_fresh, (2, 0), 0.53)
    assert not claims.same_in_every_dimension(replace(record, descent_fresh=steeper)).holds
    below = replace(record, em_predicted=0.49 * one)  # the enclosure is broken
    assert not claims.same_in_every_dimension(below).holds


def transfer() -> TransferRecord:
    spec = TransferSpec(sigmas=(0.1, 0.2), shifts=(0.01, 0.1, 1.0), trials=3)
    shifts = torch.tensor(spec.shifts, dtype=torch.float64)[None, :, None]
    sigmas = torch.tensor(spec.sigmas, dtype=torch.float64)[:, None, None]
    moved = shifts * sigmas * full(2, 3, 3) * torch.tensor([1.0, 1.0, 1.3])[None, :, None]
    one = full(2, 3)
    return TransferRecord(
        spec, moved, one, one, 2 * one, 2 * one, 0.05 * one, 0.2 * one, 0.4 * one, 0.3 * one
    )


def test_a_gate_that_moves_by_more_than_promised_is_noticed() -> None:
    record = transfer()
    assert claims.promise_kept(record).holds
    far = changed(record.moved, (0, 2, 1), 10.1)  # epsilon is 10 there
    assert not claims.promise_kept(replace(record, moved=far)).holds
    assert not claims.promise_kept(replace(record, moved_worst=0.6 * full(2, 3))).holds
    assert claims.bounded_response(record).holds
    grows = replace(record, worst_large=torch.tensor([[3.2] * 3, [2.0] * 3]))
    assert not claims.bounded_response(grows).holds


def test_the_straight_line_its_end_and_what_the_shift_is_beside_the_error() -> None:
    record = transfer()
    assert claims.linear_up_to_the_noise(record).holds
    straight = replace(record, moved=changed(record.moved, (1, 2, 0), 0.2))
    assert claims.linear_up_to_the_noise(straight).holds, "one trial of three is not the median"
    assert not claims.linear_up_to_the_noise(replace(record, slope=1.2 * full(2, 3))).holds
    assert claims.small_beside_the_error(record).holds
    more = changed(record.moved, (1, 1, 2), 0.07)
    assert not claims.small_beside_the_error(replace(record, moved=more)).holds
    assert not claims.small_beside_the_error(replace(record, moved_worst=0.21 * full(2, 3))).holds


def test_learning_sigma_must_help_in_more_than_half_of_the_problems() -> None:
    held, better = full(2, 20, value=0.4), torch.zeros(2, 20).bool()
    better[:, :16] = True
    spec = replace(transfer().spec, trials=20)
    record = replace(transfer(), spec=spec, held=held, learned=torch.where(better, 0.3, 0.5))
    seen = claims.helped(record)
    assert seen.holds
    assert seen.value == 0.8
    better[:, 11:] = False  # 11 of 20 may be chance
    assert not claims.helped(replace(record, learned=torch.where(better, 0.3, 0.5))).holds
    few = replace(record, spec=replace(spec, trials=4))
    assert claims.helped(few).holds is None
