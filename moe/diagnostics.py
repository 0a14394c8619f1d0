"""Is a fitted mixture to be trusted? Calibration, collapsed and duplicate experts."""

from __future__ import annotations

import torch
from scipy.stats import kstest
from torch import Tensor

from moe.metrics import absolute_cosines
from moe.model import MoE

_TESTED = 100_000


def probability_transform(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    """F(y | x) = sum_i p_i(x) Phi((y - g(<a_i, x>)) / sigma), (n,); uniform under a true model."""
    standard = (y[:, None] - model.expert_means(x)) / model.sigma
    value: Tensor = (model.gate(x) * torch.special.ndtr(standard)).sum(-1)
    return value


def calibration_p_value(model: MoE, x: Tensor, y: Tensor) -> float:
    """p-value of the Kolmogorov-Smirnov test that F(y | x) is uniform.

    A run of EM that is stuck covers two experts with one broad compromise: its F(y | x) is far
    from uniform, whatever x. The parameters are fitted, so the test is slightly conservative. At
    most the first 100,000 samples are looked at.
    """
    return float(
        kstest(probability_transform(model, x, y).double().cpu().numpy(), "uniform").pvalue
    )


def doubts(model: MoE, x: Tensor, y: Tensor, *, level: float = 1e-4) -> list[str]:
    """Why the fit should not be trusted, in words; empty when nothing speaks against it.

    Looked for: an expert with fewer than d effective samples, two experts alike (both |cos| above
    0.999 and a norm within 5 %), and a predictive distribution that fails calibration at ``level``.
    """
    found = []
    load = model.responsibilities(x, y).sum(0)
    for expert in (load < model.d).nonzero()[:, 0].tolist():
        found.append(
            f"expert {expert} has collapsed: it answers for {float(load[expert]):.1f} samples, "
            f"fewer than its d = {model.d} weights"
        )
    norms = model.regressors.norm(dim=1)
    cosines = absolute_cosines(model.regressors, model.regressors)
    for i, j in torch.combinations(torch.arange(model.k)).tolist() if model.k > 1 else []:
        alike = bool((norms[i] / norms[j]).log().abs() < 0.05)
        if float(cosines[i, j]) > 0.999 and alike:
            found.append(f"experts {i} and {j} are alike: |cos| = {float(cosines[i, j]):.4f}")
    p_value = calibration_p_value(model, x, y)
    if p_value < level:
        found.append(
            "the fitted model does not describe the data: its predictive distribution fails the "
            f"uniformity test with p = {p_value:.1e}"
        )
    return found
