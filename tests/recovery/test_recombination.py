"""moe.recovery.recombination: what two ends share is kept, and two populations must agree."""

from typing import Any

import pytest
import torch
from helpers import samples
from torch import Tensor

from moe.metrics import regressor_error_of
from moe.model.mixture import random_rows
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.recovery import recombination
from moe.recovery.recombination import (
    agree,
    anneal,
    joined,
    offspring,
    recombine,
)
from moe.solvers.em import EMResult, expectation_maximisation

LINEAR = as_nonlinearity("linear")
SPREAD = torch.tensor(1.0, dtype=torch.float64)


def ends_of(regressors: Tensor, sigma: Tensor | None = None) -> EMResult:
    """Ends with these regressors (S, k, d), best first."""
    starts, k, _ = regressors.shape
    level = -torch.arange(float(starts), dtype=torch.float64)
    return EMResult(
        regressors,
        torch.zeros_like(regressors),
        torch.full((starts, k), 0.1, dtype=torch.float64) if sigma is None else sigma,
        level,
        torch.ones(starts, dtype=torch.int64),
        torch.ones(starts, dtype=torch.bool),
        level[None],
    )


def test_fits_agree_up_to_order_and_sign_only() -> None:
    rows = torch.eye(3, 4, dtype=torch.float64)
    turned = torch.tensor([0.0, 0.0, 1.0, 0.25], dtype=torch.float64)  # 1 - cos = 0.03
    assert agree(rows, -2 * rows.flip(0))
    assert not agree(rows, torch.stack([rows[0], rows[1], turned]))
    assert not agree(rows, torch.stack([rows[0], rows[1], rows[1]]))


def test_a_child_keeps_what_its_parents_share_and_half_of_the_sharper_rows() -> None:
    better, worse = random_rows(2, 6, 5, stream("parents", 0), torch.float64)
    worse[5] = better[1] * 1.1  # shared, whatever the order
    worse[0] = -better[2]  # the negative of an expert is another expert
    levels = torch.tensor([0.1, 0.6, 0.2, 0.3, 0.5, 0.4], dtype=torch.float64)
    ends = ends_of(torch.stack([better, worse]), levels.expand(2, 6))
    rows, sigma = offspring(ends, 2000, SPREAD, stream("children", 0))
    kept = (rows == better).all(2)
    torch.testing.assert_close(sigma, torch.where(kept, levels, SPREAD))
    share = kept.double().mean(0)
    assert share[1] == 1, "what both have"
    assert not share[[4, 5]].any(), "the broader half, and not shared"
    assert float((share[[0, 2, 3]] - 0.5).abs().max()) < 4 * 0.5 / 2000**0.5, "the sharper half"
    assert len(rows[~kept].unique(dim=0)) == int((~kept).sum()), "all else is drawn anew"
    assert float(rows[~kept].square().sum(1).mean()) == pytest.approx(1, abs=0.05)


def test_twins_have_children_that_are_random_throughout() -> None:
    rows = random_rows(1, 4, 4, stream("parents", 0), torch.float64).expand(3, 4, 4)
    children, sigma = offspring(ends_of(rows), 50, SPREAD, stream("children", 0))
    assert len(children.flatten(0, 1).unique(dim=0)) == 200 and bool((sigma == SPREAD).all())


def test_the_better_an_end_the_more_children_it_has() -> None:
    """The better parent's rank is the smaller of two, so its share falls with the rank; parents are
    two different ends."""
    starts = 5
    rows = random_rows(starts, 2, 3, stream("parents", 0), torch.float64)
    sharp = torch.tensor([0.01, 0.5], dtype=torch.float64).expand(starts, 2)
    children, sigma = offspring(ends_of(rows, sharp), 4000, SPREAD, stream("children", 0))
    kept = children[sigma[:, 0] == 0.01, 0]
    counts = torch.stack([(kept == rows[i, 0]).all(1).sum() for i in range(starts)])
    assert int(counts.sum()) == len(kept) and 1700 < len(kept) < 2300
    assert bool((counts.diff() < 0).all()) and int(counts[-1]) == 0


def test_the_populations_never_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an EM that does nothing, a child's kept rows come from its own population."""
    bred: list[tuple[EMResult, Tensor]] = []

    def still(x: Tensor, y: Tensor, rows: Tensor, gating: Tensor, sigma: Tensor,
              *rest: Any, **options: Any) -> EMResult:  # fmt: skip
        return ends_of(rows, sigma.clone())

    def watched(ends: EMResult, *rest: Any) -> tuple[Tensor, Tensor]:
        children = offspring(ends, *rest)
        bred.append((ends, children[0]))
        return children

    monkeypatch.setattr(recombination, "expectation_maximisation", still)
    monkeypatch.setattr(recombination, "offspring", watched)
    _, x, y = samples(3, 3, 60, sigma=0.05, gate_norm=0.0)
    seeds = ends_of(random_rows(4, 3, 3, stream("seeds", 0), torch.float64))
    recombine(x, y, 3, LINEAR, stream("solver", 0), seeds, starts=100)
    assert len(bred) == 12, "24 random starts, then six children for each in every generation"
    seen: list[set[float]] = [set(), set()]
    for turn, (ends, children) in enumerate(bred):
        seen[turn % 2] |= set(ends.regressors.flatten().tolist()) | set(children.flatten().tolist())
    assert not seen[0] & seen[1]
    assert {float(v) for v in seeds.regressors[0].flatten()} <= seen[0]
    assert {float(v) for v in seeds.regressors[1].flatten()} <= seen[1]


