"""Gates of many kinds, functions of the part of the input outside the experts' span."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.likelihood.nearly import NEARLY
from moe.model.mixture import drawn
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import stream

Gate = Callable[[Tensor], Tensor]
"""v (n, m), coordinates outside the span -> weights (n, k), rows sum to one."""


@dataclass(frozen=True, eq=False)
class GatedExperts:
    """Unit regressors (k, d), an orthonormal basis (d, d - k) of their span's complement, any gate
    on it, and noise of standard deviation sigma."""

    regressors: Tensor
    complement: Tensor
    gate: Gate
    sigma: float
    nonlinearity: Nonlinearity

    def weights(self, x: Tensor) -> Tensor:
        """p_i(x), (n, d) -> (n, k)."""
        return self.gate(x @ self.complement)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n independent pairs, x (n, d) ~ N(0, I), y (n,)."""
        d = self.regressors.shape[1]
        x = torch.randn(n, d, generator=generator, dtype=torch.float64)
        means = self.nonlinearity(x @ self.regressors.T)
        return x, drawn(self.weights(x), means, self.sigma, generator)[0]


def gated_experts(
    kind: str, k: int, d: int, sigma: float, seed: int, nonlinearity: str = "linear"
) -> GatedExperts:
    """Random unit experts with a random gate of one of ``KINDS`` or ``NEARLY`` (softmax).
    Deterministic in its arguments.

    Raises ValueError for another kind, or where d - k < 2 leaves the gate too little to look at.
    """
    makers = KINDS | NEARLY
    if kind not in makers:
        raise ValueError(f"kind: expected one of {sorted(makers)}, got {kind!r}")
    if d - k < 2:
        raise ValueError(f"d: expected at least k + 2 = {k + 2}, got {d}")
    generator = stream("truth", seed)
    rows = torch.randn(k, d, generator=generator, dtype=torch.float64)
    rows = rows / rows.norm(dim=1, keepdim=True)
    complement = torch.linalg.svd(rows).Vh[k:].T
    turn = torch.linalg.qr(torch.randn(d - k, d - k, generator=generator, dtype=torch.float64)).Q
    gate = makers[kind](k, d - k, stream("gate", seed))
    return GatedExperts(rows, complement @ turn, gate, sigma, as_nonlinearity(nonlinearity))


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _hard(expert: Tensor, k: int) -> Tensor:
    return torch.nn.functional.one_hot(expert, k).double()


def _softmax(k: int, m: int, generator: torch.Generator) -> Gate:
    """Linear log-odds of norm 1, without offsets: the paper's own gate."""
    w = _normal(generator, k, m)
    w = w / w.norm(dim=1, keepdim=True)
    w[-1] = 0.0
    return lambda v: torch.softmax(v @ w.T, 1)


def _top(chosen: int) -> Callable[[int, int, torch.Generator], Gate]:
    """The ``chosen`` experts with the largest linear scores, equally often."""

    def make(k: int, m: int, generator: torch.Generator) -> Gate:
        w = _normal(generator, k, m)
        w = w / w.norm(dim=1, keepdim=True)

        def gate(v: Tensor) -> Tensor:
            best = (v @ w.T).topk(chosen, 1).indices
            return torch.zeros(len(v), k, dtype=v.dtype).scatter_(1, best, 1.0 / chosen)

        return gate

    return make


def _tree(k: int, m: int, generator: torch.Generator) -> Gate:
    """A tree of depth 3 with random cuts; each leaf has random weights."""
    axis = torch.randint(m, (7,), generator=generator)
    cut = 0.5 * _normal(generator, 7)
    leaves = torch.softmax(3 * _normal(generator, 8, k), 1)

    def gate(v: Tensor) -> Tensor:
        node = torch.zeros(len(v), dtype=torch.long)
        for _ in range(3):
            right = v.gather(1, axis[node][:, None])[:, 0] > cut[node]
            node = 2 * node + 1 + right.long()
        return leaves[node - 7]

    return gate


def _shells(k: int, m: int, generator: torch.Generator) -> Gate:
    """One expert a shell of |v|."""
    edges = math.sqrt(m) * torch.linspace(0.8, 1.15, k - 1).double()
    return lambda v: _hard(torch.bucketize(v.norm(dim=1), edges), k)


def _quadrants(k: int, m: int, generator: torch.Generator) -> Gate:
    """By the signs of v_1 v_2 and of v_1: unequal shares."""

    def gate(v: Tensor) -> Tensor:
        same = (v[:, 0] * v[:, 1] > 0).long()
        return _hard((same + same * (v[:, 0] > 0).long()) % k, k)

    return gate


def _network(k: int, m: int, generator: torch.Generator) -> Gate:
    """A network with two hidden layers of 16 and a sharp softmax."""
    first, second = 2 * _normal(generator, 16, m), _normal(generator, 16, 16) / 2
    offset, last = _normal(generator, 16), 2 * _normal(generator, k, 16)

    def gate(v: Tensor) -> Tensor:
        hidden = torch.tanh(torch.tanh(v @ first.T + offset) @ second.T)
        return torch.softmax(hidden @ last.T, 1)

    return gate


def _stripes(k: int, m: int, generator: torch.Generator) -> Gate:
    """Experts take turns along one axis, in stripes of 0.9."""
    return lambda v: _hard((v[:, 0] / 0.9).floor().long() % k, k)


def _step(k: int, m: int, generator: torch.Generator) -> Gate:
    """The last expert where v_1 lies beyond 0.8 or between -0.8 and 0; the others by turns: a gate
    that rises, falls and rises."""

    def gate(v: Tensor) -> Tensor:
        last = (v[:, 0] > 0.8) | ((v[:, 0] < 0) & (v[:, 0] > -0.8))
        other = (v[:, 1] > 0.5).long() % max(k - 1, 1)
        return _hard(torch.where(last, torch.full_like(other, k - 1), other), k)

    return gate


KINDS: dict[str, Callable[[int, int, torch.Generator], Gate]] = {
    "softmax": _softmax,
    "top-1": _top(1),
    "top-2": _top(2),
    "tree": _tree,
    "shells": _shells,
    "quadrants": _quadrants,
    "network": _network,
    "stripes": _stripes,
    "steps": _step,
}
