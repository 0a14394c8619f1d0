"""What decides chapter 4's claims notices when they are just false."""

from __future__ import annotations

from dataclasses import replace

import torch

from moe.experiments.regressor_loss import ambient as l4_ambient
from moe.experiments.regressor_loss import claims as check
from moe.experiments.regressor_loss import descent as l4_descent
from moe.experiments.regressor_loss import fresh_samples as l4_stream
from moe.experiments.regressor_loss import three_forms
from moe.experiments.regressor_loss import weights as l4_weights
from moe.landscape.certificate import Certificate


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def forms(power: float) -> three_forms.Record:
    """Errors that fall exactly like n to this power, with some spread over data sets."""
    spec = three_forms.Spec(sizes=(1_000, 4_000, 16_000), trials=12)
    spread = 1 + 0.3 * torch.linspace(-1, 1, 12, dtype=torch.float64)
    scale = tensor(*spec.sizes) ** power
    moments = (scale[:, None] * spread)[..., None].expand(-1, -1, 4)
    return three_forms.Record(spec, torch.zeros(4, dtype=torch.float64), moments, 0.0)


def test_a_rate_that_is_off_by_a_fifth_is_noticed() -> None:
    right, wrong = check.rate(forms(-0.5)), check.rate(forms(-0.3))
    assert right.holds and not wrong.holds
    assert right.interval is not None and right.interval[0] < -0.5 < right.interval[1]


WEIGHTS = l4_weights.Record(
    l4_weights.Spec(mus=(0.0, 0.5, 2.0), deltas=(0.0, 1.0), penalty_mus=(0.1, 0.2, 0.5)),
    torch.eye(3, dtype=torch.float64),
    success=tensor(0.9, 1.0, 0.9),
    valley=tensor(*[70 / 29.0] * 5),
    norm_penalty=torch.stack([tensor(0.01, 0.04, 0.09), tensor(0.2, 0.2, 0.2)], -1),
    general=torch.stack([tensor(0.0, 0.0, 0.0), tensor(0.2, 0.2, 0.2)], -1),
    ridge=tensor(0.0, 0.01),
    value=tensor(1.0, 4.5),
    shared=tensor(0.0, 0.5),
    lowest=tensor(float("inf"), 4.4),
)


def test_one_start_on_the_wrong_side_of_mu_is_noticed() -> None:
    assert check.only_between_zero_and_one(WEIGHTS).holds
    for success in (tensor(0.9, 0.995, 0.9), tensor(1.0, 1.0, 0.9), tensor(0.9, 1.0, 1.0)):
        assert not check.only_between_zero_and_one(replace(WEIGHTS, success=success)).holds


def test_a_valley_at_another_value_or_none_at_all_is_noticed() -> None:
    assert check.valley(WEIGHTS).holds
    assert not check.valley(replace(WEIGHTS, valley=WEIGHTS.valley + 1e-6)).holds
    assert not check.valley(replace(WEIGHTS, valley=WEIGHTS.valley[:0])).holds


def test_a_wrong_minimum_that_is_not_the_lowest_is_noticed() -> None:
    assert check.sharing(WEIGHTS).holds
    assert check.sharing(WEIGHTS).value == 0.5
    assert not check.sharing(replace(WEIGHTS, lowest=tensor(float("inf"), 4.51))).holds
    assert not check.sharing(replace(WEIGHTS, shared=tensor(0.025, 0.5))).holds


def test_a_slides_form_without_bias_or_a_general_form_with_one_is_noticed() -> None:
    assert check.turned(WEIGHTS, 0.0).holds
    assert not check.turned(WEIGHTS, 1e-6).holds
    assert not check.turned(replace(WEIGHTS, norm_penalty=WEIGHTS.norm_penalty / 10), 0.0).holds
    assert not check.turned(replace(WEIGHTS, general=WEIGHTS.general + 1e-8), 0.0).holds


def test_a_threshold_of_delta_that_is_off_is_noticed() -> None:
    common = tensor(0.1, 0.1, 0.8)
    assert check.threshold_of_delta(common, 0.5, 35.0, 0.001).holds
    assert not check.threshold_of_delta(tensor(1, 1, 1) / 3, 0.5, 1.6, 0.5).holds  # no spurious


