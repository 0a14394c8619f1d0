"""Worlds in which one assumption fails: their laws, their limits, the engine that runs them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import assert_shows

from moe.experiments.assumptions import figures, inputs, limits, outputs, scores, sweeps, tables
from moe.experiments.assumptions.worlds.laws import (
    GaussianMixture,
    Outliers,
    Smoothed,
    SomeBinary,
    Student,
    StudentNoise,
)
from moe.experiments.assumptions.worlds.repairs import whitened
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.assumptions.worlds.world import error, world_that_holds
from moe.moments.hermite import score_tensor
from moe.randomness import stream

COLUMNS = [
    Smoothed("uniform", 0.8),
    Smoothed("uniform", 1.0),
    Smoothed("clusters", 0.8),
    SomeBinary(2),
    Student(10.0),
]


@pytest.mark.parametrize("law", COLUMNS, ids=str)
def test_columns_have_mean_zero_variance_one_and_the_stated_fourth_cumulant(law) -> None:  # type: ignore[no-untyped-def]
    x = law(200_000, 2, stream("inputs", 0))
    error_of_mean = x.std(0) / len(x) ** 0.5
    assert bool((x.mean(0).abs() < 5 * error_of_mean).all())
    fourth = x.pow(4)
    assert bool(
        ((x.square().mean(0) - 1).abs() < 5 * x.square().std(0) / len(x) ** 0.5 + 1e-12).all()
    )
    excess = -2.0 if isinstance(law, SomeBinary) else law.excess
    gap = (fourth.mean(0) - 3 - excess).abs()
    assert bool((gap < 5 * fourth.std(0) / len(x) ** 0.5 + 1e-12).all())


@pytest.mark.parametrize(
    "law", [Smoothed("clusters", 0.8), Smoothed("uniform", 0.7), Student(6.0)], ids=str
)
def test_scores_are_derivatives_of_the_density(law) -> None:  # type: ignore[no-untyped-def]
    """Against finite differences of the mixture's own density, and that against the law's."""
    density = law.density()
    x = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)

    def p(at: torch.Tensor) -> torch.Tensor:
        u = (at[:, None] - density.locations) / density.scales
        heights = torch.exp(-0.5 * u.square()) / math.sqrt(2 * math.pi) / density.scales
        return heights @ density.shares

    h = 1e-3
    found = density.scores(x, 2)
    torch.testing.assert_close(found[0], -(p(x + h) - p(x - h)) / (2 * h) / p(x), rtol=0, atol=1e-4)
    second = (p(x + h) - 2 * p(x) + p(x - h)) / h**2 / p(x)
    torch.testing.assert_close(found[1], second, rtol=0, atol=1e-4)
    if isinstance(law, Student):
        scale = math.sqrt((law.nu - 2) / law.nu)
        exact = torch.distributions.StudentT(law.nu).log_prob(x / scale).exp() / scale
    else:
        exact = torch.histc(law(400_000, 1, stream("inputs", 1))[:, 0], 90, -2.25, 2.25) / 20_000
        exact = exact[5:90:10]  # bins of 0.05 around the nine points
        exact = 0.5 * (exact + exact)
    torch.testing.assert_close(
        p(x), exact.double(), rtol=0, atol=1e-3 if isinstance(law, Student) else 0.03
    )


def test_no_density_no_score() -> None:
    with pytest.raises(ValueError, match="t: expected t < 1"):
        Smoothed("uniform", 1.0).density()


def test_steins_lemma_with_the_score_of_the_inputs_own_law() -> None:
    """E[y^2 S_2] / 2 = sum_i p_i a_i a_i' for constant proportions, three laws; Hermite errs."""
    base = world_that_holds(2, 3, 0.2, 0.0, 0)
    truth = base.regressors.T @ base.regressors / 2
    for law in (Smoothed("clusters", 0.8), Smoothed("uniform", 0.8), Student(8.0)):
        gaps, plain = [], []
        for part in range(20):
            x, y = replace(base, inputs=law).sample(10_000, stream("data", 0, part))
            own = scores.column_scores(x, [law.density()] * 3, 2)
            q = y.square() / 2
            gaps.append(scores.score_average(own, q - q.mean(), 2) - truth)
            plain.append(torch.tensordot(q - q.mean(), score_tensor(x, 2), dims=1) / len(y) - truth)
        exact, hermite = torch.stack(gaps), torch.stack(plain)
        assert bool((exact.mean(0).abs() < 5.5 * exact.std(0) / 20**0.5).all()), law
        assert bool((hermite.mean(0).abs() > 8 * hermite.std(0) / 20**0.5).any()), law


def test_products_of_gaussian_column_scores_are_hermite_tensors() -> None:
    one = torch.ones(1, dtype=torch.float64)
    normal = GaussianMixture(one, 0 * one, one)
    x = world_that_holds(2, 3, 0.2, 0.0, 0).sample(2_000, stream("data", 0))[0]
    q = x[:, 0].sin() + x[:, 1] * x[:, 2]
    own = scores.column_scores(x, [normal] * 3, 4)
    for degree in (2, 4):
        expected = torch.tensordot(q, score_tensor(x, degree), dims=1) / len(q)
        torch.testing.assert_close(
            scores.score_average(own, q, degree), expected, rtol=0, atol=2e-3
        )


