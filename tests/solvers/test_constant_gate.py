"""Maxima of the likelihood with constant proportions: Newton's method after EM."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moe.experiments.any_gate.likelihood.rare import Spec, mixture
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import child_seed, stream
from moe.solvers.constant_gate import climb_constant_gate
from moe.solvers.em.cells import cell_em

LINEAR = as_nonlinearity("linear")


def rare(cosine: float, n: int, index: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Samples where one of two experts is rare, and the experts."""
    truth = mixture(Spec(cosine, index, n))
    x, y = truth.sample(n, stream("data", child_seed(0, "rare", index)))
    return x, y, truth.regressors


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_climb_ends_where_very_many_steps_of_em_end(k: int) -> None:
    x, y, rows = rare(0.3, 5_000)
    begin = torch.cat([rows, -rows[:1]])[:k], 1.0, torch.full((k,), 1 / k).double()
    end = climb_constant_gate(x, y, *begin, LINEAR, tolerance=1e-8)
    slow = cell_em(x, y, *begin, LINEAR, tolerance=1e-11, iterations=20_000)
    assert end.converged and end.passes < slow.passes + 3
    assert end.log_likelihood == pytest.approx(slow.log_likelihood, abs=1e-6)
    torch.testing.assert_close(end.regressors, slow.regressors, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(end.proportions, slow.proportions, atol=1e-4, rtol=0.0)
    assert end.sigma == pytest.approx(slow.sigma, abs=1e-5)


def test_newton_ends_at_maxima_that_em_is_hundreds_of_passes_from() -> None:
    """An expert of 5 % at cosine 0.85 to the other, from the truth: where the likelihood is nearly
    flat for long, EM stops on the way, up to nats below."""
    lead, passes = [], []
    for index in range(4):
        x, y, rows = rare(0.85, 20_000, index)
        begin = rows, 1.0, torch.tensor([0.95, 0.05]).double()
        em, end = (f(x, y, *begin, LINEAR) for f in (cell_em, climb_constant_gate))
        assert end.converged
        lead.append(end.log_likelihood - em.log_likelihood)
        passes.append((end.passes, em.passes))
    assert min(lead) > -1e-2 and max(lead) > 0.5
    ours, theirs = (sum(counts) for counts in zip(*passes, strict=True))
    assert 5 * ours < theirs


def test_nonlinear_experts_and_a_goal_of_a_nat_are_em_s_alone() -> None:
    x, y, rows = rare(0.3, 3_000)
    begin = x, y, rows, 1.0, torch.full((2,), 0.5).double()
    for g, tolerance in ((as_nonlinearity("tanh"), 1e-2), (LINEAR, 1.0)):
        ends = [f(*begin, g, tolerance=tolerance) for f in (climb_constant_gate, cell_em)]
        assert torch.equal(ends[0].regressors, ends[1].regressors)
        assert ends[0].passes == ends[1].passes


def test_outputs_without_noise_come_to_an_end() -> None:
    x, _, rows = rare(0.3, 500)
    first = torch.rand(500, generator=stream("gate", 0)) < 0.7
    y = torch.where(first, x @ rows[0], x @ rows[1])
    shares = torch.full((2,), 0.5).double()
    end = climb_constant_gate(x, y, rows + 0.1, 0.5, shares, LINEAR)
    assert end.converged and end.sigma < 1e-5
    torch.testing.assert_close(end.regressors, rows, atol=1e-5, rtol=0.0)
    assert float(end.proportions[0, 0]) == pytest.approx(float(first.double().mean()), abs=1e-6)