def ambient(**changes: torch.Tensor) -> l4_ambient.Record:
    pair = torch.ones(2, 4, dtype=torch.float64)
    values = {
        "projected": 0.01 * pair, "ambient": 0.5 * pair, "ridge": 0.1 * pair,
        "afterwards": 0.02 * pair, "margin": pair, "ran_off": 0 * pair,
        "escape": -tensor(0.1, 0.01)[:, None] * pair, "outside": pair,
    }  # fmt: skip
    return l4_ambient.Record(l4_ambient.Spec(trials=4), **(values | changes))


def test_one_data_set_in_which_projection_is_worse_is_noticed() -> None:
    assert check.projection(ambient()).holds
    assert check.projection(ambient()).value == 50
    one = torch.full((2, 4), 0.01, dtype=torch.float64)
    one[1, 2] = 0.51
    assert not check.projection(ambient(projected=one)).holds
    assert not check.projection(ambient(ridge=one.fill_(0.009))).holds


def test_one_data_set_without_a_certificate_and_bounded_losses_are_noticed() -> None:
    assert check.certified(ambient()).holds
    margin = torch.ones(2, 4, dtype=torch.float64)
    margin[1, 0] = 0
    assert not check.certified(ambient(margin=margin)).holds
    assert check.mostly_unbounded(ambient()).holds
    half = -tensor(0.1, 0.01)[:, None] * tensor(1, 1, -1, -1)
    assert not check.mostly_unbounded(ambient(escape=half)).holds


def test_losses_that_fall_by_one_row_only_or_ever_less_often_are_noticed() -> None:
    fourth = torch.linspace(-1, 1, 200, dtype=torch.float64)

    def factors(first: float, last: float) -> torch.Tensor:
        """The positive term at the smaller and at the larger size, where all is ten times less."""
        held = tensor(first, last)[:, None]
        small = tensor(1.0, 0.1)[:, None]
        return small * torch.stack([held - fourth, 2 * held + 2 * fourth])

    assert check.one_or_two_fall(factors(0.4, 0.2)).holds
    assert not check.one_or_two_fall(factors(0.2, 0.4)).holds  # ever fewer
    assert not check.one_or_two_fall(factors(0.8, 0.6)).holds  # in less than half
    assert not check.one_or_two_fall(factors(0.4, -0.1)).holds  # both at once
    one = factors(0.4, 0.2)
    one[1] = one[1].abs()
    assert not check.one_or_two_fall(one).holds  # two rows never fall
    one = factors(0.4, 0.2)
    one[:, 1] *= 10
    assert not check.one_or_two_fall(one).holds  # no shallower


def fresh(**changes: torch.Tensor) -> l4_stream.Record:
    six = torch.ones(6, dtype=torch.float64)
    outside = torch.stack(
        [
            torch.stack([0.4 * six, 2.0 * six, 0.1 * six]),
            torch.stack([0.7 * six, 1.1 * six, 0.1 * six]),
        ]
    )
    errors = torch.stack([torch.stack([0.3 * six, 0.5 * six, 0.05 * six])] * 2)
    values = {
        "errors": errors, "outside": outside, "diverged": outside > 5,
        "population": 0.1 * six, "population_outside": six,
    }  # fmt: skip
    return l4_stream.Record(l4_stream.Spec(), **(values | changes))


def test_one_mixture_that_is_held_without_the_bias_is_noticed() -> None:
    assert check.held_by_a_bias(fresh()).holds
    for place, value in (((0, 0, 3), 2.1), ((1, 0, 3), 0.39)):
        outside = fresh().outside.clone()
        outside[place] = value
        assert not check.held_by_a_bias(fresh(outside=outside)).holds
    errors = fresh().errors.clone()
    errors[1, 2, 3:] = 0.31
    assert check.held_by_a_bias(fresh(errors=errors)).holds
    errors[1, 2, 2:] = 0.31
    assert not check.held_by_a_bias(fresh(errors=errors)).holds


def test_one_descent_that_ends_elsewhere_is_noticed() -> None:
    ends = torch.full((2, 5), 0.01, dtype=torch.float64)
    ends[0] = 0.5
    record = l4_descent.Record(
        l4_descent.Spec(), torch.arange(2), ends, ends - 3, torch.zeros(5, dtype=torch.bool),
        ends[-1] - 3, ends[-1], Certificate(3, 10.0, 1.0, 20.0),
    )  # fmt: skip
    assert check.one_answer(record).holds
    off = ends.clone()
    off[-1, 2] += 1e-3
    assert not check.one_answer(replace(record, errors=off)).holds
    assert not check.one_answer(replace(record, values=off)).holds
    assert not check.one_answer(replace(record, ran_off=off[-1] > 0.0105)).holds