@pytest.mark.parametrize("noise", [StudentNoise(10.0), Outliers(0.1), None], ids=str)
def test_the_noise_rule_has_variance_and_fourth_moment(noise) -> None:  # type: ignore[no-untyped-def]
    xi, weights = limits.noise_rule(noise)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-6)
    second, fourth = float(weights @ xi.square()), float(weights @ xi.pow(4))
    expected = {"StudentNoise": (1.0, 4.0), "Outliers": (0.9 + 40.0, 3 * (0.9 + 0.1 * 20**4))}
    assert (second, fourth) == pytest.approx(
        expected.get(type(noise).__name__, (1.0, 3.0)), rel=1e-3
    )


@pytest.mark.parametrize("case", limits.reweighted_cases(1), ids=lambda case: case.name)
def test_in_the_span_any_output_transform_will_do(case: limits.Case) -> None:
    found = [limits.in_the_span(case, m, 20_000, 1) for m in (2, 4)]
    assert max(each.standard_errors for each in found) < 6


def test_a_wrong_factor_is_seen() -> None:
    """The check above can fail: gates in the span change the moments."""
    world = VIOLATIONS["gates in the span"].change(
        world_that_holds(3, 6, 0.3, 4.0, 0), 1.0, stream("violation", 0)
    )
    case = limits.Case("in the span", world)
    assert limits.in_the_span(case, 2, 40_000, 0).standard_errors > 6


@pytest.mark.parametrize("seed", range(3))
def test_other_weights_the_same_minima(seed: int) -> None:
    found = outputs.exact_minimum(seed)
    assert max(found.error, found.proportions, found.told) < 1e-6
    assert outputs.exact_minimum(seed, -1.0).error > 0.01


@pytest.mark.parametrize("law", list(inputs.LAWS))
def test_plain_averages_of_other_inputs_and_least_squares(law: str) -> None:
    found = inputs.run(law, 20_000, 2)
    assert found.errors[0] < 6
    assert math.isnan(found.errors[1]) if "binary" in law else found.errors[1] < 6


def test_rectified_experts_lose_their_fourth_moment_to_a_large_told_sigma() -> None:
    """kappa_4 / c_4 = 1 - (s^2 - sigma^2)(6 E[g^2 He_4] + 3 alpha E[g He_4]) / c_4 (derived)."""
    world = world_that_holds(2, 4, 0.1, 1.0, 0, "relu")
    for told in (0.1, 0.3, 0.6):
        case = limits.Case("", replace(world, told=replace(world.told, sigma=told)))
        factor = limits.expert_factors(case.world, case.outputs(4), 4)
        expected = outputs.fourth_factor("relu", 0.1, told)
        torch.testing.assert_close(
            factor, torch.full((2,), expected).double(), rtol=1e-5, atol=1e-6
        )
    assert outputs.fourth_factor("relu", 0.1, 0.6) < 0 < outputs.fourth_factor("relu", 0.1, 0.2)


def test_whitened_inputs_have_the_identity_as_second_moment() -> None:
    x = (
        torch.randn(500, 3, generator=stream("inputs", 0), dtype=torch.float64)
        @ torch.ones(3, 3).double().triu()
    )
    white, factor = whitened(x)
    torch.testing.assert_close(white.T @ white / 500, torch.eye(3).double())
    torch.testing.assert_close(x @ factor, white)


def test_the_error_of_unequal_numbers_of_rows_is_that_of_the_best_choice() -> None:
    rows = torch.eye(3, 4).double()
    more = torch.cat([torch.ones(1, 4).double(), rows])
    assert error(more, rows) == error(rows[:2], rows) == 0
    assert error(more[:3], rows) > 0.1


def test_every_violation_leaves_the_world_alone_at_degree_zero_and_changes_it_beyond() -> None:
    for name, each in VIOLATIONS.items():
        assert each.name == name
        assert list(each.degrees) == sorted(each.degrees) and each.degrees[0] > 0
        whole = sweeps.world_of(sweeps.Trial(name, 0.0), 3)
        broken = sweeps.world_of(sweeps.Trial(name, float(each.degrees[-1])), 3)
        changed = [f for f in vars(whole) if not _same(getattr(whole, f), getattr(broken, f))]
        assert len(changed) == 1, (name, changed)


def _same(a: object, b: object) -> bool:
    return (
        torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
    )


def test_a_small_sweep_gives_every_number_and_is_drawn() -> None:
    spec = sweeps.Spec(
        ("unequal norms", "sigma told too large"), 1, n=1_000, far=3_000, only_largest=True
    )
    record = sweeps.run(spec, workers=1)
    for name in spec.violations:
        assert len(record.degrees(name)) == 2
        for method in (*sweeps.METHODS, sweeps.FAR):
            values = record.at(name, method)
            assert bool(((values >= 0) & (values <= 1) | values.isnan()).all())
    assert_shows(figures.summary_figure(record))
    assert_shows(figures.degrees_figure(record), *(s[3] for s in figures.STYLES.values()))
    assert len(tables.summary(record).values) == 2


def test_norms_that_were_not_told_are_a_dash() -> None:
    shown = tables.lengths([(0.0123, 0.05), (math.nan, math.nan)]).shown
    assert shown == (("1", "0.012", "5%"), ("2", "–", "–"))
