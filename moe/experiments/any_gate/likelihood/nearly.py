"""Gates that are nearly softmax: where the softmax likelihood looks right and is not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Maker = Callable[[int, int, torch.Generator], Callable[[Tensor], Tensor]]


def _scores(k: int, m: int, generator: torch.Generator) -> Tensor:
    """Linear log-odds (k, m) of norm 1, the last zero."""
    w = torch.randn(k, m, generator=generator, dtype=torch.float64)
    w = w / w.norm(dim=1, keepdim=True)
    w[-1] = 0.0
    return w


def _bent(k: int, m: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Softmax of features that are slightly bent, v + 0.3 (v^2 - 1)."""
    w = _scores(k, m, generator)
    return lambda v: torch.softmax((v + 0.3 * (v.square() - 1)) @ w.T, 1)


def _bump(k: int, m: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Softmax, but near one place, at distance one from the origin, mostly the first expert."""
    w = _scores(k, m, generator)
    place = torch.randn(m, generator=generator, dtype=torch.float64)
    place = place / place.norm()

    def gate(v: Tensor) -> Tensor:
        near = 0.9 * torch.exp(-(v - place).square().sum(1, keepdim=True))
        first = torch.nn.functional.one_hot(torch.zeros(len(v), dtype=torch.long), k)
        return (1 - near) * torch.softmax(v @ w.T, 1) + near * first

    return gate


def _offsets(k: int, m: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Softmax with offsets of standard deviation 0.5, which the model does not have."""
    w = _scores(k, m, generator)
    offset = 0.5 * torch.randn(k, generator=generator, dtype=torch.float64)
    return lambda v: torch.softmax(v @ w.T + offset, 1)


def _warm(k: int, m: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Softmax, the sharper the farther from the origin: log-odds times |v|^2 / m."""
    w = _scores(k, m, generator)
    return lambda v: torch.softmax(v @ w.T * v.square().mean(1, keepdim=True), 1)


NEARLY: dict[str, Maker] = {"bent": _bent, "bump": _bump, "offsets": _offsets, "warm": _warm}
