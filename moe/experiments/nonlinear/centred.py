"""The error of T by three estimates: exact, and measured over data sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.nonlinear.own import named
from moe.model.mixture import MoE
from moe.moments.centring import Costs, Method, costs
from moe.moments.estimate import Moments
from moe.moments.transforms import output_transform
from moe.randomness import stream

METHODS: tuple[Method, ...] = ("average", "centred", "least_squares")


@dataclass(frozen=True)
class Spec:
    """n samples of k orthonormal experts of equal share in R^k, no gates; the moment of order
    ``degree`` by each of ``METHODS``."""

    nonlinearity: str
    sigma: float = 0.1
    k: int = 3
    n: int = 10_000
    degree: int = 4


@dataclass(frozen=True, eq=False)
class Cell:
    """errors (methods, seeds): n |T_hat - T|_F^2, T exact; costs: what they are on average."""

    spec: Spec
    errors: Tensor
    costs: Costs

    def ratio(self, method: Method) -> Tensor:
        """Measured over exact, a number a data set."""
        return self.errors[METHODS.index(method)] / getattr(self.costs, method)

    @property
    def gain(self) -> Tensor:
        """Root mean square error of each method over that of the plain average, (methods,)."""
        mean = self.errors.mean(1)
        return (mean / mean[0]).sqrt()


def exact_costs(name: str, sigma: float, k: int, degree: int = 4) -> Costs:
    """``costs`` in the span of k experts."""
    return costs(output_transform(named(name), sigma, degree), k, k)


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """n |T_hat - T|_F^2 by every method, on the same samples."""
    g, eye = named(spec.nonlinearity), torch.eye(spec.k, dtype=torch.float64)
    truth = MoE(eye, torch.zeros_like(eye), spec.sigma, g)
    x, y = truth.sample(spec.n, stream("data", seed))
    transform = output_transform(g, spec.sigma, spec.degree)
    sums = Moments(transform, spec.k, None, "least_squares").update(x, y)
    exact = torch.zeros((spec.k,) * spec.degree, dtype=torch.float64)
    for i in range(spec.k):
        exact[(i,) * spec.degree] = 1 / spec.k
    return {m: spec.n * float((sums.tensor(m) - exact).square().sum()) for m in METHODS}


def run(specs: Sequence[Spec], seeds: Iterable[int], workers: int | None = None) -> list[Cell]:
    """Every spec with every seed."""
    seeds = list(seeds)
    cells = []
    trials = sweep(trial, specs, seeds, workers=workers)
    for spec, mine in zip(specs, by_spec(trials, len(seeds)), strict=True):
        rows = [[one.result[method] for one in mine] for method in METHODS]
        exact = exact_costs(spec.nonlinearity, spec.sigma, spec.k, spec.degree)
        cells.append(Cell(spec, torch.tensor(rows, dtype=torch.float64), exact))
    return cells
