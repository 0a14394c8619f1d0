"""The paper's headline comparison: squared loss, L_4 and L_log on a stream, and EM beside them.

Every method sees the same stream: at each step a fresh batch from each of ``seeds`` random
mixtures, from the same starts. Each also runs from the truth, its *oracle*: where that ends, no
start could have ended better. All seeds advance as one tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moe.losses import l4_samples, log_loss, squared_loss
from moe.metrics import gating_error_of, match, regressor_error_of
from moe.model import MoE, log_gate, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation
from moe.solvers.gradient import Descent, gradient_descent
from moe.transforms import output_transform

GATES = (
    "L_log, experts from L_4, sigma held",
    "L_log, experts from L_4, sigma learned",
    "L_log, true experts, sigma held",
)


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


@dataclass(frozen=True)
class Record:
    """Error curves, one column a seed; samples are those a method has seen so far.

    regressor_samples (T,), gate_samples (T',); regressor: "squared loss", "L_4" -> E_reg (T,
    seeds); gate: "squared loss" (T, seeds) and each of GATES (T', seeds) -> E_gate.
    em, em_gate (sizes, seeds): EM with sigma learned from one random start on the first
    ``spec.em_sizes`` samples; em_oracle the E_reg of EM from the truth on them.
    oracle: "squared loss", "L_4" -> E_reg (seeds,) where the run from the truth ends.
    sigma (seeds,): what L_log learned.
    """

    spec: Spec
    regressor_samples: Tensor
    regressor: dict[str, Tensor]
    gate_samples: Tensor
    gate: dict[str, Tensor]
    em: Tensor
    em_gate: Tensor
    em_oracle: Tensor
    oracle: dict[str, Tensor]
    sigma: Tensor


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


def mixtures_of(spec: Spec) -> list[MoE]:
    """The mixtures of a spec."""
    return random_mixtures(
        spec.seeds,
        spec.seed,
        k=spec.k,
        d=spec.d,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        orthonormal=spec.orthonormal,
        nonlinearity=spec.nonlinearity,
    )


def starts_of(spec: Spec) -> Tensor:
    """Random regressors (seeds, k, d): rows of length about one."""
    shape, generator = (spec.seeds, spec.k, spec.d), stream("starts", spec.seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) / spec.d**0.5


def schedule(spec: Spec, step: float, steps: int) -> Callable[[int], float]:
    """step / (1 + t / decay), t from 0 to 1 over ``steps``."""
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
    for a, w, truth in zip(rows, _pad(free), truths, strict=True):
        order = match(a, truth.regressors)
        errors.append(gating_error_of(w[order], truth.gating))
    return torch.tensor(errors, dtype=rows.dtype)


def squared_loss_of(spec: Spec, truths: list[MoE]) -> Callable[[Tensor, Tensor], Tensor]:
    """The squared loss of a fresh batch, the stream from its beginning: regressors (S, k, d), gates
    (S, k - 1, d) -> (S,), S a multiple of the seeds."""
    streams = _Streams(truths, stream("data", spec.seed))

    def loss(rows: Tensor, free: Tensor) -> Tensor:
        a, w = (part.unflatten(0, (-1, len(truths))) for part in (rows, _pad(free)))
        return squared_loss(a, w, *streams.batch(spec.batch), streams.g).flatten()

    return loss


def l4_loss_of(spec: Spec, truths: list[MoE]) -> Callable[[Tensor], Tensor]:
    """The same for L_4, the batch's average plugged into the square."""
    streams = _Streams(truths, stream("data", spec.seed))
    quartic, quadratic = (output_transform(spec.nonlinearity, spec.sigma, m) for m in (4, 2))

    def loss(rows: Tensor) -> Tensor:
        a, batch = rows.unflatten(0, (-1, len(truths))), streams.batch(spec.batch)
        return l4_samples(a, *batch, quartic, quadratic, spec.mu, spec.lam).flatten()

    return loss


def run(spec: Spec) -> Record:
    """All methods on the same mixtures, stream and starts. Deterministic in ``spec``."""
    truths, start = mixtures_of(spec), starts_of(spec)
    every = max(1, spec.steps // spec.points)
    experts = torch.stack([truth.regressors for truth in truths])
    gates = torch.stack([truth.gating for truth in truths])[:, :-1]
    joint = gradient_descent(
        squared_loss_of(spec, truths),
        [torch.cat([start, experts]), torch.cat([torch.zeros_like(gates), gates])],
        step=schedule(spec, spec.squared_step, spec.steps),
        iterations=spec.steps,
        optimiser=spec.squared_optimiser,
        observe=lambda a, w: torch.stack(
            [
                regressor_errors(a[: spec.seeds], truths),
                gate_errors(a[: spec.seeds], w[: spec.seeds], truths),
            ]
        ),
        every=every,
    )
    l4 = gradient_descent(
        l4_loss_of(spec, truths),
        [torch.cat([start, _minimiser(spec, experts)])],
        step=schedule(spec, spec.l4_step, spec.steps),
        iterations=spec.steps,
        observe=lambda a: regressor_errors(_dual(a[: spec.seeds]), truths),
        every=every,
    )
    rows, own = l4.parameters[0].unflatten(0, (2, spec.seeds))
    gate, sigma = _gates(spec, truths, _dual(rows))
    em, em_gate, em_oracle = _em(spec, truths, start)
    return Record(
        spec,
        l4.iterations * spec.batch,
        {"squared loss": joint.observed[:, 0], "L_4": l4.observed},
        gate.iterations * spec.batch,
        {
            "squared loss": joint.observed[:, 1],
            **dict(zip(GATES, gate.observed.unbind(1), strict=True)),
        },
        em,
        em_gate,
        em_oracle,
        {
            "squared loss": regressor_errors(joint.parameters[0][spec.seeds :], truths),
            "L_4": regressor_errors(_dual(own), truths),
        },
        sigma,
    )


def l4_floor(spec: Spec) -> Tensor:
    """E_reg (seeds,) at which L_4 ends on the stream from the truth."""
    truths = mixtures_of(spec)
    experts = torch.stack([truth.regressors for truth in truths])
    descent = gradient_descent(
        l4_loss_of(spec, truths),
        [_minimiser(spec, experts)],
        step=schedule(spec, spec.l4_step, spec.steps),
        iterations=spec.steps,
        every=spec.steps,
    )
    return regressor_errors(_dual(descent.parameters[0]), truths)


def _minimiser(spec: Spec, experts: Tensor) -> Tensor:
    """L_4's population minimiser for equal proportions 1/k: the dual basis, s sqrt(k) long."""
    dual: Tensor = torch.linalg.pinv(experts).mT
    return dual * (spec.k * spec.lam / (spec.lam - spec.mu * spec.k)) ** 0.5


def _gates(spec: Spec, truths: list[MoE], rows: Tensor) -> tuple[Descent, Tensor]:
    """SGD on L_log for each of GATES, on samples that no one has seen: the descent, which observed
    E_gate (T, 3, seeds), and the sigma (seeds,) that was learned."""
    streams = _Streams(truths, stream("data", spec.seed, 1))
    x, y = streams.batch(max(spec.batch, 2_000))
    first = (y.unsqueeze(-2) @ x / y.shape[-1])[:, 0]
    weight = torch.linalg.lstsq(rows.mT, first.unsqueeze(-1)).solution
    signed = rows * torch.where(weight < 0, -1.0, 1.0).to(rows.dtype)
    experts = torch.stack([signed, signed, streams.regressors])
    learns = torch.tensor([False, True, False])[:, None].expand(3, len(truths))
    held = torch.full_like(rows[:, 0, 0], spec.sigma).log().expand(3, -1)

    def level(log_sigma: Tensor) -> Tensor:
        return torch.where(learns, log_sigma.view(3, -1) / 2, held).exp()

    def loss(free: Tensor, log_sigma: Tensor) -> Tensor:
        w = _pad(free).unflatten(0, (3, -1))
        batch = streams.batch(spec.batch)
        return log_loss(w, experts, level(log_sigma), *batch, streams.g).flatten()

    start = rows.new_zeros(3 * spec.seeds, spec.k - 1, spec.d)
    descent = gradient_descent(
        loss,
        [start, rows.new_zeros(3 * spec.seeds, 1)],  # sigma starts at 1
        step=schedule(spec, spec.log_step, spec.gate_steps),
        iterations=spec.gate_steps,
        observe=lambda w, _: torch.stack(
            [
                gate_errors(a, b, truths)
                for a, b in zip(experts, w.unflatten(0, (3, -1)), strict=True)
            ]
        ),
        every=max(1, spec.gate_steps // spec.points),
    )
    return descent, level(descent.parameters[1])[1]


def _em(spec: Spec, truths: list[MoE], start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E_reg and E_gate of EM, sigma learned from 1, on the first samples of the stream from one
    random start, and E_reg from the truth: (sizes, seeds) each."""
    streams = _Streams(truths, stream("data", spec.seed))
    longest = max(spec.em_sizes)
    batches = [streams.batch(spec.batch) for _ in range(-(-longest // spec.batch))]
    x, y = (torch.cat(part, dim=1) for part in zip(*batches, strict=True))
    found = []
    for n in spec.em_sizes:
        row = []
        for s, truth in enumerate(truths):
            begun = torch.stack([start[s], truth.regressors])
            gates = torch.stack([torch.zeros_like(truth.gating), truth.gating])
            level = torch.tensor([1.0, truth.sigma], dtype=x.dtype)
            end = expectation_maximisation(
                x[s, :n], y[s, :n], begun, gates, level, truth.nonlinearity, tolerance=1e-4
            )
            errors = regressor_errors(end.regressors[:, None], [truth])[:, 0]
            gate = gate_errors(end.regressors[:1], end.gating[:1, :-1], [truth])
            row.append(torch.stack([errors[0], gate[0], errors[1]]))
        found.append(torch.stack(row, dim=1))
    regressor, gating, oracle = torch.stack(found, dim=1).unbind(0)
    return regressor, gating, oracle
