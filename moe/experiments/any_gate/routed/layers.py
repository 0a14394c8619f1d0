"""Layers with noisy top-k routing, as sparsely gated networks have it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.any_gate.gates import gated_experts
from moe.model.nonlinearity import Nonlinearity
from moe.randomness import stream

_SHARPNESS, _SPREAD = 2.0, 0.3


def noisy_top(logits: Tensor, spread: Tensor, chosen: int, generator: torch.Generator) -> Tensor:
    """Weights (..., k, n), experts as rows: logits + softplus(spread) * normal noise, the
    ``chosen`` largest kept, a softmax over those, zero for the others (Shazeer and others, 2017;
    recalled)."""
    shape = (*logits.shape[:-2], logits.shape[-1], logits.shape[-2])
    noise = torch.randn(shape, generator=generator, dtype=logits.dtype).transpose(-1, -2)
    noisy = logits + torch.nn.functional.softplus(spread) * noise
    left = noisy.detach()
    for _ in range(chosen - 1):
        left = left.masked_fill(left >= left.amax(-2, keepdim=True), -torch.inf)
    kept = noisy.masked_fill(noisy < left.amax(-2, keepdim=True), -torch.inf)
    return torch.softmax(kept, -2)


@dataclass(frozen=True, eq=False)
class RoutedLayer:
    """y = sum_i w_i g(<a_i, x>) + sigma xi, with w = noisy_top(R v, S v, chosen), v = x in the
    coordinates of ``complement`` (d, d - k), outside the experts' span. regressors (k, d) unit
    rows; route R, spread S (k, d - k)."""

    regressors: Tensor
    complement: Tensor
    route: Tensor
    spread: Tensor
    chosen: int
    sigma: float
    nonlinearity: Nonlinearity

    def scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """R v and S v at each x (n, d): (k, n) each."""
        v = (x @ self.complement).T
        return self.route @ v, self.spread @ v

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n independent pairs, x (n, d) ~ N(0, I), y (n,)."""
        x = torch.randn(n, self.regressors.shape[1], generator=generator, dtype=torch.float64)
        answers = self.nonlinearity(self.regressors @ x.T)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        weights = noisy_top(*self.scores(x), self.chosen, generator)
        return x, (weights * answers).sum(0) + self.sigma * noise

    def mean(self, x: Tensor, generator: torch.Generator, draws: int = 200) -> Tensor:
        """E[y | x], the routers' noise averaged over ``draws``: the best prediction there is."""
        scores = self.scores(x)
        total = sum(noisy_top(*scores, self.chosen, generator) for _ in range(draws))
        return (total / draws * self.nonlinearity(self.regressors @ x.T)).sum(0)


def routed_layer(
    chosen: int, k: int, d: int, sigma: float, seed: int, nonlinearity: str = "linear"
) -> RoutedLayer:
    """Random unit experts, and a random router that looks outside their span: linear scores of
    norm 2. Deterministic in its arguments."""
    experts = gated_experts("softmax", k, d, sigma, seed, nonlinearity)
    generator = stream("router", seed)
    route, spread = torch.randn(2, k, d - k, generator=generator, dtype=torch.float64)
    route = _SHARPNESS * route / route.norm(dim=1, keepdim=True)
    spread = _SPREAD * spread / spread.norm(dim=1, keepdim=True)
    return RoutedLayer(
        experts.regressors,
        experts.complement,
        route,
        spread,
        chosen,
        sigma,
        experts.nonlinearity,
    )
