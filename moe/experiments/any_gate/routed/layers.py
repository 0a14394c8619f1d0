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
    """Weights (..., k): logits + softplus(spread) * normal noise, the ``chosen`` largest kept, a
    softmax over those, zero for the others (Shazeer and others, 2017; recalled)."""
    noise = torch.randn(logits.shape, generator=generator, dtype=logits.dtype)
    noisy = logits + torch.nn.functional.softplus(spread) * noise
    best = noisy.topk(chosen, -1).indices
    kept = torch.full_like(noisy, -torch.inf).scatter(-1, best, noisy.gather(-1, best))
    return torch.softmax(kept, -1)


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

    def weights(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """One draw of the router at each x (n, d): (n, k)."""
        v = x @ self.complement
        return noisy_top(v @ self.route.T, v @ self.spread.T, self.chosen, generator)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n independent pairs, x (n, d) ~ N(0, I), y (n,)."""
        x = torch.randn(n, self.regressors.shape[1], generator=generator, dtype=torch.float64)
        answers = self.nonlinearity(x @ self.regressors.T)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        return x, (self.weights(x, generator) * answers).sum(1) + self.sigma * noise

    def mean(self, x: Tensor, generator: torch.Generator, draws: int = 200) -> Tensor:
        """E[y | x], the routers' noise averaged over ``draws``: the best prediction there is."""
        weights = sum(self.weights(x, generator) for _ in range(draws)) / draws
        return (weights * self.nonlinearity(x @ self.regressors.T)).sum(1)


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
