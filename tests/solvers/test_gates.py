"""The gates' Newton step: by conjugate gradients it is what the formed Hessian gives."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from moe.model.mixture import random_moe
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation, gates, samples
from moe.solvers.em.expectation import expectation
from moe.solvers.em.samples import Samples

K, D, N = 4, 6, 700
LINEAR = as_nonlinearity("linear")


def data_set(gate_norm: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    truth = random_moe(K, 2 * K - 1, gate_norm=gate_norm, generator=stream("truth", 0))
    x, y = truth.sample(N, stream("data", 0))
    return x, y, truth.regressors, truth.gating


def step(limit: int, monkeypatch: pytest.MonkeyPatch, *, counted: bool, masked: bool) -> Tensor:
    x, y, regressors, gating = data_set(3.0)
    counts = 0.5 + torch.rand(N, generator=stream("starts", 1), dtype=x.dtype) if counted else None
    columns = (torch.arange(7), torch.tensor([0, 2, 3, 6])) if masked else None
    if masked:
        gating = gating.index_fill(1, torch.tensor([1, 4, 5]), 0.0)
    monkeypatch.setattr(samples, "_FORMED_GATES", limit)
    data = Samples(x, y, 3, K, ("regressors", "gating", "sigma"), False, counts, columns)
    assert bool(data.pairs) == (limit > 0)
    starts = torch.stack([gating, 0 * gating, 0.3 * gating])
    level = torch.full((3, K), 0.3, dtype=x.dtype)
    state = expectation(data, LINEAR, regressors.expand(3, -1, -1), starts, level)
    return gates.newton_step(data, state)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("kept", [0, 10**9])
def test_conjugate_gradients_solve_the_newton_system(
    monkeypatch: pytest.MonkeyPatch, counted: bool, masked: bool, kept: int
) -> None:
    monkeypatch.setattr(gates, "_KEPT", kept)
    dense = step(10**9, monkeypatch, counted=counted, masked=masked)
    loose = step(0, monkeypatch, counted=counted, masked=masked)
    monkeypatch.setattr(gates, "_RESIDUAL", 1e-10)
    exact = step(0, monkeypatch, counted=counted, masked=masked)
    torch.testing.assert_close(exact, dense, rtol=1e-6, atol=1e-7)
    off = (loose - dense).norm(dim=(1, 2)) / dense.norm(dim=(1, 2))
    assert 1e-4 < float(off.max()) < 0.3  # a tenth of the residual is left
    assert float((loose * dense).sum((1, 2)).min()) > 0
    if masked:
        assert bool((exact[..., [1, 4, 5]] == 0).all())


@pytest.mark.parametrize("cached", [0, 10**9])
@pytest.mark.parametrize("learn", [("gating",), ("regressors", "gating", "sigma")])
def test_em_ends_where_it_ends_with_the_hessian_formed(
    monkeypatch: pytest.MonkeyPatch, learn: tuple[str, ...], cached: int
) -> None:
    x, y, regressors, gating = data_set()
    ends = []
    for limit, products in ((10**9, 10**9), (0, cached)):
        monkeypatch.setattr(samples, "_FORMED_GATES", limit)
        monkeypatch.setattr(samples, "_CACHED_ENTRIES", products)
        fit = expectation_maximisation(
            x, y, regressors, 0 * gating, 0.3, LINEAR, learn=learn, tolerance=1e-9
        )
        assert bool(fit.converged.all())
        ends.append(fit)
    dense, iterative = ends
    torch.testing.assert_close(iterative.gating, dense.gating, rtol=0, atol=1e-4)
    assert abs(float(iterative.log_likelihood - dense.log_likelihood)) < 1e-7
    assert int(iterative.iterations) <= 1.3 * int(dense.iterations) + 2


def test_separated_gates_and_collinear_columns_give_finite_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(samples, "_FORMED_GATES", 0)
    x, y, regressors, gating = data_set()
    x = torch.cat([x[:, :-1], x[:, :1]], dim=1)
    for scale in (1.0, 1e3, 1e6):
        fit = expectation_maximisation(
            x, y, regressors, scale * gating, 0.1, LINEAR, iterations=30, tolerance=0.0
        )
        assert bool(torch.isfinite(fit.gating).all())
        assert float(fit.trace.diff(dim=0).min()) > -1e-6


def test_a_gate_that_answers_nowhere_comes_back_as_often() -> None:
    """Of inputs with a constant column, on which one gate begins e^level times behind or ahead of
    the others: from such starts either way ends in many places. The best is met as often."""
    met = {10**9: 0, 0: 0}
    for index in range(3):
        truth = random_moe(4, 8, gate_norm=4.0, generator=stream("truth", index))
        x, y = truth.sample(1_500, stream("data", index))
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        pad = partial(torch.nn.functional.pad, pad=(0, 1))
        gating = torch.stack([pad(truth.gating)] * 6)
        for start, level in enumerate((8.0, 13.0, 18.0)):
            gating[start, :-1, -1] = level
            gating[3 + start, 0, -1] = -level
        regressors = pad(truth.regressors).expand(6, -1, -1)
        ends = {}
        for limit in met:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(samples, "_FORMED_GATES", limit)
                fit = expectation_maximisation(
                    x, y, regressors, gating, 0.1, LINEAR, iterations=100
                )
            ends[limit] = fit.log_likelihood
        best = float(torch.cat(list(ends.values())).max())
        for limit, reached in ends.items():
            met[limit] += int((reached > best - 1).sum())
    assert met[0] >= met[10**9] - 1 and met[10**9] >= 9


def test_inputs_without_a_finite_gram_matrix_do_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_FORMED_GATES", 0)
    x, y, regressors, gating = data_set()
    for inputs in (0 * x, 1e160 * x, 1e-170 * x):
        expectation_maximisation(inputs, y, regressors, gating, 0.1, LINEAR, iterations=3)
