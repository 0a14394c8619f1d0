"""The theorem of the moments, at single points of the gate's space, and a gate that breaks it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.gates import GatedExperts, gated_experts
from moe.experiments.common.gaussian_integrals import grid_rule, line_rule, noise_averaged
from moe.moments.hermite import hermite_features, multi_indices, root_factorials
from moe.moments.transforms import OutputTransform, output_transform
from moe.randomness import stream

_INNER = 5  # nodes: exact for the score's degree, at most four, in the other directions


@dataclass(frozen=True)
class Spec:
    """k experts in dimension d; the identity is taken at ``points`` places outside the span."""

    k: int = 2
    d: int = 5
    sigma: float = 0.5
    nonlinearity: str = "linear"
    points: int = 12
    seed: int = 0


@dataclass(frozen=True)
class Agreement:
    """Of one gate and degree: the largest entry of the right side over the points, and the largest
    differences from it of the left side, with the transform and with the plain power of y."""

    gate: str
    degree: int
    size: float
    transformed: float
    plain: float


def run(spec: Spec, kinds: tuple[str, ...]) -> list[Agreement]:
    """E[(Q_m(y) - E q_m) S_m(x) | v] = c_m sum_i p_i(v) a_i^(m), for every gate, m = 2, 3, 4.

    The experts are the same with every gate, so that what holds given the expert is taken once.
    """
    truths = [
        gated_experts(kind, spec.k, spec.d, spec.sigma, spec.seed, spec.nonlinearity)
        for kind in kinds
    ]
    v = torch.randn(
        spec.points, spec.d - spec.k, generator=stream("inputs", spec.seed), dtype=torch.float64
    )
    given = {degree: _given_the_expert(truths[0], v, degree) for degree in (2, 3, 4)}
    return [
        _agreement(kind, degree, truth, v, given[degree])
        for kind, truth in zip(kinds, truths, strict=True)
        for degree in given
    ]


def _given_the_expert(truth: GatedExperts, v: Tensor, degree: int) -> Tensor:
    """The left side for each expert, with the transform and with the plain power of y: (2, k,
    points, entries)."""
    fitted = output_transform(truth.nonlinearity, truth.sigma, degree)
    power = OutputTransform(degree, (0.0,) * (degree - 1) + (1.0,), fitted.normaliser, 1.0)
    return torch.stack([_moments(truth, v, transform) for transform in (fitted, power)])


def _agreement(kind: str, degree: int, truth: GatedExperts, v: Tensor, given: Tensor) -> Agreement:
    weights = truth.gate(v)
    expected = weights @ _powers(truth.regressors, degree)
    left = torch.einsum("vi,tive->tve", weights, given)
    errors = [float((value - expected).abs().max()) for value in left]
    return Agreement(kind, degree, float(expected.abs().max()), *errors)


def _powers(rows: Tensor, degree: int) -> Tensor:
    """Distinct entries of a_i^(m), (k, entries)."""
    entries = multi_indices(rows.shape[1], degree)
    product: Tensor = rows[:, entries].prod(-1)
    return product


def _moments(truth: GatedExperts, v: Tensor, transform: OutputTransform) -> Tensor:
    """E[(Q(y) - E q) S_m(x) | v, expert i] / c_m by quadrature over the span, (k, points, entries).

    Along a_i Gauss-Legendre panels split at the kinks of g; across, Gauss-Hermite."""
    z, weight = line_rule(truth.nonlinearity.kinks)
    across, other = grid_rule(len(truth.regressors) - 1, _INNER)
    outputs = noise_averaged(transform, truth.nonlinearity, truth.sigma, z)
    outputs = weight * (outputs - weight @ outputs) / transform.normaliser
    weights = (outputs[:, None] * other).flatten()
    degree = transform.degree
    roots = root_factorials(truth.regressors.shape[1], degree)
    span = torch.linalg.qr(truth.regressors.T).Q
    found = []
    for row in truth.regressors:
        rest = span @ torch.linalg.svd((row @ span)[None]).Vh[1:].T
        inside = (z[:, None, None] * row + across @ rest.T).flatten(0, 1)
        scores = [
            weights
            @ hermite_features(inside + place @ truth.complement.T, degree)[:, -len(roots) :]
            for place in v
        ]
        found.append(roots * torch.stack(scores))
    return torch.stack(found)


def looking_inside(
    n: int, seed: int, k: int = 2, d: int = 5, sigma: float = 0.5
) -> tuple[float, float]:
    """A gate that looks at <a_1, x>^2, against the theorem's M: the largest difference of an entry
    from sum_i pbar_i a_i a_i', and its standard error, from n samples in batches."""
    truth = gated_experts("softmax", k, d, sigma, seed)
    generator = stream("inputs", seed, 1)
    batches = []
    for _ in range(20):
        x = torch.randn(n // 20, d, generator=generator, dtype=torch.float64)
        z = x @ truth.regressors.T
        first = (z[:, :1].abs() > 1).double()
        weights = torch.cat([first, (1 - first).expand(-1, k - 1) / (k - 1)], 1)
        q = (weights * (z.square() + sigma**2)).sum(1) / 2
        moment = (q[:, None] * x).T @ x / len(x) - q.mean() * torch.eye(d, dtype=torch.float64)
        expected = (weights.mean(0)[:, None] * truth.regressors).T @ truth.regressors
        batches.append(moment - expected)
    every = torch.stack(batches)
    mean, error = every.mean(0).flatten(), (every.std(0) / len(batches) ** 0.5).flatten()
    worst = int(mean.abs().argmax())
    return float(mean[worst].abs()), float(error[worst])
