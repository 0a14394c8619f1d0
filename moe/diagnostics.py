"""Is a fitted mixture to be trusted? Calibration, collapsed and duplicate experts."""

from __future__ import annotations

import torch
from scipy.stats import chi2, kstest
from torch import Tensor

from moe.metrics import absolute_cosines
from moe.model import MoE

_TESTED = 100_000
_TAIL = 1e-12


def probability_transform(model: MoE, x: Tensor, y: Tensor) -> Tensor:
    """F(y | x) = sum_i p_i(x) Phi((y - g(<a_i, x>)) / sigma), (n,); uniform under a true model."""
    standard = (y[:, None] - model.expert_means(x)) / model.sigma
    value: Tensor = (model.gate(x) * torch.special.ndtr(standard)).sum(-1)
    return value


def calibration_p_value(model: MoE, x: Tensor, y: Tensor) -> float:
    """p-value of the hypothesis that F(y | x) is uniform whatever x; two tests, Bonferroni.

    One looks at all samples together (Kolmogorov, Smirnov), the other for a spread that depends on
    x (``dependence_p_value``). A run of EM that is stuck covers two experts with one broad
    compromise, whose residuals are too large where the two disagree: the second test sees that even
    if the first does not. The parameters are fitted, so both are slightly conservative. At most the
    first 100,000 samples are looked at.
    """
    x, y = x[:_TESTED], y[:_TESTED]
    uniform = probability_transform(model, x, y).double()
    together = float(kstest(uniform.cpu().numpy(), "uniform").pvalue)
    return min(1.0, 2.0 * min(together, dependence_p_value(uniform, x.double())))


def dependence_p_value(uniform: Tensor, x: Tensor) -> float:
    """p-value of the hypothesis that the spread of z = Phi^-1(F) does not depend on x.

    n times the squared correlations of z^2 with the d (d + 1) / 2 products x_a x_b, x whitened by
    its own mean and covariance, add up to a chi-squared variable with as many degrees of freedom
    when z is independent of x and the products are uncorrelated, as they are for Gaussian x
    (derived; White 1980 tests linear regressions like this). uniform (n,), x (n, d).
    """
    n, d = x.shape
    z = torch.special.ndtri(uniform.clamp(_TAIL, 1 - _TAIL)).square()
    if n <= d or float(z.std()) == 0:
        return 1.0
    centred = x - x.mean(0)
    factor, failed = torch.linalg.cholesky_ex(centred.T @ centred / n)
    if int(failed):
        return 1.0
    white = torch.linalg.solve_triangular(factor, centred.T, upper=False).T
    z = (z - z.mean()) / z.std(correction=0)
    covariance = white.T @ (z[:, None] * white) / n
    square = white.square()
    variance = square.T @ square / n - torch.eye(d, dtype=x.dtype)
    a, b = torch.triu_indices(d, d)
    statistic = n * (covariance.square() / variance.clamp_min(_TAIL))[a, b].sum()
    return float(chi2.sf(float(statistic), len(a)))


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
            "the fitted model does not describe the data: its predictive distribution is not "
            f"calibrated, p = {p_value:.1e}"
        )
    return found
