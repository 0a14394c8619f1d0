"""moe.experiments population_losses, spurious_minima, sigma_held, random_starts (chapter 2)."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import assert_shows, normal

from moe.experiments.common.gaussian_integrals import grid_rule, line_rule
from moe.experiments.standard_losses import (
    annealing,
    figures,
    interactive,
    lifted_trap,
    random_starts,
    sigma_held,
    spurious_minima,
    squared_phase,
)
from moe.experiments.standard_losses.population.newton_kantorovich import (
    Enclosure,
    certify_squared,
    fourth_bound,
    lattice_population,
    lattice_rule,
)
from moe.experiments.standard_losses.population.population_losses import (
    Population,
    log_population,
    newton,
    squared_population,
    stack,
    unstack,
)
from moe.landscape.slices import path_values
from moe.losses import log_loss, squared_loss
from moe.model.mixture import MoE, full_gating
from moe.moments.quadrature import gauss_hermite
from moe.randomness import stream


def losses() -> dict[str, Population]:
    return {
        "squared": squared_population(spurious_minima.spanned_three(), 6),
        "log": log_population(sigma_held.near_twins(sigma=0.3), 0.2, 40),
    }


def somewhere(loss: Population, seed: int = 0) -> torch.Tensor:
    size = (2 * loss.truth.k - 1) * loss.truth.d
    return 0.7 * normal(size, seed=seed, purpose="parameters")


@pytest.mark.parametrize("name", ["squared", "log"])
def test_derivatives_agree_with_automatic_differentiation(name: str) -> None:
    loss = losses()[name]
    theta = somewhere(loss)

    def scalar(point: torch.Tensor) -> torch.Tensor:
        return loss.values(point[None])[0]

    value, gradient, hessian, _ = loss.derivatives(theta)
    assert value == pytest.approx(float(scalar(theta)), abs=1e-12)
    torch.testing.assert_close(
        gradient, torch.autograd.functional.jacobian(scalar, theta), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        hessian, torch.autograd.functional.hessian(scalar, theta), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("name", ["squared", "log"])
def test_population_losses_are_the_expectations_of_the_sample_losses(name: str) -> None:
    if name == "squared":
        loss = squared_population(spurious_minima.spanned_three(), 20)
    else:
        loss = log_population(sigma_held.near_twins(sigma=0.3), 0.4, 100)
    truth, theta = loss.truth, somewhere(loss, 1)
    regressors, gating = unstack(theta, truth)
    batches = []
    for seed in range(40):
        x, y = truth.sample(5_000, stream("data", seed))
        if name == "squared":
            batches.append(squared_loss(regressors, gating, x, truth.mean(x), truth.nonlinearity))
        else:
            batches.append(log_loss(gating, regressors, 0.4, x, y, truth.nonlinearity))
    sample = torch.stack(batches)
    error = float(sample.std()) / len(sample) ** 0.5
    value = float(loss.values(theta[None]))
    assert float(sample.mean()) == pytest.approx(value, abs=4 * error)
    assert error < 0.005 * abs(value)


@pytest.mark.parametrize("name", ["squared", "log"])
def test_an_added_input_adds_the_mean_curvature_as_a_block(name: str) -> None:
    loss = losses()[name]
    truth, theta = loss.truth, somewhere(loss)
    nodes = torch.tensor([-1.0, 1.0], dtype=torch.float64)  # E x = 0, E x^2 = 1: all that matters
    x = torch.cat([loss.x.repeat(2, 1), nodes.repeat_interleave(len(loss.x))[:, None]], 1)
    pad = torch.nn.functional.pad
    wide = MoE(pad(truth.regressors, (0, 1)), pad(truth.gating, (0, 1)), 0.1)
    lifted = Population(wide, x, loss.y.repeat(2), loss.weights.repeat(2) / 2, loss.sigma)
    padded = torch.nn.functional.pad(theta.view(-1, truth.d), (0, 1))
    _, gradient, hessian, _ = lifted.derivatives(padded.flatten())
    _, _, inner, extra = loss.derivatives(theta)
    new = torch.arange(1, padded.numel() + 1) % wide.d == 0
    assert float(gradient[new].abs().max()) < 1e-12
    assert float(hessian[new][:, ~new].abs().max()) < 1e-12
    torch.testing.assert_close(hessian[new][:, new], extra, rtol=0, atol=1e-10)
    torch.testing.assert_close(hessian[~new][:, ~new], inner, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["squared", "log"])
def test_third_derivatives_are_those_of_the_hessian(name: str) -> None:
    loss = losses()[name]
    theta, step = somewhere(loss), 1e-4
    third, extra = loss.third_derivatives(theta)
    for index in (0, len(theta) // 2, len(theta) - 1):
        shift = torch.zeros_like(theta)
        shift[index] = step
        up, down = loss.derivatives(theta + shift), loss.derivatives(theta - shift)
        for exact, part in ((third, 2), (extra, 3)):
            slope = (up[part] - down[part]) / (2 * step)
            size = float(exact[..., index].abs().max())
            torch.testing.assert_close(exact[..., index], slope, rtol=0, atol=1e-5 * size)


def test_the_slope_in_log_sigma_against_differences() -> None:
    truth = sigma_held.near_twins(sigma=0.3)
    theta = somewhere(log_population(truth, 0.3, 40))
    down, up = (
        float(log_population(truth, 0.3 * math.exp(step), 40).values(theta[None]))
        for step in (-1e-5, 1e-5)
    )
    slope = log_population(truth, 0.3, 40).noise_slope(theta)
    assert slope == pytest.approx((up - down) / 2e-5, rel=1e-6)
    with pytest.raises(ValueError, match="expected a likelihood"):
        squared_population(truth, 4).noise_slope(theta)


def test_the_gradients_that_adam_follows_are_those_of_the_losses() -> None:
    truth = spurious_minima.spanned_three()
    x, y = truth.sample(300, stream("data", 0))
    rows = normal(4, 5, 3).requires_grad_()
    level = normal(4, 1, 1, seed=1).requires_grad_()
    regressors, gating = rows[:, :3], full_gating(rows[:, 3:])
    for slopes, others, values in (
        (
            random_starts._squared_slopes,
            [],
            squared_loss(regressors, gating, x, y, truth.nonlinearity),
        ),
        (
            random_starts._log_slopes,
            [level],
            log_loss(gating, regressors, level.exp()[:, 0, 0], x, y, truth.nonlinearity),
        ),
    ):
        parameters = [rows, *others]
        exact = torch.autograd.grad(values.sum(), parameters, retain_graph=True)
        value, gradients = random_starts._summed(slopes, [p.detach() for p in parameters], x, y)
        torch.testing.assert_close(value, values.detach(), rtol=1e-12, atol=0)
        for gradient, right in zip(gradients, exact, strict=True):
            torch.testing.assert_close(gradient, right, rtol=0, atol=1e-10)


def test_the_lattice_integrates_what_is_known() -> None:
    x, weights = lattice_rule(2, 0.25)
    moments = torch.stack([x[:, 0] ** 2, x[:, 1] ** 4, x[:, 0] ** 2 * x[:, 1] ** 2, x[:, 0]])
    assert (moments @ weights).tolist() == pytest.approx([1, 3, 1, 0], abs=1e-5)
    line, shares = line_rule()
    exact = float(torch.tanh(line).square() @ shares)
    assert float(torch.tanh(x[:, 0]).square() @ weights) == pytest.approx(exact, abs=1e-8)
    assert len(grid_rule(0)[0]) == 1


def test_the_adapted_lattice_is_the_population_loss() -> None:
    truth = spurious_minima.orthogonal_three(0.7)
    theta = 0.3 * normal(20)
    fine = lattice_population(truth, theta, 0.25)
    plain = squared_population(truth, 20)
    value, gradient, hessian, _ = fine.derivatives(theta)
    other = plain.derivatives(theta)
    assert value == pytest.approx(other[0], abs=1e-4)
    torch.testing.assert_close(gradient, other[1], rtol=0, atol=1e-3)
    torch.testing.assert_close(hessian, other[2], rtol=0, atol=1e-2)


def test_the_bound_of_the_fourth_derivative_holds_where_it_is_tried() -> None:
    truth = spurious_minima.oblique_pair()
    loss = squared_population(truth, 12)
    for seed in range(5):
        theta, step = somewhere(loss, seed), 1e-3
        way = normal(len(theta), seed=seed + 10)
        way = way / way.norm()
        up, down = (loss.third_derivatives(theta + sign * step * way)[0] for sign in (1, -1))
        fourth = torch.einsum("abc,a,b,c->", (up - down) / (2 * step), way, way, way)
        assert abs(float(fourth)) < fourth_bound(truth, theta, 0.0)


def test_difference_of_two_rules_bounds_the_finer_ones_error() -> None:
    truth = spurious_minima.oblique_pair()
    loss = squared_population(truth, 16)
    for seed in range(3):
        theta = somewhere(loss, seed)
        rough, fine, finest = (
            lattice_population(truth, theta, step).derivatives(theta) for step in (0.3, 0.25, 0.1)
        )
        for part in (1, 2):
            seen = (rough[part] - fine[part]).norm()  # type: ignore[union-attr]
            error = (fine[part] - finest[part]).norm()  # type: ignore[union-attr]
            assert float(error) < 0.5 * float(seen)


def enclosure(**changed: float) -> Enclosure:
    numbers = dict(
        excess=0.01,
        excess_error=1e-6,
        gradient=1e-6,
        curvature=1e-2,
        lipschitz=10.0,
        extra_curvature=0.1,
        extra_lipschitz=1.0,
    )
    return Enclosure(torch.zeros(2, dtype=torch.float64), **(numbers | changed))


def test_prop_02_kantorovich_a_minimum_lies_in_the_ball() -> None:
    """f = |v - c|^2/2 + cubic: its minimum found by Newton's method, from points around it."""
    generator = stream("cubic")
    for _ in range(50):
        matrix = torch.randn(3, 3, 3, generator=generator, dtype=torch.float64)
        cubic = matrix + matrix.permute(1, 2, 0) + matrix.permute(2, 0, 1)
        cubic = (cubic + cubic.transpose(1, 2)) / 6  # f = |v|^2/2 + cubic[v, v, v]/6 + <slope, v>
        slope = torch.randn(3, generator=generator, dtype=torch.float64)
        constant = float(torch.linalg.matrix_norm(cubic.flatten(0, 1), 2))
        slope *= 0.45 / constant / float(slope.norm())
        ball = enclosure(gradient=float(slope.norm()), curvature=1.0, lipschitz=constant)
        assert ball.quotient < 0.5
        v = torch.zeros(3, dtype=torch.float64)
        for _ in range(30):
            hessian = torch.eye(3, dtype=torch.float64) + cubic @ v
            gradient = v + (cubic @ v) @ v / 2 + slope
            v = v - torch.linalg.solve(hessian, gradient)
        assert float(gradient.norm()) < 1e-12
        assert float(v.norm()) <= ball.radius
        least = float(torch.linalg.eigvalsh(hessian)[0])
        assert least >= 1 - constant * ball.radius - 1e-12
        value = float(v @ v / 2 + (cubic @ v @ v) @ v / 6 + slope @ v)
        assert value >= -ball.gradient * ball.radius


