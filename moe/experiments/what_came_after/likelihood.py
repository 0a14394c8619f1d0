"""The likelihood of linear experts under a softmax gate with offsets: Newton from near the truth.

log f(y | x) = log sum_i exp(omega_i - tau_i - (y - eta_i)^2 e^(-2 tau_i) / 2)
               - log sum_i exp omega_i                                       (up to a constant)

with omega = W (x, 1), eta = A x or A (x, 1), tau_i = log sigma_i. Each expert acts through three
numbers only, affine functions of x (derived; tested against automatic differentiation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from moe.model.mixture import full_gating


@dataclass(frozen=True)
class Form:
    """What is fitted in R^d: so many experts, with intercepts or through the origin, with noise
    levels of their own or a common one. Gates always have offsets."""

    experts: int
    d: int
    intercepts: bool = False
    own_sigmas: bool = False

    @property
    def width(self) -> int:
        """Coefficients of an expert."""
        return self.d + self.intercepts

    def pack(self, rows: Tensor, gating: Tensor, sigmas: Tensor) -> Tensor:
        """theta from experts (K, width), gates (K, d + 1) with a last row of zeros, sigmas (K,)."""
        taus = sigmas.log() if self.own_sigmas else sigmas.log()[:1]
        return torch.cat([rows.flatten(), gating[:-1].flatten(), taus])

    def parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Experts (K, width), gates (K, d + 1), sigmas (K,)."""
        size, free = self.experts * self.width, self.experts - 1
        gates = theta[size : size + free * (self.d + 1)]
        taus = theta[size + free * (self.d + 1) :].expand(self.experts)
        rows = theta[:size].view(self.experts, self.width)
        return rows, full_gating(gates.view(free, self.d + 1)), taus.exp()


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where Newton's method ended: theta, log-likelihood a sample, and its gradient's length."""

    theta: Tensor
    value: float
    gradient_norm: float


def with_ones(x: Tensor) -> Tensor:
    """(n, d) -> (n, d + 1), a last column of ones."""
    return torch.nn.functional.pad(x, (0, 1), value=1.0)


def log_density(form: Form, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """log f(y | x) + log(2 pi) / 2, (n,)."""
    joint, omega, *_ = _exponents(form, theta, with_ones(x), y)
    return torch.logsumexp(joint, 1) - torch.logsumexp(omega, 1)


def _exponents(form: Form, theta: Tensor, wide: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Of responsibilities and gates; residuals over sigma, and over its square: (n, K) each."""
    rows, gating, sigmas = form.parts(theta)
    residual = (y[:, None] - wide[:, : form.width] @ rows.T) / sigmas
    omega = wide @ gating.T
    return omega - sigmas.log() - residual.square() / 2, omega, residual, residual / sigmas


def derivatives(form: Form, theta: Tensor, x: Tensor, y: Tensor) -> tuple[float, Tensor, Tensor]:
    """Mean log-likelihood, its gradient (P,) and Hessian (P, P); x (n, d), y (n,).

    First as if eta, omega and tau of every expert were free affine functions of x; then those
    coefficients that theta has."""
    n, K, D = len(x), form.experts, form.d + 1
    wide = with_ones(x)
    joint, omega, residual, in_eta = (part.T for part in _exponents(form, theta, wide, y))
    value = float((torch.logsumexp(joint, 0) - torch.logsumexp(omega, 0)).mean())
    r, p = torch.softmax(joint, 0), torch.softmax(omega, 0)
    slopes = torch.stack([in_eta, torch.ones_like(r), residual.square() - 1], 1)  # (K, 3, n)
    score = r[:, None] * slopes
    own = score[:, :, None] * slopes[:, None]  # (K, 3, 3, n)
    own[:, 0, 0] -= r / form.parts(theta)[2].square()[:, None]
    own[:, 1, 1] -= p
    own[:, 0, 2] -= 2 * r * in_eta
    own[:, 2, 0] = own[:, 0, 2]
    own[:, 2, 2] -= 2 * r * residual.square()
    products = (wide[:, :, None] * wide[:, None]).flatten(1)
    blocks = (own.flatten(0, 2) @ products).view(K, 3, 3, D, D)
    hessian = torch.block_diag(*blocks.permute(0, 1, 3, 2, 4).reshape(K, 3 * D, 3 * D))
    answered = (score.flatten(0, 1)[:, None] * wide.T).flatten(0, 1)
    hessian -= answered @ answered.T
    asked = (p[:, None] * wide.T).flatten(0, 1)
    gates = torch.arange(3 * K * D).view(K, 3, D)[:, 1].flatten()
    hessian[gates[:, None], gates] += asked @ asked.T
    score[:, 1] -= p
    chosen = _selection(form)
    gradient = (score @ wide).flatten()
    return value, chosen @ gradient / n, chosen @ hessian @ chosen.T / n


@cache
def _selection(form: Form) -> Tensor:
    """(P, 3 K (d + 1)): which coefficients of eta, omega and tau each parameter moves."""
    K, D = form.experts, form.d + 1
    place = torch.arange(3 * K * D).view(K, 3, D)
    experts, gates = place[:, 0, : form.width].flatten(), place[:-1, 1].flatten()
    units = torch.eye(3 * K * D, dtype=torch.float64)
    taus = units[place[:, 2, -1]]
    last = taus if form.own_sigmas else taus.sum(0, keepdim=True)
    return torch.cat([units[experts], units[gates], last])


def maximise(
    form: Form, starts: Sequence[Tensor], x: Tensor, y: Tensor, least_sigma: float = 0.0
) -> Maximum:
    """The maximum that a trust-region Newton method reaches from the start that is highest after a
    dozen steps.

    Points with a sigma below ``least_sigma`` are on the way to spikes on single samples and do not
    count, unless there are no others. Slow rates and slow convergence look alike, so the gradient
    comes along.
    """
    tried = [_climb(form, start, x, y, 12) for start in starts] if len(starts) > 1 else []
    sound = [e for e in tried if float(form.parts(e.theta)[2].min()) >= least_sigma]
    best = max(sound or tried, key=lambda end: end.value).theta if tried else starts[0]
    return _climb(form, best, x, y, 150)


def _climb(form: Form, start: Tensor, x: Tensor, y: Tensor, steps: int) -> Maximum:
    kept: dict[bytes, tuple[float, Tensor, Tensor]] = {}

    def at(theta: np.ndarray) -> tuple[float, Tensor, Tensor]:
        key = theta.tobytes()
        if key not in kept:
            kept.clear()
            kept[key] = derivatives(form, torch.from_numpy(theta.copy()), x, y)
        return kept[key]

    end = minimize(
        lambda theta: -at(theta)[0],
        start.numpy(),
        jac=lambda theta: -at(theta)[1].numpy(),
        hess=lambda theta: -at(theta)[2].numpy(),
        method="trust-exact",
        options={"gtol": 1e-7, "maxiter": steps, "initial_trust_radius": 0.2},
    )
    return Maximum(torch.from_numpy(end.x), -float(end.fun), float(np.linalg.norm(end.jac)))
