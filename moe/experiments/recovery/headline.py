"""The paper's headline comparison: squared loss, L_4 and L_log on a stream, and EM beside them.

Every method sees the same stream: at each step a fresh batch from each of ``seeds`` random
mixtures, from the same starts. Each also runs from the truth, its *oracle*: where that ends, no
start could have ended better. All seeds advance as one tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.mixtures import mixtures_of
from moe.experiments.recovery.headline_stream import (
    Spec,
    Streams,
    dual_rows,
    gate_errors,
    losses_of,
    regressor_errors,
    schedule,
    starts_of,
)
from moe.losses import dual_basis, log_loss
from moe.model.mixture import MoE, full_gating
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation
from moe.solvers.gradient import Descent, gradient_descent

GATES = (
    "L_log, experts from L_4, sigma held",
    "L_log, experts from L_4, sigma learned",
    "L_log, true experts, sigma held",
)


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


def run(spec: Spec) -> Record:
    """All methods on the same mixtures, stream and starts. Deterministic in ``spec``."""
    truths, start = mixtures_of(spec), starts_of(spec)
    every = max(1, spec.steps // spec.points)
    experts = torch.stack([truth.regressors for truth in truths])
    gates = torch.stack([truth.gating for truth in truths])[:, :-1]
    count, flat = spec.seeds, torch.zeros_like(gates)
    steps = start.new_tensor([spec.squared_step, spec.l4_step]).repeat_interleave(2 * count)
    descent = gradient_descent(
        losses_of(spec, truths, 2 * count),
        [
            torch.cat([start, experts, start, minimiser(spec, experts)]),
            torch.cat([flat, gates, flat, flat]),
        ],
        step=schedule(spec, steps, spec.steps),
        iterations=spec.steps,
        optimiser=[spec.squared_optimiser] * 2 * count + ["sgd"] * 2 * count,
        observe=lambda a, w: torch.stack(
            [
                regressor_errors(a[:count], truths),
                gate_errors(a[:count], w[:count], truths),
                regressor_errors(dual_rows(a[2 * count : 3 * count]), truths),
            ]
        ),
        every=every,
    )
    squared, squared_gates, l4 = descent.observed.unbind(1)
    _, kept, rows, own = descent.parameters[0].unflatten(0, (4, count))
    gate, sigma = _gates(spec, truths, dual_rows(rows))
    em, em_gate, em_oracle = _em(spec, truths, start)
    return Record(
        spec,
        descent.iterations * spec.batch,
        {"squared loss": squared, "L_4": l4},
        gate.iterations * spec.batch,
        {
            "squared loss": squared_gates,
            **dict(zip(GATES, gate.observed.unbind(1), strict=True)),
        },
        em,
        em_gate,
        em_oracle,
        {
            "squared loss": regressor_errors(kept, truths),
            "L_4": regressor_errors(dual_rows(own), truths),
        },
        sigma,
    )


def l4_floor(spec: Spec) -> Tensor:
    """E_reg (seeds,) at which L_4 ends on the stream from the truth."""
    truths = mixtures_of(spec)
    experts = torch.stack([truth.regressors for truth in truths])
    descent = gradient_descent(
        losses_of(spec, truths, 0),
        [minimiser(spec, experts), torch.zeros_like(experts[:, :-1])],
        step=schedule(spec, spec.l4_step, spec.steps),
        iterations=spec.steps,
        every=spec.steps,
    )
    return regressor_errors(dual_rows(descent.parameters[0]), truths)


def minimiser(spec: Spec, experts: Tensor) -> Tensor:
    """L_4's population minimiser for equal proportions 1/k: the dual basis, s sqrt(k) long."""
    return dual_basis(experts) * (spec.k * spec.lam / (spec.lam - spec.mu * spec.k)) ** 0.5


def _gates(spec: Spec, truths: list[MoE], rows: Tensor) -> tuple[Descent, Tensor]:
    """SGD on L_log for each of GATES, on samples that no one has seen: the descent, which observed
    E_gate (T, 3, seeds), and the sigma (seeds,) that was learned."""
    streams = Streams(truths, stream("data", spec.seed, 1))
    x, y = streams.batch(max(spec.batch, 2_000))
    first = (y.unsqueeze(-2) @ x / y.shape[-1])[:, 0]
    weight = torch.linalg.lstsq(rows.mT, first.unsqueeze(-1), driver="gelsd").solution
    signed = rows * torch.where(weight < 0, -1.0, 1.0).to(rows.dtype)
    experts = torch.stack([signed, signed, streams.regressors])
    learns = torch.tensor([False, True, False])[:, None].expand(3, len(truths))
    held = torch.full_like(rows[:, 0, 0], spec.sigma).log().expand(3, -1)

    def level(log_sigma: Tensor) -> Tensor:
        return torch.where(learns, log_sigma.view(3, -1) / 2, held).exp()

    def loss(free: Tensor, log_sigma: Tensor) -> Tensor:
        w = full_gating(free).unflatten(0, (3, -1))
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
    streams = Streams(truths, stream("data", spec.seed))
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
