"""Mixtures of regressions whose gate may look at other columns than the experts do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.model.mixture import drawn, gaussian_log_density, log_gate
from moe.model.nonlinearity import Nonlinearity

_BISECTIONS, _REACH = 60, 12.0


@dataclass(frozen=True, eq=False)
class Regressions:
    """P(y | x, z) = sum_i p_i(z) N(y; g(<a_i, x>), sigma_i^2), p_i(z) = exp<w_i, z> / sum_j ...

    experts (k, p): rows a_i; gates (k, q): rows w_i, the last one zero; sigmas (k,), one noise
    level an expert; nonlinearity g. x (n, p) and z (n, q) are designs: an intercept is a column of
    ones. The mixture of the paper (``moe.MoE``) has x = z and one sigma.
    """

    experts: Tensor
    gates: Tensor
    sigmas: Tensor
    nonlinearity: Nonlinearity

    @property
    def k(self) -> int:
        """Number of experts."""
        return len(self.experts)

    def reordered(self, order: Tensor) -> Regressions:
        """The same mixture with its experts in this order (k,), gates relative to the last one."""
        gates = self.gates[order]
        return Regressions(
            self.experts[order], gates - gates[-1], self.sigmas[order], self.nonlinearity
        )

    def expert_means(self, x: Tensor) -> Tensor:
        """g(<a_i, x>): (n, p) -> (n, k)."""
        return self.nonlinearity(x @ self.experts.T)

    def gate(self, z: Tensor) -> Tensor:
        """p_i(z), rows sum to one: (n, q) -> (n, k)."""
        return log_gate(self.gates, z).exp()

    def mean(self, x: Tensor, z: Tensor) -> Tensor:
        """E[y | x, z] = sum_i p_i g(<a_i, x>), (n,)."""
        return (self.gate(z) * self.expert_means(x)).sum(-1)

    def deviation(self, x: Tensor, z: Tensor) -> Tensor:
        """sd[y | x, z]: the root of sum_i p_i (sigma_i^2 + (g_i - E[y | x, z])^2), (n,)."""
        gate, means = self.gate(z), self.expert_means(x)
        off = means - (gate * means).sum(-1, keepdim=True)
        off = torch.hypot(off, self.sigmas)  # squares of very small or large units are no numbers
        unit = off.amax(-1, keepdim=True).clamp_min(torch.finfo(off.dtype).tiny)
        return unit[:, 0] * (gate * (off / unit).square()).sum(-1).sqrt()

    def log_joint(self, x: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """log p_i(z) + log N(y; g(<a_i, x>), sigma_i^2), (n, k)."""
        residual = y[:, None] - self.expert_means(x)
        return log_gate(self.gates, z) + gaussian_log_density(residual, self.sigmas)

    def log_density(self, x: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """log P(y | x, z), (n,)."""
        return torch.logsumexp(self.log_joint(x, z, y), dim=-1)

    def responsibilities(self, x: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """P(expert i | x, z, y), rows sum to one, (n, k)."""
        return torch.softmax(self.log_joint(x, z, y), dim=-1)

    def cumulative(self, x: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """F(y | x, z) = sum_i p_i Phi((y - g(<a_i, x>)) / sigma_i), (n,)."""
        standard = (y[:, None] - self.expert_means(x)) / self.sigmas
        value: Tensor = (self.gate(z) * torch.special.ndtr(standard)).sum(-1)
        return value

    def quantile(self, x: Tensor, z: Tensor, level: float) -> Tensor:
        """The y with F(y | x, z) = level, by bisection to 2^-60 of where it must lie, (n,)."""
        means = self.expert_means(x)
        low = (means - _REACH * self.sigmas).amin(1)
        high = (means + _REACH * self.sigmas).amax(1)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = self.cumulative(x, z, middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def sample(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """One output for every row, (n,): expert ~ gate(z), y ~ N(g(<a, x>), sigma^2)."""
        return drawn(self.gate(z), self.expert_means(x), self.sigmas, generator)[0]
