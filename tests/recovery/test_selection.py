"""moe.recovery.selection: how many experts."""

import pytest
import torch
from helpers import samples

import moe
from moe.exceptions import DoubtfulFitWarning
from moe.experiments.recovery import how_many
from moe.experiments.recovery.figures_how_many import evidence
from moe.model.nonlinearity import as_nonlinearity
from moe.moments.transforms import solved_transform
from moe.randomness import stream
from moe.recovery import selection
from moe.solvers.l4 import noise_edge, noise_level, robust_moment


@pytest.mark.parametrize(("k", "share"), [(1, 100), (2, 100), (3, 300), (4, 200)])
def test_the_number_of_experts_is_found(k: int, share: int) -> None:
    _, x, y = samples(k, 9, share * k, sigma=0.1)
    choice = moe.choose_k(x, y, max_experts=9, folds=2)
    assert choice.k == k and choice.doubts == ()
    assert choice.calibration[k] >= 1e-4
    best = max(choice.held_out, key=lambda size: choice.held_out[size])
    assert best == k or k == 1
    for size, (gain, _) in choice.gains.items():
        assert gain == pytest.approx(choice.held_out[size] - choice.held_out[size - 1])


def test_steps_that_do_not_pay_do_not_end_the_walk() -> None:
    """Six experts, 100 samples each: up to four, one expert more gains nothing that shows."""
    _, x, y = samples(6, 9, 600, sigma=0.1)
    choice = moe.choose_k(x, y, max_experts=9, folds=2)
    assert any(gain <= 2 * error for size, (gain, error) in choice.gains.items() if size <= 4)
    assert choice.k == 6


def profile(held_out: list[float], calibration: list[float]) -> dict[int, selection.Tried]:
    """What was tried, k = 1, 2, ...: every sample deviates from the mean alike, so differences have
    no error but for 0.1 / sqrt(n) of one sample in two, which goes up and down."""
    noise = torch.tensor([0.1, -0.1] * 50, dtype=torch.float64)
    return {
        k: selection.Tried(value + k * noise, p)
        for k, (value, p) in enumerate(zip(held_out, calibration, strict=True), 1)
    }


@pytest.mark.parametrize(
    ("held_out", "calibration", "chosen", "enough", "doubts"),
    [
        ([0.0, 1.0, 0.5, 0.4], [0.0, 1.0, 1.0, 1.0], 2, True, ()),  # two in a row lose
        ([0.0, 1.0, 0.5], [0.0, 1.0, 1.0], 2, False, ()),  # one does not do
        ([0.0, 1.0, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0], 2, False, ("do not describe",)),
        ([0.0, -0.1, -0.1, 1.0], [0.0, 0.0, 0.0, 1.0], 4, False, ("still rises",)),
        ([0.99, 1.0, 0.99, 0.99], [1.0, 1.0, 1.0, 1.0], 1, False, ()),  # all alike: the smallest
        ([0.99, 1.0, 0.99, 0.99], [0.0, 0.0, 1.0, 1.0], 3, False, ()),  # that is calibrated
    ],
)
def test_the_smallest_calibrated_k_that_is_not_behind(
    held_out: list[float],
    calibration: list[float],
    chosen: int,
    enough: bool,
    doubts: tuple[str, ...],
) -> None:
    tried = profile(held_out, calibration)
    assert selection.smallest_of(tried) == chosen
    assert selection.enough_tried(tried) == enough
    against = selection.objections(tried, chosen, len(tried))
    assert len(against) == len(doubts)
    assert all(part in said for part, said in zip(doubts, against, strict=True))


def test_an_eigenvalue_too_many_is_corrected_downwards() -> None:
    """Gates that are not orthogonal to the experts can leak into M: here a fourth eigenvalue, along
    the fourth axis, where the second gate points and no expert does."""
    a, w = torch.zeros(2, 3, 6, dtype=torch.float64)
    a[:, :3] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.4, 0.7]])
    w[:, :4] = torch.tensor([[-2.0, 6.0, 0.0, 0.0], [-5.0, 2.0, -2.0, 6.0], [0.0, 0.0, 0.0, 0.0]])
    truth = moe.MoE(a / a.norm(dim=1, keepdim=True), w, 0.1)
    choice = moe.choose_k(*truth.sample(20_000, stream("data", 0)), max_experts=6, folds=2)
    assert choice.distinct == 4 and choice.k == 3


def test_the_largest_k_is_a_bound_and_bad_arguments_speak() -> None:
    _, x, y = samples(4, 5, 2000)
    with pytest.warns(DoubtfulFitWarning, match="choose_k: fits of 2 experts do not describe"):
        choice = moe.choose_k(x, y, max_experts=2, folds=2)
    assert choice.k == 2 and len(choice.doubts) == 2 and "still rises at k = 2" in choice.doubts[1]
    with pytest.raises(ValueError, match="max_experts: expected at least 1, got 0"):
        moe.choose_k(x, y, max_experts=0)
    with pytest.raises(ValueError, match="folds: expected at least 2, got 1"):
        moe.choose_k(x, y, folds=1)


def test_every_k_can_be_tried_and_the_choice_is_the_same() -> None:
    spec = how_many.Spec(k=2, d=4)
    found, full = (how_many.choice(spec, 1, every=every) for every in (False, True))
    assert found.k == full.k == 2 and sorted(full.held_out) == [1, 2, 3, 4]
    assert set(found.held_out) <= set(full.held_out)
    assert how_many.trial(spec, 1) == {"chosen": 2.0, "distinct": 2.0, "doubted": 0.0}
    assert len(evidence(full).axes) == 2


def test_eigenvalues_are_of_the_transform_that_recover_takes() -> None:
    """Bounded ones see the third of three saturating experts in this sample, polynomials do not."""
    truth = moe.random_moe(3, 8, sigma=0.4, nonlinearity="tanh", generator=stream("truth", 2))
    x, y = truth.sample(20_000, stream("data", 2))
    level = noise_level(float(y.var()), truth.nonlinearity)
    seen = []
    for transform in (
        solved_transform(truth.nonlinearity, level, 2),
        selection._quadratic(truth.nonlinearity, level, 8, 8, len(y)),
    ):
        eigenvalues = torch.linalg.eigvalsh(robust_moment(x, y, transform).tensor)
        seen.append(int((eigenvalues > noise_edge(x, y, transform)).sum()))
    assert seen == [2, 3]
    linear = as_nonlinearity("linear")
    assert selection._quadratic(linear, 0.1, 8, 8, 100) == solved_transform(linear, 0.1, 2)
