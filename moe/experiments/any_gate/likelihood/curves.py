"""E_reg against n under gates that are not softmax: moments, and likelihoods with several gates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.experiments.engine.sweep import by_spec, sweep
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.recovery.any_gate.constant import constant
from moe.recovery.arguments import task_of
from moe.recovery.climbing import climbed
from moe.recovery.plan import carried_out
from moe.recovery.starts import Problem
from moe.recovery.verdict import verdict
from moe.solvers.l4 import NoMinimumError, minimise_l4
from moe.solvers.streaming import stream_l4_moments

L4, CONSTANT = "L_4", "constant"
SOFTMAX, OFFSETS, RECOVER = "softmax", "softmax with offsets", "recover"
DOUBTED = "doubted"
ORACLES = (SOFTMAX, OFFSETS)
_CHUNK = 100_000
_LEARNED, _STEPS, _LEFT = ("regressors", "gating", "sigma"), 500, 0.05


@dataclass(frozen=True)
class Spec:
    """``mixtures`` random mixtures with a gate of each kind at each sigma, n of each of ``sizes``.

    recovered: sizes at which softmax ``recover`` runs too, for the sigmas in ``loud`` alone. L_4
    and the constant gate go on to ``far`` samples there, and L_4, for the first mixture of each
    kind, to ``streamed`` fresh ones, whose moments are summed in chunks.
    """

    kinds: tuple[str, ...] = ("softmax", "quadrants", "shells", "tree", "network", "top-1")
    sigmas: tuple[float, ...] = (0.2, 0.5, 1.0)
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    far: tuple[int, ...] = ()
    streamed: tuple[int, ...] = ()
    recovered: tuple[int, ...] = ()
    loud: tuple[float, ...] = (1.0,)
    mixtures: int = 3
    k: int = 3
    d: int = 7
    nonlinearity: str = "linear"
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """errors[kind, sigma][method]: a tensor (sizes of that method, mixtures) of E_reg; NaN where
    L_4 refused; DOUBTED: one where softmax ``recover`` doubts itself."""

    spec: Spec
    errors: dict[tuple[str, float], dict[str, Tensor]]

    def sizes(self, method: str, sigma: float) -> tuple[int, ...]:
        """At which n a method ran."""
        spec = self.spec
        if method in (L4, CONSTANT) and sigma in spec.loud:
            return spec.sizes + spec.far + (spec.streamed if method == L4 else ())
        if method in (RECOVER, DOUBTED):
            return spec.recovered
        return spec.sizes

    def at(self, kind: str, sigma: float, method: str, n: int) -> Tensor:
        """E_reg of that cell, (mixtures,)."""
        return self.errors[kind, sigma][method][self.sizes(method, sigma).index(n)]


@dataclass(frozen=True)
class Trial:
    """The mixture number ``index`` with a gate of one kind, at one sigma; sizes as in ``Spec``, of
    ``far``, ``recovered`` and ``streamed`` those that run here."""

    kind: str
    sigma: float
    index: int
    sizes: tuple[int, ...]
    far: tuple[int, ...]
    recovered: tuple[int, ...]
    streamed: tuple[int, ...]
    k: int
    d: int
    nonlinearity: str

    def truth(self, seed: int) -> tuple[GatedExperts, int]:
        """The mixture, and the seed of all that is drawn for it, the same at every sigma."""
        own = child_seed(seed, self.kind, self.index)
        args = self.kind, self.k, self.d, self.sigma, own, self.nonlinearity
        return gated_experts(*args), own


def run(spec: Spec, workers: int | None = None) -> Record:
    """All trials, through the sweep engine. Deterministic in ``spec``."""
    cells = [(kind, sigma) for kind in spec.kinds for sigma in spec.sigmas]
    trials = [_trial_of(spec, *cell, index) for cell in cells for index in range(spec.mixtures)]
    done = by_spec(sweep(trial, trials, [spec.seed], workers=workers), spec.mixtures)
    whole = Record(spec, {})
    for (kind, sigma), group in zip(cells, done, strict=True):
        rows = [one.result for one in group]
        loud = sigma in spec.loud
        whole.errors[kind, sigma] = {
            method: torch.tensor(
                [
                    [row.get(f"{method} {n}", math.nan) for row in rows]
                    for n in whole.sizes(method, sigma)
                ],
                dtype=torch.float64,
            )
            for method in (L4, CONSTANT, *ORACLES, *((RECOVER, DOUBTED) if loud else ()))
        }
    return whole


def _trial_of(spec: Spec, kind: str, sigma: float, index: int) -> Trial:
    loud = sigma in spec.loud
    return Trial(
        *(kind, sigma, index, spec.sizes),
        spec.far if loud else (),
        spec.recovered if loud else (),
        spec.streamed if loud and index == 0 else (),
        *(spec.k, spec.d, spec.nonlinearity),
    )


def trial(spec: Trial, seed: int) -> dict[str, float]:
    """E_reg of every method at its sizes, keys "method n"; samples of smaller n are the first of
    those of the largest."""
    truth, own = spec.truth(seed)
    x, y = truth.sample(max(spec.sizes + spec.far), stream("data", own))
    out: dict[str, float] = {}
    for n in spec.sizes + spec.far:
        out[f"{L4} {n}"], out[f"{CONSTANT} {n}"] = experts(truth, x[:n], y[:n], own)
    for n in spec.sizes:
        for name in ORACLES:
            error = softmax_from_the_truth(truth, x[:n], y[:n], name == OFFSETS)
            out[f"{name} {n}"] = error
    for n in spec.recovered:
        out[f"{RECOVER} {n}"], out[f"{DOUBTED} {n}"] = recovered(truth, x[:n], y[:n], own)
    for n in spec.streamed:
        out[f"{L4} {n}"] = streamed(truth, own, n)
    return out


def streamed(truth: GatedExperts, seed: int, n: int) -> float:
    """E_reg of L_4 from n fresh samples, drawn once and kept in single precision between the two
    passes, whose moments are summed chunk by chunk; NaN where it refuses."""
    starts = range(0, n, _CHUNK)
    chunks = []
    for number, start in enumerate(starts):
        x, y = truth.sample(min(_CHUNK, n - start), stream("data", seed, 1, number))
        chunks.append((x.float(), y.float()))
    try:
        moments, pull = stream_l4_moments(chunks, len(truth.regressors), truth.nonlinearity)
        fit = minimise_l4(moments, pull, stream("solver", seed))
    except NoMinimumError:
        return math.nan
    return regressor_error_of(fit.regressors, truth.regressors)


def experts(truth: GatedExperts, x: Tensor, y: Tensor, seed: int) -> tuple[float, float]:
    """E_reg of the moments, and of the likelihood with constant proportions: what
    ``recover(..., gate="any", classifiers=())`` finds, without its covariance and last tests."""
    task = task_of(x, y, len(truth.regressors), truth.nonlinearity, seed=seed, gated=False)
    _, moments, fit, refusals = constant(task)
    rows, found = (task.coordinates.regressors(each) for each in (moments, fit.regressors))
    rows = rows / rows.norm(dim=1, keepdim=True)
    refused = any(why.startswith("L_4") for why in refusals)
    error = math.nan if refused else regressor_error_of(rows, truth.regressors)
    return error, regressor_error_of(found, truth.regressors)


def softmax_from_the_truth(
    truth: GatedExperts, x: Tensor, y: Tensor, offsets: bool = False
) -> float:
    """E_reg of the likelihood with a softmax gate: joint EM from the true experts, sigma and W = 0,
    and Newton's method for its last steps.

    offsets: inputs get a column of ones, so that gates have offsets (experts too, truly zero).
    """
    rows = truth.regressors
    if offsets:
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        rows = torch.nn.functional.pad(rows, (0, 1))
    problem = Problem(x, y, len(rows), truth.nonlinearity, None, gated=True)
    begin = rows[None], torch.zeros_like(rows)[None], rows.new_tensor([truth.sigma])
    end = climbed(problem, begin, _LEARNED, _STEPS, _LEFT, newton=True)
    return regressor_error_of(end.regressors[0][:, : truth.regressors.shape[1]], truth.regressors)


def recovered(truth: GatedExperts, x: Tensor, y: Tensor, seed: int) -> tuple[float, bool]:
    """E_reg of softmax ``recover``, and whether it doubts itself and names the way out. Newton's
    method takes EM's last steps, which are its slowest."""
    task = task_of(x, y, len(truth.regressors), truth.nonlinearity, seed=seed, newton=True)
    fit = verdict(carried_out(task))
    return regressor_error_of(fit.model.regressors, truth.regressors), 'gate="any"' in fit.reason
