"""The mixture of experts: k experts, a softmax gate, Gaussian noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moe.checks import as_floating, check_experts, check_positive
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity


def gaussian_log_density(residual: Tensor, sigma: Tensor | float) -> Tensor:
    """log N(residual; 0, sigma^2), elementwise; sigma broadcasts against the residual."""
    scale = torch.as_tensor(sigma, dtype=residual.dtype, device=residual.device)
    return -0.5 * (residual / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)


def log_gate(gating: Tensor, x: Tensor) -> Tensor:
    """log p_i(x) = <w_i, x> - log sum_j exp <w_j, x>, the log-softmax gate (paper).

    gating (..., k, d), x (n, d) or (..., n, d) -> (..., n, k). Never overflows.
    """
    return torch.log_softmax(x @ gating.mT, dim=-1)


def full_gating(free: Tensor) -> Tensor:
    """Gates (..., k, d) whose last row is zero, from the free ones (..., k - 1, d)."""
    return torch.nn.functional.pad(free, (0, 0, 0, 1))


@dataclass(frozen=True, eq=False)
class MoE:
    """P(y | x) = sum_i p_i(x) N(y; g(<a_i, x>), sigma^2), p_i(x) = exp<w_i, x> / sum_j exp<w_j, x>.

    The model of the paper.

    Attributes
    ----------
    regressors : Tensor (k, d)
        Rows a_i.
    gating : Tensor (k, d)
        Rows w_i; the last row is zero, since a shift of all rows does not change the gate.
    sigma : float
        Standard deviation of the noise, > 0.
    nonlinearity : Nonlinearity
        g; a name or an elementwise torch function is accepted too.

    Raises ValueError where shapes disagree, a value is not finite, sigma <= 0, or the last gating
    row is not zero.
    """

    regressors: Tensor
    gating: Tensor
    sigma: float
    nonlinearity: Nonlinearity = "linear"  # type: ignore[assignment]

    def __post_init__(self) -> None:
        regressors = as_floating(self.regressors, "regressors")
        gating = as_floating(self.gating, "gating").to(regressors.dtype)
        if regressors.ndim != 2:
            raise ValueError(f"regressors: expected shape (k, d), got {tuple(regressors.shape)}")
        if gating.shape != regressors.shape:
            raise ValueError(
                f"gating: expected the regressors' shape {tuple(regressors.shape)}, "
                f"got {tuple(gating.shape)}"
            )
        if bool(gating[-1].any()):
            raise ValueError(
                "gating: expected a last row of zeros (subtract it from every row: the gate does "
                f"not change), got norm {float(gating[-1].norm()):.3g}"
            )
        object.__setattr__(self, "regressors", regressors)
        object.__setattr__(self, "gating", gating)
        object.__setattr__(self, "sigma", check_positive(self.sigma, "sigma"))
        object.__setattr__(self, "nonlinearity", as_nonlinearity(self.nonlinearity))

    @property
    def k(self) -> int:
        """Number of experts."""
        return len(self.regressors)

    @property
    def d(self) -> int:
        """Dimension of the inputs."""
        return self.regressors.shape[1]

    def reordered(self, order: Tensor) -> MoE:
        """The same mixture with its experts in this order (k,), gates relative to the last one."""
        gating = self.gating[order]
        return MoE(self.regressors[order], gating - gating[-1], self.sigma, self.nonlinearity)

    def _inputs(self, x: Any) -> Tensor:
        inputs = as_floating(x, "x").to(self.regressors.dtype)
        if inputs.ndim != 2 or inputs.shape[1] != self.d:
            raise ValueError(f"x: expected shape (n, {self.d}), got {tuple(inputs.shape)}")
        return inputs

    def gate(self, x: Any) -> Tensor:
        """p_i(x), rows sum to one: (n, d) -> (n, k)."""
        return log_gate(self.gating, self._inputs(x)).exp()

    def expert_means(self, x: Any) -> Tensor:
        """g(<a_i, x>): (n, d) -> (n, k)."""
        return self.nonlinearity(self._inputs(x) @ self.regressors.T)

    def mean(self, x: Any) -> Tensor:
        """E[y | x] = sum_i p_i(x) g(<a_i, x>): (n, d) -> (n,)."""
        return (self.gate(x) * self.expert_means(x)).sum(-1)

    def log_joint(self, x: Any, y: Any) -> Tensor:
        """log p_i(x) + log N(y; g(<a_i, x>), sigma^2): (n, d), (n,) -> (n, k)."""
        x = self._inputs(x)
        y = as_floating(y, "y").to(x.dtype)
        if y.shape != x.shape[:1]:
            raise ValueError(f"y: expected shape ({x.shape[0]},), got {tuple(y.shape)}")
        residual = y[:, None] - self.expert_means(x)
        return log_gate(self.gating, x) + gaussian_log_density(residual, self.sigma)

    def log_density(self, x: Any, y: Any) -> Tensor:
        """log P(y | x) by log-sum-exp: (n, d), (n,) -> (n,)."""
        return torch.logsumexp(self.log_joint(x, y), dim=-1)

    def responsibilities(self, x: Any, y: Any) -> Tensor:
        """P(expert i | x, y), rows sum to one: (n, d), (n,) -> (n, k)."""
        return torch.softmax(self.log_joint(x, y), dim=-1)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n independent pairs: x ~ N(0, I_d), expert ~ gate(x), y ~ N(g(<a, x>), sigma^2).

        Returns x (n, d) and y (n,) in the regressors' dtype and device.
        """
        dtype, device = self.regressors.dtype, self.regressors.device
        x = torch.randn(n, self.d, generator=generator, dtype=dtype, device=device)
        return x, self.draw(x, generator)[0]

    def draw(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Given x (n, d): expert ~ gate(x), y ~ N(g(<a, x>), sigma^2). Returns y (n,) and the
        hidden expert (n,) int64."""
        return drawn(self.gate(x), self.expert_means(x), self.sigma, generator)

    def mixing_proportions(self, n: int = 200_000, *, generator: torch.Generator) -> Tensor:
        """pbar_i = E[p_i(x)] over x ~ N(0, I), by n Monte Carlo samples: (k,)."""
        x = torch.randn(n, self.d, generator=generator, dtype=self.regressors.dtype)
        return self.gate(x).mean(0)


def drawn(
    gate: Tensor, means: Tensor, sigma: Tensor | float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """expert ~ gate (n, k), y ~ N(means[expert], sigma[expert]^2), means (n, k), sigma a number or
    (k,). Returns y (n,) and the expert (n,) int64."""
    expert = torch.multinomial(gate, 1, generator=generator)
    noise = torch.randn(len(means), generator=generator, dtype=means.dtype, device=means.device)
    if isinstance(sigma, Tensor):
        sigma = sigma[expert[:, 0]]
    return means.gather(1, expert)[:, 0] + sigma * noise, expert[:, 0]


def random_rows(
    count: int,
    k: int,
    d: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Regressors (count, k, d) ~ N(0, I/d): rows of length about one."""
    return torch.randn(count, k, d, generator=generator, dtype=dtype) / d**0.5


def random_moe(
    k: int,
    d: int,
    *,
    sigma: float = 0.1,
    gate_norm: float = 1.0,
    nonlinearity: str | Nonlinearity = "linear",
    orthonormal: bool = False,
    gates_in_span: bool = False,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> MoE:
    """A random mixture that meets the theory's assumptions.

    Regressors: unit rows, Gaussian directions (``orthonormal=True``: the rows of a random
    rotation). Gating: k - 1 random rows of norm ``gate_norm`` orthogonal to span{a_i} (recalled
    assumption), or in any direction with ``gates_in_span=True``; the last row is zero.

    Raises ValueError when k > d, or when k = d leaves no direction for an orthogonal gate.
    """
    k = check_experts(k, d)
    if not gate_norm >= 0:
        raise ValueError(f"gate_norm: expected a number >= 0, got {gate_norm!r}")
    if k == d and k > 1 and gate_norm > 0 and not gates_in_span:
        raise ValueError(
            f"gate_norm: expected 0 for k = d = {k}, where no direction is orthogonal to all "
            f"regressors, got {gate_norm}; or pass gates_in_span=True"
        )
    regressors = torch.randn(k, d, generator=generator, dtype=dtype)
    if orthonormal:
        regressors = torch.linalg.qr(regressors.T).Q.T.contiguous()
    regressors = regressors / regressors.norm(dim=1, keepdim=True)
    gating = torch.randn(k, d, generator=generator, dtype=dtype)
    if not gates_in_span and gate_norm > 0 and k > 1:
        basis = torch.linalg.qr(regressors.T).Q
        gating = gating - gating @ basis @ basis.T
    gating = gate_norm * gating / gating.norm(dim=1, keepdim=True)
    gating[-1] = 0.0
    return MoE(regressors, gating, sigma, as_nonlinearity(nonlinearity))