def test_breeding_finds_what_as_many_random_starts_do_not() -> None:
    """k = d = 8, four and a half samples a weight, no gates, 200 starts: breeding recovers most
    data sets, the best of random starts next to none."""
    found = {"random": 0, "bred": 0}
    for seed in range(6):
        truth, x, y = samples(8, 8, 288, seed, sigma=0.05, gate_norm=0.0)
        rows = random_rows(204, 8, 8, stream("starts", seed), torch.float64)
        fit = expectation_maximisation(
            x, y, rows, torch.zeros_like(rows), y.std().expand(204, 8), LINEAR,
            learn=("regressors", "sigmas"), iterations=60, tolerance=1.0,
        )  # fmt: skip
        bred = recombine(x, y, 8, LINEAR, stream("solver", seed), fit[[0, 1, 2, 3]], starts=200)
        for name, end in (("random", fit.best), ("bred", bred)):
            found[name] += regressor_error_of(end.regressors[0], truth.regressors) < 0.05
    assert found["bred"] >= 3 and found["random"] <= 1


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_annealing_in_single_precision_gives_the_numbers_of_double(name: str) -> None:
    """Within a twentieth of a nat over 20 iterations, and monotone but for rounding."""
    truth, x, y = samples(3, 5, 2000, 1, sigma=0.05, nonlinearity=name)
    rows = random_rows(4, 3, 5, stream("starts", 0), torch.float64)
    level = y.std().expand(4, 3)
    fit = anneal(x, y, rows, level, truth.nonlinearity, 20, 0.0)
    dense = expectation_maximisation(
        x, y, rows, torch.zeros_like(rows), level, truth.nonlinearity,
        learn=("regressors", "sigmas"), iterations=20, tolerance=0.0,
    )  # fmt: skip
    assert fit.regressors.dtype == fit.sigma.dtype == fit.log_likelihood.dtype == torch.float64
    assert not torch.equal(fit.regressors, dense.regressors), "it was in single precision"
    assert torch.allclose(fit.regressors, dense.regressors, atol=2e-3)
    assert torch.allclose(fit.log_likelihood, dense.log_likelihood, rtol=0, atol=0.05)
    assert float(fit.trace.diff(dim=0).min()) > -1e-6 * float(fit.trace.abs().max())


@pytest.mark.parametrize(("factor", "offset"), [(1e12, 0.0), (1e-12, 0.0), (1.0, 1e4)])
def test_samples_out_of_the_reach_of_single_precision_are_annealed_in_double(
    factor: float, offset: float
) -> None:
    truth, x, y = samples(2, 3, 200, 1, sigma=0.05)
    y = factor * y + offset
    rows = factor * random_rows(2, 2, 3, stream("starts", 0), torch.float64)
    level = y.std().expand(2, 2)
    fit = anneal(x, y, rows, level, truth.nonlinearity, 5, 0.0)
    dense = expectation_maximisation(
        x, y, rows, torch.zeros_like(rows), level, truth.nonlinearity,
        learn=("regressors", "sigmas"), iterations=5, tolerance=0.0,
    )  # fmt: skip
    assert torch.equal(fit.regressors, dense.regressors)


@pytest.mark.parametrize(("common", "generations"), [(0, 6), (1, 6), (2, 22)])
def test_populations_that_stay_strangers_are_given_up_after_96_starts(
    common: int, generations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """k = 12: an eighth is one and a half."""
    bred: list[EMResult] = []

    def still(x: Tensor, y: Tensor, rows: Tensor, *rest: Any) -> EMResult:
        return ends_of(rows)

    def watched(ends: EMResult, *rest: Any) -> tuple[Tensor, Tensor]:
        bred.append(ends)
        return offspring(ends, *rest)

    monkeypatch.setattr(recombination, "anneal", still)
    monkeypatch.setattr(recombination, "offspring", watched)
    monkeypatch.setattr(
        recombination,
        "shared",
        lambda rows, others: (torch.arange(12) < common).expand(rows.shape[:-1]),
    )
    _, x, y = samples(2, 2, 60, sigma=0.05, gate_norm=0.0)
    seeds = ends_of(random_rows(4, 12, 2, stream("seeds", 0), torch.float64))
    recombine(x, y, 12, LINEAR, stream("solver", 0), seeds, starts=296)
    assert len(bred) == 2 * generations


def test_joined_ends_are_best_first_and_lose_their_traces() -> None:
    one, two = (ends_of(random_rows(3, 2, 2, stream("parents", s), torch.float64)) for s in (0, 1))
    both = joined([one[1:], two])
    assert both.log_likelihood.tolist() == [0, -1, -1, -2, -2]
    assert torch.equal(both.regressors[0], two.regressors[0])
    assert torch.equal(both.trace, both.log_likelihood[None])


def test_a_budget_too_small_to_breed_returns_the_best_of_either_population() -> None:
    _, x, y = samples(3, 3, 60, sigma=0.05, gate_norm=0.0)
    seeds = ends_of(random_rows(2, 3, 3, stream("seeds", 0), torch.float64))
    ends = recombine(x, y, 3, LINEAR, stream("solver", 0), seeds, starts=2)
    assert ends.regressors.shape == (2, 3, 3)
    assert bool((ends.log_likelihood.diff() <= 0).all())
