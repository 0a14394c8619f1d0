"""What speaks against a fit, beyond the search: few samples, experts alike, endless gates."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2, kstest
from torch import Tensor

from moe.estimator.fit.design import Block
from moe.estimator.fit.task import Task, fair_rows
from moe.likelihood.diagnostics import dependence_p_value, exact, in_words
from moe.likelihood.gate_check import gate_doubt
from moe.model.regressions import Regressions
from moe.recovery.coordinates import sample_order

_LEVEL, _ALIKE, _RATIO = 1e-4, 0.01, 1.5
_PER_PARAMETER = 3
_TESTED = 100_000
_ONE_SAMPLE = 0.99


def pooled(task: Task) -> Regressions:
    """All experts at the one least-squares regression (the shortest), gates zero: where there are
    no more samples than parameters a mixture cannot be told from it. For other than linear experts
    that of the linear predictor on y."""
    root = task.weights.sqrt()[:, None]
    line = torch.linalg.lstsq(root * task.x, root * task.y[:, None], driver="gelsd").solution[:, 0]
    if not bool(torch.isfinite(line).all()):
        line = torch.zeros_like(line)
    rest = task.y - task.g(task.x @ line)
    variance = float(task.weights @ rest.square() / task.weights.sum())
    least = 1e-7 * float(task.y.square().mean().sqrt())
    constant = 1e-7 * abs(task.design.shift) / task.design.scale
    sigma = task.sigma or max(math.sqrt(variance), least) or constant or 1.0
    experts = line.expand(task.k, -1).clone()
    gates = experts.new_zeros(task.k, task.z.shape[1])
    return Regressions(experts, gates, experts.new_full((task.k,), sigma), task.g)


def too_few(task: Task) -> str:
    """Why no mixture is fitted at all; empty where one is."""
    n, size = len(task.y), task.parameters
    level = float(task.y.abs().max()) + abs(task.design.shift) / task.design.scale
    if float(task.y.max() - task.y.min()) <= 1e-12 * level:
        return "the outputs do not vary: all experts are one constant"
    if n > size or task.k == 1:
        return ""
    return (
        f"{n} distinct samples for {size} parameters: no mixture can be told from one regression, "
        "which all experts then are"
    )


def noiseless(law: Regressions, task: Task) -> bool:
    """Whether every sample is fitted exactly (``exact``, of y before it was centred)."""
    residual = (task.y[:, None] - law.expert_means(task.x)).abs()
    r = law.responsibilities(task.x, task.z, task.y)
    return exact((r * residual).sum(1), task.y + task.design.shift / task.design.scale)


def doubts(law: Regressions, task: Task, copies: int) -> list[str]:
    """Why the fit should not be trusted, in words; empty when nothing speaks against it.

    law: on the white designs, experts in their final order. copies: how often every row came.
    """
    found = []
    n = float(task.weights.sum())
    if copies > 1:
        found.append(
            f"every row comes {copies} times: copies are no samples, so errors are too small by "
            f"the root of that; give each once, with sample_weight if it counts for more"
        )
    if n / max(copies, 1) < _PER_PARAMETER * task.parameters:
        counted = "" if task.even and copies == n / len(task.y) else ", as the weights count them,"
        found.append(
            f"{n / max(copies, 1):g} samples{counted} for {task.parameters} parameters: fewer than "
            f"{_PER_PARAMETER} for each are too few to tell a wrong fit from a right one"
        )
    found += [*_experts(law, task), *_exact(law, task), *_gates(law, task)]
    if not noiseless(law, task):
        p_value = calibration(law, task)
        if p_value < _LEVEL:
            found.append(
                "the fitted model does not describe the data: its predictive distribution is not "
                f"calibrated, {in_words(p_value)}"
            )
    return found


def dependent(block: Block, who: str, names: list[str]) -> list[str]:
    """Columns that are sums of others, or constant, leave coefficients open: which, in words."""
    if not block.deficient:
        return []
    return [
        f"the {who} columns ({', '.join(names)}) depend linearly on one another"
        f"{' and on the intercept' if block.ones else ''}: rank {block.basis.shape[1]} of "
        f"{block.basis.shape[0]}; their coefficients are the shortest of those that fit "
        "equally, in the fit's own scaling"
    ]


def lonely_rows(x: Tensor, names: list[str]) -> list[str]:
    """Columns of x (n, m) whose variation is that of one sample, in words."""
    size = x.abs().amax(0)
    unit = x / torch.where(size > 0, size, 1.0)
    squares = (unit - unit.median(0).values).square()
    share = squares.amax(0) / squares.sum(0).clamp_min(torch.finfo(x.dtype).tiny)
    return [
        f"column {names[j]}: one sample holds {100 * float(share[j]):.4g} % of its squares about "
        "the median, so its coefficients rest on that sample"
        for j in (share > _ONE_SAMPLE).nonzero()[:, 0].tolist()
    ]


def _experts(law: Regressions, task: Task) -> list[str]:
    found, p = [], task.x.shape[1]
    load = task.weights @ law.responsibilities(task.x, task.z, task.y)
    for i in (load < p).nonzero()[:, 0].tolist():
        found.append(
            f"expert {i} has collapsed: it answers for {float(load[i]):.1f} samples, fewer than "
            f"its {p} coefficients"
        )
    means = law.expert_means(task.x)
    for i, j in combinations(range(law.k), 2):
        low, high = sorted((float(law.sigmas[i]), float(law.sigmas[j])))
        if high > _RATIO * low:
            continue
        shared = 1.0 / float(load[[i, j]].clamp_min(1e-12).reciprocal().sum())
        apart = float(task.weights @ (means[:, i] - means[:, j]).square() / task.weights.sum())
        apart *= shared / high**2
        if apart < chi2.isf(_ALIKE, p):
            found.append(
                f"experts {i} and {j} are alike: what they answer differs by no more than two fits "
                f"of one expert would, chi-squared {apart:.1f} with {p} coefficients"
            )
    return found


def _exact(law: Regressions, task: Task) -> list[str]:
    """An expert whose own noise level is above what its residuals are: these are (nearly) zero, as
    of outputs that are one number many times, and what prior the search has keeps it there."""
    if not task.own:
        return []
    r = law.responsibilities(task.x, task.z, task.y)
    squares = task.weights @ (r * (task.y[:, None] - law.expert_means(task.x)).square())
    load = (task.weights @ r).clamp_min(torch.finfo(r.dtype).tiny)
    return [
        f"expert {i} fits its samples exactly, or nearly: its noise level is where the search's "
        "prior holds it, and the level, the likelihood and AIC, BIC and ICL mean nothing"
        for i in (2 * squares / load < law.sigmas.square()).nonzero()[:, 0].tolist()
    ]


def _gates(law: Regressions, task: Task) -> list[str]:
    """A gate that is sure of every sample has no finite weights: longer ones fit better."""
    if law.k == 1 or task.z.shape[1] == 1 or task.gate != "softmax":
        return []
    unsure = float(task.weights @ (1 - law.gate(task.z).amax(1)))
    if unsure >= 1:
        return []
    return [
        "the gates separate the samples: their weights grow without end, only their directions "
        f"and where they change mean something (all samples together {unsure:.2g} unsure)"
    ]


def _tested(task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """x, z, y of the rows that tests look at."""
    rows = fair_rows(task.weights)
    if len(rows) > _TESTED:
        rows = rows[sample_order(task.x[rows], task.y[rows], 0)[:_TESTED]]
    return task.x[rows], task.z[rows], task.y[rows]


def gate_doubts(law: Regressions, task: Task) -> list[str]:
    """What speaks against a softmax gate (``moe.likelihood.gate_check``), in words."""
    if law.k == 1 or task.gate != "softmax" or not task.design.gate.columns.numel():
        return []
    x, z, y = _tested(task)
    excess = law.responsibilities(x, z, y) - law.gate(z)
    remedy = 'gate="any", a classifier, or columns that bend, as splines, may'
    return gate_doubt(excess, z, remedy, offsets=task.design.gate.ones)


def calibration(law: Regressions, task: Task) -> float:
    """p-value of the hypothesis that F(y | x) is uniform whatever x
    (``moe.likelihood.diagnostics.calibration_p_value``); copies are samples, of weights that are
    no counts a sample is taken, and of many samples a random part."""
    x, z, y = _tested(task)
    uniform = law.cumulative(x, z, y)
    together = float(kstest(uniform.numpy(), "uniform").pvalue)
    return min(1.0, 2 * min(together, dependence_p_value(uniform, x)))


def copies_of(weights: NDArray[np.float64]) -> int:
    """The greatest common divisor of the counts: how often every row came, at least."""
    whole = np.round(weights).astype(np.int64)
    if not np.array_equal(whole, weights):
        return 1
    return int(np.gcd.reduce(whole))
