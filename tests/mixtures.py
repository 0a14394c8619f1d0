"""What the tests of the landscape share: proportions, ways to draw them, random errors of T."""

from __future__ import annotations

from itertools import permutations

import torch
from helpers import normal
from hypothesis import strategies as st
from torch import Tensor

HALVES = torch.tensor([0.5, 0.5], dtype=torch.float64)
THIRDS = torch.full((3,), 1 / 3, dtype=torch.float64)
SKEWED = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
COMMON = torch.tensor([0.1, 0.1, 0.8], dtype=torch.float64)

shares = st.lists(st.floats(0.2, 1.0), min_size=2, max_size=3)


def as_proportions(weights: list[float]) -> Tensor:
    return torch.tensor(weights, dtype=torch.float64) / sum(weights)


def random_symmetric(k: int, seed: int) -> Tensor:
    tensor = normal(k, k, k, k, seed=seed, purpose="tensor")
    return torch.stack([tensor.permute(*order) for order in permutations(range(4))]).mean(0)
