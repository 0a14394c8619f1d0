"""The fast solver of L_4 in whitened coordinates."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from helpers import normal, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor
from torch.func import jacrev

from moe.landscape import global_minimum, population_tensor
from moe.losses import l4_population
from moe.metrics import regressor_error_of
from moe.model.mixture import random_moe
from moe.randomness import stream
from moe.solvers.l4 import L4Fit, NoMinimumError, l4_moments_of, minimise_l4, minimise_l4_of_many
from moe.solvers.quartic import (
    benign,
    check_weights,
    minimise_quartic,
    minimise_quartics,
    proportions_from_norms,
    quartic_gradient,
    quartic_hessian,
    quartic_loss,
    random_starts,
)

SKEWED = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


def random_symmetric(k: int, seed: int) -> Tensor:
    tensor = normal(k, k, k, k, seed=seed, purpose="tensor")
    return torch.stack([tensor.permute(*order) for order in permutations(range(4))]).mean(0)


def defining_sum(tensor: Tensor, mu: float, lam: float) -> Callable[[Tensor], Tensor]:
    """L_4 term by term, as it is written."""

    def loss(rows: Tensor) -> Tensor:
        total = rows.new_zeros(())
        for i, b in enumerate(rows):
            total = total - mu * torch.einsum("abcd,a,b,c,d->", tensor, b, b, b, b)
            total = total + lam * (b @ b - 1) ** 2
            for j, c in enumerate(rows):
                if i != j:
                    total = total + torch.einsum("abcd,a,b,c,d->", tensor, b, b, c, c)
        return total

    return loss


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_loss_gradient_and_hessian_agree_with_the_defining_sum(k: int) -> None:
    tensor, rows = random_symmetric(k, seed=0), normal(k, k)
    loss = defining_sum(tensor, 0.3, 2.0)
    gradient = jacrev(loss)(rows)
    curvature = jacrev(jacrev(loss))(rows)
    torch.testing.assert_close(quartic_loss(rows, tensor, 0.3, 2.0), loss(rows))
    torch.testing.assert_close(quartic_gradient(rows, tensor, 0.3, 2.0), gradient)
    torch.testing.assert_close(quartic_hessian(rows, tensor, 0.3, 2.0), curvature)


def test_loss_is_batched_and_differentiable() -> None:
    tensor, rows = random_symmetric(2, seed=0), normal(4, 3, 2, 2)
    one_by_one = [[quartic_loss(b, tensor, 0.5, 3.0) for b in line] for line in rows]
    expected = torch.stack([torch.stack(line) for line in one_by_one])
    torch.testing.assert_close(quartic_loss(rows, tensor, 0.5, 3.0), expected)
    assert quartic_gradient(rows, tensor, 0.5, 3.0).shape == (4, 3, 2, 2)
    assert quartic_hessian(rows, tensor, 0.5, 3.0).shape == (4, 3, 2, 2, 2, 2)
    single = rows[0, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda b: quartic_loss(b, tensor, 0.5, 3.0), single)


def test_whitened_loss_is_the_population_loss() -> None:
    truth, rows = normal(3, 3, purpose="truth"), normal(7, 3, 3)
    second_moment = torch.einsum("m,ma,mb->ab", SKEWED, truth, truth)
    spectrum, vectors = torch.linalg.eigh(second_moment)
    basis = vectors / spectrum.sqrt()
    directions = SKEWED.sqrt().unsqueeze(-1) * truth @ basis
    whitened = quartic_loss(rows, population_tensor(SKEWED, directions), 0.4, 6.0)
    ambient = l4_population(rows @ basis.T, truth, SKEWED, 0.4, 6.0)
    torch.testing.assert_close(whitened, ambient)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    shares=st.lists(st.floats(0.2, 1.0), min_size=2, max_size=3),
    mu=st.floats(0.05, 0.9),
    margin=st.floats(1.1, 6.0),
)
def test_every_start_reaches_the_truth_in_the_benign_region(
    shares: list[float], mu: float, margin: float
) -> None:
    p = torch.tensor(shares, dtype=torch.float64) / sum(shares)
    k, lam = len(p), margin * mu / float(p.min())
    directions = rotation(k)
    tensor = population_tensor(p, directions)
    solution = minimise_quartic(tensor, mu, lam, random_starts(40, k, stream("starts", 0)))
    assert bool(solution.converged.all())
    assert float(solution.gradient_norms.max()) <= 1e-10
    expected = global_minimum(p, mu, lam)
    overlaps = (solution.points @ directions.T).square()
    for overlap, value in zip(overlaps, solution.values, strict=True):
        experts = overlap.argmax(-1)
        assert sorted(experts.tolist()) == list(range(k))
        truth = torch.zeros(k, k, dtype=torch.float64)
        truth[torch.arange(k), experts] = expected.squared_norms[experts]
        torch.testing.assert_close(overlap, truth, atol=1e-8, rtol=1e-8)
        assert float(value) == pytest.approx(expected.value, rel=1e-10)


def test_many_starts_end_where_each_ends_alone_and_at_scipys_value() -> None:
    tensor = population_tensor(SKEWED, rotation(3))
    starts = random_starts(12, 3, stream("starts", 0))
    together = minimise_quartic(tensor, 0.5, 5.0, starts)
    for i, start in enumerate(starts):
        alone = minimise_quartic(tensor, 0.5, 5.0, starts[i : i + 1])
        assert float(together.values[i]) == pytest.approx(float(alone.values[0]), abs=1e-10)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            b = torch.from_numpy(flat).view(3, 3).requires_grad_()
            value = defining_sum(tensor, 0.5, 5.0)(b)
            (slope,) = torch.autograd.grad(value, b)
            return float(value.detach()), slope.flatten().numpy()

        slow = minimize(objective, start.flatten().numpy(), jac=True, method="BFGS")
        assert float(together.values[i]) == pytest.approx(slow.fun, abs=1e-6)


def test_many_losses_are_minimised_as_each_is_alone() -> None:
    """Each with a lambda of its own; one of them is unbounded below, and runs off."""
    directions, count = rotation(3), 7
    noisy = [population_tensor(SKEWED, directions) + 0.3 * random_symmetric(3, s) for s in range(4)]
    tensors = torch.stack([*noisy, population_tensor(SKEWED, directions)])
    lams = torch.tensor([6.0, 8.0, 11.0, 20.0, 0.1], dtype=torch.float64)
    starts = normal(5, count, 3, 3) / 3**0.5
    together = minimise_quartics(tensors, 0.5, lams, starts)
    assert not bool(together[-1].converged.any())
    for tensor, lam, start, mine in zip(tensors, lams, starts, together, strict=True):
        alone = minimise_quartic(tensor, 0.5, float(lam), start)
        assert torch.equal(mine.converged, alone.converged)
        ended = mine.converged
        torch.testing.assert_close(mine.points[ended], alone.points[ended], rtol=0, atol=1e-8)
        torch.testing.assert_close(mine.values[ended], alone.values[ended], rtol=1e-12, atol=1e-12)
    assert sum(int(mine.converged.sum()) for mine in together) >= 3 * count
    with pytest.raises(ValueError, match=r"tensors, lams, starts: expected shapes .*, got \(5, 3"):
        minimise_quartics(tensors, 0.5, lams[:4], starts)
    with pytest.raises(ValueError, match="starts must be finite"):
        minimise_quartics(tensors, 0.5, lams, starts / 0)


def test_l4_of_many_is_l4_of_each_and_errors_stay_in_their_place() -> None:
    """Moments of data sets with no direction that is positive, and with few samples, among them."""
    moments, firsts = [], []
    for seed, (n, sign) in enumerate(((100_000, 1), (60, 1), (20_000, -1), (300, 1))):
        truth = random_moe(3, 5, sigma=0.2, gate_norm=1.0, generator=stream("truth", seed))
        x, y = truth.sample(n, stream("data", seed))
        one = l4_moments_of(x, y, 3, truth.nonlinearity, truth.sigma)
        moments.append(replace(one, tensor=sign * one.tensor))
        firsts.append(y @ x / n)

    def alone(seed: int) -> L4Fit | NoMinimumError:
        try:
            return minimise_l4(moments[seed], firsts[seed], stream("starts", seed), starts=8)
        except NoMinimumError as error:
            return error

    fits = minimise_l4_of_many(moments, firsts, [stream("starts", s) for s in range(4)], starts=8)
    for mine, fit in zip(map(alone, range(4)), fits, strict=True):
        if isinstance(mine, NoMinimumError) or isinstance(fit, NoMinimumError):
            assert str(mine) == str(fit)
            continue
        assert (fit.mu, fit.lam) == (mine.mu, mine.lam)
        assert regressor_error_of(fit.regressors, mine.regressors) < 1e-8  # in any order
        shares, others = fit.proportions.sort().values, mine.proportions.sort().values
        torch.testing.assert_close(shares, others, rtol=1e-6, atol=1e-8)
    assert isinstance(fits[2], NoMinimumError) and isinstance(fits[0], L4Fit)
    assert minimise_l4_of_many([], [], []) == []
    (none,) = minimise_l4_of_many(moments[2:3], firsts[2:3], [stream("starts", 0)])
    assert isinstance(none, NoMinimumError)


def test_a_thousand_starts_at_eight_experts_end_at_the_required_gradient_norm() -> None:
    p = torch.linspace(1, 2, 8, dtype=torch.float64)
    p = p / p.sum()
    tensor = population_tensor(p, rotation(8))
    solution = minimise_quartic(tensor, 0.5, 20.0, random_starts(1000, 8, stream("starts", 0)))
    assert bool(solution.converged.all())
    assert float(solution.gradient_norms.max()) <= 1e-10
    expected = global_minimum(p, 0.5, 20.0).value
    torch.testing.assert_close(solution.values, torch.full_like(solution.values, expected))


def test_a_start_beside_a_saddle_leaves_it() -> None:
    tensor = population_tensor(SKEWED)
    shared = 5.0 / (5.0 - (0.5 - 1) / 0.5)  # rows 1 and 2 share expert 3, row 3 is at expert 2
    alone = 5.0 / (5.0 - 0.5 / 0.3)
    saddle = torch.zeros(1, 3, 3, dtype=torch.float64)
    saddle[0, 0, 2] = saddle[0, 1, 2] = shared**0.5
    saddle[0, 2, 1] = alone**0.5
    assert float(quartic_gradient(saddle, tensor, 0.5, 5.0).abs().max()) < 1e-12
    starts = saddle + 1e-7 * normal(20, 3, 3)
    solution = minimise_quartic(tensor, 0.5, 5.0, starts)
    expected = global_minimum(SKEWED, 0.5, 5.0).value
    assert bool(solution.converged.all())
    torch.testing.assert_close(solution.values, torch.full_like(solution.values, expected))


def test_bounded_below_iff_lambda_exceeds_mu_over_pmin() -> None:
    tensor, starts = population_tensor(SKEWED), random_starts(50, 3, stream("starts", 0))
    weakest = torch.zeros(3, 3, dtype=torch.float64)
    weakest[0, 0] = 1.0
    scales = torch.tensor([1e1, 1e2, 1e3], dtype=torch.float64).view(-1, 1, 1)
    for lam in (2.5, 2.4):  # mu / p_min = 2.5
        values = quartic_loss(scales * weakest, tensor, 0.5, lam)
        assert bool((values < -lam * scales.flatten().square()).all())
        lost = minimise_quartic(tensor, 0.5, lam, starts)
        assert not bool(lost.converged.any())
        assert bool(torch.isfinite(lost.points).all() & torch.isfinite(lost.values).all())
        with pytest.raises(ValueError, match="no start converged"):
            _ = lost.best
    lam = 2.6
    lowest = global_minimum(SKEWED, 0.5, lam).value
    far = torch.logspace(-1, 3, 40, dtype=torch.float64).view(-1, 1, 1, 1) * starts
    assert float(quartic_loss(far, tensor, 0.5, lam).min()) >= lowest
    found = minimise_quartic(tensor, 0.5, lam, starts)
    assert bool(found.converged.all())
    assert float(found.values[found.best]) == pytest.approx(lowest, rel=1e-10)


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0, 30.0])
def test_noisy_moments_end_in_minima_or_are_reported(noise: float) -> None:
    tensor = population_tensor(SKEWED) + noise * random_symmetric(3, seed=0)
    solution = minimise_quartic(tensor, 0.5, 5.0, random_starts(60, 3, stream("starts", 0)))
    assert bool(torch.isfinite(solution.points).all())
    assert bool(torch.isfinite(solution.values).all())
    assert float(solution.gradient_norms[solution.converged].sum()) <= 60 * 1e-10
    minima = solution.points[solution.converged]
    curvatures = torch.linalg.eigvalsh(quartic_hessian(minima, tensor, 0.5, 5.0).view(-1, 9, 9))
    assert bool((curvatures > 0).all())
    assert bool(solution.converged.all()) == (noise < 2)


def test_rotations_and_row_orders_leave_the_loss_unchanged() -> None:
    tensor, rows = random_symmetric(4, seed=0), normal(4, 4)
    turn = rotation(4)
    turned = torch.einsum("abcd,ea,fb,gc,hd->efgh", tensor, *[turn] * 4)
    value = quartic_loss(rows, tensor, 0.3, 2.0)
    torch.testing.assert_close(quartic_loss(rows @ turn.T, turned, 0.3, 2.0), value)
    torch.testing.assert_close(quartic_loss(-rows[[2, 0, 3, 1]], tensor, 0.3, 2.0), value)


def test_single_precision_converges_to_its_rounding_error() -> None:
    tensor, starts = population_tensor(SKEWED).float(), random_starts(50, 3, stream("starts", 0))
    solution = minimise_quartic(tensor, 0.5, 5.0, starts.float())
    assert solution.points.dtype == torch.float32
    assert bool(solution.converged.all())
    expected = torch.full_like(solution.values, global_minimum(SKEWED, 0.5, 5.0).value)
    torch.testing.assert_close(solution.values, expected, atol=1e-4, rtol=1e-4)


def test_proportions_from_norms() -> None:
    norms = global_minimum(SKEWED, 0.5, 5.0).squared_norms
    torch.testing.assert_close(proportions_from_norms(norms, 0.5, 5.0), SKEWED)
    impossible = torch.tensor([0.9, 1.0], dtype=torch.float64)
    assert bool(proportions_from_norms(impossible, 0.5, 5.0).isnan().all())


def test_check_weights_names_each_broken_condition() -> None:
    assert check_weights(0.5, 3.0, 0.2) == ()
    assert benign(0.5, 3.0, 0.2)
    assert not benign(0.5, 2.5, 0.2)
    cases = {(0.5, 2.4): "lambda must exceed", (1.0, 9.0): "below 1", (-0.1, 1.0): "positive"}
    for (mu, lam), words in cases.items():
        (broken,) = check_weights(mu, lam, 0.2)
        assert words in broken
    assert len(check_weights(1.5, 1.0, 0.2)) == 2
    with pytest.raises(ValueError, match="p_min"):
        check_weights(0.5, 3.0, 0.0)


def test_bad_input_is_refused_by_name() -> None:
    tensor, starts = population_tensor(SKEWED), random_starts(2, 3, stream("starts", 0))
    lopsided = tensor.clone()
    lopsided[0, 1, 2, 2] = 1.0
    with pytest.raises(ValueError, match="symmetric"):
        quartic_loss(starts, lopsided, 0.5, 5.0)
    with pytest.raises(ValueError, match="tensor must have shape"):
        quartic_loss(starts, tensor[:2], 0.5, 5.0)
    with pytest.raises(ValueError, match="tensor must be finite"):
        quartic_loss(starts, tensor * torch.nan, 0.5, 5.0)
    with pytest.raises(TypeError, match="float32"):
        quartic_loss(starts.float(), tensor, 0.5, 5.0)
    with pytest.raises(ValueError, match="points must have shape"):
        quartic_loss(starts[:, :2], tensor, 0.5, 5.0)
    with pytest.raises(ValueError, match="starts must have shape"):
        minimise_quartic(tensor, 0.5, 5.0, starts[0])
    with pytest.raises(ValueError, match="starts must be finite"):
        minimise_quartic(tensor, 0.5, 5.0, starts / 0)
    with pytest.raises(ValueError, match="count"):
        random_starts(0, 3, stream("starts", 0))
