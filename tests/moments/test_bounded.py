"""Bounded transforms: the identity they serve, their cost in samples, and what is refused."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from moe.exceptions import NoTransformError
from moe.model.mixture import MoE
from moe.model.nonlinearity import NONLINEARITIES, Nonlinearity
from moe.moments.bounded import bounded_transform
from moe.moments.estimate import Moments, score_moment
from moe.randomness import stream


@pytest.mark.parametrize("degree", [2, 3, 4])
@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_gates_drop_out_and_the_error_is_the_predicted_one(name: str, degree: int) -> None:
    """Two gated experts: over 40 data sets the mean moment is T, its mean square error the cost."""
    rows = torch.eye(3, dtype=torch.float64)[:2]
    gates = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    model = MoE(rows, gates, 0.2, name)  # type: ignore[arg-type]
    transform = bounded_transform(NONLINEARITIES[name], 0.2, degree, 3)
    exact = torch.zeros((3,) * degree, dtype=torch.float64)
    for i in range(2):
        exact[(i,) * degree] = 0.5
    n, squares, mean = 4_000, [], torch.zeros_like(exact)
    for seed in range(40):
        x, y = model.sample(n, stream("data", seed))
        found = score_moment(x, y, transform)
        assert found.method == "average"
        off = found.tensor - exact
        squares.append(n * float(off.square().sum()))
        mean += off / 40
    seen = torch.tensor(squares)
    error = float(seen.std()) / math.sqrt(40)
    assert abs(float(seen.mean()) - (transform.cost - 0.5)) < 4 * error
    assert 40 * n * float(mean.square().sum()) < 3 * transform.cost


def test_it_is_bounded_and_keeps_shape_and_dtype() -> None:
    transform = bounded_transform(NONLINEARITIES["relu"], 0.1, 4, 2)
    y = torch.tensor([[-1e6, 0.0], [3.0, 1e6]])
    assert transform(y).shape == y.shape
    assert transform(y).dtype == torch.float32
    assert float(transform(y.double()).abs().max()) < 100
    assert float(transform(y.double())[0, 0]) == pytest.approx(transform.constant)
    again = pickle.loads(pickle.dumps(transform))
    assert again == transform
    parts = Moments(again, 2).update(torch.zeros(3, 2).double(), torch.zeros(3).double())
    assert parts.merge(Moments(transform, 2)).count == 3


def test_what_has_no_bounded_transform_is_refused() -> None:
    step = Nonlinearity("step", lambda z: (z > 0) + 0 * z, (0.0,))
    with pytest.raises(NoTransformError, match=r"'step'.*no bounded output transform of degree 4"):
        bounded_transform(step, 0.1, 4, 2)
    fast = Nonlinearity("fast", lambda z: torch.sin(200 * z))
    with pytest.raises(ValueError, match=r"two quadrature rules disagree|no bounded"):
        bounded_transform(fast, 0.01, 2, 2)
