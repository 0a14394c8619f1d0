"""Plain and stochastic gradient descent with a recorded trace: the paper's own method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

OPTIMISERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


@dataclass(frozen=True)
class Descent:
    """The runs of S starts.

    parameters: tensors with leading dimension S, where the runs ended; iterations: recorded steps
    (T,); losses (T, S); observed (T, ...) what ``observe`` returned, empty without it;
    gradient_norms (S,) at the end; diverged (S,) bool: loss or gradient stopped being finite, the
    run then stays at its last finite parameters.
    """

    parameters: tuple[Tensor, ...]
    iterations: Tensor
    losses: Tensor
    observed: Tensor
    gradient_norms: Tensor
    diverged: Tensor


def gradient_descent(
    loss: Callable[..., Tensor],
    start: Sequence[Tensor],
    *,
    step: float | Callable[[int], float],
    iterations: int,
    optimiser: str = "sgd",
    observe: Callable[..., Tensor] | None = None,
    every: int = 1,
) -> Descent:
    """theta <- theta - step * grad loss(theta), for S starts at once.

    loss : takes the parameter tensors (leading dimension S), returns (S,), start s depending on
        slice s alone. A loss that draws fresh samples at every call makes the descent stochastic.
    start : parameter tensors, leading dimension S; not changed.
    step : a number, or a function of the iteration (from 0) that gives one: a schedule.
    optimiser : "sgd" (the rule above) or "adam" (torch's defaults).
    observe : takes the parameters, returns a tensor to record; with the loss, at every
        ``every``-th step, at the first and after the last.

    Raises ValueError for an unknown optimiser, step <= 0 or iterations < 1.
    """
    if optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser: expected one of {sorted(OPTIMISERS)}, got {optimiser!r}")
    if iterations < 1:
        raise ValueError(f"iterations: expected at least 1, got {iterations}")
    if not callable(step) and not step > 0:
        raise ValueError(f"step: expected a number > 0 or a schedule, got {step}")
    length = step if callable(step) else lambda iteration: step
    parameters = [tensor.detach().clone().requires_grad_() for tensor in start]
    rule = OPTIMISERS[optimiser](parameters, lr=length(0))
    alive = torch.ones(len(parameters[0]), dtype=torch.bool)
    norms = torch.zeros(len(alive), dtype=parameters[0].dtype)
    steps, losses, observed = [], [], []
    for iteration in range(iterations + 1):
        rule.zero_grad()
        values = loss(*parameters)
        values[alive].sum().backward()
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        alive = alive & torch.isfinite(values.detach()) & torch.isfinite(norms)
        if iteration % every == 0 or iteration == iterations:
            steps.append(iteration)
            losses.append(values.detach().clone())
            if observe is not None:
                with torch.no_grad():
                    observed.append(observe(*parameters))
        if iteration == iterations:
            break
        for gradient in gradients:
            gradient[~alive] = 0.0
        before = [p.detach().clone() for p in parameters]
        rule.param_groups[0]["lr"] = length(iteration)
        rule.step()
        with torch.no_grad():
            for p, old in zip(parameters, before, strict=True):
                finite = alive & torch.isfinite(p.flatten(1)).all(1)
                p[~finite] = old[~finite]
    return Descent(
        tuple(p.detach() for p in parameters),
        torch.tensor(steps),
        torch.stack(losses),
        torch.stack(observed) if observed else torch.empty(0),
        norms,
        ~alive,
    )
