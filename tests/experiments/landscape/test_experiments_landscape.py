"""The landscape's experiments: each claim of chapter 5 at a small size, and its figures."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import pytest
import torch
from helpers import assert_shows, normal
from torch import Tensor

from moe.experiments.landscape import escape as landscape_escape
from moe.experiments.landscape import figures, tables
from moe.experiments.landscape import figures_paths as paths
from moe.experiments.landscape import lists as landscape
from moe.experiments.landscape import phase as landscape_phase
from moe.experiments.landscape import samples as landscape_samples
from moe.experiments.landscape import stability as landscape_stability
from moe.experiments.landscape import torus as landscape_torus
from moe.experiments.landscape.surface import surface_html
from moe.landscape import (
    count_spurious_minima,
    critical_points,
    global_minimum,
    population_tensor,
    squares_loss,
    squares_matrix,
)
from moe.randomness import stream
from moe.solvers.quartic import minimise_quartic

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SMALL_LISTS = landscape.Spec(starts=((2, 300), (3, 1_500), (5, 40)), mu=0.5)
SMALL_SAMPLES = landscape_samples.Spec(
    sizes=(1_000, 20_000), trials=3, margins=(1.1, 3.0), margin_trials=6, starts=8
)
RARE = torch.tensor([0.1, 0.9], dtype=torch.float64)


@pytest.fixture(scope="module")
def lists() -> landscape.Record:
    return landscape.run(SMALL_LISTS)


@pytest.fixture(scope="module")
def film() -> landscape_escape.Record:
    return landscape_escape.run(landscape_escape.Spec(starts=100))


@pytest.fixture(scope="module")
def samples() -> landscape_samples.Record:
    return landscape_samples.run(SMALL_SAMPLES)


def test_skewed_proportions_sum_to_one_with_the_given_skew() -> None:
    for k, skew in ((2, 1.0), (3, 1.5), (8, 4.0)):
        p = landscape.skewed_proportions(k, skew)
        assert float(p.sum()) == pytest.approx(1)
        assert float(p[-1] / p[0]) == pytest.approx(skew)
    with pytest.raises(ValueError, match="skew"):
        landscape.skewed_proportions(3, 0.5)


def test_regimes_are_cut_by_the_three_lines() -> None:
    p = landscape.skewed_proportions(3, 1.2)
    low, high = float(p.min()), float(p.max())
    cases = {(0.9, 0.9 / low): "unbounded", (0.9, 1.01 * 0.9 / low): "benign"}
    cases |= {(0.9, 1e3): "benign", (1.1, 1e3): "spurious minima"}
    cases |= {(1.5, 0.99 * 2.5 / high): "benign", (1.5, 1.01 * 2.5 / high): "spurious minima"}
    assert {weights: landscape.regime(p, *weights) for weights in cases} == cases


def test_the_search_finds_nothing_that_is_not_listed(lists: landscape.Record) -> None:
    for k, share in ((2, 1.0), (3, 0.85)):
        case = lists.cases[k]
        assert case.listed is not None
        assert bool((case.matches >= 0).all())
        assert len(case.matches.unique()) >= share * len(case.listed)
        met, listed = case.patterns_met
        assert listed * share <= met <= listed == len({group.pattern for group in case.groups})
    assert lists.cases[5].listed is None
    assert set(lists.cases[5].found.points.kinds) <= {"truth", "strict saddle", "maximum"}


def test_the_theorem_counts_the_minima_of_the_list(lists: landscape.Record) -> None:
    spurious = landscape.run(replace(SMALL_LISTS, starts=((3, 50),), mu=1.5, lam=20.0))
    for case in (lists.cases[2], lists.cases[3], spurious.cases[3]):
        assert case.listed is not None
        assert case.expected == (case.listed.count("truth"), case.listed.count("spurious minimum"))
    unbounded = landscape.run(replace(SMALL_LISTS, starts=((3, 50),), lam=1.0)).cases[3]
    assert unbounded.listed is not None
    assert unbounded.expected is None
    assert unbounded.listed.count("truth") == 0


def test_groups_partition_the_list(lists: landscape.Record) -> None:
    case = lists.cases[3]
    assert case.listed is not None
    assert sum(group.count for group in case.groups) == len(case.listed)
    first, last = case.groups[0], case.groups[-1]
    assert (first.words, first.count, first.index) == ("the truth", 6, (0, 0))
    assert (last.words, last.kind, last.index) == ("all rows zero", "maximum", (9, 9))


@pytest.mark.parametrize(("mu", "lam"), [(0.5, 5.0), (1.5, 20.0), (0.5, 1.0)])
def test_the_value_tells_the_lengths(mu: float, lam: float) -> None:
    points = critical_points(landscape.skewed_proportions(3, 2.0), mu, lam)
    by_length = lam * (1 - points.squares.sum(-1)).sum(-1)
    torch.testing.assert_close(points.values, by_length, atol=1e-9, rtol=1e-9)


def test_above_mu_two_the_lowest_minimum_may_be_wrong() -> None:
    line = 2 / (1 - float(RARE[0] / RARE[1]))
    for mu, wrong in ((0.98 * line, False), (1.02 * line, True)):
        points = critical_points(RARE, mu, 1e5)
        assert (points.kinds[0] == "spurious minimum") == wrong
        assert (float(points.values[0]) < global_minimum(RARE, mu, 1e5).value - 1e-9) == wrong


@pytest.mark.parametrize(
    ("mu", "lam", "p"), [(0.5, 2.5, 0.5), (2.0, 9.0, 0.5), (2.0, 5.0, 0.5), (0.7, 4.0, 0.3)]
)
def test_the_torus_shows_the_minimum_over_lengths(mu: float, lam: float, p: float) -> None:
    angles = math.pi * torch.rand(12, 2, generator=stream("angles", 0), dtype=torch.float64)
    shares = torch.tensor([p, 1 - p], dtype=torch.float64)
    q = torch.stack([angles.cos(), angles.sin()], -1).square()
    lengths = torch.linspace(0, 12, 241, dtype=torch.float64)
    pairs = torch.cartesian_prod(lengths, lengths)
    values = squares_loss(pairs[:, None, :, None] * q, shares, mu, lam)
    surface = landscape_torus.over_lengths(angles, p, mu, lam)
    assert bool((values >= surface - 1e-9).all())
    gap = values.amin(0) - surface  # the grid's spacing is 0.05
    assert float(gap.max()) < 0.025**2 * 4 * (lam + 1 / p)


def test_the_lowest_points_of_the_torus_are_the_truths() -> None:
    record = landscape_torus.run(landscape_torus.Spec(resolution=97))
    assert record.regimes == ("benign", "benign", "spurious minima", "unbounded")
    shares = torch.tensor([0.5, 0.5], dtype=torch.float64)
    for values, (mu, lam) in list(zip(record.values, record.spec.weights, strict=True))[:3]:
        assert float(values.min()) == pytest.approx(global_minimum(shares, mu, lam).value)
        i, j = divmod(int(values.argmin()), 97)
        turned = (record.angles[i] - record.angles[j]).abs()
        assert float(turned) == pytest.approx(math.pi / 2)
    assert bool(record.values[3].isinf().any())
    figure = figures.torus(record)
    assert_shows(figure)
    kinds = ["benign", "benign", "spurious minima", "unbounded"]
    assert [axes.get_title().split("\n")[1] for axes in figure.axes] == kinds


def test_flat_local_minima_of_the_torus_are_no_minima_of_l4() -> None:
    """At the crosses of the first two panels one length is zero, and the surface is level along two
    lines and rises between them; in the third both are positive, the surface has a strict minimum,
    and so has L_4."""
    record = landscape_torus.run(landscape_torus.Spec(resolution=5))
    shorter = record.lengths_at_cross.amin(1)
    assert shorter[:2].tolist() == [0, 0] and bool(shorter[3].isinf())
    assert float(shorter[2]) == pytest.approx(9 / (9 - 2 * (2 - 1)))  # part 2 of the theorem
    zero = (shorter == 0).tolist()
    near = 0.15 * (2 * torch.rand(4_000, 2, generator=stream("angles", 0), dtype=torch.float64) - 1)
    for (mu, lam), flat in list(zip(record.spec.weights, zero, strict=True))[:3]:
        cross = float(landscape_torus.over_lengths(torch.zeros(2).double(), 0.5, mu, lam))
        values = landscape_torus.over_lengths(near, 0.5, mu, lam)
        along = torch.stack([near[:, 0], torch.zeros(len(near)).double()], -1)
        rise = landscape_torus.over_lengths(along, 0.5, mu, lam) - cross
        assert float(values.min()) >= cross - 1e-12  # a local minimum of the surface
        assert bool((rise[near[:, 0].abs() > 0.02] < 1e-12).any()) == flat
        between = (near.abs() > 0.05).all(-1)
        assert bool((values[between] > cross + 1e-3).all())
        half = torch.tensor([0.5, 0.5], dtype=torch.float64)
        points = critical_points(half, mu, lam)
        pattern = "a|0" if flat else "a|a"
        kinds = {points.kinds[i] for i, code in enumerate(points.patterns) if code == pattern}
        assert kinds == {"strict saddle" if flat else "spurious minimum"}


def test_the_conditions_of_the_claims_on_minima_are_needed() -> None:
    thirds = torch.full((3,), 1 / 3, dtype=torch.float64)
    points = critical_points(thirds, 1.5, 9.0, rows=2)  # mu > 1: both rows at one expert
    minima = torch.tensor([kind in ("truth", "spurious minimum") for kind in points.kinds])
    assert int((points.supports[minima].any(-2).sum(-1) == 1).sum()) == 3
    rare = torch.tensor([0.05, 0.05, 0.9], dtype=torch.float64)
    unbounded = critical_points(rare, 1.5, 5.0)  # mu > 1, lambda > (mu + 1) / p_max, no minimum
    assert set(unbounded.kinds) <= {"strict saddle", "maximum"}


def test_random_starts_end_where_the_lines_say() -> None:
    spec = landscape_phase.Spec(ks=(3,), mus=(0.5, 1.6), lams=(0.4, 2.0, 10.0), starts=12)
    record = landscape_phase.run(spec)
    assert record.truth.shape == (2, 1, 3, 2)
    assert float(record.truth[record.where("benign")].min()) == 1
    assert float(record.truth[record.where("unbounded")].max()) == 0
    spurious = record.other[record.where("spurious minima")]
    assert len(spurious) > 0
    assert 0.05 < float(spurious.mean()) < 0.95
    lines = (r"\lambda = \mu/\bar p_{\min}", r"\mu = 1", r"\lambda = (\mu+1)/\bar p_{\max}")
    assert_shows(figures.phases(record, (3, 0.5, 5.0)), *(f"${line}$" for line in lines))


def test_a_tolerance_that_is_proven_holds_in_random_directions() -> None:
    record = landscape_stability.run(
        landscape_stability.Spec(directions=3, escape_mus=(0.1, 0.35, 0.9))
    )
    assert float(record.survived.min()) > 10 * record.tolerance
    assert bool((record.best[:, 1] <= record.condition.min(1).values * (1 + 1e-9)).all())
    assert int(record.escape.argmax()) == 1
    assert_shows(figures.conditioning(record), *(rf"$\mu = {mu}$" for mu in (0.1, 0.33, 0.8)))


def test_intercepts_set_the_proportions() -> None:
    logits = normal(5_000, 3)
    p = landscape.skewed_proportions(3, 4.0)
    c = landscape_samples.intercepts(logits, p)
    torch.testing.assert_close((logits + c).softmax(-1).mean(0), p, atol=1e-9, rtol=1e-9)


def test_drawn_samples_have_the_second_moments_of_the_model() -> None:
    spec = landscape_samples.Spec(skew=2.0, sigma=0.3)
    regressors, x, y = landscape_samples.draw(spec, 50_000, stream("data", 0))
    torch.testing.assert_close(regressors.norm(dim=1), torch.ones(3, dtype=torch.float64))
    p = landscape.skewed_proportions(3, 2.0)
    terms = x * y[:, None]
    off = (terms.mean(0) - p @ regressors) / (terms.std(0) / 50_000**0.5)
    assert float(off.abs().max()) < 4.5
    square = y.square()
    assert abs(float(square.mean()) - 1.09) < 4.5 * float(square.std()) / 50_000**0.5


def test_the_minimum_moves_as_the_first_order_says(samples: landscape_samples.Record) -> None:
    ratio = samples.moved[-1] / samples.predicted[-1]
    assert bool(samples.moved[-1].isfinite().all())
    assert 0.6 < float(ratio.median()) < 1.7
    assert float(samples.error[-1].median()) < float(samples.error[0].median())
    assert float(samples.truth[-1].mean()) > 0.8


def test_a_small_margin_loses_the_minimum(samples: landscape_samples.Record) -> None:
    assert bool((samples.lost[:, 0] > samples.lost[:, 1] + 0.2).all())
    assert_shows(paths.moment_errors(samples, 0.03, (2.0, 6.0)), "$n = 1,000$", "$n = 20,000$")
    assert_shows(paths.two_aims(samples), r"$\mu = 0.33$", r"$\mu = 0.8$")


def test_moments_without_k_positive_directions_count_as_lost() -> None:
    spec = landscape_samples.Spec(
        k=6, d=6, sigma=5.0, lam=9.0, cosine=0.9, sizes=(60,), trials=2, margin_trials=1,
        margins=(2.0,), margin_size=60,
    )  # fmt: skip
    record = landscape_samples.run(spec)
    assert bool((record.truth + record.other <= 1).all())
    assert float(record.lost.max()) <= 1


def test_paths_wait_at_saddles_and_arrive(film: landscape_escape.Record) -> None:
    assert film.ends == {"truth": 100}
    assert bool(film.arrival.isfinite().all())
    assert bool((film.values.diff() <= 1e-9).all())
    nearest = min(film.waits, key=lambda wait: wait.distance)
    assert nearest.distance < 0.3
    assert nearest.escape > 0
    drop = float(film.values[0] - film.values[-1])
    assert abs(float(film.values[nearest.step]) - nearest.saddle_value) < 0.1 * drop
    late = film.arrival >= film.arrival.quantile(0.8)
    assert float(film.closest[late].median()) < float(film.closest[~late].median())
    strip = paths.strip(film)
    assert_shows(strip)
    assert strip.axes[2].get_title() == "start" and strip.axes[-1].get_title() == "end"
    assert_shows(paths.waiting(film))


def test_tables_and_pictures_show_every_group(lists: landscape.Record) -> None:
    table = tables.groups(lists.cases[2])
    assert len(table.shown) == len(lists.cases[2].groups)
    assert "| 2 | the truth | truth |" in table.markdown
    assert len(tables.searches(lists).shown) == 3
    assert_shows(figures.complete_list(lists), "truth", "strict saddle", "maximum")


def test_the_surface_refuses_weights_outside_its_sliders() -> None:
    assert "__START__" not in surface_html()
    with pytest.raises(ValueError, match="lam: expected"):
        surface_html(lam=100.0)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_interactive_surface_is_the_same_function() -> None:
    from playwright.sync_api import sync_playwright

    def expected(first: float, second: float, p: float, mu: float, lam: float) -> float:
        angles = torch.tensor([first, second], dtype=torch.float64)
        return float(landscape_torus.over_lengths(angles, p, mu, lam))

    shared = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url))
        for mu, lam, p in ((0.5, 2.5, 0.5), (2.0, 9.0, 0.5), (2.0, 5.0, 0.45), (2.0, 3.0, 0.5)):
            page.set_content(f"<!DOCTYPE html><body>{surface_html(mu, lam, p)}</body>")
            value = "([a, b]) => document.querySelector('.moe-torus').moe.value(a, b)"
            for point in ((0.3, 1.4), (0.0, 1.57), (2.0, 0.7)):
                got = page.evaluate(value, list(point))
                assert got == pytest.approx(expected(*point, p, mu, lam), rel=1e-9)
            minima = page.evaluate("document.querySelector('.moe-torus').moe.minima")
            shared[mu, lam] = [point["shared"] for point in minima].count(True)
        page.locator("canvas").focus()
        page.keyboard.press("ArrowUp")
        page.locator("input[name=mu]").fill("0.5")
        page.wait_for_function("document.querySelector('.moe-torus p').textContent.includes('Bou')")
        state = page.evaluate("document.querySelector('.moe-torus').moe.state")
        width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert problems == []
    assert (state["mu"], state["tilt"]) == (0.5, 34)
    assert width <= 390
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert shared[0.5, 2.5] == shared[2.0, 5.0] == 0
    assert shared[2.0, 9.0] == count_spurious_minima(half, 2.0, 9.0) == 2


def test_no_local_minimum_hides_from_the_solver_where_the_regime_is_benign() -> None:
    p: Tensor = landscape.skewed_proportions(2, 1.5)
    mu, lam = 0.9, 30.0
    starts = 3 * normal(200, 2, 2, purpose="starts")
    end = minimise_quartic(population_tensor(p), mu, lam, starts)
    assert bool(landscape_phase.at_truth(end).all())


def test_the_way_out_of_a_saddle_takes_the_time_of_linear_theory() -> None:
    points = critical_points(landscape.skewed_proportions(2, 1.5), 0.5, 4.0)
    near = (1e-4, 1e-6, 1e-8)
    times, kappa = landscape_escape.leaving_times(points, landscape_escape.Spec(k=2), 4.0, near)
    assert times.shape == (points.count("strict saddle"), 3)
    expected = (math.log(100) / kappa)[:, None].expand(-1, 2)
    torch.testing.assert_close(times.diff(dim=1), expected, rtol=0.02, atol=0)
    alone, _ = landscape_escape.leaving_times(points, landscape_escape.Spec(k=2), 4.0, near[:1])
    torch.testing.assert_close(times[:, :1], alone, rtol=1e-12, atol=0)


def test_errors_of_the_proven_size_leave_the_minimum_within_the_proven_radius() -> None:
    for p, mu, lam in ((RARE, 0.5, 9.0), (landscape.skewed_proportions(3, 2.0), 0.8, 6.0)):
        fractions = landscape_stability.within_the_bound(p, mu, lam, 5, 0)
        assert fractions.shape == (10,)
        assert float(fractions.min()) > 0 and float(fractions.max()) <= 1


def test_complex_critical_points_are_as_many_as_bezout_allows() -> None:
    """For generic weights: one solution a support, without zeros, and every root's two signs."""
    p = landscape.skewed_proportions(2, 1.5)
    matrix, total = squares_matrix(p, 0.7, 4.0), 1
    for bits in range(1, 16):
        on = [i for i in range(4) if bits >> i & 1]
        right = torch.full((len(on),), 8.0, dtype=torch.float64)
        u = torch.linalg.solve(matrix[on][:, on], right)
        total += 2 ** len(on) * bool((u.abs() > 1e-9).all())
    assert total == 3**4
