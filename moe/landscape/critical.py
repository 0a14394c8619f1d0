"""All critical points of the population L_4, by linear algebra (derived; book, chapter 5).

A critical point has, for each row i and expert m, u_im = 0 or f_im = 0. So for each support S the
points are the positive solutions of the linear system (Hess f)_SS u_S = 2 lambda: finitely many
supports, one linear solve each. Supports that differ by the order of the rows are solved once.
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
    population_tensor,
    squares_loss,
    squares_matrix,
)
from moe.solvers.quartic import quartic_gradient

KINDS = ("truth", "spurious minimum", "strict saddle", "maximum", "degenerate")
LARGEST_K = 4
_ZERO = 1e-9


@dataclass(frozen=True, eq=False)
class CriticalPoints:
    """N critical points up to the signs of beta; k experts.

    squares (N, k, k): u, exactly zero off the support; values (N,): L_4; gradient_norms (N,): of
    the gradient of L_4 at beta = sqrt(u); curvatures (N, k^2): Hessian eigenvalues by beta,
    ascending; continuum (N,): dimension of the family of critical points with the same support
    and value that the point belongs to, 0 for a point on its own; kinds: one of KINDS each:

    "truth" and "spurious minimum": positive curvatures, each row with an expert of its own or not;
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
        """(N, k, k) bool: the active coordinates."""
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
        """(N,): codes that agree exactly for points equal up to relabelling; k <= 5."""
        return tuple(patterns(self.supports))

    def name(self, which: int) -> str:
        """What the point is, in words, rows and experts numbered from 1."""
        return describe(self.supports[which])

    def count(self, kind: str) -> int:
        """How many points are of a kind; ValueError for an unknown kind."""
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        return self.kinds.count(kind)


def critical_points(proportions: Tensor, mu: float, lam: float) -> CriticalPoints:
    """Every critical point of the population L_4 for k <= 4, lowest value first.

    A support whose system is singular yields no point when the system has no positive solution,
    else a continuum of critical points of one value, reported once at an interior point.
    ValueError for k > 4: there are 2^(k^2) supports.
    """
    p = check_proportions(proportions).to(torch.float64)
    mu, lam = check_positive(mu, "mu"), check_positive(lam, "lam")
    k = len(p)
    if k > LARGEST_K:
        raise ValueError(f"proportions: expected at most {LARGEST_K} experts to enumerate, got {k}")
    matrix = squares_matrix(p, mu, lam)
    bits = (torch.arange(2**k)[:, None] >> torch.arange(k)) & 1
    rows = torch.tensor(list(combinations_with_replacement(range(2**k), k)))
    squares, continuum = _solve(bits[rows].flatten(1).to(torch.float64), matrix, lam)
    squares, continuum = _all_row_orders(torch.unflatten(squares, -1, (k, k)), continuum)
    return classify(squares, p, mu, lam, continuum)


def classify(
    squares: Tensor, proportions: Tensor, mu: float, lam: float, continuum: Tensor | None = None
) -> CriticalPoints:
    """Values, curvatures and kinds of the critical points u (N, k, k), lowest first."""
    order = squares_loss(squares, proportions, mu, lam).argsort(stable=True)
    squares = squares[order]
    curvatures = torch.linalg.eigvalsh(coordinate_hessian(squares, proportions, mu, lam))
    tensor = population_tensor(proportions)
    gradient = quartic_gradient(squares.sqrt(), tensor, mu, lam)
    support = squares > 0
    own = ((support.sum(-1) == 1) & (support.sum(-2) == 1)).all(-1)
    lowest, highest, flat = curvatures[:, 0], curvatures[:, -1], _flat(curvatures).squeeze(-1)
    kind = torch.where(own, KINDS.index("truth"), KINDS.index("spurious minimum"))
    kind[lowest <= flat] = KINDS.index("degenerate")
    kind[lowest < -flat] = KINDS.index("strict saddle")
    kind[highest < -flat] = KINDS.index("maximum")
    return CriticalPoints(
        squares,
        squares_loss(squares, proportions, mu, lam),
        gradient.flatten(1).norm(dim=-1),
        curvatures,
        torch.zeros(len(squares), dtype=torch.long) if continuum is None else continuum[order],
        tuple(KINDS[which] for which in kind.tolist()),
    )


def _flat(curvatures: Tensor) -> Tensor:
    return _ZERO * curvatures.abs().amax(-1, keepdim=True)


def _solve(masks: Tensor, matrix: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """The critical points u (N, k^2) on the supports masks (n, k^2), and continuum (N,)."""
    systems = masks.unsqueeze(-1) * masks.unsqueeze(-2) * matrix + torch.diag_embed(
        lam * (1 - masks)
    )
    spectrum = torch.linalg.eigvalsh(systems).abs()
    regular = spectrum.amin(-1) > _ZERO * spectrum.amax(-1)
    active = masks[regular]
    solutions = torch.linalg.solve(systems[regular], 2 * lam * active) * active
    positive = ((solutions > _ZERO) | (active == 0)).all(-1)
    points = [solutions[positive]]
    continuum = [torch.zeros(int(positive.sum()), dtype=torch.long)]
    for mask in masks[~regular]:
        on = mask.bool()
        centre, dimension = _interior_point(matrix[on][:, on].numpy(), lam)
        if centre is not None:
            point = torch.zeros_like(mask)
            point[on] = torch.from_numpy(centre)
            points.append(point.unsqueeze(0))
            continuum.append(torch.tensor([dimension]))
    return torch.cat(points), torch.cat(continuum)


def _interior_point(matrix: np.ndarray, lam: float) -> tuple[np.ndarray | None, int]:
    """A positive solution of the singular system matrix u = 2 lam, farthest from the boundary."""
    target = np.full(len(matrix), 2 * lam)
    particular = np.linalg.lstsq(matrix, target, rcond=_ZERO)[0]
    if np.abs(matrix @ particular - target).max() > _ZERO * lam:
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
    k = squares.shape[-1]
    orders = torch.tensor(list(permutations(range(k))))
    supports = (squares[:, orders] > 0).flatten(2).long()  # (N, order, k^2)
    codes = (supports * 2 ** torch.arange(k * k)).sum(-1)
    owners = torch.arange(len(squares)).unsqueeze(-1).expand_as(codes)
    pairs = torch.stack([owners, codes], -1).flatten(0, 1).numpy()
    first = np.unique(pairs, axis=0, return_index=True)[1]
    owner, order = np.divmod(first, len(orders))
    return squares[owner[:, None], orders[order]], continuum[owner]
