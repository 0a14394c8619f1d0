"""The M-step of every start at once: its moves, halved where they overshoot."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity
from moe.solvers.em.expectation import EStep, expectation
from moe.solvers.em.gates import newton_step
from moe.solvers.em.samples import Samples
from moe.solvers.linear import solve_ridged

HALVINGS, _PART_HALVINGS, MOST_LOGITS = 12, 4, 1e6
SLACK = {torch.float64: 1e-12, torch.float32: 1e-6}


@dataclass(frozen=True, eq=False)
class Moves:
    """Of regressors and gates, (S, k, d) each; None where they are held."""

    regressors: Tensor | None
    gating: Tensor | None

    def part(self, starts: Tensor, scale: float) -> Moves:
        """Some of the starts, and of their moves a part."""
        own = (None if move is None else scale * move[starts] for move in vars(self).values())
        return Moves(*own)


def _maximisation(data: Samples, g: Nonlinearity, state: EStep, moves: Moves) -> EStep:
    """Move and look again. sigma^2 is the weighted mean square of the residuals after the move:
    exact for linear g, to first order for any other."""
    sigma, move = state.sigma, moves.regressors
    if "sigma" in data.learn or data.own:
        squares = state.squares
        if move is not None:
            change = move * ((state.gram_a @ move[..., None])[..., 0] - 2 * state.pull_a)
            least = torch.finfo(sigma.dtype).eps * squares
            squares = (squares + change.sum(-1)).maximum(least)
        if data.own:
            weight = data.prior_weight
            variance = (squares + weight * data.prior_variance) / (state.load + weight)
        else:
            common = (squares.sum(1, keepdim=True) / data.n).clamp_min(data.least_variance)
            variance = common.expand_as(sigma)
        sigma = variance.sqrt()
    regressors = state.regressors if move is None else state.regressors + move
    gating = state.gating if moves.gating is None else state.gating + moves.gating
    return expectation(data, g, regressors, gating, sigma)


def iterated(data: Samples, g: Nonlinearity, state: EStep) -> tuple[EStep, Tensor, Tensor]:
    """One EM iteration of every start; where the likelihood would fall (Gauss-Newton and Newton
    steps can overshoot) the step is halved, and dropped after 12 halvings. Returns the gain (S,),
    and which (S,) had nothing but a dropped step: they stay put, which need not be an end.

    A dropped step need not be the end: g may have a kink (ReLU), and where one expert stands at its
    kinks no joint step helps. Then the parts take theirs one by one.
    """
    moves = Moves(
        _expert_moves(data, state) if data.moved else None,
        _gate_moves(data, state) if data.free else None,
    )
    new, gain, dropped = _halved(data, g, state, moves)
    if data.moved and not g.is_linear and bool(dropped.any()):
        new[dropped] = _part_by_part(data, g, new[dropped])
        gain, dropped = new.log_likelihood - state.log_likelihood, torch.zeros_like(dropped)
    return new, gain, dropped


def _expert_moves(data: Samples, state: EStep) -> Tensor:
    """The full moves of the regressors, (S, k, d)."""
    return solve_ridged(state.gram_a, state.pull_a, data.curvature)


def _gate_moves(data: Samples, state: EStep) -> Tensor:
    """The full moves of the gates, (S, k, d), shortened where they could change a logit by more
    than a million: where gates are saturated there is no curvature left, and of logits after a step
    of Newton's nothing but rounding would be seen."""
    step = newton_step(data, state)
    if float(step.abs().max()) * data.reach <= MOST_LOGITS:
        return step
    reach = step.abs().amax((1, 2), keepdim=True) * data.reach
    return step * (MOST_LOGITS / reach).clamp_max(1.0)


def _halved(
    data: Samples, g: Nonlinearity, state: EStep, moves: Moves, halvings: int = HALVINGS
) -> tuple[EStep, Tensor, Tensor]:
    """The moves, halved until the likelihood does not fall; the gain; and which (S,) were dropped
    in the end."""
    slack = -SLACK[state.log_likelihood.dtype] * state.log_likelihood.abs()
    new = _maximisation(data, g, state, moves)
    gain = new.log_likelihood - state.log_likelihood
    worse = ~(gain >= slack)  # NaN is worse
    for halving in range(1, halvings + 1):
        if not bool(worse.any()):
            break
        scale = 0.5**halving if halving < halvings else 0.0
        new[worse] = _maximisation(data, g, state[worse], moves.part(worse, scale))
        gain = new.log_likelihood - state.log_likelihood
        if halving < halvings:
            worse = ~(gain >= slack)
    return new, gain, worse


def _part_by_part(data: Samples, g: Nonlinearity, state: EStep) -> EStep:
    """Each expert's step alone, then that of the gates, each from where the last one led."""
    for part in range(state.regressors.shape[1]):
        alone = torch.zeros_like(state.regressors)
        alone[:, part] = _expert_moves(data, state)[:, part]
        state = _halved(data, g, state, Moves(alone, None), _PART_HALVINGS)[0]
    if data.free:
        moves = Moves(None, _gate_moves(data, state))
        state = _halved(data, g, state, moves, _PART_HALVINGS)[0]
    return state
