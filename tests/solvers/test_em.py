"""EM and its Gram matrices: against textbook loops, autograd and its own guarantees."""

import math
from typing import Any

import pytest
import torch
from helpers import samples
from torch import Tensor

from moe.likelihood.grams import Grams
from moe.likelihood.information import information
from moe.losses import log_loss
from moe.metrics import regressor_error
from moe.model.mixture import MoE, full_gating, random_moe
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation, maximisation
from moe.solvers.em import samples as samples_module
from moe.solvers.em.expectation import expectation
from moe.solvers.em.samples import Samples


def problem(
    nonlinearity: str = "linear", n: int = 1500, seed: int = 0
) -> tuple[MoE, Tensor, Tensor, Tensor]:
    truth = random_moe(3, 6, sigma=0.2, nonlinearity=nonlinearity, generator=stream("truth", seed))
    x, y = truth.sample(n, stream("data", seed))
    starts = torch.randn(4, 3, 6, generator=stream("starts", seed), dtype=torch.float64) / 6**0.5
    return truth, x, y, starts


@pytest.mark.parametrize("d", [3, 70])
def test_grams_equal_the_obvious_sum(d: int) -> None:
    x = torch.randn(40, d, generator=stream("inputs", 0), dtype=torch.float64)
    weights = torch.randn(5, 40, generator=stream("weights", 0), dtype=torch.float64)
    obvious = torch.einsum("mn,na,nb->mab", weights, x, x)
    torch.testing.assert_close(Grams(x)(weights), obvious)


def naive(
    truth: MoE, x: Tensor, y: Tensor, regressors: Tensor, gating: Tensor, sigma: Tensor
) -> dict[str, Tensor]:
    """The E-step of one start with the sums of its M-step, written down as defined, no more."""
    g, eta = truth.nonlinearity, x @ regressors.T
    residual, slope = y[:, None] - g(eta), g.derivative(eta)
    log_gate = torch.log_softmax(x @ gating.T, 1)
    joint = log_gate + torch.distributions.Normal(0.0, sigma).log_prob(residual)
    r, gate = torch.softmax(joint, 1), log_gate.exp()[:, :-1]
    row, column = torch.triu_indices(gate.shape[1], gate.shape[1])
    minus = gate[:, row] * ((row == column).to(x) - gate[:, column])
    return {
        "log_likelihood": torch.logsumexp(joint, 1).sum(),
        "squares": (r * residual.square()).sum(0),
        "gram_a": torch.einsum("nk,na,nb->kab", r * slope.square(), x, x),
        "pull_a": torch.einsum("nk,na->ka", r * residual * slope, x),
        "gram_w": torch.einsum("nm,na,nb->mab", minus, x, x),
        "pull_w": torch.einsum("nk,na->ka", r[:, :-1] - gate, x),
    }


