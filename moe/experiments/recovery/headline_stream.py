"""The headline's stream: its settings, mixtures, starts and losses, and how errors are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.losses import dual_basis, l4_samples, squared_loss
from moe.metrics import gating_error_of, match, regressor_error_of
from moe.model.mixture import MoE, drawn, full_gating, random_rows
from moe.moments.transforms import output_transform
from moe.randomness import stream


@dataclass(frozen=True)
class Spec:
    """Settings (ours: the authors' are not stated on their slides).

    k experts in dimension d, noise sigma, gates of norm gate_norm, orthonormal or merely unit
    regressors, nonlinearity; ``seeds`` mixtures, each with its own random start; gates start at 0.
    A step draws ``batch`` fresh samples; the regressor stage takes ``steps`` of them, the gating
    stage ``gate_steps``. L_4 uses mu and lam. Optimiser and first step of the squared loss, first
    step of L_4 (chosen by ``headline_steps``), log_step for L_log; each step shrinks as
    1 / (1 + t / decay), t counted from 0 to 1 over a stage. em_sizes: EM runs on so many first
    samples of the stream.
    """

    k: int = 3
    d: int = 10
    sigma: float = 0.1
    gate_norm: float = 2.0
    orthonormal: bool = True
    nonlinearity: str = "linear"
    seeds: int = 20
    seed: int = 0
    batch: int = 500
    steps: int = 1500
    gate_steps: int = 400
    mu: float = 0.5
    lam: float = 10.0
    l4_step: float = 0.01
    squared_optimiser: str = "sgd"
    squared_step: float = 0.1
    log_step: float = 1.0
    decay: float = 0.2
    points: int = 100
    em_sizes: tuple[int, ...] = (1_000, 5_000, 20_000)


class Streams:
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
        gate = torch.softmax(self.gating @ x.mT, dim=-2).mT.reshape(-1, k)
        means = self.g(x @ self.regressors.mT).reshape(-1, k)
        return x, drawn(gate, means, self.sigma, generator)[0].reshape(starts, size)


def dual_rows(rows: Tensor) -> Tensor:
    """The dual basis pinv(A)' of each A (S, k, d), rows of norm one."""
    dual = dual_basis(rows)
    return dual / dual.norm(dim=-1, keepdim=True)


def starts_of(spec: Spec) -> Tensor:
    """Random regressors (seeds, k, d): rows of length about one."""
    return random_rows(spec.seeds, spec.k, spec.d, stream("starts", spec.seed))


def schedule(spec: Spec, step: float | Tensor, steps: int) -> Callable[[int], float | Tensor]:
    """step / (1 + t / decay), t from 0 to 1 over ``steps``; one step, or one a run (S,)."""
    return lambda iteration: step / (1 + iteration / (spec.decay * steps))


def regressor_errors(rows: Tensor, truths: Sequence[MoE]) -> Tensor:
    """E_reg of rows (..., seeds, k, d) -> (..., seeds)."""
    flat = rows.reshape(-1, len(truths), *rows.shape[-2:])
    errors = [
        [regressor_error_of(a, t.regressors) for a, t in zip(own, truths, strict=True)]
        for own in flat
    ]
    return torch.tensor(errors, dtype=rows.dtype).view(rows.shape[:-2])


def gate_errors(rows: Tensor, free: Tensor, truths: Sequence[MoE]) -> Tensor:
    """E_gate of gates (seeds, k - 1, d) beside rows (seeds, k, d) -> (seeds,)."""
    errors = []
    for a, w, truth in zip(rows, full_gating(free), truths, strict=True):
        order = match(a, truth.regressors)
        errors.append(gating_error_of(w[order], truth.gating))
    return torch.tensor(errors, dtype=rows.dtype)


def losses_of(spec: Spec, truths: list[MoE], squared: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The losses of a fresh batch, the stream from its beginning: regressors (S, k, d), gates
    (S, k - 1, d) -> (S,). Of the first ``squared`` runs the squared loss; of the others L_4, the
    batch's average plugged into the square, which takes no gates. Both numbers are multiples of the
    seeds."""
    streams = Streams(truths, stream("data", spec.seed))
    quartic, quadratic = (output_transform(spec.nonlinearity, spec.sigma, m) for m in (4, 2))

    def loss(rows: Tensor, free: Tensor) -> Tensor:
        batch = streams.batch(spec.batch)
        (a, rest), w = rows.tensor_split([squared]), full_gating(free[:squared])
        a, w, rest = (part.unflatten(0, (-1, len(truths))) for part in (a, w, rest))
        both = (
            squared_loss(a, w, *batch, streams.g),
            l4_samples(rest, *batch, quartic, quadratic, spec.mu, spec.lam),
        )
        return torch.cat(both).flatten()

    return loss
