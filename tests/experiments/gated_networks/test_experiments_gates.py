"""Gate maps, softness, selection, the GRU, and the exchange twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import assert_shows, normal

from moe.experiments.gated_networks import figures as pictures
from moe.experiments.gated_networks import figures_twins as twin_pictures
from moe.experiments.gated_networks import gates, interactive, twins
from moe.experiments.shown.interactive.marks import LEVELS
from moe.likelihood.information import information
from moe.metrics import gating_error, regressor_error
from moe.model.mixture import MoE, random_moe
from moe.model.nonlinearity import NONLINEARITIES, as_nonlinearity
from moe.randomness import global_stream, stream


@pytest.mark.parametrize("seed", range(3))
def test_a_gru_is_a_row_of_two_expert_mixtures(seed: int) -> None:
    with global_stream("weights", seed):
        cell = torch.nn.GRUCell(3, 4).double()
    x, h = normal(6, 3, seed=seed, purpose="inputs"), normal(6, 4, seed=seed, purpose="states")
    gate, experts = gates.gru_as_mixtures(cell, x, h)
    assert gate.shape == experts.shape == (6, 4, 2)
    torch.testing.assert_close((gate * experts).sum(-1), cell(x, h), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gate.sum(-1), torch.ones(6, 4).double())
    assert torch.equal(experts[..., 1], h)


def test_the_planar_gates_are_three_equal_sectors_of_the_given_norm() -> None:
    model = gates.planar_moe(5.0)
    torch.testing.assert_close(model.gating[:2].norm(dim=1), torch.full((2,), 5.0).double())
    proportions = model.mixing_proportions(100_000, generator=stream("proportions", 0))
    torch.testing.assert_close(proportions, torch.full((3,), 1 / 3).double(), rtol=0, atol=0.01)


def test_a_gate_map_holds_gate_and_mean_at_its_grid_points() -> None:
    model = gates.planar_moe(2.0, nonlinearity="tanh")
    drawn = gates.gate_map(model, extent=2.0, points=5)
    point = torch.stack([drawn.axis[4], drawn.axis[1]])[None]
    torch.testing.assert_close(drawn.gate[1, 4], model.gate(point)[0])
    torch.testing.assert_close(drawn.mean[1, 4], model.mean(point)[0])
    with pytest.raises(ValueError, match="model: expected d = 2"):
        gates.gate_map(random_moe(2, 3, generator=stream("truth", 0)))


def test_a_gate_hardens_with_its_norm() -> None:
    record = gates.sharpness(gates.SharpnessSpec(experts=(2, 4), n=1_000, trials=2))
    for k in (2, 4):
        assert bool((record.entropy[k].diff(dim=0) < 0).all())
        assert bool((record.largest[k].diff(dim=0) > 0).all())
        assert bool((record.entropy[k] <= 1).all())
        assert bool((record.largest[k] >= 1 / k).all())


def test_entropy_of_a_hard_gate_of_two_follows_its_limit() -> None:
    record = gates.sharpness(gates.SharpnessSpec(experts=(2,), norms=(64.0,), n=50_000, trials=3))
    limit = math.pi**2 / (3 * math.sqrt(2 * math.pi) * 64 * math.log(2))
    assert float(record.entropy[2].mean()) == pytest.approx(limit, rel=0.05)


def test_a_labelled_sample_has_the_law_of_the_model() -> None:
    model = random_moe(3, 5, sigma=0.1, gate_norm=2.0, generator=stream("truth", 0))
    sample = gates.labelled_sample(model, 20_000, stream("data", 0))
    own = model.expert_means(sample.x).gather(1, sample.expert[:, None])[:, 0]
    assert float((sample.y - own).std()) == pytest.approx(0.1, rel=0.05)
    gate = model.gate(sample.x)
    for i in range(3):
        gap = (sample.expert == i).double() - gate[:, i]
        assert abs(float(gap.mean())) < 5 * float(gap.std()) / 20_000**0.5


def test_orthogonal_gates_do_not_select_and_others_do() -> None:
    fair = gates.selection(gates_in_span=False, n=5_000, seeds=range(3))
    assert (fair.mean / fair.standard_error).abs().max() < 5
    assert (fair.deviation - 1).abs().max() < 0.1
    selected = gates.selection(gates_in_span=True, n=5_000, seeds=range(3))
    assert (selected.mean / selected.standard_error).abs().max() > 8


@pytest.mark.parametrize("overlap", [-0.5, 0.0, 0.7])
def test_the_exchange_twin_meets_the_assumptions_and_has_the_stated_errors(overlap: float) -> None:
    truth = twins.two_experts(overlap, 1.5, 0.1, d=5)
    twin = twins.exchange_twin(truth)
    for model in (truth, twin):
        torch.testing.assert_close(model.regressors.norm(dim=1), torch.ones(2).double())
        assert float(model.gating[0].norm()) == pytest.approx(1.5)
        assert (model.regressors @ model.gating.T).abs().max() < 1e-12
    assert float(truth.regressors[0] @ truth.regressors[1]) == pytest.approx(overlap)
    assert regressor_error(twin, truth) == pytest.approx((1 - overlap) / 2)
    assert gating_error(twin, truth) == pytest.approx(math.sqrt(2))


def test_the_twin_of_the_twin_is_the_model() -> None:
    truth = twins.two_experts(0.3, 2.0, 0.1)
    again = twins.exchange_twin(twins.exchange_twin(truth))
    torch.testing.assert_close(again.regressors, truth.regressors)
    torch.testing.assert_close(again.gating, truth.gating)


def test_twin_prediction_errors_agree_with_samples() -> None:
    record = twins.run(twins.TwinSpec(norms=(2.0,), overlap=0.2, n=1_000, trials=1))
    truth = twins.two_experts(0.2, 2.0, 0.1)
    twin = twins.exchange_twin(truth)
    x, y = truth.sample(300_000, stream("data", 0))
    noise = (y - truth.mean(x)).square()
    excess = (truth.mean(x) - twin.mean(x)).square()
    for values, exact in ((noise, record.noise), (excess, record.excess)):
        assert abs(float(values.mean() - exact[0])) < 5 * float(values.std()) / len(x) ** 0.5


def test_twin_excess_follows_the_sixth_power_law() -> None:
    record = twins.run(twins.TwinSpec(norms=(0.02, 0.04), n=500, trials=1))
    torch.testing.assert_close(
        record.excess / record.leading, torch.ones(2).double(), rtol=4e-3, atol=0
    )
    assert bool((record.gap > 0.5).all())


def test_the_squared_error_needs_hundreds_of_times_the_likelihoods_samples() -> None:
    """Checked by drawing samples of that size: two standard errors are 97.7 per cent of right
    preferences. The rule 16 noise / excess, which takes the residual's variance for independent of
    the models' difference, is far too small: both are large where <a_1 - a_2, x> is."""
    record = twins.run(twins.TwinSpec(norms=(1.0,), n=20_000, trials=2))
    assert bool((record.in_square / record.in_likelihood > 100).all())
    assert float(record.in_square.mean()) > 2 * 16 * float(record.noise[0] / record.excess[0])
    truth = twins.two_experts(0.0, 1.0, 0.1)
    twin = twins.exchange_twin(truth)
    n, tries = round(float(record.in_square.mean())), 200
    x, y = truth.sample(n * tries, stream("data", 1))
    better = (y - twin.mean(x)).square() - (y - truth.mean(x)).square()
    right = (better.view(tries, n).mean(1) > 0).double().mean()
    assert 0.94 < float(right) <= 1.0


