"""The theory's assumptions on real tables: how far they fail, and what each failure costs L_4.

A mixture is fitted to a table. It stands for the truth; then one assumption after the other is made
true, and L_4 is minimised on new samples at every rung.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.estimator.regressor import MoERegressor
from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.real_data.data import Array, digest, load, split
from moe.metrics import regressor_error_of
from moe.model.nonlinearity import as_nonlinearity
from moe.model.regressions import Regressions
from moe.randomness import child_seed, numpy_stream, stream
from moe.recovery.starts import NoStartError, Options, Problem, fourth_moments

RUNGS = (
    "the table itself",
    "outputs of the fitted model",
    "Gaussian inputs",
    "gates outside the span",
    "no offsets",
    "unit experts",
    "orthogonal experts",
)
STARTED, ERROR = "started", "error"


Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Spec:
    """One table (digest: of its file), the law fitted to it (experts and gates (k, d + 1) and sigma
    in white coordinates), n samples a rung (None: as many as 80 % of the table; the first rung
    always has those)."""

    name: str
    digest: str
    experts: Rows
    gates: Rows
    sigma: float
    n: int | None = None

    @property
    def law(self) -> Regressions:
        """On (x, 1)."""
        experts, gates = (
            torch.tensor(rows, dtype=torch.float64) for rows in (self.experts, self.gates)
        )
        sigmas = torch.full((len(experts),), self.sigma, dtype=torch.float64)
        return Regressions(experts, gates, sigmas, as_nonlinearity("linear"))


@dataclass(frozen=True)
class Assumptions:
    """Of one table. kurtosis: lowest and highest of a column (3 for a Gaussian); inside: the share
    of the gates' squared length in the experts' span, and by_chance, that of random directions,
    k / d; norms: longest expert over shortest; offsets: root mean square of the experts' answers at
    the mean input over that of their norms; apart: smallest over largest singular value of the unit
    experts."""

    name: str
    kurtosis: tuple[float, float]
    inside: float
    by_chance: float
    norms: float
    offsets: float
    apart: float


@dataclass(frozen=True, eq=False)
class Record:
    """values[table, n][rung, measure]: one a trial, (trials,). STARTED: whether L_4 gave a start;
    ERROR: E_reg of its experts, NaN without. The first two rungs share the table's inputs."""

    values: dict[tuple[str, int | None], dict[tuple[str, str], NDArray[np.float64]]] = field(
        repr=False
    )


def white(name: str) -> tuple[Tensor, Tensor, Array, Array]:
    """A table with x (n, d) of mean zero and covariance I and y of mean zero and variance one; the
    map x_white = (x - middle) basis, its basis and middle."""
    data = load(name)
    middle = data.x.mean(0)
    values, vectors = np.linalg.eigh(np.cov(data.x.T, bias=True))
    basis = vectors / np.sqrt(values)
    y = (data.y - data.y.mean()) / data.y.std()
    return torch.tensor((data.x - middle) @ basis), torch.tensor(y), basis, middle


def spec_of(name: str, model: MoERegressor, n: int | None = None) -> Spec:
    """The law of a fit to a whole table, in white coordinates."""
    _, _, basis, middle = white(name)
    y = load(name).y
    back, scale = np.linalg.inv(basis).T, float(y.std())
    offsets = model.intercepts_ + model.experts_ @ middle - y.mean()
    experts = np.column_stack([model.experts_ @ back, offsets]) / scale
    shifts = model.gate_intercepts_ + model.gates_ @ middle
    gates = np.column_stack([model.gates_ @ back, shifts])
    sigma = float(np.asarray(model.sigma_)) / scale
    return Spec(name, digest(name), _rows(experts), _rows(gates), sigma, n)


def _rows(values: Array) -> Rows:
    return tuple(tuple(map(float, row)) for row in values)


def assumptions(spec: Spec) -> Assumptions:
    """How far a table, and the mixture fitted to it, are from what the theory assumes."""
    x = load(spec.name).x
    kurtosis = (((x - x.mean(0)) / x.std(0)) ** 4).mean(0)
    law = spec.law
    experts, offsets, gates = law.experts[:, :-1], law.experts[:, -1], law.gates[:, :-1]
    norms = experts.norm(dim=1)
    sizes = torch.linalg.svdvals(experts / norms[:, None])
    return Assumptions(
        spec.name,
        (float(kurtosis.min()), float(kurtosis.max())),
        _inside(gates, experts),
        min(1.0, law.k / x.shape[1]),
        float(norms.max() / norms.min()),
        float((offsets.square().mean() / norms.square().mean()).sqrt()),
        float(sizes[-1] / sizes[0]) if law.k <= x.shape[1] else 0.0,
    )


