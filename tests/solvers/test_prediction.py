"""The samples that L_4 needs, told beforehand: against the law by full quadrature."""

from __future__ import annotations

import pytest
import torch

from moe.exceptions import NoTransformError
from moe.experiments.regressor_loss.law import l4_law
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE
from moe.model.nonlinearity import NONLINEARITIES, Nonlinearity
from moe.moments.best import best_transforms
from moe.moments.bounded import bounded_transform
from moe.moments.centring import cheapest
from moe.moments.transforms import output_transform
from moe.randomness import stream
from moe.solvers import l4
from moe.solvers.prediction import samples_for_l4, squared_angle


@pytest.mark.parametrize(
    ("name", "k"),
    [("linear", 2), ("linear", 4), ("relu", 2), ("tanh", 3), ("sigmoid", 2), ("gelu", 3)],
)
def test_the_closed_form_is_the_law_of_orthonormal_experts(name: str, k: int) -> None:
    for bounded in (False, True) if k < 4 else (False,):
        rows = torch.eye(k + 1, dtype=torch.float64)[:k]
        model = MoE(rows, torch.zeros_like(rows), 0.3, name)  # type: ignore[arg-type]
        method = cheapest(output_transform(name, 0.3, 4), k, k)
        law = l4_law(model, "bounded" if bounded else method)
        for d in (k + 1,) if bounded else (k, k + 1, 12):
            found = squared_angle(NONLINEARITIES[name], 0.3, k, d, bounded=bounded)
            angles = law.squared_angles.mean() + (d - k - 1) * law.outside.diagonal().mean()
            assert found == pytest.approx(float(angles), rel=1e-5)


def test_what_is_told_grows_with_noise_dimension_and_accuracy() -> None:
    base = samples_for_l4("tanh", 0.1, 2, 5)
    assert samples_for_l4("tanh", 0.1, 2, 5, goal=0.01) == pytest.approx(10 * base)
    assert samples_for_l4("tanh", 0.5, 2, 5) > 5 * base
    assert samples_for_l4("tanh", 0.5, 2, 5, bounded=False) > 10 * base
    assert samples_for_l4("tanh", 0.1, 3, 5) > base
    assert samples_for_l4("tanh", 0.1, 2, 8) > base
    assert samples_for_l4("tanh", 0.1, 1, 5) < base


def test_fewer_conditions_in_the_span_bring_l4_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """tanh, sigma 0.5, n = 20,000: with the transform for the span L_4 errs as predicted; with all
    conditions more, on every data set."""
    rows = torch.eye(6, dtype=torch.float64)[:3]
    gates = torch.eye(6, dtype=torch.float64)[3:] * torch.tensor([1.0, 1.0, 0.0])[:, None]
    truth = MoE(rows, gates, 0.5, NONLINEARITIES["tanh"])
    n, g, best = 20_000, NONLINEARITIES["tanh"], best_transforms

    def error(seed: int) -> float:
        x, y = truth.sample(n, stream("data", seed))
        moments = l4.l4_moments_of(x, y, 3, g, 0.5, bounded=True)
        fit = l4.minimise_l4(moments, y @ x / n, stream("starts", seed), starts=8)
        return regressor_error_of(fit.regressors, rows)

    new = [error(seed) for seed in range(3)]
    every = (best(g, 0.5, 6, 3)[0], bounded_transform(g, 0.5, 4, 3))
    monkeypatch.setattr("moe.solvers.l4.best_transforms", lambda *_: every)
    old = [error(seed) for seed in range(3)]
    assert max(new) < 6 * 0.1 * samples_for_l4("tanh", 0.5, 3, 6) / n
    assert all(a < b for a, b in zip(new, old, strict=True))


def test_arguments_that_cannot_be_used_are_named() -> None:
    with pytest.raises(NoTransformError, match="no output transform"):
        samples_for_l4(Nonlinearity("step", lambda z: (z > 0) + 0 * z, (0.0,)), 0.1, 2, 3)
    with pytest.raises(ValueError, match="sigma: expected"):
        samples_for_l4("tanh", -0.1, 2, 3)
    with pytest.raises(ValueError, match="goal: expected"):
        samples_for_l4("tanh", 0.1, 2, 3, goal=0.0)
    with pytest.raises(ValueError, match="k: expected"):
        samples_for_l4("tanh", 0.1, 4, 3)
