"""Plain and stochastic gradient descent with a recorded trace: the paper's own method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Direction = Callable[[list[Tensor], int], list[Tensor]]


@dataclass(frozen=True)
class Descent:
    """The runs of S starts.

    parameters: tensors with leading dimension S, where the runs ended; iterations: recorded steps
    (T,); losses (T, S); observed (T, ...) what ``observe`` returned, empty without it; diverged
    (S,) bool: loss, gradient or step stopped being finite, the run then stays at its last finite
    parameters; gradient_norms (S,) at the end, NaN for such a run.
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
    step: float | Callable[[int], float | Tensor],
    iterations: int,
    optimiser: str | Sequence[str] = "sgd",
    observe: Callable[..., Tensor] | None = None,
    every: int = 1,
) -> Descent:
    """theta <- theta - step * grad loss(theta), for S starts at once.

    loss : takes the parameter tensors (leading dimension S), returns (S,), start s depending on
        slice s alone. A loss that draws fresh samples at every call makes the descent stochastic.
    start : parameter tensors, leading dimension S; not changed.
    step : a number, or a function of the iteration (from 0) that gives one, or one a run (S,): a
        schedule.
    optimiser : "sgd" (the rule above) or "adam" (torch's defaults), or one a run.
    observe : takes the parameters, returns a tensor to record; with the loss, at every
        ``every``-th step, at the first and after the last.

    Raises ValueError for an unknown optimiser, step <= 0, iterations or every < 1.
    """
    names = [optimiser] * len(start[0]) if isinstance(optimiser, str) else list(optimiser)
    if not set(names) <= OPTIMISERS.keys() or len(names) != len(start[0]):
        raise ValueError(
            f"optimiser: expected one of {sorted(OPTIMISERS)}, or one for each of "
            f"{len(start[0])} runs, got {optimiser!r}"
        )
    if iterations < 1:
        raise ValueError(f"iterations: expected at least 1, got {iterations}")
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}")
    if not callable(step) and not step > 0:
        raise ValueError(f"step: expected a number > 0 or a schedule, got {step}")
    length = step if callable(step) else lambda iteration: step
    parameters = [tensor.detach().clone().requires_grad_() for tensor in start]
    direction = _mixed(names, parameters)
    alive = torch.ones(len(parameters[0]), dtype=torch.bool)
    norms = torch.zeros(len(alive), dtype=parameters[0].dtype)
    steps, losses, observed = [], [], []
    for iteration in range(iterations + 1):
        values = loss(*parameters)
        gradients = list(
            torch.autograd.grad(
                values[alive].sum(), parameters, allow_unused=True, materialize_grads=True
            )
        )
        squares = [_by_run(g).square().sum(1) for g in gradients]
        norms = torch.stack(squares).sum(0).sqrt()
        alive = alive & torch.isfinite(values.detach()) & torch.isfinite(norms)
        if iteration % every == 0 or iteration == iterations:
            steps.append(iteration)
            losses.append(values.detach().clone())
            if observe is not None:
                with torch.no_grad():
                    observed.append(observe(*parameters).clone())
        if iteration == iterations:
            break
        gradients = [torch.where(_spread(alive, g), g, 0.0) for g in gradients]
        with torch.no_grad():
            far = torch.as_tensor(length(iteration), dtype=norms.dtype).expand(len(alive))
            goes, ends = alive, list[Tensor]()
            for p, along in zip(parameters, direction(gradients, iteration), strict=True):
                moved = p - _spread(far, p) * along
                goes = goes & torch.isfinite(_by_run(moved)).all(1)
                ends.append(moved)
            for p, moved in zip(parameters, ends, strict=True):
                p.copy_(torch.where(_spread(goes, p), moved, p))
            alive = goes
    return Descent(
        tuple(p.detach() for p in parameters),
        torch.tensor(steps),
        torch.stack(losses),
        torch.stack(observed) if observed else torch.empty(0),
        torch.where(alive, norms, torch.nan),
        ~alive,
    )


def _spread(runs: Tensor, like: Tensor) -> Tensor:
    """A value a run (S,), shaped to meet a tensor with leading dimension S."""
    return runs.view(-1, *[1] * (like.dim() - 1))


def _by_run(values: Tensor) -> Tensor:
    """(S, ...) -> (S, m), one number a run too."""
    return values.reshape(len(values), -1)


def _mixed(names: Sequence[str], parameters: Sequence[Tensor]) -> Direction:
    """Each run's own direction; a way that no run takes costs nothing."""
    ways = {name: OPTIMISERS[name](parameters) for name in dict.fromkeys(names)}
    first, *others = ways
    takes = {name: torch.tensor([mine == name for mine in names]) for name in others}

    def direction(gradients: list[Tensor], iteration: int) -> list[Tensor]:
        along = ways[first](gradients, iteration)
        for name, runs in takes.items():
            pairs = zip(ways[name](gradients, iteration), along, strict=True)
            along = [torch.where(_spread(runs, old), new, old) for new, old in pairs]
        return along

    return direction


def _sgd(parameters: Sequence[Tensor]) -> Direction:
    """The gradient itself."""
    return lambda gradients, iteration: gradients


def _adam(parameters: Sequence[Tensor]) -> Direction:
    """m / (1 - b^(t+1)) over the root of v / (1 - c^(t+1)), m and v running means of the gradient
    and of its square with rates b = 0.9 and c = 0.999 (Kingma, Ba, 2015), torch's defaults.

    Written out because the first use of ``torch.optim`` loads torch's compiler: some seconds in
    every process.
    """
    b, c, epsilon = 0.9, 0.999, 1e-8
    means = [torch.zeros_like(p) for p in parameters]
    squares = [torch.zeros_like(p) for p in parameters]

    def direction(gradients: list[Tensor], iteration: int) -> list[Tensor]:
        along = []
        for mean, square, gradient in zip(means, squares, gradients, strict=True):
            mean.lerp_(gradient, 1 - b)
            square.mul_(c).addcmul_(gradient, gradient, value=1 - c)
            scale = (square / (1 - c ** (iteration + 1))).sqrt_().add_(epsilon)
            along.append(mean / (1 - b ** (iteration + 1)) / scale)
        return along

    return direction


OPTIMISERS: dict[str, Callable[[Sequence[Tensor]], Direction]] = {"sgd": _sgd, "adam": _adam}
