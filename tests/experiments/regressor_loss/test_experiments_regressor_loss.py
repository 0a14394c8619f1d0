"""What chapter 4 says, at small size."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from helpers import assert_shows, normal
from torch.autograd.functional import hessian, jacobian

from moe.experiments.common.gaussian_integrals import (
    exact_proportions,
    grid_rule,
    line_rule,
    noise_averaged,
)
from moe.experiments.regressor_loss import ambient as l4_ambient
from moe.experiments.regressor_loss import descent as l4_descent
from moe.experiments.regressor_loss import figures as pictures
from moe.experiments.regressor_loss import fresh_samples as l4_stream
from moe.experiments.regressor_loss import interactive, three_forms
from moe.experiments.regressor_loss import weights as l4_weights
from moe.experiments.shown.interactive.marks import LEVELS
from moe.landscape import critical_points, largest_delta
from moe.landscape.squares import squares_gradient, squares_loss, squares_matrix
from moe.losses import dual_basis, l4_moments, l4_population
from moe.metrics import regressor_error_of
from moe.model.mixture import random_moe
from moe.model.nonlinearity import as_nonlinearity
from moe.moments.estimate import score_moment
from moe.moments.hermite import score_tensor
from moe.moments.transforms import output_transform
from moe.randomness import child_seed, stream


def test_quadratures_integrate_polynomials_and_kinks() -> None:
    z, weight = line_rule(kinks=(0.0,))
    for power, moment in ((0, 1.0), (2, 1.0), (4, 3.0), (8, 105.0)):
        assert float(weight @ z**power) == pytest.approx(moment, rel=1e-12)
    assert float(weight @ z.abs()) == pytest.approx((2 / torch.pi) ** 0.5, rel=1e-12)
    t, weight = grid_rule(2, nodes=10)
    assert float(weight @ (t[:, 0] ** 4 * t[:, 1] ** 2)) == pytest.approx(3.0, rel=1e-12)


def test_exact_proportions_agree_with_monte_carlo() -> None:
    model = random_moe(3, 6, gate_norm=2.0, generator=stream("truth", 0))
    x = normal(200_000, 6, purpose="inputs")
    gate = model.gate(x)
    error = gate.std(0) / len(x) ** 0.5
    assert bool(((gate.mean(0) - exact_proportions(model)).abs() < 4 * error).all())
    with pytest.raises(ValueError, match="at most 4 experts"):
        exact_proportions(random_moe(5, 9, generator=stream("truth", 0)))


@pytest.mark.parametrize("power", [1, 2])
def test_noise_average_agrees_with_a_fine_rule(power: int) -> None:
    g, transform = as_nonlinearity("tanh"), output_transform("tanh", 0.4, 4)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    noise, weight = line_rule()
    fine = transform(g(z)[:, None] + 0.4 * noise) ** power @ weight
    torch.testing.assert_close(noise_averaged(transform, g, 0.4, z, power), fine)


@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_the_gates_drop_out_of_the_fourth_moment(name: str) -> None:
    """Theorem "The gates drop out" by quadrature over R^3."""
    model = random_moe(2, 3, nonlinearity=name, generator=stream("truth", 0))
    x, weight = grid_rule(3, nodes=40)
    transform = output_transform(name, model.sigma, 4)
    z = x @ model.regressors.T
    q = (model.gate(x) * noise_averaged(transform, model.nonlinearity, model.sigma, z)).sum(-1)
    tensor = torch.einsum("n,nabcd->abcd", weight * q, score_tensor(x, 4)) / transform.normaliser
    a, p = model.regressors, exact_proportions(model)
    torch.testing.assert_close(
        tensor, torch.einsum("m,ma,mb,mc,md->abcd", p, a, a, a, a), atol=1e-6, rtol=0
    )


def test_the_gates_drop_out_for_a_kinked_nonlinearity() -> None:
    """The theorem's proof needs no derivative: ReLU, each expert's part in coordinates of its own,
    in which the kink is a plane at a node's edge."""
    model = random_moe(2, 3, nonlinearity="relu", sigma=0.3, generator=stream("truth", 0))
    transform = output_transform("relu", model.sigma, 4)
    across, across_weight = grid_rule(2, nodes=32)
    z, z_weight = line_rule(kinks=(0.0,))
    q = noise_averaged(transform, model.nonlinearity, model.sigma, z)
    moment = torch.zeros(3, 3, 3, 3, dtype=torch.float64)
    for m, a in enumerate(model.regressors):
        frame = torch.linalg.qr(torch.cat([a[:, None], torch.eye(3, dtype=a.dtype)], 1)).Q
        frame = frame * torch.sign(frame[:, 0] @ a)
        points = torch.cat([z.repeat_interleave(len(across))[:, None], across.repeat(len(z), 1)], 1)
        x = points @ frame.T
        weight = (z_weight * q)[:, None] * across_weight
        factor = weight.flatten() * model.gate(x)[:, m]
        moment += torch.tensordot(factor, score_tensor(x, 4), dims=1)
    a, p = model.regressors, exact_proportions(model)
    expected = torch.einsum("m,ma,mb,mc,md->abcd", p, a, a, a, a)
    torch.testing.assert_close(moment / transform.normaliser, expected, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def forms() -> three_forms.Record:
    return three_forms.run(three_forms.Spec(sizes=(500, 2_000, 8_000, 32_000), trials=24))


def test_three_forms_agree(forms: three_forms.Record) -> None:
    assert forms.moments.shape == (4, 24, 16)
    assert forms.population.shape == (16,)
    assert forms.rounding < 1e-11
    assert abs(forms.slope + 0.5) < 0.12


@pytest.fixture(scope="module")
def weights() -> l4_weights.Record:
    return l4_weights.run(l4_weights.Spec(mus=(0.0, 0.5, 2.0), starts=150))


def test_random_starts_reach_the_truth_only_for_mu_between_zero_and_one(
    weights: l4_weights.Record,
) -> None:
    assert weights.success[1] == 1.0
    assert weights.success[0] < 1.0
    assert weights.success[2] < 1.0


def test_norm_penalty_is_biased_and_the_general_form_is_not(weights: l4_weights.Record) -> None:
    assert weights.general[:, 0].max() < 1e-10
    assert bool((weights.norm_penalty[:, 0] > 1e-4).all())
    assert weights.norm_penalty[1, 0] / weights.norm_penalty[0, 0] == pytest.approx(6.25, rel=0.15)


def test_ridge_bias_is_quadratic_in_delta(weights: l4_weights.Record) -> None:
    assert weights.ridge[0] < 1e-12
    assert weights.ridge[2] / weights.ridge[1] == pytest.approx(9.0, rel=0.1)


def test_without_mu_there_are_valleys_of_spurious_minima(weights: l4_weights.Record) -> None:
    """Proposition of the same name: the segment is critical, locally minimal, and mu tips it."""
    p = torch.tensor([0.1, 0.1, 0.8], dtype=torch.float64)
    lam = 35.0
    shared = lam * p[2] / (lam * p[2] + 1)
    level = 2 * lam / (lam * float(p[2]) + 1)
    assert len(weights.valley) > 0
    assert (weights.valley - level).abs().max() < 1e-8
    for part in (0.3, 0.5, 0.7):
        u = torch.zeros(3, 3, dtype=torch.float64)
        u[0, 0], u[0, 1], u[1, 2], u[2, 2] = part, 1 - part, shared, shared
        on = u > 0
        slope = squares_gradient(u, p, 0.0, lam)
        assert slope[on].abs().max() < 1e-10
        assert slope[~on].min() > 0
        flat = on.flatten()
        blocks = [squares_matrix(p, mu, lam)[flat][:, flat] for mu in (0.0, 0.05)]
        lowest = [float(torch.linalg.eigvalsh(block)[0]) for block in blocks]
        assert lowest[0] > -1e-10
        assert lowest[1] < -1e-3
        assert float(squares_loss(u, p, 0.0, lam)) == pytest.approx(level, rel=1e-8)


SMALL = l4_descent.Spec(n=20_000, starts=6, iterations=400, every=40)


def test_descent_finds_the_experts_from_every_start() -> None:
    record = l4_descent.run(SMALL)
    assert record.errors.shape == record.values.shape == (11, 6)
    assert not bool(record.ran_off.any())
    assert record.errors[-1].max() < 0.05
    assert record.errors[-1].max() - record.errors[-1].min() < 1e-4


def test_skewed_regressors_have_the_cosine() -> None:
    rows = l4_descent.skewed_regressors(4, 6, 0.3, stream("truth", 0))
    expected = torch.full((4, 4), 0.3, dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(rows @ rows.T, expected)
    dual = dual_basis(rows)
    torch.testing.assert_close(dual @ rows.T, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(dual_basis(dual), rows)


@pytest.fixture(scope="module")
def ambient() -> l4_ambient.Record:
    base = replace(SMALL, d=8, method="average", starts=3)
    return l4_ambient.run(l4_ambient.Spec(sizes=(2_000, 20_000), trials=2, base=base))


def test_projection_is_necessary(ambient: l4_ambient.Record) -> None:
    assert ambient.projected.shape == (2, 2)
    assert bool((ambient.projected.median(1).values < ambient.ambient.median(1).values / 3).all())
    assert bool((ambient.escape[0] < 0).all())
    assert bool((ambient.outside > 0.5).all())


def test_losses_of_many_data_sets_are_those_of_each() -> None:
    second, fourth = normal(2, 3, 3, purpose="second"), normal(2, 3, 3, 3, 3, purpose="fourth")
    second = second + second.mT
    fourth = torch.stack([sum(part.permute(p) for p in permutations(range(4))) for part in fourth])
    rows, deltas = normal(2, 4, 2, 3, purpose="rows"), torch.tensor([0.0, 0.7]).double()
    values = l4_ambient.losses_in_space(rows, second, fourth, 0.5, 10.0, deltas)
    for i, delta in enumerate(deltas.tolist()):
        own = l4_moments(rows[i], second[i], fourth[i], 0.5, 10.0, delta)
        torch.testing.assert_close(values[i], own, rtol=1e-12, atol=1e-10)


def test_quartic_coefficient_is_the_growth_of_the_loss() -> None:
    second, pair = normal(4, 4, purpose="second"), normal(16, 16, purpose="fourth")
    fourth = (pair + pair.T).reshape(4, 4, 4, 4)
    e = normal(4, purpose="direction")
    for moving in (1, 2, 3):
        factor = l4_ambient.quartic_coefficient(e, second, fourth, 0.5, 10.0, moving)
        rows = torch.zeros(3, 4, dtype=torch.float64)
        rows[:moving] = 1e3 * e / e.norm()
        value = l4_moments(rows, second, fourth, 0.5, 10.0, 0.3)
        assert float(value) / 1e12 == pytest.approx(float(factor), rel=1e-3)


def test_figures_draw(forms: three_forms.Record, ambient: l4_ambient.Record) -> None:
    space = r"in $\mathbb{R}^d$"
    descent = l4_descent.run(replace(SMALL, iterations=20, every=10))
    for figure, names in (
        (
            pictures.forms_figure(forms),
            ("one data set: median, 10-90 %", "root mean square", r"slope $-1/2$"),
        ),
        (
            pictures.ambient_figure(ambient),
            (space, rf"{space}, $\delta = 1$", "projected afterwards", "projected first"),
        ),
        (pictures.descent_figure(descent), ("median",)),
    ):
        assert_shows(figure, *names)
        assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_the_dual_figure_marks_the_minima_of_one_row() -> None:
    truth = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)
    p = torch.tensor([0.4, 0.6], dtype=torch.float64)
    figure = pictures.dual_figure(truth, p, 0.5, 10.0)
    assert_shows(figure, "experts", "minima")
    lines = [line for line in figure.axes[0].lines if line.get_marker() == "s"]
    assert len(lines) == 2
    for line in lines:
        row = torch.tensor(np.asarray(line.get_xydata())[1], dtype=torch.float64)
        a = row.unsqueeze(0).requires_grad_()
        (slope,) = torch.autograd.grad(l4_population(a, truth, p, 0.5, 10.0), a)
        assert float(slope.abs().max()) < 1e-9


def test_delta_makes_random_starts_share_where_the_minimum_next_to_the_truth_says_nothing(
    weights: l4_weights.Record,
) -> None:
    assert weights.shared[0] == 0 and bool(weights.lowest[0].isinf())
    assert 0.2 < float(weights.shared[-1]) < 0.9
    assert float(weights.lowest[-1]) < float(weights.value[-1])
    assert float(weights.ridge[-1]) < 0.02  # the minimum that Newton follows looks harmless


def test_beyond_the_second_branch_of_the_threshold_no_rows_share() -> None:
    """p = (0.4, 0.6), mu = 0.5, lambda = 2 < (mu + 1) / p_max: delta* = 4 lambda p_min = 3.2."""
    p = torch.tensor([0.4, 0.6], dtype=torch.float64)
    assert largest_delta(p, 0.5, 2.0) == pytest.approx(3.2)
    points = critical_points(p, 0.5, 2.0, delta=3.3)
    minima = [i for i, kind in enumerate(points.kinds) if kind in ("truth", "spurious minimum")]
    seats = {tuple(sorted(map(tuple, points.supports[i].long().tolist()))) for i in minima}
    assert seats == {((0, 0), (0, 1))}  # one row at the commonest expert, one zero


def test_exact_moments_with_gates_are_those_without() -> None:
    model = random_moe(2, 3, sigma=0.3, generator=stream("truth", 1))
    a, p = model.regressors, exact_proportions(model)
    for name in ("linear", "relu"):
        found = three_forms.exact_moment(model, name, 2)
        torch.testing.assert_close(found, (a.T * p) @ a, atol=1e-7, rtol=0)


def test_third_order_loss_is_bounded_and_not_benign() -> None:
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    ends = l4_weights.third_order_ends(p, mu=1.0, lam=5.0, kappa=2.0, starts=40, seed=0)
    lowest = ends.values < ends.lowest + 1e-3
    assert bool(ends.values.isfinite().all())
    assert 0.3 < float(lowest.double().mean()) < 0.95
    assert bool(ends.at_truth[lowest].all())


def test_projecting_afterwards_mends_what_the_start_left_outside(
    ambient: l4_ambient.Record,
) -> None:
    late, free = (series.nanmedian(1).values for series in (ambient.afterwards, ambient.ambient))
    assert float(late[-1]) < float(free[-1]) / 2
    assert bool((ambient.margin[-1] > 0).all())


def test_the_square_of_a_batchs_average_is_biased_by_its_variance_and_two_halves_are_not() -> None:
    """Equation eq-04-stream, over many batches; the mean of single samples' terms is exact."""
    rows, x = normal(2, 5), normal(4_000, 40, 5, purpose="inputs")
    y = x[..., 0] + 0.1 * normal(4_000, 40, purpose="noise")
    quadratic = output_transform("linear", 0.1, 2)
    single = l4_stream.second_form(rows, x.reshape(-1, 1, 5), y.reshape(-1, 1), quadratic)
    square, product = l4_stream.length_terms(rows, x, y, quadratic)
    exact = ((rows[:, 0].square() - 1) ** 2).sum()
    bias = single.var(0).sum() / 40
    for values, mean in ((square, exact + bias), (product, exact)):
        error = values.std() / len(values) ** 0.5
        assert abs(float(values.mean() - mean)) < 4 * float(error)
    assert float(bias) > 10 * float(square.std()) / len(square) ** 0.5


@pytest.fixture(scope="module")
def fresh() -> l4_stream.Record:
    return l4_stream.run(l4_stream.Spec(steps=250, seeds=3))


def test_a_stream_is_held_by_the_bias_of_the_square(fresh: l4_stream.Record) -> None:
    assert fresh.errors.shape == fresh.outside.shape == fresh.diverged.shape == (2, 3, 3)
    plug_in, halves, kept = fresh.errors.median(-1).values.unbind(-1)
    left = fresh.outside.median(-1).values
    assert float(left[0, 0]) < 0.7 < float(left[0, 1])
    assert float(left[-1, 0]) > float(left[0, 0]) + 0.1
    assert float(halves[0]) > float(plug_in[0])
    assert float(kept[-1]) < float(plug_in[-1]) / 2
    assert float((fresh.population_outside - 1).abs().max()) < 1e-6
    names = (*l4_stream.WAYS, "exact expectations")
    assert_shows(pictures.stream_figure(fresh), *names)


def test_the_ridge_of_a_stream_turns_the_directions_of_experts_that_are_not_orthogonal() -> None:
    """The minimum of the mean of a batch's loss, population plus lambda / B times the variance."""
    n, batch, mu, lam = 60_000, 200, 0.5, 10.0
    x = normal(n, 3, purpose="inputs")
    x = torch.cat([x, -x])  # less noise in the variance's odd parts
    expert = torch.randint(3, (n,), generator=stream("experts", 0)).repeat(2)
    quadratic = output_transform("linear", 0.0, 2)
    thirds = torch.full((3,), 1 / 3, dtype=torch.float64)
    errors = []
    for cosine in (0.0, 0.5):
        truth = l4_descent.skewed_regressors(3, 3, cosine, stream("truth", 0))
        q = quadratic((x @ truth.T).gather(1, expert[:, None])) / quadratic.normaliser
        rows = dual_basis(truth) / thirds.sqrt()[:, None]
        for _ in range(60):
            a = rows.requires_grad_()
            variance = (q * ((x @ a.T).square() - a.square().sum(-1))).var(0).sum()
            value = l4_population(a, truth, thirds, mu, lam) + lam / batch * variance
            (slope,) = torch.autograd.grad(value, a)
            rows = a.detach() - 0.004 * slope
        errors.append(regressor_error_of(dual_basis(rows), truth))
    assert errors[0] < 1e-3
    assert errors[1] > 0.01


def test_outside_the_span_the_slides_form_has_one_gain_and_one_loss() -> None:
    """Orthonormal experts, k = 2 < d = 3: the truth is strict outside too; a row that left the span
    with length one, an expert being empty, sits at a saddle whose way down is of fourth order."""
    mu, lam, p = 0.5, 2.0, torch.tensor([0.4, 0.6], dtype=torch.float64)
    truth = torch.eye(2, 3, dtype=torch.float64)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        rows = flat.view(2, 3)
        u = (rows @ truth.T).square()
        parts = u.sum(0).square() - (1 + mu) * u.square().sum(0)
        return (p * parts).sum() + lam * (rows.square().sum(-1) - 1).square().sum()

    norms = (lam / (lam - mu * p)).sqrt()
    curvature = hessian(loss, (norms[:, None] * truth).flatten()).diagonal().view(2, 3)
    torch.testing.assert_close(curvature[:, 2], 4 * mu * p * norms.square())
    left = (norms[:, None] * truth).clone()
    left[1] = torch.tensor([0.0, 0.0, 1.0])
    assert float(jacobian(loss, left.flatten()).abs().max()) < 1e-12
    assert abs(float(torch.linalg.eigvalsh(hessian(loss, left.flatten()))[0])) < 1e-10
    for step in (0.1, 0.01):
        moved = left.clone()
        moved[1] = torch.tensor([0.0, step, (1 - step**2) ** 0.5], dtype=torch.float64)
        fall = float(loss(left.flatten()) - loss(moved.flatten()))
        assert fall == pytest.approx(mu * float(p[1]) * step**4, rel=1e-4)


def test_one_direction_is_the_whole_tensors_along_it() -> None:
    base = l4_descent.Spec(k=2, d=3)
    factors = l4_ambient.along_one_direction(base, (3_000,), 1).flatten().tolist()
    one = replace(base, n=3_000, seed=child_seed(0, "direction", 3_000, 0))
    truth, x, y = l4_descent.draw(one)
    e = torch.linalg.cross(*truth)
    second, fourth = (
        score_moment(x, y, output_transform("linear", base.sigma, m), "average").tensor
        for m in (2, 4)
    )
    for rows, factor in zip((1, 2), factors, strict=True):
        whole = l4_ambient.quartic_coefficient(e, second, fourth, base.mu, base.lam, rows)
        assert factor == pytest.approx(float(whole), rel=1e-9)


def test_with_samples_l4_is_in_the_limit_unbounded_below() -> None:
    """Proposition: one row falls in half of the data sets, two rows in the other half."""
    base = l4_descent.Spec(k=2, d=3)
    falls = l4_ambient.along_one_direction(base, (500, 16_000), 100) < 0
    assert not bool(falls.all(0).any())  # T[e,e,e,e] has one sign
    few, many = falls.any(0).double().mean(1).tolist()
    assert 0.3 < few < many and many > 0.75
    assert bool((falls[:, 1].double().mean(1) > 0.25).all())
    escape = -torch.ones(3, 3, 3, 3, dtype=torch.float64)  # T = -(e1 + e2 + e3)^(4)
    zero = torch.zeros(3, 3, dtype=torch.float64)
    both = torch.stack([escape, -escape])  # two rows fall, one does not; the other way round
    starts = normal(2, 2, 32, 3, purpose="directions")
    lowest, e = l4_ambient.steepest_escape(zero.expand(2, 3, 3), both, 0.5, 10.0, starts)
    assert lowest.tolist() == pytest.approx([-2 * 0.5 * 9, -0.5 * 9], rel=1e-3)
    assert float(e.abs().min()) == pytest.approx(3**-0.5, abs=0.01)


def test_a_lambda_bounds_the_loss_only_where_m_is_positive_definite() -> None:
    needed = l4_ambient.lambdas_that_bound(l4_descent.Spec(), (1, 3), (1_000,), 12)
    assert needed.shape == (2, 1, 12)
    possible = needed.isfinite().double().mean(-1)
    assert float(possible[1]) < 0.2 < float(possible[0]) < 0.9


def test_proportions_are_read_from_lengths_and_from_the_whitener() -> None:
    few, many = (
        l4_descent.proportion_errors(replace(SMALL, n=n), trials=3).mean(0)
        for n in (5_000, 100_000)
    )
    assert bool((many < few).all()) and float(many.max()) < 0.02


def test_the_dual_basis_that_a_reader_drags_holds_the_minima_of_the_loss() -> None:
    mu, lam = 0.5, 10.0
    figure = interactive.dual_basis_at_an_angle(mu, lam).data
    angle, share = interactive.ANGLES.index(40), interactive.SHARES.index(0.3)
    p = torch.tensor([0.3, 0.7], dtype=torch.float64)
    directions, wells = (panel["marks"] for panel in figure["panels"])
    truth = torch.tensor([directions[1]["x2"][angle], directions[1]["y2"][angle]]).double().T
    assert float(truth[1] @ truth[0]) == pytest.approx(np.cos(np.radians(40)), abs=1e-3)
    ends = torch.tensor([wells[2]["x"][angle][share], wells[2]["y"][angle][share]]).double().T

    def loss(row: torch.Tensor) -> torch.Tensor:
        return l4_population(row[..., None, :], truth, p, mu, lam)

    for end in ends:
        assert jacobian(loss, end).norm() < 0.05  # four digits of the point
        assert torch.linalg.eigvalsh(hessian(loss, end))[0] > 0.1
    size, cells = wells[0]["extent"][1], wells[0]["cells"][angle][share][0]
    n = interactive.CELLS
    middles = size * (2 * torch.arange(n, dtype=torch.float64) + 1 - n) / n
    rows = torch.cartesian_prod(middles, middles).flip(1)
    values = loss(rows)
    heights = ((values - loss(ends).min()) / (lam - loss(ends).min())).clamp(0, 1).pow(1 / 3)
    levels = torch.tensor([LEVELS.index(letter) for letter in cells]) / 63
    assert (levels - heights).abs().max() < 0.02
    assert figure["panels"][0]["marks"][2]["drag"] == "angle"
