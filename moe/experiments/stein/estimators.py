"""Stein's lemma on a mixture: every term of E[Q(y) S_m(x)], and which of them Q removes.

The product rule splits E[Q(y) S_m(x)] = sum_i E[grad^m {p_i(x) q(<a_i, x>)}] by how many of the m
derivatives fell on the expert; and some nonlinearities have no Q_m (book, chapter 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, factorial, log, nan, pi

import torch
from numpy.polynomial.hermite_e import hermevander
from torch import Tensor

from moe.experiments.common.gaussian_integrals import line_rule, noise_averaged
from moe.model.mixture import MoE, log_gate, random_moe
from moe.model.nonlinearity import Nonlinearity
from moe.moments.hermite import hermite_from_powers, score_tensor
from moe.moments.transforms import OutputTransform, output_transform
from moe.randomness import stream

_REACH = 10.0  # of the rule for the gates: the Gaussian is below 1e-22 of its height there


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


@dataclass(frozen=True)
class Conditions:
    """What E[q He_j] = 0, 0 < j < m, leaves of the polynomials q of degree <= m in g.

    freedom: dimension of the span of g, ..., g^m, constants apart; binding: how many of the m - 1
    conditions are independent on it; solvable: E[q He_m] is not a combination of those.
    """

    freedom: int
    binding: int
    solvable: bool


def conditions(g: Nonlinearity, order: int, tolerance: float = 1e-7) -> Conditions:
    """Counts dimensions; sigma does not enter, the noise average stays in the span (derived)."""
    z, weight = line_rule(g.kinks)
    root = weight.sqrt()[:, None]
    columns = [torch.ones_like(z)]
    for _ in range(order):
        columns.append(columns[-1] * g(z))
        columns[-1] = columns[-1] / (weight @ columns[-1].square()).sqrt().clamp(min=1e-300)
    powers = root * torch.stack(columns[1:], 1)
    constant = root / root.norm()
    left, sizes, _ = torch.linalg.svd(powers - constant @ (constant.T @ powers), False)
    span = left[:, sizes > tolerance]
    norms = torch.tensor([float(factorial(j)) for j in range(order + 1)], dtype=z.dtype).sqrt()
    hermite = root * torch.from_numpy(hermevander(z.numpy(), order)) / norms
    functionals = hermite[:, 1:].T @ span
    binding, both = (_rank(functionals[:rows], tolerance) for rows in (order - 1, order))
    return Conditions(span.shape[1], binding, both > binding)


def _rank(matrix: Tensor, tolerance: float) -> int:
    return int((torch.linalg.svdvals(matrix) > tolerance).sum()) if matrix.numel() else 0


def gate_rule(model: MoE, *, halfway: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Equally spaced nodes t (N, r) and weights (N,) for E[f(p(x)) poly(x)], and the orthonormal
    basis (d, r) of the gates' span in which t are coordinates.

    A shift by i v changes no difference of logits by more than i D |v|, D = max |w_i - w_j|, so
    softmax is analytic up to |v| < pi / D. The trapezoidal rule with step h then errs by about
    exp(a^2 / 2 - 2 pi a / h) for every a < pi / D (Trefethen and Weideman 2014, recalled; the first
    term is the Gaussian's growth); h makes it 1e-17. Gauss-Hermite rules are far worse: with
    24 nodes they err by up to 4e-7 in the third derivatives of three experts with gates of norm
    one, most where two gates are nearly opposite, D = 2.

    halfway: the nodes between those. Its error has the other sign, so the two rules check each
    other.
    """
    rows = model.gating
    basis = torch.linalg.qr(rows[:-1].T).Q
    digits = 17 * log(10)
    largest = float(torch.cdist(rows, rows).max())
    strip = min(pi / max(largest, 1e-9), (2 * digits) ** 0.5)
    step = 2 * pi * strip / (digits + strip**2 / 2)
    count = ceil(_REACH / step)
    line = step * (torch.arange(-count, count + 1, dtype=torch.float64) + 0.5 * halfway)
    share = (-0.5 * line**2).exp()
    share = share / share.sum()
    dim = basis.shape[1]
    t = torch.cartesian_prod(*[line] * dim).reshape(-1, dim)
    weight = torch.cartesian_prod(*[share] * dim).reshape(-1, dim).prod(1)
    keep = weight > 1e-22
    return t[keep], weight[keep], basis


def gate_factors(model: MoE, order: int) -> list[Tensor]:
    """E[grad^r p_i] = E[p_i(x) S_r(x)] for r = 0..order, each (k, d, ..., d) with r times d."""
    t, weight, basis = gate_rule(model)
    p = weight[:, None] * log_gate(model.gating @ basis, t).exp()
    factors = [p.sum(0)]
    for r in range(1, order + 1):
        tensor = torch.tensordot(p.T, score_tensor(t, r), dims=1)
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


def direct_moments(transforms: Sequence[OutputTransform], model: MoE, order: int) -> list[Tensor]:
    """E[Q(y) S_m(x)] for each Q by quadrature over span{a_i, gates}, expert by expert: (d, ..., d).

    The product rule is not used, and the nodes for the gates lie halfway between those that
    ``product_rule_terms`` uses. S_m is linear in the powers of x, which are summed before.
    """
    z, z_weight = line_rule(model.nonlinearity.kinks)
    q = torch.stack([noise_averaged(one, model.nonlinearity, model.sigma, z) for one in transforms])
    z, q = z[z_weight > 1e-22], (z_weight * q)[:, z_weight > 1e-22]
    t, t_weight, gates = gate_rule(model, halfway=True)
    p = t_weight[:, None] * log_gate(model.gating @ gates, t).exp()
    size = 1 + t.shape[1]
    sums = [z.new_zeros(len(q), model.k, *[size] * j) for j in range(order + 1)]
    for nodes, shares in zip(t.split(64), p.split(64), strict=True):
        x = torch.cat(
            [z.repeat(len(nodes))[:, None], nodes.repeat_interleave(len(z), 0)], 1
        )  # node by node
        weights = torch.einsum("nk,qz->qknz", shares, q).reshape(len(q) * model.k, -1)
        power = torch.ones_like(x[:, 0])
        for j, total in enumerate(sums):
            total += (weights @ power.flatten(1) if j else weights.sum(1)).view_as(total)
            if j < order:
                power = torch.einsum("n...,nz->n...z", power, x)
    return [_carried(parts, model, gates, order) for parts in hermite_from_powers(sums)]


def _carried(parts: Tensor, model: MoE, gates: Tensor, order: int) -> Tensor:
    """The sum of tensors (k, r, ..., r), each in its basis {a_i, gates}, as one (d, ..., d)."""
    total = parts.new_zeros((model.d,) * order)
    for regressor, part in zip(model.regressors, parts, strict=True):
        basis = torch.column_stack([regressor, gates])
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
    wholes = direct_moments(outputs, model, spec.order)
    for transform, whole in zip(outputs, wholes, strict=True):
        parts = product_rule_terms(transform, model, spec.order)
        terms.append(torch.stack([part.norm() for part in parts]))
        direct.append(float((sum(parts) - whole).norm() / whole.norm()))
    return Record(
        spec,
        torch.stack([expert_factors(transform, model, spec.order) for transform in outputs]),
        torch.stack([on_gate[spec.order - j].abs().max() for j in range(spec.order + 1)]),
        torch.stack(terms),
        torch.tensor(direct),
        float((wholes[-1] / fitted.normaliser - wanted).norm() / wanted.norm()),
    )