@pytest.mark.parametrize(
    "changed",
    [
        dict(gradient=5.1e-6),  # h just above one half
        dict(curvature=-1e-9),
        dict(extra_curvature=1e-5),
        dict(excess_error=0.0101),
    ],
)
def test_what_is_not_shown_is_not_certified(changed: dict[str, float]) -> None:
    assert enclosure().is_spurious
    assert not enclosure(**changed).is_spurious


def test_the_truth_is_a_strict_minimum_and_not_spurious() -> None:
    truth = spurious_minima.oblique_pair()
    own = certify_squared(truth, stack(truth), ((0.25, 0.2),))
    assert own.is_strict_minimum
    assert not own.is_spurious


def test_a_saddle_is_not_certified() -> None:
    truth = spurious_minima.oblique_pair()
    loss = squared_population(truth, 16)
    pooled = torch.cat([truth.regressors.mean(0).repeat(2), 1e-3 * torch.ones(2)]).double()
    point = certify_squared(truth, newton(loss, pooled), ((0.25, 0.2),))
    assert not point.is_strict_minimum


@pytest.mark.parametrize("seed", range(3))
def test_the_squared_loss_of_a_pair_has_a_certified_spurious_minimum(seed: int) -> None:
    truth = spurious_minima.oblique_pair()
    record = spurious_minima.run(spurious_minima.Spec(truth, 40, seed, steps=((0.2, 0.15),)))
    (point,) = record.points
    assert point.is_spurious
    assert record.share(0) + record.share(1) == 1
    assert record.errors[0] > 0.3
    gate = unstack(point.theta, truth)[1][:1]
    profile = spurious_minima.gate_profile(truth, torch.cat([gate, truth.gating[:1]]))
    assert profile.tolist() == pytest.approx([point.excess, 0.0], abs=1e-9)
    near = spurious_minima.gate_profile(truth, gate + 0.05 * normal(50, 2))
    assert float(near.min()) > point.excess


