"""All critical points of the population L_4, by linear algebra (derived; book, chapter 5).

A critical point has, for each row i and expert m, u_im = 0 or f_im = 0. So for each support S the
points are the positive solutions of the linear system (Hess f)_SS u_S = 2 lambda - delta / (2 p):
finitely many supports, one linear solve each. Its determinant is a polynomial in mu and lambda that
is not identically zero, so only on certain curves of weights is a system singular, and then it may
have a continuum of solutions. Supports that differ by the order of the rows are solved once.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, permutations

import numpy as np
import torch
from scipy.linalg import null_space
from scipy.optimize import linprog
from torch import Tensor

from moe.checks import check_positive
from moe.landscape.names import describe, patterns
from moe.landscape.squares import (
    check_proportions,
    coordinate_hessian,
    squares_gradient,
    squares_loss,
    squares_matrix,
)

KINDS = ("truth", "spurious minimum", "strict saddle", "maximum", "degenerate")
_LARGEST_COORDINATES = 16
_ZERO = 1e-9


@dataclass(frozen=True, eq=False)
class CriticalPoints:
    """N critical points up to the signs of beta; k experts, k rows or another number.

    squares (N, rows, k): u, exactly zero off the support; values (N,): L_4; gradient_norms (N,): of
    the gradient of L_4 at beta = sqrt(u); curvatures (N, rows k): Hessian eigenvalues by beta,
    ascending; continuum (N,): dimension of the family of critical points with the same support
    and value that the point belongs to, 0 for a point on its own; kinds: one of KINDS each:

    "truth" and "spurious minimum": positive curvatures, and as many rows as possible each with an
    expert of its own, the others zero, or not so;
    "maximum": negative curvatures only; "strict saddle": other points with a negative curvature;
    "degenerate": no negative curvature, some zero.
    """

    squares: Tensor
    values: Tensor
    gradient_norms: Tensor
    curvatures: Tensor
    continuum: Tensor
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def supports(self) -> Tensor:
        """(N, rows, k) bool: the active coordinates."""
        return self.squares > 0

    @property
    def index(self) -> Tensor:
        """(N,): the number of negative curvatures."""
        return (self.curvatures < -_flat(self.curvatures)).sum(-1)

    @property
    def lowest_curvature(self) -> Tensor:
        """(N,): the most negative curvature of a saddle, the weakest curvature of a minimum."""
        return self.curvatures[:, 0]

    @cached_property
    def patterns(self) -> tuple[str, ...]:
        """(N,): codes that agree exactly for points equal up to relabelling; k <= 5 rows."""
        return tuple(patterns(self.supports))

    def name(self, which: int) -> str:
        """What the point is, in words, rows and experts numbered from 1."""
        return describe(self.supports[which])

    def count(self, kind: str) -> int:
        """How many points are of a kind; ValueError for an unknown kind."""
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        return self.kinds.count(kind)


def critical_points(
    proportions: Tensor,
    mu: float,
    lam: float,
    *,
    rows: int | None = None,
    delta: float = 0.0,
) -> CriticalPoints:
    """Every critical point of the population L_4 for k <= 4, lowest value first.

    rows: how many, as many as experts by default, at most 16 coordinates in all. delta > 0 adds
    (delta / 2) |A|^2 for orthogonal experts, in their span: outside it a critical point is zero.

    A support whose system is singular yields no point when the system has no positive solution,
    else a continuum of critical points of one value, reported once at an interior point.
    ValueError for more coordinates: there are 2^(rows k) supports.
    """
    p = check_proportions(proportions).to(torch.float64)
    mu, lam = check_positive(mu, "mu"), check_positive(lam, "lam")
    if not delta >= 0:
        raise ValueError(f"delta: expected a number >= 0, got {delta}")
    k, count = len(p), len(p) if rows is None else rows
    if k * k > _LARGEST_COORDINATES:
        raise ValueError(f"proportions: expected at most 4 experts to enumerate, got {k}")
    if not 1 <= count * k <= _LARGEST_COORDINATES:
        raise ValueError(f"rows: expected 1 to {_LARGEST_COORDINATES // k} rows, got {rows}")
    matrix = squares_matrix(p, mu, lam, count)
    target = (2 * lam - delta / (2 * p)).repeat(count)
    bits = (torch.arange(2**k)[:, None] >> torch.arange(k)) & 1
    masks = bits[torch.tensor(list(combinations_with_replacement(range(2**k), count)))]
    squares, continuum = _solve(masks.flatten(1).to(torch.float64), matrix, target)
    squares, continuum = _all_row_orders(torch.unflatten(squares, -1, (count, k)), continuum)
    return classify(squares, p, mu, lam, continuum, delta)


def classify(
    squares: Tensor,
    proportions: Tensor,
    mu: float,
    lam: float,
    continuum: Tensor | None = None,
    delta: float = 0.0,
) -> CriticalPoints:
    """Values, curvatures and kinds of the critical points u (N, rows, k), lowest first."""
    order = squares_loss(squares, proportions, mu, lam, delta).argsort(stable=True)
    squares = squares[order]
    hessian = coordinate_hessian(squares, proportions, mu, lam, delta)
    curvatures = torch.linalg.eigvalsh(hessian)
    gradient = 2 * squares.sqrt() * squares_gradient(squares, proportions, mu, lam, delta)
    support = squares > 0
    seated = support.flatten(1).sum(-1) == min(squares.shape[1:])
    own = ((support.sum(-1) <= 1).all(-1)) & ((support.sum(-2) <= 1).all(-1)) & seated
    lowest, highest, flat = curvatures[:, 0], curvatures[:, -1], _flat(curvatures).squeeze(-1)
    kind = torch.where(own, KINDS.index("truth"), KINDS.index("spurious minimum"))
    kind[lowest <= flat] = KINDS.index("degenerate")
    kind[lowest < -flat] = KINDS.index("strict saddle")
    kind[highest < -flat] = KINDS.index("maximum")
    return CriticalPoints(
        squares,
        squares_loss(squares, proportions, mu, lam, delta),
        gradient.flatten(1).norm(dim=-1),
        curvatures,
        torch.zeros(len(squares), dtype=torch.long) if continuum is None else continuum[order],
        tuple(KINDS[which] for which in kind.tolist()),
    )


def _flat(curvatures: Tensor) -> Tensor:
    return _ZERO * curvatures.abs().amax(-1, keepdim=True)


def _solve(masks: Tensor, matrix: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The critical points u (N, rows k) on the supports masks (n, rows k), and continuum (N,)."""
    scale = float(target.abs().max())
    systems = masks.unsqueeze(-1) * masks.unsqueeze(-2) * matrix + torch.diag_embed(
        scale / 2 * (1 - masks)
    )
    spectrum = torch.linalg.eigvalsh(systems).abs()
    regular = spectrum.amin(-1) > _ZERO * spectrum.amax(-1)
    active = masks[regular]
    solutions = torch.linalg.solve(systems[regular], target * active) * active
    positive = ((solutions > _ZERO) | (active == 0)).all(-1)
    points = [solutions[positive]]
    continuum = [torch.zeros(int(positive.sum()), dtype=torch.long)]
    for mask in masks[~regular]:
        on = mask.bool()
        centre, dimension = _interior_point(matrix[on][:, on].numpy(), target[on].numpy())
        if centre is not None:
            point = torch.zeros_like(mask)
            point[on] = torch.from_numpy(centre)
            points.append(point.unsqueeze(0))
            continuum.append(torch.tensor([dimension]))
    return torch.cat(points), torch.cat(continuum)


