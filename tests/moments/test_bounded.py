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
from moe.moments.hermite import score_tensor
from moe.moments.quadrature import gauss_hermite
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


def test_theorem_an_estimated_span_lets_in_the_second_order_only() -> None:
    """Two GELU experts gated by a third axis, the span tilted towards it: by quadrature the bias of
    T is of second order in the tilt for the transform for the span, and none for the other."""
    nodes, weights = (torch.from_numpy(part) for part in gauss_hermite(28))
    noise, noise_weights = (torch.from_numpy(part) for part in gauss_hermite(40))
    x, weight = torch.cartesian_prod(nodes, nodes, nodes), torch.ones(1).double()
    for _ in range(3):
        weight = torch.outer(weight, weights).flatten()
    gate = torch.sigmoid(2 * x[:, 2] + 1)
    share = float(gate @ weight)
    biases: dict[bool, list[float]] = {True: [], False: []}
    for in_span, found in biases.items():
        transform = bounded_transform(NONLINEARITIES["gelu"], 1.0, 4, 2, in_span=in_span)
        mean = transform(torch.nn.functional.gelu(nodes)[:, None] + noise) @ noise_weights
        means = torch.cartesian_prod(mean, mean, nodes)
        q = gate * means[:, 0] + (1 - gate) * means[:, 1]
        for tilt in (0.0, 0.1, 0.2):
            basis = torch.eye(3, dtype=torch.float64)[:, :2]
            basis[:, 0] = torch.tensor([math.cos(tilt), 0.0, math.sin(tilt)])
            bias = torch.einsum("n,nabcd->abcd", q * weight, score_tensor(x @ basis, 4))
            for a, mass in zip(basis, (share, 1 - share), strict=False):
                bias -= mass * torch.einsum("a,b,c,d->abcd", a, a, a, a)
            found.append(float(bias.norm()))
    none, small, large = biases[True]
    assert max(none, *biases[False]) < 2e-4 < 2e-3 < small
    assert large / small == pytest.approx(4.0, rel=0.15)


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
