"""Two losses against joint training, on routed layers (book, chapter 10)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.experiments.any_gate.routed.joint import (
    LIKELIHOOD,
    SOFT,
    SPARSE,
    Data,
    Students,
    random_students,
    train,
)
from moe.experiments.any_gate.routed.layers import RoutedLayer, routed_layer
from moe.experiments.engine.sweep import sweep
from moe.metrics import regressor_error_of
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import child_seed, stream
from moe.recovery import recover

TWO, THEN, ON = "two losses", "two losses, then likelihood", "two losses, then soft squared loss"
LONG = "soft squared loss, eight times the budget"
METHODS = (TWO, THEN, ON, LIKELIHOOD, SOFT, SPARSE, LONG)
_MORE_STEPS, _MORE_STARTS = 4, 2
_KINDS = {LONG: SOFT}
_AFTER = {THEN: LIKELIHOOD, ON: SOFT}  # what goes on from the two losses' experts


@dataclass(frozen=True)
class Spec:
    """``layers`` random layers for each pair of ``settings``, how many experts a layer chooses and
    g; n samples, a fifth of them held out. Adam: every one of ``steps`` with ``starts`` random
    starts, and for ``long`` g the soft squared loss with more of both."""

    settings: tuple[tuple[int, str], ...] = ((1, "linear"), (1, "tanh"), (2, "linear"))
    long: tuple[str, ...] = ("linear",)
    k: int = 3
    d: int = 7
    sigma: float = 0.3
    n: int = 10_000
    tested: int = 4_000
    layers: int = 4
    steps: tuple[float, ...] = (0.01, 0.03)
    starts: int = 3
    iterations: int = 400
    batch: int = 256
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """errors, excess[chosen, g][method]: (layers,) each: E_reg, and the mean squared difference of
    the prediction and E[y | x] at new inputs, over the variance of E[y | x]."""

    spec: Spec
    errors: dict[tuple[int, str], dict[str, Tensor]]
    excess: dict[tuple[int, str], dict[str, Tensor]]


@dataclass(frozen=True)
class Trial:
    """One of the settings of a contest: how many experts a layer chooses, and g."""

    spec: Spec
    chosen: int
    g: str


def run(spec: Spec, workers: int | None = None) -> Record:
    """All layers of a kind side by side, kinds through the sweep engine. Deterministic in
    ``spec``."""
    trials = [Trial(spec, *setting) for setting in spec.settings]
    record = Record(spec, {}, {})
    done = sweep(trial, trials, [spec.seed], workers=workers)
    for setting, one in zip(spec.settings, done, strict=True):
        for kind, cells in (("error", record.errors), ("excess", record.excess)):
            cells[setting] = {
                method: torch.tensor(
                    [one.result[f"{kind} {method} {layer}"] for layer in range(spec.layers)],
                    dtype=torch.float64,
                )
                for method in METHODS
                if f"{kind} {method} 0" in one.result
            }
    return record


def trial(of: Trial, seed: int) -> dict[str, float]:
    """Errors and excess of every method on every layer of a setting, keys "error method layer"."""
    errors, excess = _contest(replace(of.spec, seed=seed), of.chosen, of.g)
    return {
        f"{kind} {method} {layer}": value
        for kind, cells in (("error", errors), ("excess", excess))
        for method, values in cells.items()
        for layer, value in enumerate(values.tolist())
    }


def _contest(spec: Spec, chosen: int, g: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    seeds = [child_seed(spec.seed, "routed", chosen, index) for index in range(spec.layers)]
    layers = [routed_layer(chosen, spec.k, spec.d, spec.sigma, seed, g) for seed in seeds]
    pairs = [
        each.sample(spec.n, stream("data", seed)) for each, seed in zip(layers, seeds, strict=True)
    ]
    x, y = (torch.stack(part) for part in zip(*pairs, strict=True))
    data = Data(x, y, spec.n // 5, as_nonlinearity(g), max(2, chosen))
    new = torch.stack(
        [
            torch.randn(spec.tested, spec.d, generator=stream("new", seed), dtype=torch.float64)
            for seed in seeds
        ]
    )
    best = torch.stack(
        [
            each.mean(at, stream("router of the test", seed))
            for each, at, seed in zip(layers, new, seeds, strict=True)
        ]
    )
    errors, means = {}, {}
    errors[TWO], means[TWO], begin = _two_losses(spec, layers, data, new, seeds)
    generator = stream("adam", child_seed(spec.seed, chosen, g))
    for method in METHODS[1:]:
        if method == LONG and g not in spec.long:
            continue
        long, starts = method == LONG, spec.starts * (_MORE_STARTS if method == LONG else 1)
        kind = (_AFTER | _KINDS).get(method, method)
        start = begin
        if method not in _AFTER:
            start = random_students(spec.layers, starts, spec.k, spec.d, generator)
        count = spec.iterations * (_MORE_STEPS if long else 1)
        end = train(kind, data, start, spec.steps, count, spec.batch, generator)
        errors[method] = _errors(end.experts[:, 0], layers)
        means[method] = end.mean(kind, new, data, generator)[:, 0]
    variance = best.var(1)
    return errors, {m: (v - best).square().mean(1) / variance for m, v in means.items()}


def _two_losses(
    spec: Spec, layers: list[RoutedLayer], data: Data, new: Tensor, seeds: list[int]
) -> tuple[Tensor, Tensor, Students]:
    """E_reg and predictions of recover(gate="any"), with a linear classifier as routers are linear,
    on the samples that are not held out; the students with its experts, no gate, its sigma."""
    from sklearn.linear_model import LogisticRegression  # slow to import

    seen = data.x.shape[1] - data.held
    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x, y, seed in zip(data.x, data.y, seeds, strict=True):
            gate = (LogisticRegression(),)
            seen_x, seen_y = x[:seen], y[:seen]
            fits.append(
                recover(seen_x, seen_y, spec.k, data.g, seed=seed, gate="any", classifiers=gate)
            )
    experts = torch.stack([fit.regressors for fit in fits])
    means = torch.stack([fit.mean(at) for fit, at in zip(fits, new, strict=True)])
    sigmas = torch.tensor([[[fit.sigma]] for fit in fits], dtype=torch.float64)
    gates = torch.zeros(len(fits), 1, spec.k, spec.d + 1, dtype=torch.float64)
    begin = Students(experts[:, None], gates, gates.clone(), sigmas.log())
    return _errors(experts, layers), means, begin


def _errors(experts: Tensor, layers: list[RoutedLayer]) -> Tensor:
    found = [
        regressor_error_of(rows, layer.regressors)
        for rows, layer in zip(experts, layers, strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)