def test_orthogonal_gates_leave_a_valley_that_runs_to_infinity() -> None:
    truth = spurious_minima.orthogonal_pair()
    ray = torch.tensor([2.0, 1.0, 0.5, 0.25, 0.125], dtype=torch.float64)
    gates = torch.zeros(5, 3, dtype=torch.float64)
    gates[:, 1] = ray
    values = spurious_minima.gate_profile(truth, gates, 30)
    assert bool((values.diff() < 0).all())
    u, weight = line_rule()
    t = torch.tanh(u)
    floor = 0.5 * float(t.square() @ weight - ((u * t) @ weight) ** 2)
    assert 0.01 < floor < float(values[-1]) < 1.01 * floor


def test_prop_02_valley_the_loss_falls_strictly_along_the_ray() -> None:
    """R falls in eps, by its derivative as a covariance and by differences."""
    u, weight = line_rule()

    def ratio(eps: float) -> float:
        q = torch.tanh(eps * u / 2)
        return float(((u * q) @ weight) ** 2 / (q.square() @ weight))

    for eps in (0.05, 0.3, 1.0, 3.0, 10.0):
        q = torch.tanh(eps * u / 2)
        chi, psi = u / q, u / torch.sinh((eps * u).clamp(-300, 300))
        law = q.square() * weight / (q.square() @ weight)
        covariance = float((chi * psi) @ law - (chi @ law) * (psi @ law))
        slope = (math.log(ratio(eps + 1e-4)) - math.log(ratio(eps - 1e-4))) / 2e-4
        assert slope < 0
        assert slope == pytest.approx(2 * covariance / float(chi @ law), rel=1e-4, abs=1e-7)


