"""Gradient descent: the rule, its rate on a quadratic, batches of starts, divergence, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import normal
from torch import Tensor

from moe.randomness import stream
from moe.solvers.gradient import gradient_descent

CURVATURE = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)


def quadratic(point: Tensor) -> Tensor:
    return 0.5 * (CURVATURE * point.square()).sum(-1)


def starts(count: int = 4) -> Tensor:
    return normal(count, 3, purpose="starts")


def test_one_step_is_the_rule() -> None:
    begin = starts()
    run = gradient_descent(quadratic, [begin], step=0.1, iterations=1)
    torch.testing.assert_close(run.parameters[0], begin - 0.1 * CURVATURE * begin)


def test_each_run_may_have_its_own_optimiser_and_step() -> None:
    begin, steps = starts(), torch.tensor([0.1, 0.02, 0.3, 0.05], dtype=torch.float64)
    names = ["sgd", "adam", "adam", "sgd"]
    together = gradient_descent(
        quadratic, [begin], step=lambda t: steps / (1 + t), iterations=12, optimiser=names
    )
    for run, (name, step) in enumerate(zip(names, steps.tolist(), strict=True)):
        alone = gradient_descent(
            quadratic,
            [begin[run : run + 1]],
            step=lambda t, step=step: step / (1 + t),  # type: ignore[misc]
            iterations=12,
            optimiser=name,
        )
        torch.testing.assert_close(together.parameters[0][run], alone.parameters[0][0])


def test_error_on_a_quadratic_falls_at_the_rate_of_the_best_step() -> None:
    step, rate = 2 / (0.5 + 4.0), (4.0 - 0.5) / (4.0 + 0.5)
    run = gradient_descent(
        quadratic, [starts()], step=step, iterations=60, observe=lambda p: p.norm(dim=1)
    )
    torch.testing.assert_close(
        run.observed[-1] / run.observed[-2], torch.full((4,), rate, dtype=torch.float64)
    )
    assert bool((run.losses.diff(dim=0) < 0).all())
    torch.testing.assert_close(run.losses[-1], quadratic(run.parameters[0]))
    torch.testing.assert_close(run.gradient_norms, (CURVATURE * run.parameters[0]).norm(dim=1))


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_batch_of_starts_equals_one_start_at_a_time(optimiser: str) -> None:
    begin = starts()
    options: dict[str, Any] = {"step": 0.05, "iterations": 20, "optimiser": optimiser}
    together = gradient_descent(quadratic, [begin], **options)
    for index in range(len(begin)):
        alone = gradient_descent(quadratic, [begin[index : index + 1]], **options)
        torch.testing.assert_close(alone.parameters[0][0], together.parameters[0][index])


def test_adam_is_torch_adam() -> None:
    begin = starts(1)
    point = begin.clone().requires_grad_()
    rule = torch.optim.Adam([point], lr=0.05)
    for _ in range(15):
        rule.zero_grad()
        quadratic(point).sum().backward()
        rule.step()
    run = gradient_descent(quadratic, [begin], step=0.05, iterations=15, optimiser="adam")
    torch.testing.assert_close(run.parameters[0], point.detach())


def test_several_parameter_tensors_move_together() -> None:
    def loss(a: Tensor, b: Tensor) -> Tensor:
        return (a.sum((1, 2)) - b.sum(1)).square()

    a, b = torch.ones(2, 2, 2), torch.zeros(2, 3)
    run = gradient_descent(loss, [a, b], step=0.01, iterations=1)
    torch.testing.assert_close(run.parameters[0], a - 0.01 * 2 * 4)
    torch.testing.assert_close(run.parameters[1], b + 0.01 * 2 * 4)


def test_start_is_not_changed() -> None:
    begin = starts()
    copy = begin.clone()
    gradient_descent(quadratic, [begin], step=0.1, iterations=3)
    assert torch.equal(begin, copy)
    assert not begin.requires_grad


def test_recorded_steps_are_every_and_the_last() -> None:
    run = gradient_descent(
        quadratic, [starts()], step=0.1, iterations=7, every=3, observe=lambda p: p.clone()
    )
    assert run.iterations.tolist() == [0, 3, 6, 7]
    assert run.losses.shape == (4, 4)
    assert run.observed.shape == (4, 4, 3)
    torch.testing.assert_close(run.observed[0], starts())


def test_a_loss_with_fresh_noise_makes_the_descent_stochastic_and_reproducible() -> None:
    def ends(seed: int) -> Tensor:
        generator = stream("noise", seed)

        def noisy(point: Tensor) -> Tensor:
            noise = torch.randn(3, generator=generator, dtype=point.dtype)
            return quadratic(point - 0.1 * noise)

        return gradient_descent(noisy, [starts()], step=0.1, iterations=200).parameters[0]

    assert torch.equal(ends(0), ends(0))
    assert not torch.equal(ends(0), ends(1))
    assert ends(0).abs().max() < 0.5


def test_a_start_that_diverges_is_reported_and_does_not_harm_the_others() -> None:
    def quartic(point: Tensor) -> Tensor:
        return point.pow(4).sum(-1)

    begin = torch.tensor([[0.5], [30.0], [0.4]], dtype=torch.float64)
    run = gradient_descent(quartic, [begin], step=0.05, iterations=100)
    assert run.diverged.tolist() == [False, True, False]
    assert bool(torch.isfinite(run.parameters[0]).all())
    alone = gradient_descent(quartic, [begin[:1]], step=0.05, iterations=100)
    torch.testing.assert_close(run.parameters[0][0], alone.parameters[0][0])
    assert run.gradient_norms.isnan().tolist() == [False, True, False]


def test_what_is_observed_is_kept_and_a_step_without_end_is_reported() -> None:
    begin = torch.tensor([[1.0, 2.0]], dtype=torch.float64)

    def square(point: Tensor) -> Tensor:
        return point.square().sum(-1)

    run = gradient_descent(square, [begin], step=0.1, iterations=3, observe=lambda a: a[:, 0])
    torch.testing.assert_close(
        run.observed[:, 0], 0.8 ** torch.arange(4, dtype=torch.float64), rtol=1e-12, atol=0
    )
    far = gradient_descent(square, [begin * 1e150], step=1e200, iterations=3)
    assert far.diverged.tolist() == [True]
    assert torch.equal(far.parameters[0], begin * 1e150)


def test_parameters_may_be_one_number_a_run() -> None:
    begin = torch.tensor([3.0, -1.0], dtype=torch.float64)
    for optimiser in ("sgd", "adam"):
        run = gradient_descent(torch.square, [begin], step=0.1, iterations=300, optimiser=optimiser)
        assert run.parameters[0].shape == (2,) and float(run.parameters[0].abs().max()) < 1e-2
        assert run.gradient_norms.shape == (2,)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_loss_that_is_not_finite_leaves_its_start_where_it_was(optimiser: str) -> None:
    def logarithm(point: Tensor) -> Tensor:
        return point.log().sum(-1)

    begin = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    run = gradient_descent(logarithm, [begin], step=0.01, iterations=5, optimiser=optimiser)
    assert run.diverged.tolist() == [False, True]
    assert float(run.parameters[0][1]) == -1.0


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("optimiser", {"optimiser": "newton"}),
        ("optimiser", {"optimiser": ["sgd", "adam"]}),
        ("step", {"step": 0.0}),
        ("step", {"step": float("nan")}),
        ("iterations", {"iterations": 0}),
        ("every", {"every": 0}),
    ],
)
def test_bad_arguments_are_refused_by_name(argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=argument):
        gradient_descent(quadratic, [starts()], **{"step": 0.1, "iterations": 5, **options})
