"""What chapter 9 says about samples, at small size."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from helpers import assert_shows, normal, rotation
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning
from moe.experiments.common import scaling
from moe.experiments.common.error_law import (
    ErrorLaw,
    bound_law,
    bound_when_told,
    reference_mixture,
    span_of,
)
from moe.experiments.regressor_loss.descent import skewed_regressors
from moe.experiments.regressor_loss.law import l4_law
from moe.experiments.sample_complexity import errors as samples
from moe.experiments.sample_complexity import figures as pictures
from moe.experiments.sample_complexity import interactive, onset, tables
from moe.experiments.sample_complexity.errors import METHODS, Spec
from moe.experiments.sample_complexity.first_order import scaled_down_angles
from moe.likelihood.efficiency import cramer_rao
from moe.losses import dual_basis
from moe.metrics import regressor_error
from moe.model.mixture import MoE, random_moe
from moe.moments.estimate import Method, score_moment
from moe.moments.hermite import feature_count
from moe.moments.low_rank import low_rank_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import whiten
from moe.randomness import global_stream, stream
from moe.recovery import recover
from moe.solvers.quartic import minimise_quartic

SPEC = Spec(k=2, d=6, nonlinearity="tanh", sizes=(500, 2_000, 20_000), methods=METHODS)


@pytest.mark.parametrize("method", ["average", "least_squares"])
def test_the_law_of_l4_is_the_first_order_of_its_minimiser(method: Method) -> None:
    """Skewed experts and strong gates, the largest that R^5 has room for."""
    rows = skewed_regressors(3, 5, 0.3, stream("truth", 0))
    gates = torch.zeros_like(rows)
    gates[:2] = 2 * torch.linalg.svd(rows).Vh[3:]
    model = MoE(rows, gates, 0.1, "tanh")  # type: ignore[arg-type]
    angles = scaled_down_angles(model, method, repeats=200, n=2_000, eps=1e-3)
    error = angles.std(0) / math.sqrt(len(angles))
    expected = l4_law(model, method).squared_angles
    assert float(((angles.mean(0) - expected).abs() / error).max()) < 4
    assert float((error / expected).max()) < 0.15
    worst = angles.amax(1) / 2
    predicted = float(l4_law(model, method).worst().mean())
    assert abs(float(worst.mean()) - predicted) < 4 * float(worst.std()) / math.sqrt(len(worst))


def _symmetric_noise(d: int) -> tuple[Tensor, Tensor]:
    second, fourth = normal(d, d, purpose="second"), normal(d, d, d, d, purpose="fourth")
    return second + second.T, sum(fourth.permute(o) for o in permutations(range(4))) / 24  # type: ignore[return-value]


def test_the_law_is_for_the_way_back_by_m_and_the_pseudoinverse_has_another() -> None:
    """Proposition "The error of L_4 in many samples" against finite differences of the minimiser
    at M + eps E, T + eps N for arbitrary E and N, and both ways back."""
    rows, mu, lam, eps = skewed_regressors(3, 5, 0.3, stream("truth", 0)), 0.8, 12.0, 1e-4
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    second, fourth = _symmetric_noise(5)
    exact = (rows.T * p) @ rows, torch.einsum("m,ma,mb,mc,md->abcd", p, *[rows] * 4)
    squares, dual = lam / (lam - mu / p), dual_basis(rows)
    alpha, gamma = squares / p, mu * squares / p
    weights = alpha.repeat(3, 1).fill_diagonal_(0.0) - gamma.diag()
    kept = torch.einsum("ij,ja,jb->iab", weights, dual, dual)
    e = dual @ second @ dual.T
    n = torch.einsum("abcd,iab,ic,md->im", fourth, kept, dual, dual)  # N[K_i, a~_i, a~_m]
    scale = torch.outer(p, p).sqrt()
    by_m = (alpha * e - n) / ((alpha + gamma[:, None]) * scale)
    by_inverse = (gamma * e + n.T) / ((alpha[:, None] + gamma) * scale)
    outside = (dual @ second) @ (torch.eye(5).double() - torch.linalg.pinv(rows) @ rows)

    def tangent(moved: Tensor) -> Tensor:
        return moved - (moved * rows).sum(1, keepdim=True) * rows

    def law(factors: Tensor) -> Tensor:
        inside = (factors * (p / p[:, None]).sqrt()).fill_diagonal_(0.0) @ rows
        return tangent(inside + outside / p[:, None])

    def ends(size: float) -> list[Tensor]:
        whitening = whiten(exact[0] + size * second, 3)
        v = whitening.whitener
        tensor = torch.einsum("abcd,ai,bj,ck,dl->ijkl", exact[1] + size * fourth, v, v, v, v)
        start = (squares * p).sqrt()[:, None] * (rows @ v)
        b = minimise_quartic(tensor, mu, lam, start[None]).points[0]
        ways = [b @ whitening.dewhitener.T, dual_basis(b @ v.T)]
        units = [torch.nn.functional.normalize(way, dim=1) for way in ways]
        return [unit * (unit * rows).sum(1, keepdim=True).sign() for unit in units]

    found = [tangent(up - down) / (2 * eps) for up, down in zip(ends(eps), ends(-eps), strict=True)]
    for way, right, wrong in ((0, by_m, by_inverse), (1, by_inverse, by_m)):
        torch.testing.assert_close(found[way], law(right), rtol=1e-3, atol=1e-3)
        assert float((found[way] - law(wrong)).abs().max()) > 0.1


@pytest.mark.parametrize(("k", "sigma"), [(2, 0.1), (3, 0.5), (4, 0.3)])
def test_the_price_of_a_direction(k: int, sigma: float) -> None:
    truth, v = reference_mixture(k, 2 * k, sigma, gate_norm=0.0), 1 + sigma**2
    plain = 0.75 * k * v * (k * v + 4)
    fitted = (k - 1) * (k + 4) / 2 + k * sigma**2 / 2 * (k * (v + 1) + 4)
    for method, expected in (("average", plain), ("least_squares", fitted)):
        outside = l4_law(truth, method).outside.diagonal()  # type: ignore[arg-type]
        torch.testing.assert_close(outside, torch.full_like(outside, expected))


def test_the_bound_of_a_direction_is_k_sigma_squared_for_little_noise() -> None:
    outside = bound_law(reference_mixture(3, 6, 0.003, gate_norm=0.0)).outside.diagonal()
    torch.testing.assert_close(outside, torch.full_like(outside, 3 * 0.003**2), rtol=0.04, atol=0)


@pytest.mark.parametrize("name", ["linear", "softplus"])
def test_squared_angles_are_affine_in_the_dimension(name: str) -> None:
    laws = [l4_law(reference_mixture(2, d, nonlinearity=name)) for d in (3, 4, 9)]
    first, second, third = (law.squared_angles for law in laws)
    torch.testing.assert_close(third - first, 6 * (second - first))
    torch.testing.assert_close(laws[0].in_dimension(9).squared_angles, third)
    with pytest.raises(ValueError, match=r"d: expected at least the dimension 3 .* got 2"):
        laws[0].in_dimension(2)


def test_the_law_does_not_depend_on_the_axes() -> None:
    reference = reference_mixture(3, 7, nonlinearity="sigmoid")
    turn = rotation(7)
    turned = MoE(reference.regressors @ turn, reference.gating @ turn, 0.1, reference.nonlinearity)
    torch.testing.assert_close(l4_law(turned).squared_angles, l4_law(reference).squared_angles)
    assert span_of(turned).shape == (7, 5)


def test_the_bound_in_few_dimensions_is_the_bound_in_all() -> None:
    truth = random_moe(2, 6, sigma=0.3, generator=stream("truth", 5))
    truth = MoE(1.7 * truth.regressors, truth.gating, truth.sigma)  # norms need not be one
    law = bound_law(truth, samples=300_000)
    covariance = cramer_rao(truth, 1, sigma_known=False, samples=300_000).covariance[:12, :12]
    draws = torch.distributions.MultivariateNormal(torch.zeros(12).double(), covariance)
    with global_stream("errors", 0):
        moved = truth.regressors + 1e-4 * draws.sample(torch.Size([20_000])).view(-1, 2, 6)
    cosines = torch.nn.functional.cosine_similarity(moved, truth.regressors, dim=-1)
    errors = 2e8 * (1 - cosines)
    torch.testing.assert_close(errors.mean(0), law.squared_angles, rtol=0.04, atol=0)
    assert float(law.worst().mean()) == pytest.approx(float(errors.amax(1).mean()) / 2, rel=0.04)
    assert law.median() == pytest.approx(float(errors.amax(1).median()) / 2, rel=0.05)


def test_an_error_law_draws_what_its_covariances_say() -> None:
    law = ErrorLaw(torch.eye(4).double(), 2 * torch.eye(2).double(), 3)  # k = 2, two axes, d = 5
    assert law.squared_angles.tolist() == [8.0, 8.0]
    alone = ErrorLaw(torch.eye(2).double(), torch.eye(1).double(), 2)
    assert float(alone.worst(200_000).mean()) == pytest.approx(2.0, rel=0.02)  # chi^2_4 / 2


def test_laws_are_refused_where_the_theory_does_not_hold() -> None:
    with pytest.raises(ValueError, match="at most 5 experts"):
        l4_law(reference_mixture(6, 11))
    with pytest.raises(ValueError, match="gates orthogonal"):
        l4_law(random_moe(3, 5, gates_in_span=True, generator=stream("truth", 0)))
    with pytest.raises(ValueError, match="d: expected at least 2k - 1 = 5"):
        reference_mixture(3, 4)


def test_low_rank_needs_fewer_samples_than_features_and_beats_the_average() -> None:
    truth, quadratic = reference_mixture(2, 60), output_transform("linear", 0.1, 2)
    exact = torch.einsum("m,ma,mb->ab", torch.tensor([0.5, 0.5]).double(), *[truth.regressors] * 2)
    n = 1_800
    assert n < feature_count(60, 2)
    lost = []
    for seed in range(5):
        x, y = truth.sample(n, stream("data", seed))
        plain = score_moment(x, y, quadratic, "average").tensor
        found = low_rank_moment(x, y, quadratic, 2)
        torch.testing.assert_close(found, found.T)
        bases = (whiten(moment, 2).basis for moment in (plain, found))
        lost.append([float((exact - u @ u.T @ exact).norm()) for u in bases])
    average, low_rank = torch.tensor(lost).square().mean(0)
    assert average > 1.6 * low_rank


def test_low_rank_comes_to_a_fixed_point_with_the_error_of_least_squares() -> None:
    truth, quadratic = reference_mixture(3, 8), output_transform("linear", 0.1, 2)
    x, y = truth.sample(20_000, stream("data", 0))
    one, many, more = (low_rank_moment(x, y, quadratic, 3, sweeps) for sweeps in (1, 40, 41))
    torch.testing.assert_close(many, more, rtol=0, atol=1e-9)
    q = quadratic(y) / quadratic.normaliser
    centred = (x * (q - q.mean())[:, None]).T @ x / len(y)
    torch.testing.assert_close(one, centred)
    fitted = score_moment(x, y, quadratic, "least_squares").tensor
    assert float((many - fitted).norm()) < 0.3 * float((one - fitted).norm())
    three = low_rank_moment(x, y, quadratic, 3)
    assert float((many - three).norm()) < 0.05 * float((many - one).norm())


def test_prefixes_of_one_sample_have_the_moments_of_separate_samples() -> None:
    quadratic = output_transform("tanh", SPEC.sigma, 2)
    x, y = reference_mixture(2, 6, nonlinearity="tanh").sample(20_000, stream("data", 0))
    found = samples.second_moments(x, y, SPEC)
    for index, n in enumerate(SPEC.sizes):
        part = x[:n], y[:n], quadratic
        expected = {
            "average": score_moment(*part, "average").tensor,
            "least_squares": score_moment(*part, "least_squares").tensor,
            "low_rank": low_rank_moment(*part, 2),
        }
        for method in METHODS:
            torch.testing.assert_close(found[method][index], expected[method])
    wide = replace(SPEC, d=20, sizes=(600, 900))
    x, y = reference_mixture(2, 20, nonlinearity="tanh").sample(900, stream("data", 0))
    few, many = samples.second_moments(x, y, wide)["least_squares"]  # F = 231: 600 are too few
    torch.testing.assert_close(few, score_moment(x[:600], y[:600], quadratic, "average").tensor)
    exact = score_moment(x, y, quadratic, "least_squares", tolerance=1e-6).tensor
    true = 0.5 * torch.eye(20).double() * (torch.arange(20) < 2)
    assert float((many - exact).norm()) < 0.05 * float((exact - true).norm())
    with pytest.raises(ValueError, match="methods: expected names out of"):
        samples.second_moments(x, y, replace(wide, methods=("median",)))


CELLS = samples.run([SPEC, replace(SPEC, k=3)], range(6), workers=1)


def test_errors_follow_the_law_and_better_moments_have_smaller_errors() -> None:
    for cell in CELLS:
        assert all(errors.shape == (3, 6) for errors in cell.errors.values())
        limits = samples.predicted(cell.spec)
        ratios = [float(20_000 * cell.median(method)[2]) / limits[method] for method in cell.errors]
        assert 0.5 < torch.tensor(ratios).log().mean().exp() < 1.8
        plain, fitted, low_rank = (cell.errors[m].log().mean() for m in METHODS)
        assert plain > fitted and plain > low_rank
        assert limits["average"] > limits["least_squares"] > 20 * limits["recover"]


def test_trials_are_pure_and_recover_is_measured_too() -> None:
    spec = replace(SPEC, sizes=(500,), methods=("average",), recover_sizes=(500,))
    first = samples.trial(spec, 3)
    assert first == samples.trial(spec, 3)
    assert set(first) == {"average 500", "recover 500"}
    assert first["recover 500"] < 0.1 * first["average 500"]
    ends = samples.run([replace(spec, methods=(), sizes=())], range(2), workers=1)
    both = samples.joined(CELLS[:1], ends)[0]
    assert list(both.errors) == [*METHODS, "recover"]
    assert both.sizes("recover").tolist() == [500] and len(both.sizes("average")) == 3


def test_sizes_around_the_edge_hold_the_edge_and_the_largest() -> None:
    wide = Spec(sizes=(200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000))
    for k, d in ((3, 10), (3, 200), (8, 20)):
        kept = samples.around_the_edge(replace(wide, k=k, d=d)).sizes
        assert set(kept) <= set(wide.sizes) and kept[-1] == 50_000
    low, high = (samples.around_the_edge(replace(wide, d=d)).sizes for d in (10, 200))
    assert low == (200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)
    assert high == (2_000, 5_000, 10_000, 20_000, 50_000)
    edge = samples.predicted(replace(wide, d=200))["average"] / samples.GOAL
    assert high[0] < edge / 8 < high[1]


def test_no_answer_counts_as_an_error_of_one() -> None:
    spec = Spec(k=6, d=12, sizes=(40,), methods=("average", "low_rank"), starts=4)
    results = [samples.trial(spec, seed) for seed in range(4)]
    assert 1.0 in [value for result in results for value in result.values()]


def test_success_is_the_share_below_the_goal() -> None:
    errors = torch.tensor([[0.2, 0.04, 0.05, 0.01]]).double()
    cell = samples.Cell(replace(SPEC, sizes=(10,)), {"average": errors})
    assert cell.success("average").tolist() == [0.5]
    assert cell.median("average").tolist() == pytest.approx([0.045])


def test_slopes_of_powers_are_found_with_intervals_of_the_right_width() -> None:
    n = torch.logspace(3, 6, 7, base=10, dtype=torch.float64)
    exact = scaling.slope(n, (5 * n**-0.8)[:, None].expand(-1, 4))
    assert (exact.value, exact.low, exact.high) == pytest.approx((-0.8,) * 3)
    slopes, widths = [], []
    for seed in range(40):
        noise = normal(7, 25, seed=seed, purpose="noise")
        found = scaling.slope(n, n[:, None] ** -1.0 * (0.5 * noise).exp())
        slopes.append(found.value)
        widths.append((found.high - found.low) / (2 * 1.96))
    spread = torch.tensor(slopes).std()
    assert abs(torch.tensor(slopes).mean() + 1) < 4 * spread / 40**0.5
    assert 0.7 < torch.tensor(widths).mean() / spread < 1.5


def test_crossings_of_power_laws_are_exact() -> None:
    n = torch.tensor([100.0, 1_000.0, 10_000.0]).double()
    curves = torch.stack([30 / n, 0.001 / n, 3e4 / n, torch.tensor([0.2, 0.01, 0.04]).double()], 1)
    found = scaling.crossing(n, curves, 0.05)
    assert found[0] == pytest.approx(600.0) and found[1] == 100 and torch.isinf(found[2])
    assert found[3] == pytest.approx(100 * 10 ** (math.log(4) / math.log(20)))
    errors = curves[:, :1].expand(-1, 5)
    reach = scaling.samples_to_reach(n, errors)
    assert (reach.value, reach.low, reach.high) == pytest.approx((600.0,) * 3)
    ratio = scaling.ratio_to_reach((n, n), (errors, errors / 2))
    assert ratio.value == pytest.approx(2.0) and ratio.meets(1.5, 2.5) and not ratio.meets(3, 4)


def test_estimates_show_significant_digits() -> None:
    assert scaling.Estimate(12345.6, 987.65, 23456.7).show(3) == "12,300 (988 to 23,500)"
    assert scaling.Estimate(12345.6, 0.012345, math.inf).show(2) == "12,000 (0.012 or more)"
    assert scaling.Estimate(math.inf, 5.0, math.inf).show() == "not reached"
    assert scaling.Estimate(-0.98765, -1.0456, -0.9).show() == "-0.988 (-1.05 to -0.900)"


SMALL = onset.Spec(k=2, d=5, shares=(1.2, 1.5, 2.0, 3.0))
ONSET = onset.run([SMALL], range(9), workers=1)[0]


def test_a_walk_from_any_size_finds_what_trying_all_sizes_finds() -> None:
    walks = [onset.run([replace(SMALL, begin=begin)], range(2), workers=1)[0] for begin in (0, 3)]
    for seed in range(2):
        found = ONSET.first[seed]
        assert all(walk.first[seed] == found for walk in walks)
        truth = reference_mixture(2, 5)
        x, y = truth.sample(SMALL.sizes[-1], stream("data", seed))
        for n in SMALL.sizes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DoubtfulFitWarning)
                error = regressor_error(recover(x[:n], y[:n], 2, seed=seed).model, truth)
            assert (error < samples.GOAL) == (n >= found)
    assert SMALL.sizes == (19, 24, 32, 48)
    for tries in ONSET.tries:  # each walk ends where success does, or at the ends of the grid
        outcomes = {t.success for t in tries}
        assert len(outcomes) == 2 or tries[0].n == 19 or tries[-1].n == 48


def test_an_onset_sees_the_oracle_and_the_sizes_around_the_first_success() -> None:
    assert all(t.success for t in ONSET.successes) and not any(t.success for t in ONSET.failures)
    assert all(t.oracle < samples.GOAL for t in ONSET.successes)
    value, (low, high) = ONSET.half()
    assert low <= value <= high and float(ONSET.first.sort().values[4]) == value
    assert (low, high) == (float(ONSET.first.sort().values[1]), float(ONSET.first.sort().values[7]))
    never = onset.Onset(SMALL, ((onset.Try(19, 0.3, 0.01, 9.0),),) * 9)
    assert math.isinf(never.half()[0]) and never.successes == []


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_the_bound_of_the_told_is_the_information_of_fewer_parameters(name: str) -> None:
    """By autograd in angles and in the gates' free coordinates, on the very samples."""
    truth = reference_mixture(2, 4, 0.3, nonlinearity=name)
    x, y = truth.sample(20_000, stream("information", 3))
    flat = torch.zeros(8, dtype=torch.float64)

    def nats(theta: Tensor) -> Tensor:
        turns, gate = theta[:6].view(2, 3), theta[6:]
        rows = []
        for i in range(2):
            other = [j for j in range(4) if j != i]
            row = torch.zeros(4, dtype=torch.float64).index_put((torch.tensor(other),), turns[i])
            rows.append(truth.regressors[i] * turns[i].norm().cos() + row)
        gating = truth.gating.clone()
        gating = gating.index_put(
            (torch.tensor([0, 0]), torch.tensor([2, 3])), truth.gating[0, 2:] + gate
        )
        mean = truth.nonlinearity(x @ torch.stack(rows).T)
        gates = torch.log_softmax(x @ gating.T, 1)
        return torch.logsumexp(gates - (y[:, None] - mean) ** 2 / (2 * truth.sigma**2), 1)

    flat = flat + 1e-9  # off the kink of the norm
    axes = torch.eye(8, dtype=torch.float64)  # eight numbers in, 20,000 out
    scores = torch.stack([torch.autograd.functional.jvp(nats, flat, e)[1] for e in axes], 1)
    told = torch.linalg.inv(scores.T @ scores / len(x)).diagonal()[:6].view(2, 3).sum(1)
    full = bound_law(truth, samples=200_000).squared_angles
    ratio = bound_when_told(truth, samples=200_000)
    torch.testing.assert_close(ratio, told / full, rtol=0.05, atol=0)
    assert bool((ratio < 1).all())


