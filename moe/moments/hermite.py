"""Score tensors (multivariate Hermite polynomials), their contractions, features and moments.

For x ~ N(0, I_d) and a smooth f, Stein's lemma reads E[f(x) S_m(x)] = E[grad^m f(x)] (paper):

    S_1 = x,  S_2 = x x' - I,  S_3 = x^(3) - sym(x, I),  S_4 = x^(4) - sym(x x', I) + sym(I, I),

with 3, 6 and 3 terms in the symmetrisations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement

import torch
from torch import Tensor


def score_tensor(x: Tensor, order: int) -> Tensor:
    """S_m(x) for m = `order` in 1..4, dense: x (n, d) -> (n, d, ..., d). For checks: O(n d^m)."""
    if order not in (1, 2, 3, 4):
        raise ValueError(f"order: expected 1, 2, 3 or 4, got {order!r}")
    powers = [torch.ones_like(x[:, 0])]
    for _ in range(order):
        powers.append(torch.einsum("n...,nz->n...z", powers[-1], x))
    return hermite_from_powers(powers)


def hermite_from_powers(powers: Sequence[Tensor]) -> Tensor:
    """E[q S_m(x)] from E[q], E[q x], ..., E[q x^(m)], m <= 4 (derived: S_m is linear in those).

    powers[j] has shape (..., d, ..., d), j times d; so has the result with j = m. It is symmetric
    to the last bit: each entry is that of its sorted indices.
    """
    order = len(powers) - 1
    top = powers[order]
    if order < 2:
        return top
    eye = torch.eye(top.shape[-1], dtype=top.dtype, device=top.device)
    lower = powers[order - 2]
    if order == 2:
        return _symmetric(top - lower[..., None, None] * eye, 2)
    if order == 3:
        moment = top - sum(
            torch.einsum(f"...{free},{pair}->...abc", lower, eye)
            for free, pair in (("a", "bc"), ("b", "ac"), ("c", "ab"))
        )
        return _symmetric(moment, 3)
    splits = (("ab", "cd"), ("ac", "bd"), ("ad", "bc"))
    both = [*splits, *((pair, free) for free, pair in splits)]
    identities = sum(torch.einsum(f"{one},{two}->abcd", eye, eye) for one, two in splits)
    moment = (
        top
        - sum(torch.einsum(f"...{free},{pair}->...abcd", lower, eye) for free, pair in both)
        + torch.einsum("...,abcd->...abcd", powers[0], identities)
    )
    return _symmetric(moment, 4)


def _symmetric(tensor: Tensor, degree: int) -> Tensor:
    places = _sorted_places(tensor.shape[-1], degree).to(tensor.device)
    return tensor.flatten(-degree)[..., places]


def powers_from_hermite(scores: Sequence[Tensor]) -> list[Tensor]:
    """C_j with sum_j <C_j, z^(j)> = sum_j <B_j, S_j(z)>, for symmetric B_0, ..., B_m, m <= 4.

    The transpose of `hermite_from_powers` (derived).
    """
    powers = list(scores)
    for j, terms in ((2, 1), (3, 3), (4, 6)):
        if j < len(scores):
            trace = torch.einsum("...ii->...", scores[j])
            powers[j - 2] = powers[j - 2] - terms * trace
            if j == 4:
                powers[0] = powers[0] + 3 * trace.trace()
    return powers


def s2_uu(x: Tensor, u: Tensor) -> Tensor:
    """S_2[u,u] = p^2 - |u|^2, p = <u, x>: x (n, d), u (..., d) -> (..., n)."""
    return (u @ x.mT).square() - _inner(u, u)


def s4_uuuu(x: Tensor, u: Tensor) -> Tensor:
    """S_4[u,u,u,u] = p^4 - 6 |u|^2 p^2 + 3 |u|^4, p = <u, x>: x (n, d), u (..., d) -> (..., n)."""
    squared_norm = _inner(u, u)
    p2 = (u @ x.mT).square()
    return p2.square() - 6 * squared_norm * p2 + 3 * squared_norm.square()


def s4_uuvv(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """S_4[u,u,v,v] for x (n, d) and u, v (..., d) that broadcast -> (..., n) (derived).

    With p = <u, x>, q = <v, x>:
    p^2 q^2 - |u|^2 q^2 - |v|^2 p^2 - 4 <u,v> p q + |u|^2 |v|^2 + 2 <u,v>^2.
    """
    p, q = u @ x.mT, v @ x.mT
    uu, vv, uv = _inner(u, u), _inner(v, v), _inner(u, v)
    return (p.square() - uu) * (q.square() - vv) - 4 * uv * p * q + 2 * uv.square()


def feature_count(dim: int, degree: int) -> int:
    """Number of monomials of degree <= `degree` in `dim` variables."""
    return math.comb(dim + degree, degree)


@lru_cache(maxsize=64)
def multi_indices(dim: int, degree: int) -> Tensor:
    """All i_1 <= ... <= i_m in 0..dim-1, m = `degree`, lexicographic: (count, m), long."""
    rows = list(combinations_with_replacement(range(dim), degree))
    return torch.tensor(rows, dtype=torch.long).reshape(len(rows), degree)


@lru_cache(maxsize=64)
def index_table(dim: int, degree: int) -> Tensor:
    """Where each entry of a symmetric tensor stands in `multi_indices`: (dim, ..., dim), long."""
    return torch.searchsorted(_places(multi_indices(dim, degree), dim), _sorted_places(dim, degree))


@lru_cache(maxsize=64)
def _sorted_places(dim: int, degree: int) -> Tensor:
    """For each entry of a tensor, the place of the one with the same indices sorted, when it is
    laid out flat: (dim, ..., dim), long."""
    grid = torch.cartesian_prod(*[torch.arange(dim)] * degree).reshape(-1, degree).sort(-1).values
    return _places(grid, dim).reshape((dim,) * degree)


def _places(indices: Tensor, dim: int) -> Tensor:
    """Places of entries in a flat (dim, ..., dim) tensor: indices (count, m) -> (count,)."""
    return (indices * dim ** torch.arange(indices.shape[1] - 1, -1, -1)).sum(-1)


@lru_cache(maxsize=64)
def root_factorials(dim: int, degree: int) -> Tensor:
    """sqrt(alpha!) for each row of `multi_indices`, alpha its vector of multiplicities."""
    counts = (multi_indices(dim, degree)[:, :, None] == torch.arange(dim)).sum(1).double()
    return torch.lgamma(counts + 1).sum(-1).div(2).exp()


def hermite_features(z: Tensor, degree: int) -> Tensor:
    """He_alpha(z) / sqrt(alpha!) for all |alpha| <= `degree`: z (n, k) -> (n, F).

    Orthonormal under N(0, I), so that their Gram matrix is near the identity. Ordered by degree,
    then as in `multi_indices`. Not differentiable: written in place.
    """
    k, columns = z.shape[1], z.T.contiguous()
    univariate = [torch.ones_like(columns), columns]
    for m in range(2, degree + 1):
        product = columns * univariate[-1] - math.sqrt(m - 1) * univariate[-2]
        univariate.append(product.div_(math.sqrt(m)))
    sizes = [math.comb(k + m - 1, m) for m in range(degree + 1)]
    features = columns.new_empty(sum(sizes), len(z))
    blocks = features.split(sizes)
    for block, known in zip(blocks, (univariate[0][:1], columns), strict=False):
        block.copy_(known)
    for m in range(2, degree + 1):
        first = 0
        for i in range(k):
            for power in range(m, 0, -1):
                others = math.comb(k - i - 2 + m - power, m - power) if i < k - 1 else power == m
                tail = blocks[m - power][sizes[m - power] - others :]
                torch.mul(univariate[power][i], tail, out=blocks[m][first : first + others])
                first += others
    return features.T


def weighted_powers(
    z: Tensor, weights: Tensor, degree: int, pairs: Tensor | None = None
) -> list[Tensor]:
    """sum_n w_n z_n^(j) for j = 0..`degree`: z (n, k), weights (n,) -> shapes (), (k,), (k, k), ...

    Degrees 3 and 4 are matrix products of the pair products, which may be given where they are
    known (see `pair_products`).
    """
    columns = z.T.contiguous()
    weighted = columns * weights
    powers = [weights.sum(), columns @ weights, columns @ weighted.T]
    if degree > 2:
        pairs = pair_products(z) if pairs is None else pairs
        table = index_table(len(columns), 2).to(z.device)
        powers.append((pairs @ weighted.T)[table])
        if degree > 3:
            square = pairs @ (weights * pairs).T
            powers.append(square[table[:, :, None, None], table])
    return powers


def polynomial(z: Tensor, coefficients: Sequence[Tensor], pairs: Tensor | None = None) -> Tensor:
    """sum_j <C_j, z^(j)> for symmetric C_0, ..., C_m, m = 2, 3, 4: z (n, k) -> (n,)."""
    columns = z.T.contiguous()
    inner = coefficients[2] @ columns
    value = coefficients[0] + coefficients[1] @ columns
    if len(coefficients) > 3:
        pairs = pair_products(z) if pairs is None else pairs
        i, j = multi_indices(len(columns), 2).to(z.device).unbind(1)
        multiplicity = torch.where(i == j, 1.0, 2.0).to(z.dtype)
        inner += (multiplicity[:, None] * coefficients[3][i, j]).T @ pairs
        if len(coefficients) > 4:
            quartic = torch.outer(multiplicity, multiplicity) * coefficients[4][i, j][:, i, j]
            value += (quartic @ pairs).mul_(pairs).sum(0)
    return value.add_(inner.mul_(columns).sum(0))


def pair_products(z: Tensor) -> Tensor:
    """z_i z_j for i <= j, ordered as `multi_indices`: z (n, k) -> (k(k+1)/2, n)."""
    i, j = multi_indices(z.shape[1], 2).to(z.device).unbind(1)
    columns = z.T.contiguous()
    return columns[i] * columns[j]


def _inner(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)