def test_some_truths_with_three_experts_have_spurious_minima() -> None:
    survey = spurious_minima.survey(spurious_minima.spanned_three, 2, starts=12, nodes=10)
    assert survey.trapped.trials == 2 and survey.trapped.successes >= 1
    truths = [record.spec.truth.regressors for record in survey.records]
    assert not torch.equal(truths[0], truths[1])
    record, number = survey.minima[0]
    point, truth = record.points[number - 1], record.spec.truth
    assert record.errors[number - 1] >= random_starts.SUCCESS
    steps = normal(50, len(point.theta))
    nearby = point.theta + 1e-3 * steps / steps.norm(dim=1, keepdim=True)
    loss = squared_population(truth, 24)
    assert bool((loss.values(nearby) > loss.values(point.theta[None])).all())


def test_the_smallest_case_that_meets_the_assumptions() -> None:
    truth = spurious_minima.orthogonal_three()
    assert float((truth.regressors @ truth.gating.T).abs().max()) < 1e-12
    assert truth.regressors.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    twins = lifted_trap.lifted_twins()
    assert float((twins.regressors @ twins.gating.T).abs().max()) < 1e-12
    assert twins.regressors.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert int(torch.linalg.matrix_rank(twins.regressors)) == 3
    angle = math.degrees(math.acos(float(twins.regressors[1] @ twins.regressors[2])))
    assert angle == pytest.approx(20)


