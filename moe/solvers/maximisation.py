"""The M-step of every start at once: its moves, halved where they overshoot."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity
from moe.solvers.expectation import EStep, expectation
from moe.solvers.gates import newton_step
from moe.solvers.linear import solve_ridged
from moe.solvers.samples import Samples

_HALVINGS, _PART_HALVINGS, _MOST_LOGITS = 12, 4, 1e6
_SLACK = {torch.float64: 1e-12, torch.float32: 1e-6}

Steps = tuple[Tensor, Tensor]
"""Moves of regressors and gates, (S, k, d) each."""


def _maximisation(
    data: Samples,
    g: Nonlinearity,
    state: EStep,
    steps: Steps,
    scale: float,
) -> EStep:
    """Move by ``scale`` times the M-step and look again. sigma^2 is the weighted mean square of the
    residuals after the move: exact for linear g, to first order for any other."""
    move_a, move_w = steps if scale == 1.0 else (scale * step for step in steps)
    sigma = state.sigma
    if "sigma" in data.learn or data.own:
        squares = state.squares
        if data.moved:
            change = move_a * ((state.gram_a @ move_a[..., None])[..., 0] - 2 * state.pull_a)
            least = torch.finfo(sigma.dtype).eps * squares
            squares = (squares + change.sum(-1)).maximum(least)
        if data.own:
            weight = data.prior_weight
            variance = (squares + weight * data.prior_variance) / (state.load + weight)
        else:
            common = (squares.sum(1, keepdim=True) / data.n).clamp_min(data.least_variance)
            variance = common.expand_as(sigma)
        sigma = variance.sqrt()
    return expectation(data, g, state.regressors + move_a, state.gating + move_w, sigma)


def iterated(data: Samples, g: Nonlinearity, state: EStep) -> tuple[EStep, Tensor, Tensor]:
    """One EM iteration of every start; where the likelihood would fall (Gauss-Newton and Newton
    steps can overshoot) the step is halved, and dropped after 12 halvings. Returns the gain (S,),
    and which (S,) had nothing but a dropped step: they stay put, which need not be an end.

    A dropped step need not be the end: g may have a kink (ReLU), and where one expert stands at its
    kinks no joint step helps. Then the parts take theirs one by one.
    """
    new, dropped = _halved(data, g, state, (_expert_steps(data, state), _gate_steps(data, state)))
    if data.moved and not g.is_linear and bool(dropped.any()):
        new[dropped] = _part_by_part(data, g, new[dropped])
        dropped = torch.zeros_like(dropped)
    return new, new.log_likelihood - state.log_likelihood, dropped


def _expert_steps(data: Samples, state: EStep) -> Tensor:
    """The full moves of the regressors, (S, k, d)."""
    if not data.moved:
        return torch.zeros_like(state.regressors)
    return solve_ridged(state.gram_a, state.pull_a, data.curvature)


def _gate_steps(data: Samples, state: EStep) -> Tensor:
    """The full moves of the gates, (S, k, d), shortened where they could change a logit by more
    than a million: where gates are saturated there is no curvature left, and of logits after a step
    of Newton's nothing but rounding would be seen."""
    if not data.free:
        return torch.zeros_like(state.gating)
    step = newton_step(data, state)
    if float(step.abs().max()) * data.reach <= _MOST_LOGITS:
        return step
    reach = step.abs().amax((1, 2), keepdim=True) * data.reach
    return step * (_MOST_LOGITS / reach).clamp_max(1.0)


def _halved(
    data: Samples, g: Nonlinearity, state: EStep, steps: Steps, halvings: int = _HALVINGS
) -> tuple[EStep, Tensor]:
    """The steps, halved until the likelihood does not fall; which (S,) were dropped in the end."""
    slack = _SLACK[state.log_likelihood.dtype] * state.log_likelihood.abs()
    new = _maximisation(data, g, state, steps, 1.0)
    worse = ~(new.log_likelihood - state.log_likelihood >= -slack)  # NaN is worse
    for halving in range(1, halvings + 1):
        if not bool(worse.any()):
            break
        scale = 0.5**halving if halving < halvings else 0.0
        part = steps[0][worse], steps[1][worse]
        new[worse] = _maximisation(data, g, state[worse], part, scale)
        if halving < halvings:
            worse = ~(new.log_likelihood - state.log_likelihood >= -slack)
    return new, worse


def _part_by_part(data: Samples, g: Nonlinearity, state: EStep) -> EStep:
    """Each expert's step alone, then that of the gates, each from where the last one led."""
    for part in range(state.regressors.shape[1]):
        alone = torch.zeros_like(state.regressors)
        alone[:, part] = _expert_steps(data, state)[:, part]
        steps = alone, torch.zeros_like(state.gating)
        state = _halved(data, g, state, steps, _PART_HALVINGS)[0]
    if data.free:
        steps = torch.zeros_like(state.regressors), _gate_steps(data, state)
        state = _halved(data, g, state, steps, _PART_HALVINGS)[0]
    return state
