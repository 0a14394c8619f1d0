"""A loss on planes and on segments of parameter space."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Slice:
    """values[i, j] = loss(origin + first[i] direction_1 + second[j] direction_2)."""

    first: Tensor
    second: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class Path:
    """values[i] = loss((1 - steps[i]) start + steps[i] end)."""

    steps: Tensor
    values: Tensor


def slice_values(
    loss: Loss,
    origin: Tensor,
    direction_1: Tensor,
    direction_2: Tensor,
    extent: float | tuple[float, float, float, float],
    resolution: int,
    *,
    batch: int = 1024,
) -> Slice:
    """The loss on the plane through origin along two directions, all of one shape P.

    loss maps points (B, *P) to (B,), and is called on at most batch points at a time. extent is
    the half-width of both axes, or (first from, first to, second from, second to), in units of
    the directions. resolution points an axis; values have shape (resolution, resolution).
    """
    for name, direction in (("direction_1", direction_1), ("direction_2", direction_2)):
        _check_same_shape(origin, direction, name)
    bounds = extent if isinstance(extent, tuple) else (-extent, extent, -extent, extent)
    if not (bounds[0] < bounds[1] and bounds[2] < bounds[3]):
        raise ValueError(f"extent: expected increasing bounds, got {extent}")
    first = _axis(bounds[0], bounds[1], resolution, origin)
    second = _axis(bounds[2], bounds[3], resolution, origin)
    grid = torch.cartesian_prod(first, second)
    plane = torch.stack([direction_1, direction_2])
    values = _evaluate(loss, grid, origin, plane, batch)
    return Slice(first, second, values.view(resolution, resolution))


def path_values(
    loss: Loss,
    start: Tensor,
    end: Tensor,
    resolution: int,
    *,
    margin: float = 0.0,
    batch: int = 1024,
) -> Path:
    """The loss on the segment from start to end, prolonged by margin (of its length) both ways."""
    _check_same_shape(start, end, "end")
    if not margin >= 0:
        raise ValueError(f"margin: expected at least 0, got {margin}")
    steps = _axis(-margin, 1 + margin, resolution, start)
    line = (end - start).unsqueeze(0)
    return Path(steps, _evaluate(loss, steps.unsqueeze(-1), start, line, batch))


def _axis(low: float, high: float, resolution: int, like: Tensor) -> Tensor:
    if resolution < 2:
        raise ValueError(f"resolution: expected at least 2 points an axis, got {resolution}")
    return torch.linspace(low, high, resolution, dtype=like.dtype, device=like.device)


def _evaluate(
    loss: Loss, coordinates: Tensor, origin: Tensor, directions: Tensor, batch: int
) -> Tensor:
    values = []
    with torch.no_grad():
        for part in torch.split(coordinates, batch):
            points = origin + torch.tensordot(part, directions, dims=1)
            value = loss(points)
            if value.shape != (len(part),):
                raise ValueError(
                    f"loss: expected values of shape ({len(part)},) for points "
                    f"{tuple(points.shape)}, got {tuple(value.shape)}"
                )
            values.append(value)
    return torch.cat(values)


def _check_same_shape(origin: Tensor, other: Tensor, name: str) -> None:
    if other.shape != origin.shape or other.dtype != origin.dtype:
        raise ValueError(
            f"{name}: expected shape {tuple(origin.shape)} and {origin.dtype}, "
            f"got {tuple(other.shape)} and {other.dtype}"
        )
