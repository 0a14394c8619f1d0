"""The error law of L_4 in simulation: its actual minimum at population moments plus a little noise.

The noise of the moments of n samples is scaled down by eps, so that the minimiser moves to first
order in it and no limit n -> infinity is involved. Nothing here knows the law's formula.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe.metrics import absolute_cosines, match
from moe.model.mixture import MoE
from moe.moments.estimate import Method, score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import whiten
from moe.randomness import stream
from moe.solvers.l4 import L4Moments, minimise_l4


def scaled_down_angles(
    model: MoE, method: Method, repeats: int, n: int, eps: float, seed: int = 0
) -> Tensor:
    """n theta_i^2 / eps^2 of L_4's minimum at moments M + eps E, T + eps N, (repeats, k), with E
    and N from n samples each time."""
    truth = model.regressors
    p = model.mixing_proportions(400_000, generator=stream("proportions", seed))
    second = torch.einsum("m,ma,mb->ab", p, truth, truth)
    quadratic, quartic = (output_transform(model.nonlinearity, model.sigma, m) for m in (2, 4))
    angles = []
    for repeat in range(repeats):
        x, y = model.sample(n, stream("data", seed, repeat))
        noise = score_moment(x, y, quadratic, method).tensor - second
        whitening = whiten(second + eps * noise, model.k)
        exact = torch.einsum("m,ma,mb,mc,md->abcd", p, *[truth @ whitening.basis] * 4)
        found = score_moment(x, y, quartic, method, basis=whitening.basis)
        tensor = whitening.apply(exact + eps * (found.tensor - exact))
        moments = L4Moments(model.sigma, found, found, whitening, tensor)
        fit = minimise_l4(moments, truth.sum(0), stream("starts", repeat), starts=4)
        order = match(fit.regressors, truth)
        cosines = absolute_cosines(fit.regressors, truth)[order, torch.arange(model.k)]
        angles.append(2 * (1 - cosines) * n / eps**2)
    return torch.stack(angles)
