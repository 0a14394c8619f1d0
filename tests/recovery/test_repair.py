"""moe.recovery.repair: each end mended alone, and how many samples that takes."""

from dataclasses import replace

import pytest
import torch
from helpers import samples
from torch import Tensor

from moe.metrics import regressor_error_of
from moe.model.mixture import random_rows
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.recovery import repair
from moe.recovery.recombination import anneal
from moe.recovery.repair import LITTER, enough, redrawn, repaired
from moe.solvers.em import EMResult

LINEAR = as_nonlinearity("linear")


def ends_of(regressors: Tensor, sigma: Tensor, value: Tensor | None = None) -> EMResult:
    starts = len(regressors)
    value = torch.zeros(starts, dtype=torch.float64) if value is None else value
    return EMResult(
        regressors,
        torch.zeros_like(regressors),
        sigma,
        value,
        torch.ones(starts, dtype=torch.int64),
        torch.ones(starts, dtype=torch.bool),
        value[None],
    )


def test_what_is_sharp_stays_and_what_is_broad_or_a_twin_is_drawn_again() -> None:
    rows = random_rows(2, 5, 5, stream("parents", 0), torch.float64)
    rows[:, 3] = rows[:, 1] + 0.01
    sigma = torch.tensor([[0.1, 0.2, 0.201, 0.19, 0.15], [0.1, 0.15, 0.2, 0.1, 0.2]]).double()
    spread = torch.tensor(3.0, dtype=torch.float64)
    fresh, level = redrawn(ends_of(rows, sigma), 500, spread, stream("children", 0))
    assert fresh.shape == (1000, 5, 5) and level.shape == (1000, 5)
    kept = (fresh == rows.repeat_interleave(500, 0)).all(2)
    assert bool(kept[:500, [0, 3, 4]].all()), "the sharper twin stays"
    assert not bool(kept[:500, [1, 2]].any()), "the broader twin, and the broad one"
    assert not bool(kept[500:].any()), "nothing is broad: random throughout"
    assert torch.equal(level, torch.where(kept, sigma.repeat_interleave(500, 0), spread))
    drawn = fresh[~kept]
    assert len(drawn.unique(dim=0)) == len(drawn)
    assert float(drawn.square().sum(1).mean()) == pytest.approx(1, abs=0.06)


def test_samples_needed_fall_with_the_experts_still_broad() -> None:
    y = torch.linspace(-1, 1, 6000, dtype=torch.float64)
    small = 0.15 * float(y.std())
    sharp, broad = 0.99 * small, 1.01 * small
    one = torch.tensor([[sharp, broad, broad, sharp], [broad, broad, broad, sharp]])
    assert enough(one.double(), y, 10) == 4500, "three quarters of one start are not sharp"
    assert enough(torch.full((1, 4), sharp), y, 10) == 600, "15 samples a weight"
    assert enough(torch.full((2, 4), broad), y, 10) == 6000
    assert enough(torch.full((1, 4), sharp), y[:500], 10) == 500, "there are no more"


def test_wrong_ends_are_mended() -> None:
    """Truth for all experts but two, which sit on a third: where EM stays there, repair does not.
    With only the broad expert drawn again one of these stays wrong."""
    wrong = 0
    for seed in range(8):
        truth, x, y = samples(8, 8, 4000, seed, sigma=0.05, gate_norm=0.0)
        for twins in (1, 2):
            spoilt = truth.regressors.clone()
            nearby = 0.01 * random_rows(twins, 8, 1, stream("parents", seed), x.dtype)[..., 0]
            spoilt[:twins] = spoilt[2] + nearby
            level = torch.full((1, 8), 0.1, dtype=x.dtype)
            ends = anneal(x, y, spoilt[None], level, LINEAR, 60, 1.0)
            if regressor_error_of(ends.regressors[0], truth.regressors) > 0.1:
                wrong += 1
                mended = repaired(x, y, LINEAR, stream("starts", seed), ends)
                assert regressor_error_of(mended.regressors[0], truth.regressors) < 0.01
                assert float(mended.log_likelihood) > float(ends.log_likelihood) + 100
    assert wrong >= 2


def test_no_line_of_ends_gets_anything_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an EM that does nothing: each line's best has rows of its own end and new ones only."""
    _, x, y = samples(3, 3, 60, sigma=0.05, gate_norm=0.0)

    def still(x: Tensor, y: Tensor, rows: Tensor, sigma: Tensor, *rest: object) -> EMResult:
        return ends_of(rows, sigma, torch.arange(1.0, len(rows) + 1, dtype=torch.float64))

    monkeypatch.setattr(repair, "anneal", still)
    rows = random_rows(2, 3, 3, stream("parents", 0), torch.float64)
    rows[:, 2] = rows[:, 1] + 0.01
    sigma = torch.tensor([0.1, 0.1, 1.0], dtype=torch.float64).expand(2, 3)
    ends = repaired(x, y, LINEAR, stream("starts", 0), ends_of(rows, sigma))
    assert ends.log_likelihood.tolist() == [2 * LITTER, LITTER], "the last child of either"
    assert torch.equal(ends.regressors[:, :2], rows.flip(0)[:, :2])
    assert not (ends.regressors[:, 2] == rows.flip(0)[:, 2]).all(1).any()


def test_an_end_never_gets_worse_and_every_pass_is_counted() -> None:
    truth, x, y = samples(4, 6, 3000, 1, sigma=0.1, gate_norm=0.0)
    level = torch.full((2, 4), 0.1, dtype=x.dtype)
    right = anneal(x, y, truth.regressors.expand(2, 4, 6), level, LINEAR, 60, 1.0)
    once = repaired(x, y, LINEAR, stream("starts", 0), replace(right, passes=7), iterations=1,
                    tolerance=-1.0)  # fmt: skip
    assert bool((once.log_likelihood >= right.log_likelihood).all())
    children, last = round(2 * LITTER * 15 * 24 / 3000), 2 * 20
    assert once.passes == 7 + children + last
