"""The rates of EM and gradient descent on L_log do not depend on the dimension."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from moe.experiments.gating_loss.information import GateInformation, gate_information
from moe.experiments.gating_loss.rates import run_em
from moe.model.mixture import MoE, full_gating, random_moe
from moe.randomness import stream


def fresh_rates(
    fitted: GateInformation, model: MoE, n: int, generator: torch.Generator
) -> tuple[float, float]:
    """Rates of EM and of gradient descent at ``model`` on n samples that ``fitted`` has not seen,
    in the directions that are extreme for it: EM's slowest one, and the flattest and the steepest
    of the Hessian. At most the population's rates, up to the sample's error.

    Only the coordinates of x in the span of the model and of these directions are drawn.
    """
    _, axes = torch.linalg.eigh(fitted.observed)
    ways = torch.stack([fitted.slowest, axes[:, 0], axes[:, -1]]).view(3, model.k - 1, model.d)
    rows = torch.cat([model.regressors, model.gating[:-1], ways.flatten(0, 1)])
    basis = torch.linalg.qr(rows.T).Q
    inside = MoE(model.regressors @ basis, model.gating @ basis, model.sigma, model.nonlinearity)
    x, y = inside.sample(n, generator)
    missing, complete = in_directions(full_gating(ways @ basis), inside, x, y)
    flat, steep = (complete - missing)[1:].tolist()
    return float(missing[0] / complete[0]), (steep - flat) / (steep + flat)


def in_directions(ways: Tensor, model: MoE, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """E Var_r <v, x> and E Var_p <v, x> for each v of ``ways`` (V, k, d), last rows zero: (V,)."""
    along = x @ ways.mT
    missing, complete = (
        ((share * along.square()).sum(-1) - (share * along).sum(-1).square()).mean(-1)
        for share in (model.responsibilities(x, y), model.gate(x))
    )
    return missing, complete


@dataclass(frozen=True)
class DimensionSpec:
    """One geometry of regressors and gates a trial, placed in spaces of growing dimension."""

    dimensions: tuple[int, ...] = (6, 10, 20, 50, 100)
    k: int = 3
    sigma: float = 0.3
    gate_norm: float = 1.0
    n: int = 20_000
    population: int = 200_000
    trials: int = 4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class DimensionRecord:
    """EM's rate measured (dimensions, trials) and predicted from the same sample's information;
    descent (dimensions, trials): gradient descent's rate from the Hessian; fresh, descent_fresh
    (dimensions, trials): ``fresh_rates`` on ``population`` samples; em_limit, descent_limit
    (trials,): both rates for the population, from as large a sample in 2k dimensions."""

    spec: DimensionSpec
    em_measured: Tensor
    em_predicted: Tensor
    descent: Tensor
    fresh: Tensor
    descent_fresh: Tensor
    em_limit: Tensor
    descent_limit: Tensor


def run_dimension(spec: DimensionSpec) -> DimensionRecord:
    """Rates against d, the Gram matrix of (A, W) held fixed, for d above the dimension 2k - 1 of
    their span. Raises ValueError if d < 2k."""
    least = 2 * spec.k - 1
    if min(spec.dimensions) <= least:
        raise ValueError(f"dimensions: expected d >= 2k = {least + 1}, got {min(spec.dimensions)}")
    rows: list[list[float]] = []
    limits: list[list[float]] = []
    for trial in range(spec.trials):
        small = random_moe(
            spec.k,
            least,
            sigma=spec.sigma,
            gate_norm=spec.gate_norm,
            generator=stream("truth", spec.seed, trial),
        )
        wide = _embed(small, least + 1)
        population = wide.sample(spec.population, stream("population", spec.seed, trial))
        at_truth = gate_information(wide, *population)
        limits.append([at_truth.em_rate, at_truth.gradient_rate])
        for d in spec.dimensions:
            here = _embed(small, d)
            measured, at_best = run_em(here, spec.n, 35, spec.seed, d, trial)
            generator = stream("fresh", spec.seed, d, trial)
            fresh = fresh_rates(at_best, here, spec.population, generator)
            rows.append([measured, at_best.em_rate, at_best.gradient_rate, *fresh])
    shape = (spec.trials, len(spec.dimensions), 5)
    table = torch.tensor(rows, dtype=torch.float64).view(shape).permute(2, 1, 0)
    return DimensionRecord(spec, *table, *torch.tensor(limits, dtype=torch.float64).T)


def _embed(model: MoE, d: int) -> MoE:
    """The same regressors and gates in R^d, d >= model.d, with zeros appended."""
    extra = (0, d - model.d)
    return MoE(
        pad(model.regressors, extra), pad(model.gating, extra), model.sigma, model.nonlinearity
    )
