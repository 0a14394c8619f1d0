"""moe.selection: how many experts."""

import pytest
import torch
from helpers import samples

import moe
from moe.experiments import how_many
from moe.plotting.how_many import evidence
from moe.randomness import stream


@pytest.mark.parametrize("k", range(1, 9))
def test_the_number_of_experts_is_found(k: int) -> None:
    _, x, y = samples(k, 9, 600 * k, sigma=0.1)
    choice = moe.choose_k(x, y, max_experts=9, folds=2)
    assert choice.k == k
    assert choice.distinct <= k
    assert (choice.held_out[k] == max(choice.held_out.values())) or k == 1
    for size, (gain, _) in choice.gains.items():
        assert gain == pytest.approx(choice.held_out[size] - choice.held_out[size - 1])


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
    assert moe.choose_k(x, y, max_experts=2, folds=2).k == 2
    with pytest.raises(ValueError, match="max_experts: expected at least 1, got 0"):
        moe.choose_k(x, y, max_experts=0)
    with pytest.raises(ValueError, match="folds: expected at least 2, got 1"):
        moe.choose_k(x, y, folds=1)


def test_every_k_can_be_tried_and_the_choice_is_the_same() -> None:
    spec = how_many.Spec(k=2, d=4)
    found, full = (how_many.choice(spec, 1, every=every) for every in (False, True))
    assert found.k == full.k == 2 and sorted(full.held_out) == [1, 2, 3, 4]
    assert set(found.held_out) < set(full.held_out)
    assert how_many.trial(spec, 1) == {"chosen": 2.0, "distinct": 2.0}
    assert len(evidence(full).axes) == 2