def test_the_phase_diagram_has_none_certified_and_undecided_cells() -> None:
    phase = squared_phase.phase(squared_phase.PhaseSpec((10, 60, 85, 90), (2.0,), 8))
    assert phase.kind.tolist() == [
        [squared_phase.NONE, squared_phase.CERTIFIED, squared_phase.FOUND, squared_phase.NONE]
    ]
    assert float(phase.curvature[0, 1]) == pytest.approx(5.2e-3, rel=0.02)


def test_the_plane_of_gates_that_a_reader_moves_is_a_regression_on_the_gated_inputs() -> None:
    """F(w) as the residual of the mean on p_1 x and p_2 x, and the minimum in a dark place."""
    phase = squared_phase.phase(squared_phase.PhaseSpec((60, 90), (2.0,), starts=6))
    figure = interactive.gate_plane(phase).data
    truth = spurious_minima.oblique_pair(60, 2.0)
    z, weights = gauss_hermite(80)
    x = torch.cartesian_prod(torch.tensor(z), torch.tensor(z))
    root = torch.tensor(np.outer(weights, weights)).flatten().sqrt()[:, None]

    def residual(gate: list[float]) -> float:
        p = torch.sigmoid(x @ torch.tensor(gate, dtype=torch.float64))[:, None]
        columns = root * torch.cat([p * x, (1 - p) * x], 1)
        fitted = torch.linalg.lstsq(columns, root * truth.mean(x)[:, None], driver="gelsd").solution
        return float((root * truth.mean(x)[:, None] - columns @ fitted).square().sum())

    heights = interactive.profile(60, 2.0)
    cell = 2 * interactive.EXTENT / interactive.CELLS

    def middle(*places: int) -> list[float]:  # across, along
        return [2.0 * (cell * (i + 0.5) - interactive.EXTENT) for i in places]

    top = residual(middle(*divmod(int(heights.argmax()), interactive.CELLS)))
    assert float(heights[5, 20]) == pytest.approx(
        math.log10(residual(middle(5, 20)) / top), abs=2e-3
    )
    cross = figure["panels"][0]["marks"][2]
    along, across = cross["x"][0][0][0], cross["y"][0][0][0]
    here = residual([2.0 * across, 2.0 * along])
    assert here == pytest.approx(float(phase.excess[0, 0]), abs=1e-4)
    for step in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        assert residual([2.0 * across + step[0], 2.0 * along + step[1]]) > here
    assert cross["x"][0][1] == [None, None]  # nothing at 90 degrees
    assert ["none of 6" in said for (said,) in figure["say"]["words"][0]] == [False, True]


def test_unit_norms_remove_one_spurious_minimum_and_make_another() -> None:
    oblique = squared_phase.unit_norm(spurious_minima.oblique_pair(), 8, 0, (16, 24))
    assert not bool(oblique.spurious.any()) and float(oblique.excess.max()) < 1e-10
    truth = spurious_minima.orthogonal_pair()
    tied = squared_phase.unit_norm(truth, 8, 0, (10, 16))
    assert bool(tied.spurious.any()) and float(tied.excess[tied.spurious].min()) > 0.02