def _shorter(cell: samples.Cell) -> samples.Cell:
    sizes = cell.spec.sizes[1:]
    return samples.Cell(
        replace(cell.spec, sizes=sizes), {m: errors[1:] for m, errors in cell.errors.items()}
    )


def test_the_samples_that_a_reader_asks_for_are_those_of_the_law() -> None:
    base = Spec(sizes=(400, 800), recover_sizes=(400,))
    errors = {m: torch.tensor([[0.4, 0.2], [0.1, 0.3]]) for m in ("average", "least_squares")}
    cells = [samples.Cell(base, errors | {"recover": torch.tensor([[0.01, 0.03]])})]
    asked = [base, replace(base, k=2, d=40), replace(base, k=8)]  # the last has no law
    figure = interactive.samples_needed(asked, cells).data
    mixtures, dimensions, errors_wanted = (control["values"] for control in figure["controls"])
    assert len(mixtures) == 2
    d, error = dimensions.index("50"), errors_wanted.index("0.005")
    left, right = (panel["marks"] for panel in figure["panels"])
    limits = samples.predicted(replace(base, k=2, d=50))
    for row, method in ((0, "average"), (2, "least_squares"), (4, "recover")):
        needed = left[row]["y"][1][error][d]
        assert needed == pytest.approx(limits[method] / 0.005, rel=0.06)
        assert left[row + 1]["y"][1][d][error] == [needed]
        ends = right[row]
        product = ends["x"][1][d][1] * ends["y"][1][d][1]
        assert product == pytest.approx(limits[method], rel=0.06)
    assert right[1]["x"][0][0] == [400, 800] and right[1]["y"][0][0] == [0.3, 0.2]
    assert right[1]["x"][1][0] == [None, None] and right[5]["y"][0][0][0] == 0.02
    said = figure["say"]["words"][0][0][errors_wanted.index("0.1")][0]
    assert "fewer than there are weights, 30" in said


