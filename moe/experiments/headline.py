"""The paper's headline comparison: squared loss against L_4, and against L_log, by plain SGD.

Every method sees the same kind of stream: at each step a fresh batch from each of ``seeds`` random
mixtures. All seeds advance as one tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moe.losses import l4_samples, log_loss, squared_loss
from moe.metrics import gating_error_of, match, regressor_error_of
from moe.model import MoE, log_gate, random_moe
from moe.randomness import stream
from moe.solvers.gradient import gradient_descent
from moe.transforms import output_transform


@dataclass(frozen=True)
class Spec:
    """Settings (ours: the authors' are not stated on their slides).

    k experts in dimension d, noise sigma, gates of norm gate_norm, orthonormal or merely unit
    regressors, nonlinearity; ``seeds`` mixtures, each with its own random start; gates start at 0.
    A step draws ``batch``
    fresh samples; the regressor stage takes ``steps`` of them, the gating stage ``gate_steps``.
    L_4 uses mu, lam and step l4_step; the squared loss squared_step; L_log log_step; each step
    shrinks as 1 / (1 + t / decay), t counted from 0 to 1 over a stage.
    """

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 2.0
    orthonormal: bool = True
    nonlinearity: str = "linear"
    seeds: int = 20
    seed: int = 0
    batch: int = 1000
    steps: int = 2000
    gate_steps: int = 600
    mu: float = 0.5
    lam: float = 10.0
    l4_step: float = 0.01
    squared_step: float = 0.1
    log_step: float = 1.0
    decay: float = 0.2
    points: int = 60


@dataclass(frozen=True)
class Record:
    """Error curves, one column a seed.

    regressor_samples (T,), gate_samples (T',): fresh samples seen so far.
    regressor: name -> E_reg (T, seeds); gate: name -> E_gate (T', seeds).
    """

    spec: Spec
    regressor_samples: Tensor
    regressor: dict[str, Tensor]
    gate_samples: Tensor
    gate: dict[str, Tensor]


class _Streams:
    """Fresh batches from many mixtures at once."""

    def __init__(self, truths: list[MoE], generator: torch.Generator) -> None:
        self.regressors = torch.stack([truth.regressors for truth in truths])
        self.gating = torch.stack([truth.gating for truth in truths])
        self.sigma, self.g = truths[0].sigma, truths[0].nonlinearity
        self._generator = generator

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """x (S, size, d), y (S, size)."""
        starts, k, d = self.regressors.shape
        dtype, generator = self.regressors.dtype, self._generator
        x = torch.randn(starts, size, d, generator=generator, dtype=dtype)
        gate = log_gate(self.gating, x).exp()
        chosen = torch.multinomial(gate.reshape(-1, k), 1, generator=generator)
        means = self.g(x @ self.regressors.mT)
        mean: Tensor = means.gather(2, chosen.reshape(starts, size, 1))[..., 0]
        noise = torch.randn(starts, size, generator=generator, dtype=dtype)
        return x, mean + self.sigma * noise


def _dual(rows: Tensor) -> Tensor:
    """The dual basis pinv(A)' of each A (S, k, d), rows of norm one."""
    dual: Tensor = torch.linalg.pinv(rows).mT
    return dual / dual.norm(dim=-1, keepdim=True)


def _pad(free: Tensor) -> Tensor:
    return torch.nn.functional.pad(free, (0, 0, 0, 1))


def random_mixtures(count: int, seed: int, **options: Any) -> list[MoE]:
    """``count`` mixtures, one after the other from the stream of true parameters; options: see
    ``random_moe``."""
    generator = stream("truth", seed)
    return [random_moe(**options, generator=generator) for _ in range(count)]


def run(spec: Spec) -> Record:
    """Run the four methods on the same mixtures. Deterministic in ``spec``."""
    truths = random_mixtures(
        spec.seeds,
        spec.seed,
        k=spec.k,
        d=spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        orthonormal=spec.orthonormal,
        nonlinearity=spec.nonlinearity,
    )
    streams = _Streams(truths, stream("data", spec.seed))
    quartic, quadratic = (output_transform(spec.nonlinearity, spec.sigma, m) for m in (4, 2))
    shape = (spec.seeds, spec.k, spec.d)
    starts = stream("starts", spec.seed)
    start = torch.randn(shape, generator=starts, dtype=torch.float64) / spec.d**0.5
    start_gates = torch.zeros_like(start[:, :-1])

    def regressor_errors(rows: Tensor) -> Tensor:
        pairs = zip(rows, streams.regressors, strict=True)
        return torch.tensor([regressor_error_of(a, b) for a, b in pairs], dtype=torch.float64)

    def gate_errors(rows: Tensor, free: Tensor) -> Tensor:
        errors = []
        for a, w, truth in zip(rows, _pad(free), truths, strict=True):
            order = match(a, truth.regressors)
            errors.append(gating_error_of(w[order], truth.gating))
        return torch.tensor(errors, dtype=torch.float64)

    def schedule(step: float, steps: int) -> Callable[[int], float]:
        return lambda iteration: step / (1 + iteration / (spec.decay * steps))

    every = max(1, spec.steps // spec.points)
    joint = gradient_descent(
        lambda a, w: squared_loss(a, _pad(w), *streams.batch(spec.batch), streams.g),
        [start, start_gates],
        step=schedule(spec.squared_step, spec.steps),
        iterations=spec.steps,
        observe=lambda a, w: torch.stack([regressor_errors(a), gate_errors(a, w)]),
        every=every,
    )
    l4 = gradient_descent(
        lambda a: l4_samples(a, *streams.batch(spec.batch), quartic, quadratic, spec.mu, spec.lam),
        [start],
        step=schedule(spec.l4_step, spec.steps),
        iterations=spec.steps,
        observe=lambda a: regressor_errors(_dual(a)),
        every=every,
    )

    def signed(rows: Tensor) -> Tensor:
        x, y = streams.batch(max(spec.batch, 2000))
        first = (y.unsqueeze(-2) @ x / y.shape[-1])[:, 0]
        weight = torch.linalg.lstsq(rows.mT, first.unsqueeze(-1)).solution
        return rows * torch.where(weight < 0, -1.0, 1.0).to(rows.dtype)

    def gate_descent(rows: Tensor) -> tuple[Tensor, Tensor]:
        result = gradient_descent(
            lambda w: log_loss(_pad(w), rows, spec.sigma, *streams.batch(spec.batch), streams.g),
            [start_gates],
            step=schedule(spec.log_step, spec.gate_steps),
            iterations=spec.gate_steps,
            observe=lambda w: gate_errors(rows, w),
            every=max(1, spec.gate_steps // spec.points),
        )
        return result.iterations, result.observed

    estimated = signed(_dual(l4.parameters[0]))
    gate_iterations, with_estimate = gate_descent(estimated)
    _, with_truth = gate_descent(streams.regressors)
    return Record(
        spec,
        l4.iterations * spec.batch,
        {"squared loss": joint.observed[:, 0], "L_4": l4.observed},
        gate_iterations * spec.batch,
        {
            "squared loss": joint.observed[:, 1],
            "L_log, experts from L_4": with_estimate,
            "L_log, true experts": with_truth,
        },
    )