def _inside(gates: Tensor, experts: Tensor) -> float:
    centred = gates - gates.mean(0)
    basis = torch.linalg.qr(experts.T).Q
    return float((centred @ basis).square().sum() / centred.square().sum())


def climb(law: Regressions, rung: str) -> Regressions:
    """The law with all that is assumed up to a rung; what is not assumed stays as it was fitted."""
    at = RUNGS.index(rung)
    experts, gates, sigmas = law.experts.clone(), law.gates.clone(), law.sigmas
    if at >= RUNGS.index("gates outside the span"):
        basis = torch.linalg.qr(experts[:, :-1].T).Q
        slopes = gates[:, :-1]
        outside = slopes - slopes @ basis @ basis.T
        gates[:, :-1] = outside * (slopes.norm() / outside.norm())
    if at >= RUNGS.index("no offsets"):
        experts[:, -1] = gates[:, -1] = 0.0
    if at >= RUNGS.index("unit experts"):
        norms = experts[:, :-1].norm(dim=1)
        experts, sigmas = experts / norms[:, None], sigmas / norms.square().mean().sqrt()
    if at >= RUNGS.index("orthogonal experts"):
        left, _, right = torch.linalg.svd(experts[:, :-1], full_matrices=False)
        experts[:, :-1] = left @ right
    return Regressions(experts, gates, sigmas, law.nonlinearity)


def run(specs: Sequence[Spec], trials: int, seed: int) -> Record:
    """Every spec, ``trials`` times."""
    seeds = [child_seed(seed, "ladder", index) for index in range(trials)]
    found = by_spec(sweep(trial, specs, seeds), trials)
    values = {}
    for spec, every in zip(specs, found, strict=True):
        cells = {}
        for key in every[0].result:
            rung, measure = key.split(": ")
            cells[rung, measure] = np.array([each.result[key] for each in every])
        values[spec.name, spec.n] = cells
    return Record(values)


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """One draw a rung: whether L_4 gave a start, and E_reg of its experts."""
    table_x, table_y, _, _ = white(spec.name)
    kept, _ = split(len(table_y), seed)
    result = {}
    for place, rung in enumerate(RUNGS):
        law, n = climb(spec.law, rung), spec.n or len(kept)
        if place == 0:
            x, y = table_x[kept], table_y[kept]
        else:
            if place == 1:
                rows = numpy_stream("rows", seed).integers(0, len(table_y), n)
                x = table_x[torch.from_numpy(rows)]
            else:
                shape = (n, table_x.shape[1])
                x = torch.randn(*shape, generator=stream("inputs", seed), dtype=torch.float64)
            closed = torch.cat([x, x.new_ones(n, 1)], 1)
            y = law.sample(closed, closed, stream("data", seed, place))
        regressors = start(x, y, law.k, seed)
        error = math.nan
        if regressors is not None:
            error = regressor_error_of(regressors, law.experts[:, :-1])
        result[f"{rung}: {STARTED}"] = float(regressors is not None)
        result[f"{rung}: {ERROR}"] = error
    return result


def start(x: Tensor, y: Tensor, k: int, seed: int) -> Tensor | None:
    """L_4's experts (k, d) for samples that are centred first, as the estimator has them; None
    where it refuses."""
    x, y = x - x.mean(0), y - y.mean()
    problem = Problem(x, y, k, as_nonlinearity("linear"), None, True)
    try:
        return fourth_moments(problem, problem, Options(), stream("solver", seed)).regressors[0]
    except NoStartError:
        return None


def starts(name: str, k: int, splits: int, seed: int) -> int:
    """In how many random splits L_4 gives a start to the part that is fitted."""
    x, y, _, _ = white(name)
    count = 0
    for index in range(splits):
        kept, _ = split(len(y), child_seed(seed, "starts", index))
        count += start(x[kept], y[kept], k, seed) is not None
    return count
