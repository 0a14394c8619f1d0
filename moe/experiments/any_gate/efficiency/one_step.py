"""One step of scoring: what a likelihood gains in a single step from another estimate."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity


def one_step(
    x: Tensor, y: Tensor, regressors: Tensor, sigma: float, proportions: Tensor, g: Nonlinearity
) -> Tensor:
    """theta + J^-1 sum_n s_n, theta = (A, log sigma, log-odds of constant proportions), s_n the
    score of sample n there and J = sum_n s_n s_n' (Berndt, Hall, Hall, Hausman 1974); the experts
    of it, (k, d). Where the proportions are not constant J is not the curvature: the step then
    leads towards the maximum, not to it.

    x (n, d), y (n,), regressors (k, d), proportions (k,) > 0.
    """
    k, d = regressors.shape
    eta = x @ regressors.T
    u = (y[:, None] - g(eta)) / sigma
    r = torch.softmax(proportions.log() - u.square() / 2, 1)
    phi = r * u * g.derivative(eta) / sigma
    scores = torch.cat(
        [
            (phi[:, :, None] * x[:, None]).flatten(1),
            (r * u.square()).sum(1, keepdim=True) - 1,
            r[:, :-1] - proportions[:-1],
        ],
        1,
    )
    step = torch.linalg.solve(scores.T @ scores, scores.sum(0))
    return regressors + step[: k * d].view(k, d)