def test_gates_in_the_span_bias_the_moments_unless_two_experts_are_odd_up_to_a_constant() -> None:
    for g in ("linear", "tanh", "sigmoid"):
        assert max(gates.span_bias(g, 2, range(2))) < 1e-4
        assert min(gates.span_bias(g, 3, range(2))) > 0.02
    for g in ("relu", "softplus"):
        assert min(gates.span_bias(g, 2, range(2))) > 0.1


def test_the_quadrature_of_a_bias_is_good_to_one_per_cent_of_it() -> None:
    model = random_moe(
        3, 3, sigma=0.1, nonlinearity="relu", gates_in_span=True, generator=stream("truth", 0)
    )
    for degree in (2, 4):
        coarse, fine = (gates.moment_bias(model, degree, nodes) for nodes in (24, 36))
        assert coarse == pytest.approx(fine, rel=0.01)


def test_orthogonal_gates_leave_the_moments_unbiased() -> None:
    model = random_moe(2, 3, sigma=0.1, nonlinearity="softplus", generator=stream("truth", 0))
    assert gates.moment_bias(model, 2, 30) < 1e-6
    assert gates.moment_bias(model, 4, 30) < 1e-4


def test_a_gate_between_two_others_owns_no_region() -> None:
    """An expert's region has an interior exactly if its w_i is a corner of the convex hull."""
    x = normal(2_000, 6, purpose="inputs")
    line = random_moe(5, 6, generator=stream("truth", 0))  # A4, d = k + 1: all gates on one line
    sizes = torch.tensor([3.0, 1.0, 2.5, 0.5, 1.0], dtype=torch.float64)[:, None]
    line = MoE(line.regressors, sizes * line.gating, line.sigma)
    assert len(line.gate(x).argmax(1).unique()) == 2
    wide = random_moe(3, 6, generator=stream("truth", 0))
    assert len(wide.gate(normal(2_000, 6, purpose="inputs")).argmax(1).unique()) == 3


def test_an_undecided_input_shows_every_expert() -> None:
    model = random_moe(3, 8, gate_norm=2.0, generator=stream("truth", 1))
    x = normal(900, 8, purpose="inputs")
    x0 = gates.undecided_input(model, x)[None]
    assert model.gate(x0).min() >= 0.1
    assert model.expert_means(x0)[0].sort().values.diff().min() > 0.3
    with pytest.raises(ValueError, match="every expert"):
        gates.undecided_input(model, x, least=0.4)


