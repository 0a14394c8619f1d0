"""E_reg against n under gates that are not softmax: moments, and likelihoods with several gates."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.metrics import regressor_error_of
from moe.randomness import child_seed, stream
from moe.recovery import recover
from moe.solvers.em import expectation_maximisation
from moe.solvers.l4 import NoMinimumError, minimise_l4
from moe.solvers.streaming import stream_l4_moments

L4, CONSTANT = "L_4", "constant"
SOFTMAX, OFFSETS, RECOVER = "softmax", "softmax with offsets", "recover"
DOUBTED = "doubted"
ORACLES = (SOFTMAX, OFFSETS)
_CHUNK = 100_000


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


def run(spec: Spec) -> Record:
    """All trials. Deterministic in ``spec``."""
    errors: dict[tuple[str, float], dict[str, Tensor]] = {}
    for kind in spec.kinds:
        for sigma in spec.sigmas:
            seeds = [child_seed(spec.seed, kind, index) for index in range(spec.mixtures)]
            trials = [trial(spec, kind, sigma, seed) for seed in seeds]
            if sigma in spec.loud:
                for index, one in enumerate(trials):
                    one[L4] += [
                        math.nan if index else streamed(spec, kind, sigma, seeds[0], n)
                        for n in spec.streamed
                    ]
            errors[kind, sigma] = {
                method: torch.tensor([t[method] for t in trials], dtype=torch.float64).T
                for method in trials[0]
            }
    return Record(spec, errors)


def trial(spec: Spec, kind: str, sigma: float, seed: int) -> dict[str, list[float]]:
    """E_reg of every method at its sizes, on one mixture; samples of smaller n are the first of
    those of the largest."""
    truth = gated_experts(kind, spec.k, spec.d, sigma, seed, spec.nonlinearity)
    loud = sigma in spec.loud
    far = spec.far if loud else ()
    x, y = truth.sample(max(spec.sizes + far), stream("data", seed))
    out: dict[str, list[float]] = {L4: [], CONSTANT: [], SOFTMAX: [], OFFSETS: []}
    for n in spec.sizes + far:
        moments, constant = experts(truth, x[:n], y[:n], seed)
        out[L4].append(moments)
        out[CONSTANT].append(constant)
    for n in spec.sizes:
        for name in ORACLES:
            out[name].append(softmax_from_the_truth(truth, x[:n], y[:n], name == OFFSETS))
    if loud:
        found = [recovered(truth, x[:n], y[:n], seed) for n in spec.recovered]
        out[RECOVER], out[DOUBTED] = [e for e, _ in found], [float(doubt) for _, doubt in found]
    return out


def streamed(spec: Spec, kind: str, sigma: float, seed: int, n: int) -> float:
    """E_reg of L_4 from n fresh samples, of which no more than a chunk is in memory; NaN where it
    refuses."""
    truth = gated_experts(kind, spec.k, spec.d, sigma, seed, spec.nonlinearity)

    def chunk(number: int) -> tuple[Tensor, Tensor]:
        size = min(_CHUNK, n - number * _CHUNK)
        return truth.sample(size, stream("data", seed, 1, number))

    chunks = [partial(chunk, number) for number in range(-(-n // _CHUNK))]
    try:
        moments, pull = stream_l4_moments(chunks, spec.k, truth.nonlinearity)
        fit = minimise_l4(moments, pull, stream("solver", seed))
    except NoMinimumError:
        return math.nan
    return regressor_error_of(fit.regressors, truth.regressors)


def experts(truth: GatedExperts, x: Tensor, y: Tensor, seed: int) -> tuple[float, float]:
    """E_reg of the moments, and of the likelihood with constant proportions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        k, g = len(truth.regressors), truth.nonlinearity
        fit = recover(x, y, k, g, seed=seed, gate="any", classifiers=())
    refused = any(why.startswith("L_4") for why in fit.refusals)
    moments = math.nan if refused else regressor_error_of(fit.moments, truth.regressors)
    return moments, regressor_error_of(fit.regressors, truth.regressors)


def softmax_from_the_truth(
    truth: GatedExperts, x: Tensor, y: Tensor, offsets: bool = False
) -> float:
    """E_reg of joint EM with a softmax gate from the true experts, sigma and W = 0.

    offsets: inputs get a column of ones, so that gates have offsets (experts too, truly zero).
    """
    rows = truth.regressors
    if offsets:
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        rows = torch.nn.functional.pad(rows, (0, 1))
    zero = torch.zeros_like(rows)
    end = expectation_maximisation(
        x, y, rows, zero, truth.sigma, truth.nonlinearity, tolerance=0.05
    )
    return regressor_error_of(end.regressors[0][:, : truth.regressors.shape[1]], truth.regressors)


def recovered(truth: GatedExperts, x: Tensor, y: Tensor, seed: int) -> tuple[float, bool]:
    """E_reg of softmax ``recover``, and whether it doubts itself and names the way out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = recover(x, y, len(truth.regressors), truth.nonlinearity, seed=seed)
    doubted = 'gate="any"' in fit.reason
    return regressor_error_of(fit.model.regressors, truth.regressors), doubted
