"""What ``recover`` is asked: its arguments, checked, and the problem in its own coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moe.checks import as_floating, as_samples, check_at_least, check_experts, check_positive
from moe.model.mixture import MoE
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import as_seed
from moe.recovery.coordinates import Coordinates, coordinates_of, sample_order
from moe.recovery.results import Origin, Recovery, Stage
from moe.recovery.starts import Options, Problem, Starts

_EXTREME = 1e100


@dataclass(frozen=True, eq=False)
class Task:
    """Samples x (n, d), y (n,) in random order, as they came; the same problem in ``coordinates``;
    the options; a seed."""

    x: Tensor
    y: Tensor
    problem: Problem
    coordinates: Coordinates
    options: Options
    seed: int

    @property
    def shift(self) -> float:
        """How many nats a sample the likelihood is higher in ``coordinates``."""
        return math.log(self.coordinates.scale)

    def brought_back(self, stage: Stage) -> Stage:
        """A stage for the samples as they came."""
        own = self.coordinates
        regressors = None if stage.regressors is None else own.regressors(stage.regressors)
        if stage.name == "L4" and regressors is not None:
            regressors = regressors / regressors.norm(dim=1, keepdim=True)
        return replace(
            stage,
            regressors=regressors,
            gating=None if stage.gating is None else own.gating(stage.gating),
            sigma=None if stage.sigma is None else own.scale * stage.sigma,
            trace=stage.trace - (0.0 if stage.name in ("moments", "L4") else self.shift),
        )


def task_of(
    x: Any,
    y: Any,
    k: int,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
    sigma: float | None = None,
    seed: Any = 0,
    *,
    mu: float | None = None,
    lam: float | None = None,
    gated: bool = True,
    starts: int = 32,
    restarts: int = 300,
    iterations: int = 500,
    initial: Any = None,
    newton: bool = False,
) -> Task:
    """The arguments of ``moe.recover``, checked; newton: see ``Options``. Raises TypeError or
    ValueError, naming the first that cannot be used."""
    seed = as_seed(seed)
    x, y = (part.to("cpu", torch.float64) for part in as_samples(x, y))
    g = as_nonlinearity(nonlinearity)
    known = None if sigma is None else check_positive(sigma, "sigma")
    k = check_experts(k, x.shape[1])
    for name, weight in (("mu", mu), ("lam", lam)):
        if weight is not None:
            check_positive(weight, name)
    starts, restarts, iterations = (
        check_at_least(count, 1, name)
        for name, count in (("starts", starts), ("restarts", restarts), ("iterations", iterations))
    )
    if not isinstance(gated, bool):
        raise TypeError(f"gated: expected True or False, got {gated!r}")
    _check_data(x, y, k, gated, g)
    order = sample_order(x, y, seed)
    x, y = x[order], y[order]
    coordinates = coordinates_of(x, y, g, known)
    level = None if known is None else noise_level(known, coordinates.scale)
    problem = Problem(*coordinates.of(x, y), k, g, level, gated)
    begin = None if initial is None else _initial(initial, x.shape[1], problem, coordinates)
    options = Options(mu, lam, starts, restarts, iterations, begin, newton=newton)
    return Task(x, y, problem, coordinates, options, seed)


def noise_level(sigma: float, scale: float) -> float:
    """sigma / scale, the size of y. Raises ValueError for a sigma in other units than y's."""
    level = sigma / scale
    if not 1 / _EXTREME < level < _EXTREME:
        raise ValueError(
            f"sigma: expected a noise level within a factor of {_EXTREME:g} of the size of y, got "
            f"{sigma:g}"
        )
    return level


def _check_data(x: Tensor, y: Tensor, k: int, gated: bool, g: Nonlinearity) -> None:
    n, d = x.shape
    parameters = (2 * k - 1 if gated else k) * d + 1
    if n <= parameters:
        count = "(2k - 1) d + 1" if gated else "k d + 1"
        raise ValueError(
            f"x: expected more samples than the model has parameters, {count} = {parameters}, "
            f"got n = {n}"
        )
    if not bool(x.any()):
        raise ValueError("x: expected inputs that are not all zero")
    largest = float(y.abs().max())
    if largest > _EXTREME and not g.is_homogeneous:
        raise ValueError(
            f"y: expected outputs below {_EXTREME:g} in size for {g.name} experts, got {largest:g}"
        )
    if largest == 0 or float((y / largest).std()) <= 1e-12:
        raise ValueError(f"y: expected outputs that vary, got the constant {float(y[0]):.6g}")


def _initial(initial: Any, d: int, problem: Problem, coordinates: Coordinates) -> Starts:
    """A model, a fit, or regressors (k, d) or (S, k, d), as starts in ``coordinates``: flat gates
    and the spread of y where they are not given."""
    model = initial.model if isinstance(initial, Recovery) else initial
    model = model if isinstance(model, MoE) else None
    rows = as_floating(initial, "initial") if model is None else model.regressors
    rows = rows.to("cpu", torch.float64)
    if rows.ndim not in (2, 3) or rows.shape[-2:] != (problem.k, d) or len(rows) == 0:
        raise ValueError(
            f"initial: expected a model of k = {problem.k} experts in d = {d} dimensions, or "
            f"regressors (k, d) or (S, k, d), got shape {tuple(rows.shape)}"
        )
    rows = rows if rows.ndim == 3 else rows[None]
    gates, level = torch.zeros_like(rows), problem.y.std()
    if model is not None:
        if model.nonlinearity != problem.g:
            raise ValueError(
                f"initial: expected experts with nonlinearity {problem.g.name!r}, got "
                f"{model.nonlinearity.name!r}"
            )
        gates = model.gating.to("cpu", torch.float64)[None]
        if bool(gates.any()) and not problem.gated:
            raise ValueError("initial: expected equal gates, for the gate is constant")
        level = level.new_tensor(model.sigma / coordinates.scale)
    rows, gates = coordinates.inside(rows, gates)
    largest = max(float(rows.abs().max()), float(gates.abs().max()))
    if not largest < _EXTREME or not 1 / _EXTREME < float(level) < _EXTREME:
        raise ValueError(
            f"initial: expected parameters within a factor of {_EXTREME:g} of the size of x and y, "
            f"got {largest:.3g} times that, and sigma {float(level):.3g} times the outputs"
        )
    unknown = level.new_full((problem.k,), math.nan)
    return Starts(Origin.GIVEN, rows, gates, level.expand(len(rows)), unknown)