@pytest.mark.parametrize("g", sorted(NONLINEARITIES))
@pytest.mark.parametrize("opposite", [False, True])
def test_every_nonlinearity_identifies_all_parameters(g: str, opposite: bool) -> None:
    """The information of (A, W, log sigma) is positive definite, also where a_2 = -a_1."""
    model = random_moe(3, 5, sigma=0.2, nonlinearity=g, generator=stream("truth", 2))
    if opposite:
        a = model.regressors.clone()
        a[1] = -a[0]
        model = MoE(a, model.gating, model.sigma, model.nonlinearity)
    x, y = model.sample(20_000, stream("data", 2))
    outer = information(model, x, y, "outer")[2] / len(y)
    assert float(torch.linalg.eigvalsh(outer)[0]) > 1e-4


def test_even_nonlinearities_identify_the_regressors_up_to_signs() -> None:
    square = as_nonlinearity(torch.square)
    model = random_moe(3, 5, nonlinearity=square, generator=stream("truth", 3))
    signs = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)[:, None]
    other = MoE(signs * model.regressors, model.gating, model.sigma, model.nonlinearity)
    x, y = model.sample(500, stream("data", 3))
    torch.testing.assert_close(other.log_density(x, y), model.log_density(x, y))


@pytest.mark.parametrize(
    ("message", "model"),
    [
        ("k = 2", random_moe(3, 5, generator=stream("truth", 0))),
        ("not zero", random_moe(2, 5, gate_norm=0.0, generator=stream("truth", 0))),
        ("not zero", MoE(torch.ones(2, 3), torch.eye(2, 3) - torch.eye(2, 3), 0.1)),
    ],
)
def test_a_model_without_a_twin_is_refused(message: str, model: MoE) -> None:
    with pytest.raises(ValueError, match=message):
        twins.exchange_twin(model)


def test_two_experts_refuses_parallel_regressors() -> None:
    with pytest.raises(ValueError, match="overlap"):
        twins.two_experts(1.0, 1.0, 0.1)


def test_figures_draw() -> None:
    maps = [gates.gate_map(gates.planar_moe(norm), points=41) for norm in (1.0, 8.0)]
    model = random_moe(3, 5, sigma=0.2, generator=stream("truth", 0))
    sample = gates.labelled_sample(model, 100, stream("data", 0))
    soft = gates.sharpness(gates.SharpnessSpec(n=200, trials=2))
    record = twins.run(twins.TwinSpec(norms=(0.5, 1.0, 2.0), n=300, trials=2))
    regions, surfaces = pictures.gate_regions(maps), pictures.mean_surfaces(maps)
    for figure in (regions, surfaces):
        assert_shows(figure)
        assert [axes.get_title() for axes in figure.axes[:2]] == ["gate norm 1", "gate norm 8"]
    assert {text.get_text() for text in regions.axes[0].texts} == {"1", "2", "3"}
    assert_shows(pictures.softness(soft), *(f"$k = {k}$" for k in soft.spec.experts))
    by_expert = pictures.samples_by_expert(model, sample, gates.undecided_input(model, sample.x))
    assert_shows(by_expert, "expert 1", "expert 2", "expert 3")
    assert_shows(
        twin_pictures.twins(record),
        "exact",
        r"$|w|^6\,|\delta|^2/48$",
        "squared error",
        "likelihood",
    )


def test_the_gates_that_a_reader_moves_are_those_of_the_model() -> None:
    """At 60 degrees the fan is the model of the still figure; cells, rays and words beside it."""
    torch.testing.assert_close(interactive.fan(2.0, 60).gating, gates.planar_moe(2.0).gating)
    figure = interactive.gates_in_the_plane().data
    norm, angle = interactive.NORMS.index(4.0), interactive.ANGLES.index(120)
    cells, rays = figure["panels"][0]["marks"]
    levels = torch.tensor(
        [[LEVELS.index(c) for c in layer] for layer in cells["cells"][norm][angle]]
    )
    at = torch.linspace(-3, 3, cells["columns"], dtype=torch.float64)
    x = torch.stack([at.repeat(len(at)), at.repeat_interleave(len(at))], 1)
    model = interactive.fan(4.0, 120)
    assert (levels.double() / 63 - model.gate(x)[:, 1:].T).abs().max() < 0.51 / 63
    drawn = np.array([rays["x2"][angle], rays["y2"][angle]], dtype=float)  # None: no ray
    ends = torch.tensor(drawn).T
    top = model.gate(ends[ends.isfinite().all(1)]).topk(2).values
    assert len(top) == 3 and torch.allclose(top[:, 0], top[:, 1], atol=5e-3)
    assert [interactive.regions(interactive.fan(1.0, angle)) for angle in (30, 180)] == [3, 2]
    said = figure["say"]["words"][norm][interactive.ANGLES.index(180)][0]
    assert "two regions" in said and "three regions" in figure["say"]["words"][norm][angle][0]
    sampled = model.mixing_proportions(200_000, generator=stream("proportions", 1))
    assert (interactive.proportions(model)[0] - sampled).abs().max() < 5e-3
