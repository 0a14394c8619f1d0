"""All critical points of the L_4 of any moments, a sample's too, by homotopy (derived; chapter 5).

What makes the list complete is counted afterwards. L_4's critical points are the zeros of rows k
cubics. By Bezout's inequality (for affine space, whatever there is at infinity) the isolated zeros
and all other components are 3^(rows k) at most: where so many different isolated zeros are in hand
there is nothing else. That a zero lies near each number in hand, that it is isolated, and that two
of them differ, is proved at each (``zeros``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.checks import as_floating, check_at_least, check_positive
from moe.landscape.homotopy import Arc, Start, start_system, system, track
from moe.landscape.zeros import Zeros, proved_zeros
from moe.randomness import child_seed, stream

_LARGEST_COORDINATES = 9
_TOLERANCES = (1e-2, 1e-4)  # of the paths; the second for those that the first has lost
_ARCS = 2  # tried, until the list is complete
_TOGETHER = 600  # paths, for the sake of the processor's cache
_FLAT = 1e-9


@dataclass(frozen=True, eq=False)
class CompleteList:
    """N real critical points, one for each orbit under order and signs of the rows, lowest first.

    points (N, rows, k); values (N,): L_4; curvatures (N, rows k): Hessian eigenvalues, ascending;
    copies (N,): how many critical points an orbit has; kinds: "minimum", "saddle", "maximum", or
    "degenerate" for a curvature of zero and none below. found: complex critical points in hand, all
    isolated and different, copies counted; bezout: 3^(rows k), the most there can be; paths: how
    many were followed; lost: how many of them ended nowhere, or where another one had.
    """

    points: Tensor
    values: Tensor
    curvatures: Tensor
    copies: Tensor
    kinds: tuple[str, ...]
    found: int
    bezout: int
    paths: int
    lost: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def complete(self) -> bool:
        """Whether no other critical point exists, real or complex."""
        return self.found == self.bezout

    @property
    def index(self) -> Tensor:
        """(N,): the number of negative curvatures."""
        return (self.curvatures < -_flat(self.curvatures)).sum(-1)

    @property
    def minima(self) -> Tensor:
        """(minima, rows, k), the lowest first."""
        return self.points[torch.tensor([kind == "minimum" for kind in self.kinds])]


def critical_points_of(
    tensor: Tensor, mu: float, lam: float, *, rows: int | None = None, seed: int = 0
) -> CompleteList:
    """Every critical point of L_4 in whitened coordinates with the symmetric tensor (k, k, k, k).

    tensor: of a sample, ``l4_moments_of(x, y, k, g).tensor``, or any other. rows: k by default.
    The list says itself whether it is ``complete``: for generic tensors it is, unless paths were
    lost to rounding; where critical points are not isolated, or some have gone to infinity, it
    cannot be. The seed of the path decides nothing but that.

    Raises ValueError for a tensor that is not symmetric, and for more than nine coordinates: for
    k = 4 rows there are 3^16 = 43,046,721 complex critical points.
    """
    return critical_points_of_each([tensor], mu, lam, rows=rows, seed=seed)[0]


def critical_points_of_each(
    tensors: Sequence[Tensor],
    mu: float,
    lam: float,
    *,
    rows: int | None = None,
    seed: int = 0,
) -> list[CompleteList]:
    """``critical_points_of`` each of some tensors of one size, their paths followed together."""
    mu, lam = check_positive(mu, "mu"), check_positive(lam, "lam")
    ends = torch.stack([_checked(tensor) for tensor in tensors])
    k = ends.shape[1]
    count = k if rows is None else check_at_least(rows, 1, "rows")
    if count * k > _LARGEST_COORDINATES:
        raise ValueError(
            f"tensor, rows: expected at most {_LARGEST_COORDINATES} coordinates (rows times k), got"
            f" {count} x {k}: there would be 3^{count * k} = {3 ** (count * k):,} critical points"
        )
    matrices = ends.flatten(3).flatten(1, 2)
    scale = float(torch.linalg.eigvalsh(matrices)[:, -1].clamp_min(0).mean()) or lam / mu
    start = start_system(k, count, mu, lam, scale, stream("homotopy", seed))
    found: list[Zeros] = [Zeros.none(count, k)] * len(ends)
    lost = [0] * len(ends)
    paths = [0] * len(ends)
    for arc in range(_ARCS):
        open_ = [i for i, zeros in enumerate(found) if zeros.total < 3 ** (count * k)]
        if not open_:
            break
        angle = torch.rand((), generator=stream("arc", child_seed(seed, arc)), dtype=torch.float64)
        gamma = complex(torch.polar(torch.ones_like(angle), torch.pi * (0.3 + 0.4 * angle)))
        new = _followed(start, matrices[open_], gamma, mu, lam)
        for i, zeros in zip(open_, new, strict=True):
            found[i] = found[i].joined(zeros)
            paths[i] += len(start.points)
            lost[i] += len(start.points) - len(zeros.points)
    return [
        _listed(zeros, tensor, mu, lam, paths[i], lost[i])
        for i, (zeros, tensor) in enumerate(zip(found, ends, strict=True))
    ]


def _followed(start: Start, matrices: Tensor, gamma: complex, mu: float, lam: float) -> list[Zeros]:
    """The different zeros at the ends of one arc, for each of the matrices (m, k^2, k^2)."""
    count = len(start.points)
    which = torch.arange(len(matrices)).repeat_interleave(count)
    starts = start.points.repeat(len(matrices), 1, 1)
    ends = torch.zeros_like(starts)
    waiting = torch.arange(len(starts))
    found: list[Zeros] = []
    arrived = torch.zeros(len(starts), dtype=torch.bool)
    for tolerance in _TOLERANCES:
        for part in waiting.split(_TOGETHER):
            target = matrices[which[part]].to(start.tensor.dtype)
            arc = Arc(start.tensor, target, gamma, mu, lam)
            ends[part], arrived[part] = track(arc, starts[part], tolerance)
        found, again = [], []
        for i, matrix in enumerate(matrices):
            own = torch.arange(i * count, (i + 1) * count)
            zeros, clear = proved_zeros(ends[own], arrived[own], matrix, mu, lam)
            found.append(zeros)
            again.append(own[~clear])
        waiting = torch.cat(again)
        if len(waiting) == 0:
            break
    return found


def _listed(
    zeros: Zeros, tensor: Tensor, mu: float, lam: float, paths: int, lost: int
) -> CompleteList:
    """The real ones. The conjugate of a zero is a zero: within the radius where a zero is alone it
    is itself. A real zero passes, since it is no nearer than the imaginary part and 3 near <= alone
    (``proved_zeros``); so the test decides."""
    rows, k = zeros.points.shape[1:]
    imaginary = zeros.points.imag.flatten(1).norm(dim=1)
    real = 2 * imaginary + zeros.near <= zeros.alone
    points = zeros.points.real[real]
    slope, jacobian = system(points, tensor.reshape(k * k, k * k), mu, lam)
    excess = lam * (points.square().sum(-1) - 1).sum(-1)
    values = (slope * points.flatten(1)).sum(1) - excess  # L_4, F being zero but for rounding
    order = values.argsort(stable=True)
    points, values = points[order], values[order]
    curvatures = torch.linalg.eigvalsh(4 * jacobian[order])
    flat = _flat(curvatures).squeeze(-1)
    kinds = [
        "minimum" if low > f else "maximum" if high < -f else "saddle" if low < -f else "degenerate"
        for low, high, f in zip(curvatures[:, 0], curvatures[:, -1], flat, strict=True)
    ]
    copies = zeros.copies[real][order]
    bezout = 3 ** (rows * k)
    return CompleteList(
        points, values, curvatures, copies, tuple(kinds), zeros.total, bezout, paths, lost
    )


def _flat(curvatures: Tensor) -> Tensor:
    return _FLAT * curvatures.abs().amax(-1, keepdim=True)


def _checked(tensor: Tensor) -> Tensor:
    """(k, k, k, k), float64, symmetric."""
    values = as_floating(tensor, "tensor").to(torch.float64)
    k = values.shape[0] if values.ndim else 0
    if values.shape != (k,) * 4 or k == 0:
        raise ValueError(f"tensor: expected shape (k, k, k, k), got {tuple(values.shape)}")
    slack = 1e-9 * float(values.abs().max())
    for axis in range(3):
        gap = float((values - values.transpose(axis, axis + 1)).abs().max())
        if gap > slack:
            raise ValueError(
                f"tensor: expected it symmetric, got entries that differ by {gap:.3g} when axes"
                f" {axis} and {axis + 1} are exchanged"
            )
    return values
