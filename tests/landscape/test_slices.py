"""A loss on planes and segments."""

import pytest
import torch
from helpers import normal
from torch import Tensor

from moe.landscape.slices import path_values, slice_values


def bowl(points: Tensor) -> Tensor:
    return points.square().sum((-2, -1)) + points[..., 0, 0]


def matrices(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = normal(3, 2, 3, seed=seed)
    return first, second, third


def test_slice_agrees_with_the_loss_point_by_point() -> None:
    origin, right, up = matrices(0)
    whole = slice_values(bowl, origin, right, up, (-1.0, 2.0, 0.0, 0.5), 7)
    assert whole.values.shape == (7, 7)
    assert (float(whole.first[0]), float(whole.first[-1])) == (-1.0, 2.0)
    assert (float(whole.second[0]), float(whole.second[-1])) == (0.0, 0.5)
    for i, s in enumerate(whole.first):
        for j, t in enumerate(whole.second):
            torch.testing.assert_close(whole.values[i, j], bowl(origin + s * right + t * up))
    pieces = slice_values(bowl, origin, right, up, (-1.0, 2.0, 0.0, 0.5), 7, batch=5)
    torch.testing.assert_close(pieces.values, whole.values)
    square = slice_values(bowl, origin, right, up, 1.5, 3)
    assert square.first.tolist() == square.second.tolist() == [-1.5, 0.0, 1.5]


def test_path_runs_from_start_to_end() -> None:
    start, end, _ = matrices(1)
    path = path_values(bowl, start, end, 11)
    torch.testing.assert_close(path.values[0], bowl(start))
    torch.testing.assert_close(path.values[-1], bowl(end))
    torch.testing.assert_close(path.values[5], bowl((start + end) / 2))
    longer = path_values(bowl, start, end, 5, margin=0.5)
    assert longer.steps.tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]
    torch.testing.assert_close(longer.values[-1], bowl(end + (end - start) / 2))


def test_bad_input_is_refused_by_name() -> None:
    origin, right, up = matrices(2)
    with pytest.raises(ValueError, match="direction_2"):
        slice_values(bowl, origin, right, up[:1], 1.0, 5)
    with pytest.raises(ValueError, match="end: expected"):
        path_values(bowl, origin, right.float(), 5)
    with pytest.raises(ValueError, match="extent"):
        slice_values(bowl, origin, right, up, -1.0, 5)
    with pytest.raises(ValueError, match="resolution"):
        path_values(bowl, origin, right, 1)
    with pytest.raises(ValueError, match="margin"):
        path_values(bowl, origin, right, 5, margin=-1.0)
    with pytest.raises(ValueError, match="loss: expected values"):
        path_values(lambda points: points.sum(), origin, right, 5)