def _interior_point(matrix: np.ndarray, target: np.ndarray) -> tuple[np.ndarray | None, int]:
    """A positive solution of the singular system matrix u = target, farthest from the boundary."""
    particular = np.linalg.lstsq(matrix, target, rcond=_ZERO)[0]
    if np.abs(matrix @ particular - target).max() > _ZERO * np.abs(target).max():
        return None, 0
    kernel = null_space(matrix, rcond=_ZERO)
    # maximise t subject to particular + kernel z >= t
    size = kernel.shape[1]
    answer = linprog(
        np.append(np.zeros(size), -1.0),
        A_ub=np.column_stack([-kernel, np.ones(len(matrix))]),
        b_ub=particular,
        bounds=[(None, None)] * size + [(None, 1.0)],
    )
    if answer.status != 0 or answer.x[-1] <= _ZERO:
        return None, 0
    return particular + kernel @ answer.x[:-1], size


def _all_row_orders(squares: Tensor, continuum: Tensor) -> tuple[Tensor, Tensor]:
    """Each point in every order of its rows; orders that give the same support count once."""
    orders = torch.tensor(list(permutations(range(squares.shape[-2]))))
    supports = (squares[:, orders] > 0).flatten(2).long()  # (N, order, rows k)
    codes = (supports * 2 ** torch.arange(supports.shape[-1])).sum(-1)
    owners = torch.arange(len(squares)).unsqueeze(-1).expand_as(codes)
    pairs = torch.stack([owners, codes], -1).flatten(0, 1).numpy()
    first = np.unique(pairs, axis=0, return_index=True)[1]
    owner, order = np.divmod(first, len(orders))
    return squares[owner[:, None], orders[order]], continuum[owner]
