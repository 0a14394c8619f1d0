"""The M-step of every start at once: its moves, halved where they overshoot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from moe.solvers.em.maximisation import HALVINGS, MOST_LOGITS
from moe.solvers.em.small.expectation import Batch, SmallSamples, SmallStep, expectation_small
from moe.solvers.linear import Array

_MOST_SOLVED = 5_000  # entries of matrices


@dataclass
class _Moves(Batch):
    """Of regressors and gates, (S, k, d), and of the sums of squares (S, k): by a step of length t
    t slope + t^2 bend."""

    regressors: Array
    gating: Array
    slope: Array
    bend: Array


def _moves(data: SmallSamples, step: SmallStep) -> _Moves:
    """Exact least squares for the experts, a step of Newton's for the gates."""
    (starts, k, d), moved, free = step.regressors.shape, data.all.moved, data.all.free
    grams = step.sums[..., data.places]
    none = np.zeros_like(step.regressors)
    regressors, gating, slope, bend = none, none, none[..., 0], none[..., 0]
    if moved:
        gram, pull = grams[:, :k].reshape(-1, d, d), step.pull[:, :k].reshape(-1, d)
        move = _solved(data, gram, pull)
        bend = ((gram @ move[..., None])[..., 0] * move).sum(1).reshape(starts, k)
        slope = -2 * (pull * move).sum(1).reshape(starts, k)
        regressors = move.reshape(starts, k, d)
    if free:
        blocks = grams[:, moved:].reshape(starts, -1, d, d)[:, data.pairs]
        hessian = blocks.swapaxes(2, 3).reshape(starts, free * d, free * d)
        move = _solved(data, hessian, step.pull[:, moved:].reshape(starts, -1))
        reach = np.abs(move).max(1, keepdims=True) * data.all.reach
        move *= np.minimum(MOST_LOGITS / np.maximum(reach, 1.0), 1.0)
        gating = np.zeros_like(step.gating)
        gating[:, :free] = move.reshape(starts, free, d)
    return _Moves(regressors, gating, slope, bend)


def _solved(data: SmallSamples, matrix: Array, right: Array) -> Array:
    """As ``moe.solvers.linear.solve_ridged``; no step where there is none that climbs."""
    m = matrix.shape[-1]
    mean = matrix.reshape(-1, m * m)[:, :: m + 1].mean(1)
    ridge = data.ridge * np.maximum(mean, data.eps * data.all.curvature)
    solid = matrix + ridge[:, None, None] * np.eye(m, dtype=matrix.dtype)
    solution = (_by_cholesky if solid.size > _MOST_SOLVED else _by_elimination)(solid, right)
    climbs = (solution * right).sum(1)
    if not (climbs > 0).all() or not np.isfinite(climbs).all():
        sound = (climbs > 0) & np.isfinite(solution).all(1)
        solution = np.where(sound[:, None], solution, 0.0)
    return solution


def _by_elimination(matrix: Array, right: Array) -> Array:
    """Solutions of matrices (B, m, m) and (B, m); zero where a matrix is singular."""
    try:
        return np.asarray(np.linalg.solve(matrix, right[..., None])[..., 0])
    except np.linalg.LinAlgError:  # one of them is
        return _by_cholesky(matrix, right)


def _by_cholesky(matrix: Array, right: Array) -> Array:
    """The same in torch, which is quicker where they are many or large."""
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    solution = torch.cholesky_solve(torch.from_numpy(right)[..., None], factor)[..., 0]
    return solution.masked_fill_(failed[:, None] != 0, 0.0).numpy()


def _moved(data: SmallSamples, step: SmallStep, moves: _Moves, length: float) -> SmallStep:
    """The E-step after moves of that length, and sigma after them."""
    sigma, samples = step.sigma, data.all
    if samples.own or "sigma" in samples.learn:
        change = length * moves.slope + length**2 * moves.bend
        squares = np.maximum(step.squares + change, data.eps * step.squares)
        if samples.own:
            weight = samples.prior_weight
            sigma = np.sqrt((squares + weight * samples.prior_variance) / (step.load + weight))
        else:
            common = np.maximum(squares.sum(1, keepdims=True) / data.n, samples.least_variance)
            sigma = np.repeat(np.sqrt(common), sigma.shape[1], axis=1)
    regressors = step.regressors + length * moves.regressors if samples.moved else step.regressors
    gating = step.gating + length * moves.gating if samples.free else step.gating
    return expectation_small(data, regressors, gating, sigma)


def iterated_small(
    data: SmallSamples, step: SmallStep
) -> tuple[SmallStep, Array, NDArray[np.bool_]]:
    """One EM iteration of every start, its step halved where the likelihood would fall, and dropped
    after 12 halvings; the gain (S,), and which (S,) were dropped."""
    moves = _moves(data, step)
    slack = -data.slack * np.abs(step.log_likelihood)
    new = _moved(data, step, moves, 1.0)
    gain = new.log_likelihood - step.log_likelihood
    worse = ~(gain >= slack)  # NaN is worse
    for halving in range(1, HALVINGS + 1):
        if not worse.any():
            break
        length = 0.5**halving if halving < HALVINGS else 0.0
        new[worse] = _moved(data, step[worse], moves[worse], length)
        gain = new.log_likelihood - step.log_likelihood
        if halving < HALVINGS:
            worse = ~(gain >= slack)
    return new, gain, worse
