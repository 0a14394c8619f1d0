"""The gates' M-step: one Newton step of the soft-label multinomial logistic regression.

H(V) = sum_n p_a(x_n) (<v_a, x_n> - sum_b p_b(x_n) <v_b, x_n>) x_n is minus the Hessian in the free
gates applied to V. It is formed where that is cheap. Else H V = pull is solved by conjugate
gradients, which ask for products H V alone: n k d operations each in place of n k^2 d^2 for all of
H. Preconditioned by what H would be if every x_n had the mean weights, (diag(p) - p p') with the
Gram matrix of the inputs in Kronecker's product: exact where the gates are flat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.likelihood.grams import upper_places
from moe.model.mixture import full_gating
from moe.solvers.em.expectation import EStep, normalise
from moe.solvers.em.samples import Samples
from moe.solvers.linear import solve_ridged

_RESIDUAL, _RARE_RESIDUAL, _MOST_STEPS = 1e-1, 1e-6, 300
_RARE = 1e-3
_KEPT = 20_000_000
_LEAST_SHARE = 1e-12  # a gate that answers nowhere must still be heard


def newton_step(data: Samples, state: EStep) -> Tensor:
    """The step of every start, (S, k, d); the last gate's row stays."""
    step = _dense(state, data.curvature) if data.pairs else _iterative(data, state)
    return full_gating(step)


def _dense(state: EStep, scale: float) -> Tensor:
    starts, free, d = state.pull_w.shape
    blocks = state.gram_w[:, upper_places(free)]
    hessian = blocks.transpose(2, 3).reshape(starts, free * d, free * d)
    return solve_ridged(hessian, state.pull_w.flatten(1), scale).view(starts, free, d)


@dataclass(frozen=True, eq=False)
class _Curvature:
    """H and its preconditioner at the gates of S starts."""

    data: Samples
    weights: Callable[[], Iterable[Tensor]]
    shares: Tensor
    mask: Tensor | None

    @staticmethod
    def of(data: Samples, gating: Tensor) -> _Curvature:
        starts, k, _ = gating.shape

        def weights() -> Iterable[Tensor]:
            for _, x, *_ in data:
                gate = gating @ x
                normalise(gate)
                yield gate

        kept = list(weights()) if starts * k * data.rows <= _KEPT else None
        total = gating.new_zeros(starts, k)
        for (*_, counts), gate in zip(data, kept or weights(), strict=True):
            total += gate.sum(-1) if counts is None else gate @ counts
        shares = (total / data.n).clamp_min(_LEAST_SHARE)
        mask = None if data.masks is None else data.masks[1]
        return _Curvature(data, weights if kept is None else lambda: kept, shares, mask)

    def __call__(self, v: Tensor) -> Tensor:
        """H(V), V (S, free, d)."""
        starts, free, _ = v.shape
        out = torch.zeros_like(v)
        for (_, x, rows, _, counts), gate in zip(self.data, self.weights(), strict=True):
            p = gate[:, :free]
            u = (v.flatten(0, 1) @ x).view(starts, free, -1)
            u -= (p * u).sum(1, keepdim=True)
            u *= p
            if counts is not None:
                u *= counts
            out += (u.flatten(0, 1) @ rows).view_as(v)
        return out if self.mask is None else out * self.mask

    def precondition(self, r: Tensor) -> Tensor:
        """(diag(p) - p p')^-1 R (X'X)^-1, by Sherman and Morrison."""
        p = self.shares
        inner = torch.cholesky_solve(r.flatten(0, 1).T, self.data.factor).T.view_as(r)
        out = inner / p[:, :-1, None] + inner.sum(1, keepdim=True) / p[:, -1, None, None]
        return out if self.mask is None else out * self.mask


def _iterative(data: Samples, state: EStep) -> Tensor:
    """Conjugate gradients from zero until |residual| has fallen to a tenth, in the norm of the
    preconditioner. Every iterate is a direction of ascent; a start without curvature stays.

    Where a gate hardly ever answers that norm sees little else, and the system is solved to six
    digits, so that the other gates move too."""
    curvature = _Curvature.of(data, state.gating)
    step, r = torch.zeros_like(state.pull_w), state.pull_w.clone()
    z = curvature.precondition(r)
    direction, size = z, (r * z).sum((1, 2))
    rare = curvature.shares.amin(1) < _RARE
    goal = torch.where(rare, _RARE_RESIDUAL, _RESIDUAL) ** 2 * size
    for _ in range(_MOST_STEPS):
        running = size > goal
        if not bool(running.any()):
            break
        bent = curvature(direction)
        along = (direction * bent).sum((1, 2))
        sound = running & (along > 0)
        alpha = torch.where(sound, size / along, 0.0)[:, None, None]
        step = step + alpha * direction
        r = r - alpha * bent
        z = curvature.precondition(r)
        fresh = (r * z).sum((1, 2))
        beta = torch.where(sound, fresh / size, 0.0)[:, None, None]
        direction = z + beta * direction
        size = torch.where(sound, fresh, 0.0)
    return step
