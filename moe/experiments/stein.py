"""Stein's lemma on a mixture: every term of E[Q(y) S_m(x)], and which of them Q removes.

The product rule splits E[Q(y) S_m(x)] = sum_i E[grad^m {p_i(x) q(<a_i, x>)}] by how many of the m
derivatives fell on the expert (book, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import nan

import torch
from numpy.polynomial.hermite_e import hermevander
from torch import Tensor

from moe.experiments.gaussian_integrals import grid_rule, line_rule, noise_averaged
from moe.hermite import score_tensor
from moe.model import MoE, log_gate, random_moe
from moe.randomness import stream
from moe.transforms import OutputTransform, output_transform


@dataclass(frozen=True)
class Spec:
    """A random mixture with gates orthogonal to the regressors, and the order m of S_m."""

    k: int = 2
    order: int = 3
    nonlinearity: str = "relu"
    sigma: float = 0.1
    gate_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """Rows are the outputs y, y^m and Q_m(y), in this order.

    expert_factors (3, m + 1): E[q^(j)(z)], j = 0..m; gate_factors (m + 1,): the largest entry of
    E[grad^(m-j) p_i] over experts; terms (3, m + 1): Frobenius norms of the parts with j
    derivatives on the expert; direct (3,): relative distance of the sum of the parts from
    E[Q(y) S_m(x)] by quadrature over x; recovered: relative distance of E[Q_m(y) S_m(x)] / c_m from
    the wanted sum_i pbar_i a_i^(m).
    """

    spec: Spec
    expert_factors: Tensor
    gate_factors: Tensor
    terms: Tensor
    direct: Tensor
    recovered: float


def power_transform(power: int) -> OutputTransform:
    """Q(y) = y^power as it is: no condition is imposed, so it has no normaliser and no noise."""
    return OutputTransform(power, (*[0.0] * (power - 1), 1.0), nan, nan)


def expert_factors(transform: OutputTransform, model: MoE, order: int) -> Tensor:
    """E[q^(j)(z)] = E[q He_j], j = 0..order, q(z) = E_xi[Q(g(z) + sigma xi)]: (order + 1,)."""
    z, weight = line_rule(model.nonlinearity.kinks)
    q = noise_averaged(transform, model.nonlinearity, model.sigma, z)
    return (weight * q) @ torch.from_numpy(hermevander(z.numpy(), order))


def gate_factors(model: MoE, order: int) -> list[Tensor]:
    """E[grad^r p_i] = E[p_i(x) S_r(x)] for r = 0..order, each (k, d, ..., d) with r times d."""
    basis = torch.linalg.qr(model.gating[:-1].T).Q
    t, weight = grid_rule(basis.shape[1])
    p = weight[:, None] * log_gate(model.gating @ basis, t).exp()
    factors = [p.sum(0)]
    for r in range(1, order + 1):
        tensor = torch.einsum("nm,n...->m...", p, score_tensor(t, r))
        for axis in range(1, r + 1):
            tensor = torch.movedim(torch.tensordot(tensor, basis, dims=([axis], [1])), -1, axis)
        factors.append(tensor)
    return factors


def product_rule_terms(transform: OutputTransform, model: MoE, order: int) -> list[Tensor]:
    """The parts of E[Q(y) S_m(x)], m = order, with j = 0..m derivatives on the expert, (d, ..., d).

    sum_i E[q^(j)] sym(E[grad^(m-j) p_i], a_i^(j)), the symmetrisation having C(m, j) terms.
    """
    on_expert, on_gate = expert_factors(transform, model, order), gate_factors(model, order)
    letters = "abcd"[:order]
    parts = []
    for j in range(order + 1):
        total = torch.zeros((model.d,) * order, dtype=model.regressors.dtype)
        for places in combinations(letters, j):
            gate = "m" + "".join(letter for letter in letters if letter not in places)
            rows = "".join(f",m{letter}" for letter in places)
            total += torch.einsum(
                f"{gate}{rows}->{letters}", on_gate[order - j], *[model.regressors] * j
            )
        parts.append(on_expert[j] * total)
    return parts


def direct_moment(transform: OutputTransform, model: MoE, order: int) -> Tensor:
    """E[Q(y) S_m(x)] by quadrature over span{a_i, gates} for each expert in turn: (d, ..., d)."""
    gates = torch.linalg.qr(model.gating[:-1].T).Q
    z, z_weight = line_rule(model.nonlinearity.kinks)
    t, t_weight = grid_rule(gates.shape[1], nodes=60 if gates.shape[1] == 1 else 24)
    q = z_weight * noise_averaged(transform, model.nonlinearity, model.sigma, z)
    total = torch.zeros((model.d,) * order, dtype=z.dtype)
    for i, regressor in enumerate(model.regressors):
        p = t_weight * log_gate(model.gating @ gates, t).exp()[:, i]
        basis = torch.column_stack([regressor, gates])
        part = torch.zeros((basis.shape[1],) * order, dtype=z.dtype)
        for node, weight in zip(t, p, strict=True):
            x = torch.column_stack([z, node.expand(len(z), -1)])
            part += torch.tensordot(weight * q, score_tensor(x, order), dims=1)
        for axis in range(order):
            part = torch.movedim(torch.tensordot(part, basis, dims=([axis], [1])), -1, axis)
        total += part
    return total


def run(spec: Spec) -> Record:
    """Split the moments of y, y^m and Q_m(y), and check the parts against the whole."""
    model = random_moe(
        spec.k,
        2 * spec.k,
        sigma=spec.sigma,
        gate_norm=spec.gate_norm,
        nonlinearity=spec.nonlinearity,
        generator=stream("truth", spec.seed),
    )
    fitted = output_transform(spec.nonlinearity, spec.sigma, spec.order)
    outputs = (power_transform(1), power_transform(spec.order), fitted)
    on_gate = gate_factors(model, spec.order)
    letters = "abcd"[: spec.order]
    rows = ",".join(f"m{letter}" for letter in letters)
    wanted = torch.einsum(f"m,{rows}->{letters}", on_gate[0], *[model.regressors] * spec.order)
    terms, direct = [], []
    for transform in outputs:
        parts = product_rule_terms(transform, model, spec.order)
        whole = direct_moment(transform, model, spec.order)
        terms.append(torch.stack([part.norm() for part in parts]))
        direct.append(float((sum(parts) - whole).norm() / whole.norm()))
    return Record(
        spec,
        torch.stack([expert_factors(transform, model, spec.order) for transform in outputs]),
        torch.stack([on_gate[spec.order - j].abs().max() for j in range(spec.order + 1)]),
        torch.stack(terms),
        torch.tensor(direct),
        float((whole / fitted.normaliser - wanted).norm() / wanted.norm()),
    )
