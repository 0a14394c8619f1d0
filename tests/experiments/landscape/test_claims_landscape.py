"""What decides chapter 5's claims notices when they are just false."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mixtures import THIRDS

from moe.experiments.landscape import claims as check
from moe.experiments.landscape import escape as landscape_escape
from moe.experiments.landscape import lists as landscape
from moe.experiments.landscape import phase as landscape_phase
from moe.experiments.landscape import samples as landscape_samples
from moe.experiments.landscape import stability as landscape_stability
from moe.landscape import critical_points


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(scope="module")
def lists() -> landscape.Record:
    return landscape.run(landscape.Spec(starts=((2, 60), (3, 60))))


def test_a_list_with_one_minimum_too_many_or_too_few_is_noticed(lists: landscape.Record) -> None:
    assert check.listed(lists).holds
    case = lists.cases[3]
    assert case.listed is not None
    for old, new in (("strict saddle", "spurious minimum"), ("truth", "strict saddle")):
        kinds = list(case.listed.kinds)
        kinds[kinds.index(old)] = new
        wrong = replace(case, listed=replace(case.listed, kinds=tuple(kinds)))
        assert not check.listed(replace(lists, cases={3: wrong})).holds


def test_a_point_that_is_not_listed_is_noticed(lists: landscape.Record) -> None:
    assert check.nothing_new(lists).holds
    matches = lists.cases[3].matches.clone()
    matches[0] = -1
    wrong = {3: replace(lists.cases[3], matches=matches)}
    assert not check.nothing_new(replace(lists, cases=wrong)).holds


def test_values_that_are_not_told_by_the_lengths_are_noticed() -> None:
    points = critical_points(THIRDS, 0.5, 6.0)
    assert check.lengths_tell_values(points, 6.0)
    assert not check.lengths_tell_values(points, 6.001)


def test_lines_are_where_the_theorem_says() -> None:
    for p in (THIRDS, landscape.skewed_proportions(2, 3.0)):
        finding = check.cut_by_lines(p, 0.001)
        assert finding.holds and isinstance(finding.value, str)


def phases() -> landscape_phase.Record:
    spec = landscape_phase.Spec(ks=(3,), skews=(1.0,), mus=(0.5, 1.5), lams=(0.2, 2.0, 8.0))
    predicted = torch.tensor([[[[0, 0], [1, 1], [1, 2]]]])
    other = torch.zeros(predicted.shape, dtype=torch.float64)
    other[0, 0, 2, 1] = 0.3
    truth = (predicted > 0).double() - other
    return landscape_phase.Record(spec, truth, other, predicted)


def test_one_start_that_ends_elsewhere_in_the_benign_region_is_noticed() -> None:
    record = phases()
    assert check.where_the_lines_say(record).holds
    for place, name in (((0, 0, 1, 0), "other"), ((0, 0, 0, 0), "truth")):
        values = getattr(record, name).clone()
        values[place] = 1 / record.spec.starts
        assert not check.where_the_lines_say(replace(record, **{name: values})).holds


def samples(**changes: torch.Tensor) -> landscape_samples.Record:
    spec = landscape_samples.Spec(sizes=(1_000, 100_000), trials=5)
    five = torch.ones(5, dtype=torch.float64)
    spread = tensor(0.9, 0.95, 1.0, 1.05, 1.1)
    values = {
        "error": torch.stack([2 * spread, 0.5 * spread]),
        "moved": torch.stack([spread, 0.1 * spread]),
        "predicted": torch.stack([five, 0.1 * five]),
        "truth": torch.stack([0.7 * five, five]),
        "other": torch.stack([0.3 * five, 0 * five]),
        "lost": torch.stack([tensor(0.8, 0.4, 0.2, 0.1, 0.1, 0.1), tensor(0.6, 0.2, 0, 0, 0, 0)]),
        "condition": torch.stack([tensor(16, 4, 1.6, 2, 4, 8)] * 2),
    }
    return landscape_samples.Record(spec, **(values | changes))


def test_a_tolerance_that_covers_the_errors_is_noticed() -> None:
    assert check.silent(samples(), 0.16).holds
    assert not check.silent(samples(), 0.17).holds  # 0.5 over k, the larger norm's most


def test_errors_that_fall_like_one_over_root_n_are_noticed() -> None:
    assert check.slow_errors(samples()).holds
    fast = samples().error.clone()
    fast[1] = fast[0] / 10.1
    assert check.slow_errors(samples(error=fast)).holds is False
    wide = samples().error.clone()
    wide[1] = wide[0] * tensor(0.05, 0.06, 0.11, 0.2, 0.3)
    assert check.slow_errors(samples(error=wide)).holds is None  # five data sets cannot tell
    many = replace(samples(error=wide.repeat(1, 2)), spec=replace(samples().spec, trials=10))
    assert check.slow_errors(many).holds is False


def test_a_displacement_of_twice_the_prediction_is_noticed() -> None:
    assert check.displaced(samples()).holds
    assert not check.displaced(samples(moved=2 * samples().moved)).holds
    gone = samples().moved.clone()
    gone[1, :3] = torch.inf
    assert not check.displaced(samples(moved=gone)).holds


def test_two_of_five_data_sets_with_starts_that_go_astray_are_noticed() -> None:
    assert check.reached_in_samples(samples()).holds
    truth = samples().truth.clone()
    truth[1, :1] = 0.8
    assert check.reached_in_samples(samples(truth=truth)).holds
    truth[1, :2] = 0.8
    assert not check.reached_in_samples(samples(truth=truth)).holds


def test_a_large_margin_that_saves_minima_is_noticed() -> None:
    assert check.two_aims(samples()).holds
    lost = samples().lost.clone()
    lost[0, 3:5] = 0.25
    assert not check.two_aims(samples(lost=lost)).holds
    assert not check.two_aims(samples(lost=samples().lost.flip(0))).holds


def test_a_minimum_outside_the_proven_radius_is_noticed() -> None:
    fractions = landscape_stability.within_the_bound(THIRDS, 1 / 3, 3.0, 4, 0)
    assert check.survives(fractions).holds
    assert not check.survives(torch.cat([fractions, tensor(1.01)])).holds


def test_a_way_out_at_another_rate_is_noticed() -> None:
    spec = landscape_escape.Spec(k=2, skew=1.5)
    points = critical_points(landscape.skewed_proportions(2, 1.5), 0.5, 4.0)
    near = (1e-4, 1e-6)
    times, kappa = landscape_escape.leaving_times(points, spec, 4.0, near)
    assert check.leaves(times, kappa, near).holds
    kappa[0] *= 1.1
    assert not check.leaves(times, kappa, near).holds


def test_a_plateau_beside_the_saddles_value_is_noticed() -> None:
    film = landscape_escape.run(landscape_escape.Spec(starts=100))
    assert check.waits_at_saddles(film).holds
    wait = min(film.waits, key=lambda w: w.distance)
    off = replace(wait, saddle_value=wait.saddle_value + 1.0)
    assert not check.waits_at_saddles(replace(film, waits=(off,))).holds
    assert not check.waits_at_saddles(replace(film, waits=())).holds
    assert not check.waits_at_saddles(replace(film, closest=-film.closest)).holds
