"""Errors of a fit in its own standard errors: is the scale that it claims the right one?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moe.metrics import match
from moe.model.mixture import MoE
from moe.recovery.results import Recovery

INSIDE = 1.959964  # of a standard normal number, 95 %


def z_scores(fit: Recovery, truth: MoE) -> tuple[Tensor, Tensor]:
    """(estimate - truth) / standard error, entry by entry, matched by one permutation.

    Of the regressors, (k, d), and of the gates' contrasts w_i - w_j, i < j, (k (k - 1) / 2, d): a
    gate by itself has no meaning. Raises ValueError where the fit has no standard errors.
    """
    errors, (k, d) = fit.standard_errors, truth.regressors.shape
    order = match(fit.model.regressors, truth.regressors)
    regressors = (fit.model.regressors[order] - truth.regressors) / errors.regressors[order]
    free = errors.covariance[k * d : -1, k * d : -1].view(k - 1, d, k - 1, d)
    covariance = torch.nn.functional.pad(free, (0, 0, 0, 1, 0, 0, 0, 1))  # the last gate is zero
    own = covariance.diagonal(dim1=1, dim2=3)[order][:, order]  # (k, k, d)
    first, second = torch.triu_indices(k, k, 1)
    variance = own[first, first] + own[second, second] - 2 * own[first, second]
    off = fit.model.gating[order] - truth.gating
    return regressors, (off[first] - off[second]) / variance.sqrt()


def summary(fit: Recovery, truth: MoE) -> dict[str, float]:
    """For regressors and gates: "covered_", the share of entries inside their 95 % interval, and
    "spread_", the mean square of the z-scores; NaN without standard errors."""
    names = ("regressors", "gates")
    try:
        parts = z_scores(fit, truth)
    except ValueError:
        return {f"{what}_{name}": math.nan for what in ("covered", "spread") for name in names}
    covered = {
        f"covered_{n}": float((z.abs() < INSIDE).double().mean())
        for n, z in zip(names, parts, strict=True)
    }
    return covered | {
        f"spread_{n}": float(z.square().mean()) for n, z in zip(names, parts, strict=True)
    }
