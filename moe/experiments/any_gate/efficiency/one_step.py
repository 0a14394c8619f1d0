"""One step of scoring: what a likelihood gains in a single step from another estimate."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.func import grad, vmap

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

    def log_density(theta: Tensor, at: Tensor, out: Tensor) -> Tensor:
        odds = torch.cat([theta[k * d + 1 :], theta.new_zeros(1)])
        residual = (out - g(theta[: k * d].view(k, d) @ at)) * torch.exp(-theta[k * d])
        return torch.logsumexp(torch.log_softmax(odds, 0) - residual.square() / 2, 0) - theta[k * d]

    odds = (proportions[:-1] / proportions[-1]).log()
    theta = torch.cat([regressors.flatten(), regressors.new_tensor([math.log(sigma)]), odds])
    scores = vmap(grad(log_density), in_dims=(None, 0, 0))(theta, x, y)
    step = torch.linalg.solve(scores.T @ scores, scores.sum(0))
    return (theta + step)[: k * d].view(k, d)
