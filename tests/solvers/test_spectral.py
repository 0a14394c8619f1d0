"""moe.solvers.tensor_power: the tensor power method and the start it gives."""

import math
from itertools import permutations

import pytest
import torch
from helpers import normal, rotation

from moe.exceptions import NoTransformError
from moe.experiments.regressor_loss.descent import skewed_regressors
from moe.metrics import match, regressor_error_of
from moe.model.mixture import MoE
from moe.model.nonlinearity import NONLINEARITIES
from moe.moments.bounded import BoundedTransform
from moe.moments.estimate import score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import whiten
from moe.randomness import stream
from moe.solvers.l4 import l4_moments_of
from moe.solvers.tensor_power import (
    cubic_transform,
    spectral_regressors,
    spectral_start,
    tensor_power,
)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_an_orthogonal_tensor_is_decomposed_exactly(k: int) -> None:
    v = rotation(k)
    s = 1 + torch.rand(k, generator=stream("weights", 0), dtype=torch.float64)
    tensor = torch.einsum("m,ma,mb,mc->abc", s, v, v, v)
    weights, rows = tensor_power(tensor, stream("starts", 0))
    order = match(rows, v)
    torch.testing.assert_close(rows[order], v, atol=1e-10, rtol=0)
    torch.testing.assert_close(weights[order], s)


def test_noise_moves_the_factors_in_proportion() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    exact = torch.einsum("ma,mb,mc->abc", eye, eye, eye)
    noise = normal(4, 4, 4, purpose="noise")
    noise = torch.stack([noise.permute(*order) for order in permutations(range(3))]).mean(0)
    offs = []
    for size in (1e-2, 1e-3):
        rows = tensor_power(exact + size * noise, stream("starts", 0))[1]
        offs.append(float((rows[match(rows, eye)] - eye).norm()))
    assert offs[0] / offs[1] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh"])
def test_recovers_experts_signs_and_proportions_from_samples(name: str) -> None:
    """Experts at 78 degrees: proportions are the noisier the more nearly dependent experts are."""
    rows = skewed_regressors(3, 8, 0.2, stream("truth", 1))
    gates = torch.zeros_like(rows)
    gates[:2] = torch.linalg.svd(rows).Vh[3:5]
    truth = MoE(rows, gates, 0.1, name)  # type: ignore[arg-type]
    x, y = truth.sample(400_000, stream("data", 1))
    whitening = whiten(score_moment(x, y, output_transform(name, 0.1, 2)).tensor, 3)
    third = score_moment(x, y, output_transform(name, 0.1, 3), basis=whitening.basis)
    regressors, proportions = spectral_regressors(third.tensor, whitening, stream("starts", 1))
    assert regressor_error_of(regressors, truth.regressors) < 0.005
    order = match(regressors, truth.regressors)
    assert float((regressors[order] * truth.regressors).sum(1).min()) > 0.99
    pbar = truth.mixing_proportions(generator=stream("proportions", 1))
    assert float((proportions[order] - pbar).abs().max()) < 0.05


@pytest.mark.parametrize(("name", "sigma"), [("tanh", 0.5), ("relu", 0.1), ("gelu", 0.5)])
def test_bounded_third_moments_err_less(name: str, sigma: float) -> None:
    """Same M, same samples; experts at 78 degrees, flat gates: on average (geometric) over eight
    data sets to less than 0.6 of the error."""
    rows = skewed_regressors(3, 8, 0.2, stream("truth", 1))
    truth = MoE(rows, torch.zeros_like(rows), sigma, NONLINEARITIES[name])
    logs = []
    for seed in range(8):
        x, y = truth.sample(20_000, stream("data", seed))
        moments = l4_moments_of(x, y, 3, truth.nonlinearity, bounded=True)
        plain, bounded = (
            spectral_start(
                *(x, y, moments, truth.nonlinearity, stream("starts", seed)), bounded=kind
            )[0]
            for kind in (False, True)
        )
        errors = [regressor_error_of(found, truth.regressors) for found in (plain, bounded)]
        logs.append(math.log(errors[1] / errors[0]))
    assert math.exp(sum(logs) / 8) < 0.6


def test_the_polynomial_serves_where_there_is_no_bounded_cubic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: object, **__: object) -> None:
        raise NoTransformError("no bounded output transform of degree 3 was found")

    tanh = NONLINEARITIES["tanh"]
    polynomial = output_transform(tanh, 1 / 3, 3)
    assert isinstance(cubic_transform(tanh, 1 / 3, 2, bounded=True), BoundedTransform)
    assert cubic_transform(tanh, 1 / 3, 2, bounded=False) == polynomial
    monkeypatch.setattr("moe.solvers.tensor_power.bounded_transform", none)
    assert cubic_transform(tanh, 1 / 3, 2, bounded=True) == polynomial