@pytest.mark.parametrize("nonlinearity", ["linear", "tanh"])
@pytest.mark.parametrize("sigma", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize("chunk", [1, 64_000])
def test_the_e_step_in_place_equals_the_plain_one(
    nonlinearity: str, sigma: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small sigmas too, where most responsibilities are too small to be normal numbers."""
    monkeypatch.setattr(samples_module, "_CHUNK_ENTRIES", chunk)
    truth, x, y, starts = problem(nonlinearity)
    gating = 30 * torch.randn(4, 3, 6, generator=stream("gates", 0), dtype=torch.float64)
    gating -= gating[:, -1:]
    levels = sigma * torch.tensor([1.0, 1.5, 0.7], dtype=torch.float64).expand(4, 3)
    data = Samples(x, y, 4, 3, ("regressors", "gating", "sigma"), False)
    together = expectation(data, truth.nonlinearity, starts, gating, levels)
    again = expectation(data, truth.nonlinearity, starts, gating, levels)
    for name, value in vars(together).items():
        assert torch.equal(value, getattr(again, name)), name
    for start in range(4):
        plain = naive(truth, x, y, starts[start], gating[start], levels[start])
        for name, value in plain.items():
            off = (getattr(together, name)[start] - value).abs().max()
            assert float(off) <= 1e-12 * float(value.abs().max()), name


def test_one_iteration_equals_the_textbook_m_step() -> None:
    truth, x, y, starts = problem()
    gating = torch.zeros_like(starts[0])
    start = MoE(starts[0], gating, 0.7)
    r = start.responsibilities(x, y)
    regressors = torch.stack(
        [
            torch.linalg.lstsq(w.sqrt()[:, None] * x, w.sqrt() * y, driver="gelsd").solution
            for w in r.T
        ]
    )
    sigma = (r * (y[:, None] - x @ regressors.T).square()).sum(1).mean().sqrt()
    fit = expectation_maximisation(x, y, starts[0], gating, 0.7, truth.nonlinearity, iterations=1)
    torch.testing.assert_close(fit.regressors[0], regressors, rtol=1e-6, atol=1e-8)
    assert float(fit.sigma) == pytest.approx(float(sigma), rel=1e-6)

    def objective(free: torch.Tensor) -> torch.Tensor:
        full = torch.cat([free.reshape(2, 6), torch.zeros(1, 6, dtype=torch.float64)])
        return (r * torch.log_softmax(x @ full.T, 1)).sum()

    zero = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(objective(zero), zero)
    curvature = torch.autograd.functional.hessian(objective, zero.detach())
    newton = -torch.linalg.solve(curvature, slope).reshape(2, 6)
    torch.testing.assert_close(fit.gating[0, :2], newton, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("nonlinearity", ["linear", "sigmoid", "relu", "tanh", "gelu"])
def test_the_log_likelihood_never_falls(nonlinearity: str) -> None:
    truth, x, y, starts = problem(nonlinearity)
    fit = expectation_maximisation(
        x, y, starts, torch.zeros_like(starts), 1.0, truth.nonlinearity, iterations=60
    )
    assert float(fit.trace.diff(dim=0).min()) > -1e-8 * float(fit.trace.abs().max())


def test_an_expert_at_its_kinks_does_not_hold_the_others_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ReLU: where the joint step is dropped, the experts and the gates take theirs one by one."""
    truth = random_moe(3, 4, sigma=0.1, nonlinearity="relu", generator=stream("truth", 1))
    x, y = truth.sample(60, stream("data", 1))
    starts = torch.randn(20, 3, 4, generator=stream("starts", 1), dtype=torch.float64)
    ends = []
    for alone in (maximisation._part_by_part, lambda data, g, state: state):
        monkeypatch.setattr(maximisation, "_part_by_part", alone)
        ends.append(
            expectation_maximisation(
                x, y, starts, torch.zeros_like(starts), y.std(), truth.nonlinearity, iterations=40
            )
        )
    gain = ends[0].log_likelihood - ends[1].log_likelihood
    assert float(gain.min()) > -1e-9 and float(gain.max()) > 0.5
    assert float(ends[0].trace.diff(dim=0).min()) > -1e-9


def test_hard_em_raises_the_classification_likelihood_and_is_least_squares_by_class() -> None:
    truth, x, y, starts = problem()
    flat = torch.zeros_like(starts[0])
    fit = expectation_maximisation(
        x, y, starts[0], flat, 0.7, truth.nonlinearity, iterations=1, hard=True
    )
    winner = (y[:, None] - x @ starts[0].T).abs().argmin(1)
    rows = [
        torch.linalg.lstsq(x[winner == i], y[winner == i], driver="gelsd").solution
        for i in range(3)
    ]
    torch.testing.assert_close(fit.regressors[0], torch.stack(rows), rtol=1e-6, atol=1e-8)

    full = expectation_maximisation(
        x, y, starts, torch.zeros_like(starts), 1.0, truth.nonlinearity, hard=True
    )
    assert float(full.trace.diff(dim=0).min()) > -1e-8 * float(full.trace.abs().max())
    for regressors, gating, sigma, value in zip(
        full.regressors, full.gating, full.sigma, full.log_likelihood, strict=True
    ):
        joint = MoE(regressors, gating, float(sigma)).log_joint(x, y)
        assert float(value) == pytest.approx(float(joint.max(1).values.sum()), rel=1e-10)
        assert float(value) < float(torch.logsumexp(joint, 1).sum())


def test_own_noise_levels_follow_the_textbook_m_step_with_its_prior() -> None:
    truth, x, y, starts = problem()
    levels = torch.tensor([0.5, 0.8, 1.1], dtype=torch.float64)
    means = x @ starts[0].T
    joint = torch.distributions.Normal(means, levels).log_prob(y[:, None])
    r = torch.softmax(joint, 1)
    rows = [
        torch.linalg.lstsq(w.sqrt()[:, None] * x, w.sqrt() * y, driver="gelsd").solution
        for w in r.T
    ]
    squares = (r * (y[:, None] - x @ torch.stack(rows).T).square()).sum(0)
    weight, least = 0.3 * 6, 0.01 * float(y.var())
    expected = ((squares + weight * least) / (r.sum(0) + weight)).sqrt()
    fit = expectation_maximisation(
        x, y, starts[0], torch.zeros_like(starts[0]), levels[None], truth.nonlinearity,
        learn=("regressors", "sigmas"), iterations=1,
    )  # fmt: skip
    torch.testing.assert_close(fit.sigma[0], expected, rtol=1e-6, atol=0)
    after = torch.distributions.Normal(x @ fit.regressors[0].T, fit.sigma[0]).log_prob(y[:, None])
    prior = -0.5 * weight * (fit.sigma.square().log() + least / fit.sigma.square()).sum()
    value = torch.logsumexp(after - math.log(3), 1).sum() + prior
    assert float(fit.log_likelihood) == pytest.approx(float(value), rel=1e-10)


def test_own_noise_levels_raise_their_posterior_and_never_collapse() -> None:
    _, x, y, starts = problem(n=60)
    fit = expectation_maximisation(
        x, y, starts, torch.zeros_like(starts), y.std(), as_nonlinearity("linear"),
        learn=("regressors", "sigmas"), iterations=200,
    )  # fmt: skip
    assert float(fit.trace.diff(dim=0).min()) > -1e-8 * float(fit.trace.abs().max())
    assert fit.sigma.shape == (4, 3) and float(fit.sigma.min()) > 0.01 * float(y.std())


@pytest.mark.parametrize("learn", [("gating",), ("regressors",), ("sigma",), ("gating", "sigma")])
def test_what_is_not_learned_stays_as_it_was(learn: tuple[str, ...]) -> None:
    truth, x, y, starts = problem()
    fit = expectation_maximisation(
        x, y, starts, torch.zeros_like(starts), 0.5, truth.nonlinearity, learn=learn, iterations=5
    )
    moved = {
        "regressors": not torch.equal(fit.regressors, starts),
        "gating": bool(fit.gating.any()),
        "sigma": not torch.equal(fit.sigma, torch.full((4,), 0.5, dtype=torch.float64)),
    }
    assert {name for name, change in moved.items() if change} == set(learn)


@pytest.mark.parametrize("nonlinearity", ["linear", "softplus"])
def test_em_ends_at_a_stationary_point_of_the_likelihood(nonlinearity: str) -> None:
    truth, x, y, _ = problem(nonlinearity)
    fit = expectation_maximisation(
        x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity, tolerance=1e-9
    )
    assert bool(fit.converged)
    end = fit.model(0, truth.nonlinearity)
    log_likelihood, score, observed = information(end, x, y)
    decrement = float(score @ torch.linalg.solve(observed, score))
    assert 0 <= decrement < 1e-6
    assert log_likelihood == pytest.approx(float(fit.log_likelihood), rel=1e-12)
    per_sample = log_loss(end.gating, end.regressors, end.sigma, x, y, end.nonlinearity)
    assert float(fit.log_likelihood) == pytest.approx(-1500 * float(per_sample), rel=1e-12)


def test_a_batch_of_starts_equals_a_loop_over_them() -> None:
    truth, x, y, starts = problem(seed=1)
    zero = torch.zeros_like(starts)
    batch = expectation_maximisation(x, y, starts, zero, 1.0, truth.nonlinearity)
    for index, start in enumerate(starts):
        alone = expectation_maximisation(x, y, start, zero[0], 1.0, truth.nonlinearity)
        torch.testing.assert_close(batch.regressors[index], alone.regressors[0])
        assert int(batch.iterations[index]) == int(alone.iterations)
        assert bool(batch.converged[index]) == bool(alone.converged)


@pytest.mark.parametrize("formed", [True, False])
def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch, formed: bool) -> None:
    truth, x, y, starts = problem(n=5000)
    zero = torch.zeros_like(starts)
    if not formed:
        monkeypatch.setattr(samples_module, "_FORMED_GATES", 0)
    whole = expectation_maximisation(x, y, starts, zero, 1.0, truth.nonlinearity, iterations=8)
    monkeypatch.setattr(samples_module, "_CHUNK_ENTRIES", 1)
    if not formed:
        monkeypatch.setattr(samples_module, "_CACHED_ENTRIES", 0)
    parts = expectation_maximisation(x, y, starts, zero, 1.0, truth.nonlinearity, iterations=8)
    torch.testing.assert_close(parts.trace, whole.trace)
    torch.testing.assert_close(parts.regressors, whole.regressors)


def test_annealed_starts_reach_what_the_truth_reaches() -> None:
    truth, x, y, starts = problem(n=4000)
    annealed = expectation_maximisation(
        x, y, starts, torch.zeros_like(starts), 1.0, truth.nonlinearity
    )
    oracle = expectation_maximisation(
        x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity
    )
    torch.testing.assert_close(
        annealed.log_likelihood, oracle.log_likelihood.expand(4), rtol=0, atol=1e-4
    )
    end = MoE(annealed.regressors[0], annealed.gating[0], 0.2)
    assert regressor_error(end, truth) < 1e-3


@pytest.mark.parametrize("learn", [("regressors",), ("regressors", "sigmas")])
def test_equal_weights_give_what_the_softmax_of_nothing_gives(learn: tuple[str, ...]) -> None:
    """Weights that are equal and held are not computed sample by sample."""
    _, x, y, starts = problem()
    ends = [
        expectation_maximisation(
            x, y, starts, torch.full_like(starts, entry), torch.tensor([0.5]).expand(4, 3),
            as_nonlinearity("linear"), learn=learn, iterations=20,
        )
        for entry in (0.0, 1e-300)
    ]  # fmt: skip
    torch.testing.assert_close(ends[0].trace, ends[1].trace, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(ends[0].regressors, ends[1].regressors)


def test_running_out_of_iterations_is_reported() -> None:
    truth, x, y, starts = problem()
    fit = expectation_maximisation(
        x, y, starts, torch.zeros_like(starts), 1.0, truth.nonlinearity, iterations=2
    )
    assert not bool(fit.converged.any()) and fit.iterations.tolist() == [2] * 4
    assert len(fit.trace) == 3


def test_the_path_is_recorded_on_request() -> None:
    truth, x, y, starts = problem()
    fit = expectation_maximisation(
        x, y, starts, torch.zeros_like(starts), 1.0, truth.nonlinearity, iterations=3, record=True
    )
    assert len(fit.path) == 4
    torch.testing.assert_close(fit.path[0][0], starts)
    torch.testing.assert_close(fit.path[-1][0], fit.regressors)


def test_extreme_parameters_stay_finite() -> None:
    truth, x, y, starts = problem(n=300)
    fit = expectation_maximisation(
        x, y, 100 * starts, 100 * starts - 100 * starts[:, -1:], 1e-3, truth.nonlinearity,
        iterations=5,
    )  # fmt: skip
    assert bool(torch.isfinite(fit.trace).all()) and bool(torch.isfinite(fit.regressors).all())


def test_unknown_names_in_learn_are_refused() -> None:
    truth, x, y, starts = problem(n=50)
    with pytest.raises(ValueError, match=r"learn: .*\['experts'\]"):
        expectation_maximisation(x, y, starts, starts, 1.0, truth.nonlinearity, learn=("experts",))


@pytest.mark.parametrize("learn", [("regressors", "gating", "sigma"), ("regressors", "sigmas")])
@pytest.mark.parametrize("name", ["linear", "tanh"])
def test_counts_are_samples_that_often(learn: tuple[str, ...], name: str) -> None:
    _, x, y = samples(2, 3, 60, 0, nonlinearity=name)
    counts = torch.randint(0, 4, (60,), generator=stream("counts"))
    start = torch.randn(2, 2, 3, generator=stream("starts"), dtype=torch.float64)
    gates = torch.zeros_like(start)
    options: dict[str, Any] = {"learn": learn, "iterations": 8}
    g = as_nonlinearity(name)
    kept = counts > 0
    own = counts[kept].double()
    once = expectation_maximisation(
        x[kept], y[kept], start, gates, 1.0, g, counts=own, **options
    )  # fmt: skip
    often = x.repeat_interleave(counts, 0), y.repeat_interleave(counts)
    many = expectation_maximisation(*often, start, gates, 1.0, g, **options)
    torch.testing.assert_close(once.trace, many.trace)
    torch.testing.assert_close(once.regressors, many.regressors)
    torch.testing.assert_close(once.sigma, many.sigma)
    ones = torch.ones(60, dtype=torch.float64)
    plain = expectation_maximisation(x, y, start, gates, 1.0, g, **options)
    unit = expectation_maximisation(x, y, start, gates, 1.0, g, counts=ones, **options)
    torch.testing.assert_close(plain.trace, unit.trace)


def test_experts_and_gates_that_look_at_other_columns_are_fits_to_those_columns() -> None:
    _, x, y = samples(2, 4, 400, 1)
    start = torch.zeros(1, 2, 4, dtype=torch.float64)
    start[..., :2] = torch.randn(1, 2, 2, generator=stream("starts"), dtype=torch.float64)
    both = torch.tensor([0, 1]), torch.tensor([2, 3])
    g = as_nonlinearity("linear")
    fit = expectation_maximisation(x, y, start, torch.zeros_like(start), 1.0, g, columns=both)
    assert not fit.regressors[..., 2:].any() and not fit.gating[..., :2].any()
    assert bool(fit.converged) and float(fit.trace.diff(dim=0).min()) > -1e-8
    model = MoE(fit.regressors[0], fit.gating[0], float(fit.sigma), g)
    gradient = information(model, x, y)[1]
    experts, gates = gradient[:8].reshape(2, 4), gradient[8:12]
    assert float(experts[:, :2].abs().max()) < 0.1 and float(gates[2:].abs().max()) < 0.1
    assert float(experts[:, 2:].abs().max()) > 1, "the others are held"
    alone = expectation_maximisation(
        x[:, :2], y, start[..., :2], torch.zeros(1, 2, 2).double(), 1.0, g,
        learn=("regressors", "sigma"),
    )  # fmt: skip
    held = expectation_maximisation(
        x, y, start, torch.zeros_like(start), 1.0, g, learn=("regressors", "sigma"), columns=both
    )
    torch.testing.assert_close(held.regressors[..., :2], alone.regressors)


def test_where_saturated_gates_allow_no_step_em_says_so() -> None:
    """Two levels that x tells apart but for one sample. The gates are saturated, and Newton's step
    would be 1e23 long, so that nothing but rounding were left of the likelihood; and what is not
    lost in rounding overshoots by more than 12 halvings."""
    line = torch.cat([torch.linspace(-1, -0.5, 20), torch.linspace(0.5, 1, 20)])
    x = torch.stack([line, torch.ones(40)], 1).double()
    y = torch.where(x[:, 0] > 0, 1.0, -1.0) + 0.1 * torch.sin(9 * x[:, 0])
    y[5] = 1.0
    levels = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    gates = torch.tensor([[135.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    linear = as_nonlinearity("linear")
    for learn in (("gating",), ("gating", "regressors")):
        fit = expectation_maximisation(x, y, levels, gates, 0.1, linear, learn=learn)
        gentle = expectation_maximisation(x, y, levels, gates / 100, 0.1, linear, learn=learn)
        behind = float(gentle.log_likelihood - fit.log_likelihood)
        assert bool(gentle.converged) and behind > 1
        assert not bool(fit.converged) and int(fit.iterations) == 1
        assert float(fit.model(0, linear).log_density(x, y).sum()) == pytest.approx(
            float(fit.log_likelihood)
        )


def test_a_start_whose_steps_are_all_dropped_is_not_converged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, x, y, starts = problem()
    monkeypatch.setattr(
        maximisation,
        "_gate_moves",
        lambda data, state: -1e9 * full_gating(state.pull_w),
    )
    gates = torch.zeros_like(starts)
    fit = expectation_maximisation(x, y, starts, gates, 1.0, truth.nonlinearity, learn=("gating",))
    assert bool((fit.iterations == 1).all()) and not bool(fit.converged.any())
