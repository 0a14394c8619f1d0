"""The law of L_4's error in many samples, from the variance of its two moments, by quadrature.

With M_hat = M + E and T_hat = T + N, the dual basis a~_i of the regressors, D_i = <a~_i, x>, and
s_i^2 = |b_i|^2 at the minimum in whitened coordinates, to first order (derived; book, chapter 9)

    a_hat_i - a_i = sum_{m != i} e_im sqrt(p_m / p_i) a_m + (I - P) E a~_i / p_i,    P on span{a},
    e_im = {A_m E[a~_i, a~_m] - N[C_i, a~_i, a~_m]} / {(A_m + B_i) sqrt(p_i p_m)},
    C_i = sum_{j != i} A_j a~_j a~_j' - B_i a~_i a~_i',  A_m = s_m^2 / p_m,  B_i = mu s_i^2 / p_i,

up to a multiple of a_i. A sample's share in E and N is Q_2(y) S_2(x) / c_2 and Q_4(y) S_4(x) / c_4,
with the residuals r_2, r_4 for Q_2, Q_4 when the moments are fitted by least squares (chapter 3),
and Q_4 less its centre when T is a centred average (chapter 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Literal

import torch
from torch import Tensor

from moe.experiments.common.error_law import ErrorLaw, span_of, tangent_projections
from moe.experiments.common.gaussian_integrals import grid_rule, line_rule
from moe.losses import dual_basis
from moe.model.mixture import MoE, log_gate
from moe.moments.best import best_transforms
from moe.moments.bounded import BoundedTransform
from moe.moments.centring import centre
from moe.moments.estimate import Method
from moe.moments.transforms import OutputTransform, output_transform
from moe.solvers.l4 import DEFAULT_MU, MARGIN

Way = Method | Literal["bounded"]

MOST_EXPERTS = 5
_EXACT = 9  # Gauss-Hermite nodes an axis: exact to degree 17, and Q_4^2 S_4^2 has degree 16


def l4_law(model: MoE, method: Way = "average", mu: float = DEFAULT_MU) -> ErrorLaw:
    """The limit law of L_4's regressors, sigma known, moments by ``method``; with "centred" T is a
    centred average and M still fitted by least squares, with "bounded" transforms are those of
    ``best_transforms`` in the dimension of ``model`` (derived; chapter 11).

    The model must meet the theory's assumptions (unit regressors, gates orthogonal to them).
    Quadrature over the experts' span: k <= 5; exact for linear experts. Raises ValueError beyond.
    """
    if model.k > MOST_EXPERTS:
        raise ValueError(
            f"model: expected at most {MOST_EXPERTS} experts for quadrature, got {model.k}"
        )
    basis = span_of(model)
    k, span = model.k, basis.shape[1]
    a = model.regressors @ basis[:, :k]
    unit, orthogonal = (a.norm(dim=1) - 1).abs().max(), (model.gating @ basis[:, :k]).abs().max()
    if float(unit) > 1e-6 or float(orthogonal) > 1e-6:
        raise ValueError("model: expected unit regressors and gates orthogonal to all of them")
    gates = _gate_moments(model.gating @ basis[:, k:])
    shape = _Shape.of(a, gates.mass, mu)
    law = torch.zeros(k, span, k, span, dtype=a.dtype)
    outside = torch.zeros(k, k, dtype=a.dtype)
    for m in range(k):
        inner, mixed, outer = _second_moments(model, a, shape, m, method)
        law[:, :k, :, :k] += gates.mass[m] * inner
        law[:, :k, :, k:] += mixed[..., None] * gates.first[m]
        law[:, k:, :, :k] += mixed.permute(2, 0, 1)[:, None] * gates.first[m][:, None, None]
        law[:, k:, :, k:] += outer[:, None, :, None] * gates.second[m][:, None]
        outside += gates.mass[m] * outer
    return ErrorLaw(law.reshape(k * span, k * span), outside, model.d - span)


@dataclass(frozen=True, eq=False)
class _Gates:
    """Over the gates' span: mass (k,) = E p_m, first (k, q) = E p_m x, second = E p_m x x'."""

    mass: Tensor
    first: Tensor
    second: Tensor


def _gate_moments(gating: Tensor) -> _Gates:
    grid, weight = grid_rule(gating.shape[1], nodes=40 if gating.shape[1] < 4 else 20)
    shares = weight[:, None] * log_gate(gating, grid).exp()
    return _Gates(shares.sum(0), shares.T @ grid, torch.einsum("nm,na,nb->mab", shares, grid, grid))


@dataclass(frozen=True, eq=False)
class _Shape:
    """p, the dual rows, A_m, C_i, the denominators of e_im, and the directions it multiplies."""

    p: Tensor
    dual: Tensor
    push: Tensor
    contracted: Tensor
    scale: Tensor
    directions: Tensor

    @staticmethod
    def of(a: Tensor, p: Tensor, mu: float) -> _Shape:
        lam = MARGIN * mu / p.min()
        squares = lam / (lam - mu / p)
        push, pull = squares / p, mu * squares / p
        dual = dual_basis(a)
        weights = push.repeat(len(p), 1).fill_diagonal_(0.0) - pull.diag()
        contracted = torch.einsum("ij,ja,jb->iab", weights, dual, dual)
        scale = 1 / ((push + pull[:, None]) * torch.outer(p, p).sqrt())
        scale = scale.fill_diagonal_(0.0)
        turns = torch.einsum("iab,mb->ima", tangent_projections(a), a)
        directions = (p[None, :] / p[:, None]).sqrt()[..., None] * turns
        return _Shape(p, dual, push, contracted, scale, directions)


def _second_moments(
    model: MoE, a: Tensor, shape: _Shape, m: int, method: Way
) -> tuple[Tensor, Tensor, Tensor]:
    """Given that expert m answers: second moments of a sample's share in the error.

    inner (k, k, k, k) over (expert, axis of the span) twice; mixed (k, k, k) with the factor of
    one outside direction; outer (k, k) of those factors, whose x_e is left out.
    """
    x, weight, q2, q4, xi_weight = _nodes(model, a, shape, m, method)
    z = x @ shape.dual.T
    gram = shape.dual @ shape.dual.T
    pairs = z[:, :, None] * z[:, None, :] - gram
    from_second = (shape.push * shape.scale * pairs)[..., None] * shape.directions
    along = torch.einsum("iab,nb,ma->nim", shape.contracted, x, shape.dual)
    trace = torch.einsum("iaa->i", shape.contracted)
    size = torch.einsum("na,iab,nb->ni", x, shape.contracted, x) - trace
    fourth = size[..., None] * pairs - 2 * along * z[:, :, None]
    fourth -= 2 * along.diagonal(dim1=1, dim2=2)[..., None] * z[:, None, :]
    fourth += 2 * torch.einsum("ia,iab,mb->im", shape.dual, shape.contracted, shape.dual)
    from_fourth = -(shape.scale * fourth)[..., None] * shape.directions
    u, v = from_second.sum(2).flatten(1), from_fourth.sum(2).flatten(1)
    w = z / shape.p
    qq, qr, rr = ((one * two) @ xi_weight * weight for one, two in ((q2, q2), (q2, q4), (q4, q4)))
    k = len(a)
    cross = u.T @ (qr[:, None] * v)
    inner = u.T @ (qq[:, None] * u) + cross + cross.T + v.T @ (rr[:, None] * v)
    mixed = u.T @ (qq[:, None] * w) + v.T @ (qr[:, None] * w)
    return inner.view(k, k, k, k), mixed.view(k, k, k), w.T @ (qq[:, None] * w)


def _nodes(
    model: MoE, a: Tensor, shape: _Shape, m: int, method: Way
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Nodes x (N, k) of the span and weights, Q_2 / c_2 and Q_4 / c_4 or their residuals (N, 5)."""
    g, k = model.nonlinearity, len(a)
    bounded = method == "bounded"
    exact = g.name == "linear" and not bounded
    z, z_weight = grid_rule(1, _EXACT) if exact else line_rule(g.kinks)
    z = z.flatten()
    rest, rest_weight = grid_rule(k - 1, _EXACT)
    xi, xi_weight = grid_rule(1, 24 if bounded else 5)
    pair: tuple[OutputTransform, ...] = tuple(
        output_transform(g, model.sigma, degree) for degree in (2, 4)
    )
    if bounded:
        pair = best_transforms(g, model.sigma, model.d, k)
    others = torch.linalg.svd(a[m : m + 1]).Vh[1:]
    x = (z[:, None, None] * a[m] + rest @ others).reshape(-1, k)
    weight = torch.outer(z_weight, rest_weight).flatten()
    y = g(z)[:, None] + model.sigma * xi.T
    values = []
    projections = x @ a.T
    hermite = {2: projections**2 - 1, 4: projections**4 - 6 * projections**2 + 3}
    for transform in pair:
        degree, plain = transform.degree, isinstance(transform, BoundedTransform)
        q = transform(y) / transform.normaliser
        expanded = q.repeat_interleave(len(rest), 0)
        if method == "centred" and degree == 4:
            expanded = expanded - centre(transform, k) / transform.normaliser
        elif method != "average" and not plain:
            mean = z_weight @ q @ xi_weight
            signal = hermite[degree] @ shape.p / factorial(degree)
            expanded = expanded - mean - signal[:, None]
        values.append(expanded)
    return x, weight, values[0], values[1], xi_weight
