"""The diagnostics: the test for a spread that depends on x keeps its level and has power."""

from itertools import combinations, permutations

import pytest
import torch
from helpers import samples
from scipy.special import gammainccinv
from torch import Tensor

from moe.experiments.common.claims import share
from moe.likelihood.diagnostics import (
    _moments,
    calibration_p_value,
    crowding,
    dependence_p_value,
    in_words,
    separation,
    whitened,
)
from moe.model.mixture import MoE
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


@pytest.mark.parametrize(("n", "d"), [(30, 2), (60, 5), (200, 10), (200, 20)])
def test_the_level_is_kept_with_few_samples_for_each_product(n: int, d: int) -> None:
    """At 1e-2 as it should be, at 1e-3 at most three times that, for Gaussian x. White's own
    chi-squared law rejected 5 to 10 % and 1 to 5 % here."""
    generator, count = stream("level", 0, n, d), 600
    p_values = []
    for _ in range(count):
        x = torch.randn(n, d, generator=generator, dtype=torch.float64)
        uniform = torch.rand(n, generator=generator, dtype=torch.float64)
        p_values.append(dependence_p_value(uniform, x))
    for level, least, most in ((1e-2, 0.5e-2, 1.5e-2), (1e-3, 0.0, 3e-3)):
        _, (low, high) = share(sum(p < level for p in p_values), count)
        assert low <= most and high >= least, (level, low, high)


def skewed(n: int, d: int, seed: int = 0) -> Tensor:
    x: Tensor = torch.randn(n, d, generator=stream("inputs", seed), dtype=torch.float64).exp()
    return x


def test_the_level_is_kept_where_x_is_far_from_gaussian() -> None:
    generator, count = stream("level", 1), 400
    rejected = [
        dependence_p_value(
            torch.rand(300, generator=generator, dtype=torch.float64), skewed(300, 5, seed)
        )
        < 1e-2
        for seed in range(count)
    ]
    assert share(sum(rejected), count)[1][0] <= 2e-2


def test_the_mean_is_that_over_all_permutations() -> None:
    white = whitened(skewed(7, 2))
    q = torch.tensor([2.0, -1.0, 0.3, 0.5, -1.5, 0.1, 0.9], dtype=torch.float64)
    q = (q - q.mean()) / q.std(correction=0)
    squared = (white @ white.T).square()
    squared = squared - squared.mean(0) - squared.mean(1, keepdim=True) + squared.mean()
    diagonal, mean, variance = _moments(white)
    torch.testing.assert_close(diagonal, squared.diagonal())
    orders = torch.tensor(list(permutations(range(7))))
    value = ((q[orders] @ squared) * q[orders]).sum(1) - (q[orders].square() - 1) @ diagonal
    assert float(value.mean()) == pytest.approx(mean, rel=1e-12)
    off = squared - torch.diag(squared.diagonal())
    assert variance == pytest.approx(2 * float(off.square().sum()), rel=1e-12)


def test_the_variance_is_that_of_permutations_also_where_pairs_are_drawn() -> None:
    n, d = 3_000, 4
    white = whitened(torch.randn(n, d, generator=stream("inputs", 0), dtype=torch.float64))
    diagonal, mean, variance = _moments(white)
    generator, values = stream("permutations", 0), []
    q = torch.randn(n, generator=generator, dtype=torch.float64).square()
    q = (q - q.mean()) / q.std(correction=0)
    for _ in range(1_000):
        p = q[torch.randperm(n, generator=generator)]
        whole = (white.T @ (p[:, None] * white)).square().sum()
        values.append(float(whole - (p.square() - 1) @ diagonal))
    found = torch.tensor(values, dtype=torch.float64)
    assert float(found.mean()) == pytest.approx(mean, rel=0.05)
    assert float(found.var()) == pytest.approx(variance, rel=0.25)


@pytest.mark.parametrize(
    ("k", "d", "n", "sigma", "least"), [(2, 5, 150, 0.3, 0.75), (3, 6, 500, 0.3, 0.75)]
)
def test_one_expert_too_few_is_seen(k: int, d: int, n: int, sigma: float, least: float) -> None:
    """At 1e-3, where EM starts with two experts taken for their mean; and the fit of all experts
    passes."""
    short: list[bool] = []
    whole: list[bool] = []
    for seed in range(20):
        truth, x, y = samples(k, d, n, seed, sigma=sigma)
        fewer = torch.cat([truth.regressors[:2].mean(0, keepdim=True), truth.regressors[2:]])
        for found, rows, gating in (
            (short, fewer, truth.gating[1:]),
            (whole, truth.regressors, truth.gating),
        ):
            fit = expectation_maximisation(
                x, y, rows, gating, 2 * sigma, truth.nonlinearity, iterations=100
            )
            model = MoE(fit.regressors[0], fit.gating[0], float(fit.sigma))
            found.append(calibration_p_value(model, x, y) < 1e-3)
    assert sum(short) >= least * len(short), short
    assert sum(whole) <= 1, whole


def test_inputs_that_do_not_vary_say_nothing() -> None:
    uniform = torch.rand(50, generator=stream("uniform", 0), dtype=torch.float64)
    assert dependence_p_value(uniform, torch.ones(50, 3, dtype=torch.float64)) == 1.0
    assert dependence_p_value(torch.full_like(uniform, 0.5), skewed(50, 3)) == 1.0


def test_a_p_value_too_small_for_a_number_is_not_called_zero() -> None:
    assert in_words(3.21e-5) == "p = 3.2e-05"
    assert in_words(0.0) == "p below 1e-300"


@pytest.mark.parametrize("sigma", [1e-9, 0.01, 1.0])
def test_pairs_that_are_alike_are_found_as_by_looking_at_all(sigma: float) -> None:
    """Means far from zero, some nearly equal: one product of all of them cancels there."""
    generator = stream("data", 7)
    for trial in range(40):
        means = 1e4 + torch.randn(300, 5, generator=generator, dtype=torch.float64)
        step = torch.randn(300, generator=generator, dtype=torch.float64)
        means[:, 3] = means[:, 1] + sigma * 0.02 * (trial % 12) * step
        load = 100 * torch.rand(5, generator=generator, dtype=torch.float64)
        looked = []
        for i, j in combinations(range(5), 2):
            if separation(means[:, [i, j]], load[[i, j]], sigma) < 2 * gammainccinv(2, 0.01):
                looked.append((i, j))
        found = [
            (int(words[1]), int(words[3]))
            for words in (told.split() for told in crowding(means, load, sigma, 4))
            if words[0] == "experts"
        ]
        assert found == looked
    assert crowding(torch.full((3, 2), torch.nan), torch.ones(2), 1.0, 1) == []
