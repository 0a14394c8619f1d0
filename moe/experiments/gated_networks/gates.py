"""What gates do: maps in the plane, soft to hard, a GRU read as mixtures, selection effects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.model.mixture import MoE, log_gate, random_moe
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.hermite import score_tensor
from moe.moments.quadrature import gauss_hermite
from moe.moments.transforms import output_transform
from moe.randomness import stream


def planar_moe(
    gate_norm: float, *, sigma: float = 0.1, nonlinearity: str | Nonlinearity = "linear"
) -> MoE:
    """Three experts in the plane whose gates divide it into three equal sectors.

    w_i = gate_norm (u_i - u_3) / sqrt 3 with u_i unit vectors 120 degrees apart, so |w_1| = |w_2| =
    ``gate_norm``. Three regressors in the plane are dependent and leave no room for orthogonal
    gates: a model to look at, outside the theory's assumptions.
    """
    angle = torch.tensor([90.0, 210.0, 330.0], dtype=torch.float64).deg2rad()
    corners = torch.stack([angle.cos(), angle.sin()], dim=1)
    turn = torch.tensor([20.0, 80.0, 160.0], dtype=torch.float64).deg2rad()
    regressors = torch.stack([turn.cos(), turn.sin()], dim=1)
    gating = gate_norm * (corners - corners[-1]) / math.sqrt(3.0)
    return MoE(regressors, gating, sigma, as_nonlinearity(nonlinearity))


@dataclass(frozen=True, eq=False)
class GateMap:
    """A planar model on a grid: axis (P,), gate (P, P, k), mean (P, P); first index is x_2."""

    gate_norm: float
    axis: Tensor
    gate: Tensor
    mean: Tensor


def gate_map(model: MoE, *, extent: float = 3.0, points: int = 161) -> GateMap:
    """p_i(x) and E[y | x] on the square |x_1|, |x_2| <= extent. Raises ValueError unless d = 2."""
    if model.d != 2:
        raise ValueError(f"model: expected d = 2, got d = {model.d}")
    axis = torch.linspace(-extent, extent, points, dtype=model.regressors.dtype)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([first.flatten(), second.flatten()], dim=1)
    shape = (points, points)
    norm = float(model.gating.norm(dim=1).max())
    return GateMap(norm, axis, model.gate(grid).view(*shape, -1), model.mean(grid).view(shape))


@dataclass(frozen=True)
class SharpnessSpec:
    """Random gates of each norm, for each number of experts k; d inputs, n of them, per trial."""

    experts: tuple[int, ...] = (2, 3, 5)
    norms: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    d: int = 10
    n: int = 5_000
    trials: int = 6
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SharpnessRecord:
    """entropy[k] (norms, trials): E[-sum_i p_i log p_i] / log k, 1 if the gate is flat, 0 if hard;
    largest[k] (norms, trials): E[max_i p_i]."""

    spec: SharpnessSpec
    entropy: dict[int, Tensor]
    largest: dict[int, Tensor]


def sharpness(spec: SharpnessSpec) -> SharpnessRecord:
    """How soft the gate is, by its norm. Only |w_i| matters, not where the regressors point."""
    entropy, largest = {}, {}
    for k in spec.experts:
        rows = []
        for trial in range(spec.trials):
            model = random_moe(k, spec.d, generator=stream("truth", spec.seed, trial))
            inputs = stream("inputs", spec.seed, trial)
            x = torch.randn(spec.n, spec.d, generator=inputs, dtype=torch.float64)
            scaled = torch.stack([norm * model.gating for norm in spec.norms])
            log_p = log_gate(scaled, x)
            p = log_p.exp()
            flatness = -(p * log_p).sum(-1).mean(-1) / math.log(k)
            rows.append(torch.stack([flatness, p.amax(-1).mean(-1)]))
        entropy[k], largest[k] = torch.stack(rows, dim=-1)
    return SharpnessRecord(spec, entropy, largest)


@dataclass(frozen=True, eq=False)
class LabelledSample:
    """x (n, d), y (n,) and the expert (n,) that was drawn for each: what the learner never sees."""

    x: Tensor
    y: Tensor
    expert: Tensor


def labelled_sample(model: MoE, n: int, generator: torch.Generator) -> LabelledSample:
    """As ``MoE.sample``, with the hidden choice of expert kept."""
    x = torch.randn(n, model.d, generator=generator, dtype=model.regressors.dtype)
    return LabelledSample(x, *model.draw(x, generator))


def undecided_input(model: MoE, x: Tensor, *, least: float = 0.1) -> Tensor:
    """Of the inputs x (n, d) at which every expert has at least the probability ``least``, the one
    where the experts' means and E[y | x] keep furthest apart from each other: (d,).

    Raises ValueError if there is no such input."""
    x = x[model.gate(x).amin(1) >= least]
    if len(x) == 0:
        raise ValueError(f"x: expected an input at which every expert has probability >= {least}")
    places = torch.cat([model.expert_means(x), model.mean(x)[:, None]], dim=1)
    gaps = places.sort(dim=1).values.diff(dim=1).amin(1)
    return x[gaps.argmax()]


def moment_bias(model: MoE, degree: int, per_axis: int) -> float:
    """|E[Q_m(y) S_m(x)]/c_m - sum_i pbar_i a_i^(x m)|_F over the norm of that sum, m = ``degree``:
    what more samples do not remove. Gauss-Hermite quadrature, ``per_axis`` nodes a coordinate."""
    node, weight = _gauss(per_axis)
    noise, share = _gauss(degree + 1)
    x = torch.cartesian_prod(*[node] * model.d)
    weight = torch.cartesian_prod(*[weight] * model.d).prod(-1)
    transform = output_transform(model.nonlinearity, model.sigma, degree)
    answers = model.expert_means(x)[..., None] + model.sigma * noise
    gate = model.gate(x)
    value = (gate * (transform(answers) @ share / transform.normaliser)).sum(-1)
    moment = torch.einsum("n,n...->...", weight * value, score_tensor(x, degree))
    promised = torch.zeros_like(moment)
    for proportion, a in zip(weight @ gate, model.regressors, strict=True):
        power = a
        for _ in range(degree - 1):
            power = power[..., None] * a
        promised += proportion * power
    return float((moment - promised).norm() / promised.norm())


def _gauss(nodes: int) -> tuple[Tensor, Tensor]:
    node, weight = gauss_hermite(nodes)
    return torch.from_numpy(node), torch.from_numpy(weight)


def span_bias(g: str, k: int, seeds: Sequence[int], *, sigma: float = 0.1) -> tuple[float, float]:
    """Median over random mixtures in R^k, gates of norm one in the span of the regressors (A4 fails
    there): relative bias of the moments M and T."""
    models = [
        random_moe(k, k, sigma=sigma, nonlinearity=g, gates_in_span=True, generator=own)
        for own in (stream("truth", seed) for seed in seeds)
    ]
    per_axis = {2: 80, 3: 24}[k]
    m, t = (
        float(np.median([moment_bias(model, degree, per_axis) for model in models]))
        for degree in (2, 4)
    )
    return m, t


@dataclass(frozen=True, eq=False)
class SelectionRecord:
    """Per trial and expert (trials, k), among the samples that expert i produced: mean and standard
    deviation of z = <a_i, x>, standard error of that mean. Without selection z ~ N(0, 1)."""

    mean: Tensor
    deviation: Tensor
    standard_error: Tensor


def selection(
    *,
    k: int = 3,
    d: int = 10,
    gate_norm: float = 2.0,
    gates_in_span: bool,
    n: int = 20_000,
    seeds: Sequence[int] = range(6),
) -> SelectionRecord:
    """Does the choice of expert i tell anything about <a_i, x>? Not if the gates are orthogonal."""
    rows = []
    for seed in seeds:
        model = random_moe(
            k,
            d,
            gate_norm=gate_norm,
            gates_in_span=gates_in_span,
            generator=stream("truth", seed),
        )
        sample = labelled_sample(model, n, stream("data", seed))
        z = sample.x @ model.regressors.T
        own = [z[sample.expert == i, i] for i in range(k)]
        rows.append(
            [(float(v.mean()), float(v.std()), float(v.std()) / len(v) ** 0.5) for v in own]
        )
    mean, deviation, error = torch.tensor(rows, dtype=torch.float64).unbind(-1)
    return SelectionRecord(mean, deviation, error)


def gru_as_mixtures(cell: torch.nn.GRUCell, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The update of a GRU as H mixtures of two experts, one for each coordinate of the state.

    With s = (x, h, 1), h'_j = p_1(s) h~_j + p_2(s) h_j, p = softmax(<w_j, s>, 0): expert 1 is the
    candidate h~_j = tanh(...), expert 2 the old state, the gate the softmax of two (derived).
    ``cell`` names its update gate the other way round (h' = (1 - z) h~ + z h), as the original
    paper does, so w_j is minus the row of its update gate.

    x (n, inputs), h (n, H) -> gate (n, H, 2), experts (n, H, 2); their product summed over the last
    axis is ``cell(x, h)``.
    """
    in_reset, in_update, in_new = cell.weight_ih.chunk(3)
    on_reset, on_update, on_new = cell.weight_hh.chunk(3)
    b_reset, b_update, b_new = cell.bias_ih.chunk(3)
    c_reset, c_update, c_new = cell.bias_hh.chunk(3)
    s = torch.cat([x, h, torch.ones_like(x[:, :1])], dim=1)
    w = -torch.cat([in_update, on_update, (b_update + c_update)[:, None]], dim=1)
    gating = torch.stack([w, torch.zeros_like(w)], dim=1)
    reset = torch.sigmoid(x @ in_reset.T + b_reset + h @ on_reset.T + c_reset)
    candidate = torch.tanh(x @ in_new.T + b_new + reset * (h @ on_new.T + c_new))
    return log_gate(gating, s).exp().movedim(0, 1), torch.stack([candidate, h], dim=-1)