def test_tables_have_a_row_a_setting_and_numbers_in_full() -> None:
    shown = tables.slopes(CELLS)
    assert len(shown.values) == len(CELLS) * len(METHODS)
    assert len(tables.savings(CELLS, "k").values) == 2
    reach = tables.reaching(CELLS, [ONSET], "k")
    assert reach.shown[1][-1] == "not run" and reach.head[-1] == "recover"
    at_first = samples.Cell(CELLS[0].spec, {m: 0 * e + 0.01 for m, e in CELLS[0].errors.items()})
    row = tables.reaching([at_first], [], "k")
    assert row.shown[0][1] == "at most 500 (500 to 500)" and row.values[0][1] == (500.0,) * 3
    starts = tables.onsets([ONSET])
    assert starts.shown[0][2] == "300" and len(starts.values[0]) == len(starts.head)
    power = tables.powers_of_k(CELLS)
    assert power.shown[-1][0] == "Cramér–Rao" and power.shown[-1][-1] == "–"
    laws = tables.laws([SPEC])
    assert laws.values[0][1] == samples.predicted(SPEC)["average"]
    assert len(tables.least_squares_savings(CELLS).values) == 2


def _fewer(cell: samples.Cell) -> samples.Cell:
    """The cell without its last data set."""
    return replace(cell, errors={name: errors[:, :-1] for name, errors in cell.errors.items()})


def test_figures_draw_with_labelled_axes() -> None:
    end = [ONSET]
    methods = [f"$L_4$, {moments}" for moments in ("plain moments", "least squares", "low rank")]
    both = [*methods, "recover; line: Cramér–Rao bound"]
    for figure, names in (
        (pictures.errors_figure(CELLS), methods),
        (pictures.dimension_figure(CELLS[:1], end), both),
        (pictures.experts_figure([CELLS[0], _fewer(CELLS[1])], end), both),
        (pictures.noise_figure(CELLS[:1]), methods),
        (pictures.transition_figure([CELLS[0], _shorter(CELLS[1])]), []),
        (pictures.relative_figure(CELLS), ["tanh, sigmoid"]),
    ):
        assert_shows(figure, *names)
        assert all(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes)