def test_curvature_along_the_spheres_against_differences() -> None:
    truth = spurious_minima.oblique_pair()
    loss = squared_population(truth, 10)
    theta = squared_phase.to_spheres(somewhere(loss), truth)
    gradient, hessian, basis = squared_phase._tangent(loss, theta)

    def on_spheres(step: torch.Tensor) -> torch.Tensor:
        return loss.values(squared_phase.to_spheres(theta + basis @ step, truth)[None])[0]

    zero = torch.zeros(basis.shape[1], dtype=torch.float64)
    torch.testing.assert_close(
        gradient, torch.autograd.functional.jacobian(on_spheres, zero), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(
        hessian, torch.autograd.functional.hessian(on_spheres, zero), rtol=0, atol=1e-10
    )


def test_gate_profile_refuses_three_experts() -> None:
    with pytest.raises(ValueError, match="expected k = 2, got k = 3"):
        spurious_minima.gate_profile(
            spurious_minima.spanned_three(), torch.ones(1, 3, dtype=torch.float64)
        )


def test_the_polar_rule_is_for_the_plane() -> None:
    with pytest.raises(ValueError, match="expected d = 2 for the polar rule, got d = 3"):
        log_population(spurious_minima.spanned_three(), 0.1, 40)


def test_the_tempered_loss_grows_with_sigma_between_hard_and_soft() -> None:
    truth = sigma_held.near_twins(sigma=0.3)
    loss = log_population(truth, 1.0, 40)
    points = torch.stack([somewhere(loss, seed) for seed in range(5)])
    values = [
        sigma_held.tempered(log_population(truth, sigma, 40).values(points), sigma)
        for sigma in (1e-3, 0.05, 0.3, 1.0, 3.0, 300.0)
    ]
    for lower, upper in pairwise(values):
        assert bool((lower <= upper).all())
    regressors, gating = unstack(points, truth)
    squares = (loss.y[:, None] - loss.x @ regressors.mT).square()
    gate = torch.softmax(loss.x @ gating.mT, -1)
    hard, soft = squares.amin(-1) @ loss.weights, (gate * squares).sum(-1) @ loss.weights
    torch.testing.assert_close(values[0], hard, rtol=1e-3, atol=0)
    torch.testing.assert_close(values[-1], soft, rtol=1e-3, atol=0)


@pytest.fixture(scope="module")
def held() -> sigma_held.Record:
    return sigma_held.run(
        sigma_held.Spec(angles=(90, 140), resolution=8, n=500, starts=6, branch=(0.1, 0.3))
    )


def test_near_twins_give_the_population_likelihood_a_spurious_minimum(
    held: sigma_held.Record,
) -> None:
    assert held.ball.is_spurious and held.excess > 0.5
    assert held.branch.shape == (2, 3)
    assert bool((held.branch[:, 1].diff() < 0).all())
    level, excess, curvature, bend = held.learned
    assert level > held.spec.sigma and 0.1 < excess < held.excess
    assert min(curvature, bend) > 0
    assert math.isnan(held.vanished)


def test_relabelled_truths_have_the_truths_loss() -> None:
    truth = sigma_held.near_twins(sigma=0.3)
    values = log_population(truth, 0.3, 40).values(torch.stack(sigma_held.relabellings(truth)))
    assert len(values) == 6
    assert float(values.max() - values.min()) < 1e-12


def test_learning_sigma_frees_em_where_holding_it_does_not() -> None:
    cell = random_starts.Cell(4, 20, 0.05, 1000, datasets=1, starts=4)
    result = random_starts.em_shares(cell)
    assert result.learned.successes == 4 and result.oracle.value == 1
    assert result.held.successes <= 2
    assert float(result.lost.max()) > 1


def test_entropies_start_near_zero_with_sigma_held_and_near_log_k_when_learned() -> None:
    cooling = annealing.anneal(random_starts.Cell(3, 6, 0.05, 300, datasets=1, starts=3), 10)
    assert cooling.entropy["sigma held"].shape == (11, 3)
    assert float(cooling.entropy["sigma held"][0].max()) < 0.3
    assert float(cooling.entropy["sigma learned"][0].min()) > 0.5 * math.log(3)
    assert bool((cooling.sigma["sigma held"] == 0.05).all())


def test_the_squared_loss_fails_where_the_likelihood_succeeds() -> None:
    outcome = random_starts.compare(random_starts.Cell(n=4000, datasets=1, starts=4), 200)
    shares = [contest.share.value for contest in outcome.values()]
    assert tuple(outcome) == random_starts.METHODS
    assert shares[0] <= 0.5 and min(shares[1:]) >= 0.75
    assert all(contest.errors.shape == (1, 4) for contest in outcome.values())
    assert all(float(contest.oracle.max()) < 0.05 for contest in outcome.values())


def test_a_schedule_of_sigma_helps_where_holding_it_does_not() -> None:
    hard = random_starts.Cell(4, 20, 0.05, 1000, datasets=1, starts=4)
    held = annealing.scheduled(hard, ())
    halved = annealing.scheduled(hard, (1.0, 0.5, 0.25, 0.125))
    assert int((halved < 0.05).sum()) >= int((held < 0.05).sum()) + 2


def test_prop_02_symmetric_the_critical_noise_under_the_assumptions() -> None:
    truth = lifted_trap.lifted_twins()
    x, y = truth.sample(400_000, stream("data", 5))
    pooled = torch.linalg.lstsq(x, y[:, None], driver="gelsd").solution[:, 0]
    square = (y - x @ pooled).square()
    heat = (x * square[:, None]).T @ x / len(x)
    shares = truth.gate(x).mean(0)
    off = truth.regressors - shares @ truth.regressors
    spread = off.T @ torch.diag(shares) @ off
    span = torch.eye(5, dtype=torch.float64)[:, :3]
    formula = square.mean() * torch.eye(3, dtype=torch.float64) + 2 * span.T @ spread @ span
    torch.testing.assert_close(span.T @ heat @ span, formula, rtol=0, atol=0.03)
    assert float(torch.linalg.eigvalsh(heat)[-1]) > float(square.mean())


def test_no_stuck_run_is_an_error_that_says_so() -> None:
    easy = random_starts.Cell(1, 3, 0.1, 500, datasets=1, starts=2)
    with pytest.raises(ValueError, match="expected one with a stuck run"):
        annealing.stuck_paths(easy, (0.1,), 1000)


def test_figures_draw(held: sigma_held.Record) -> None:
    axis = torch.linspace(-1, 1, 4, dtype=torch.float64)
    marks = {name: [(0.5, 0.5)] for name in ("truth oblique", "spurious", "truth orthogonal")}
    values = normal(4, 4).square()
    hard = random_starts.Cell(4, 20, 0.05, 1000, datasets=1, starts=2)
    loss = squared_population(spurious_minima.oblique_pair(), 8)
    path = path_values(loss.values, somewhere(loss), somewhere(loss, 1), 5)
    paths = annealing.stuck_paths(hard, (1.0, 0.05), 2000)
    shares = [random_starts.em_shares(hard)]
    phase = squared_phase.phase(squared_phase.PhaseSpec((10, 60, 85), (2.0,), 6))
    starts = ("spurious minimum", "truth, experts swapped")
    ways = [r"$\sigma$ held", r"$\sigma$ learned"]
    for figure, names in (
        (figures.gate_profiles(axis, values, values, marks), []),
        (
            figures.phase_diagram(phase),
            ["none found", "not certified", "certified", r"$|w^*| = 2$"],
        ),
        (figures.squared_paths(path, path), [f"{start} → truth" for start in starts]),
        (figures.held_slices(held), []),
        (figures.held_paths(held), [rf"$\sigma$ held at {s}" for s in (1, 0.3, 0.1, 0.05)]),
        (figures.stuck_paths(paths), [rf"$\sigma$ held at {s}" for s in (1, 0.05)]),
        (figures.em_shares({"a": shares * 2, "b": shares}), ways),
        (figures.annealing(annealing.anneal(hard, 3)), ways),
    ):
        assert_shows(figure, *names)
