"""Is a fitted mixture to be trusted? Calibration, collapsed and duplicate experts."""

from __future__ import annotations

from itertools import combinations

import torch
from scipy.stats import chi2, kstest
from torch import Tensor

from moe.model import MoE

_TESTED = 100_000
_TAIL = 1e-12
_ALIKE = 0.01
_RANK, _EXACT = 1e-10, 1e-6


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
    its own mean and covariance (directions in which it does not vary are left out), add up to a
    chi-squared variable with as many degrees of freedom when z is independent of x and the products
    are uncorrelated, as they are for Gaussian x (derived; White 1980 tests linear regressions like
    this). uniform (n,), x (n, d).
    """
    n, d = x.shape
    z = torch.special.ndtri(uniform.clamp(_TAIL, 1 - _TAIL)).square()
    if n <= d or float(z.std()) == 0:
        return 1.0
    white = _whitened(x)
    d = white.shape[1]
    if d == 0:
        return 1.0
    z = (z - z.mean()) / z.std(correction=0)
    covariance = white.T @ (z[:, None] * white) / n
    square = white.square()
    variance = square.T @ square / n - torch.eye(d, dtype=x.dtype)
    a, b = torch.triu_indices(d, d)
    statistic = n * (covariance.square() / variance.clamp_min(_TAIL))[a, b].sum()
    return float(chi2.sf(float(statistic), len(a)))


def _whitened(x: Tensor) -> Tensor:
    """x (n, d) with mean zero and the identity as covariance, (n, r), r the covariance's rank."""
    centred = x - x.mean(0)
    spread = centred.square().mean(0).sqrt()
    varies = spread > _RANK * x.abs().amax(0)
    unit = centred[:, varies] / spread[varies]
    values, vectors = torch.linalg.eigh(unit.T @ unit / len(x))
    kept = values > _RANK
    return unit @ (vectors[:, kept] * values[kept].rsqrt())


def noiseless(model: MoE, x: Tensor, y: Tensor) -> bool:
    """Whether every sample is fitted exactly: no residual of the experts that answer for it exceeds
    a millionth of the median size of y. A small sigma alone does not say so: it may be given."""
    size = float(y.abs().median())
    if model.sigma > 10 * _EXACT * size:
        return False
    residual = (y[:, None] - model.expert_means(x)).abs()
    weighted = (model.responsibilities(x, y) * residual).sum(1)
    return float(weighted.max()) <= _EXACT * size


def separation(model: MoE, x: Tensor, load: Tensor, i: int, j: int) -> float:
    """m mean (g(<a_i, x>) - g(<a_j, x>))^2 / sigma^2, 1/m = 1/load_i + 1/load_j (derived).

    About chi-squared with d degrees of freedom, were both fits of one expert, each to a random part
    of the samples x (n, d) as large as its ``load`` (k,). EM chooses the parts that fit best, so
    two fits of one expert mostly lie further apart: a small value tells duplicates, a large one
    does not tell that there are none. Does not depend on the units of x or y.
    """
    means = model.nonlinearity(x @ model.regressors[[i, j]].T)
    shared = 1.0 / float(load[[i, j]].clamp_min(_TAIL).reciprocal().sum())
    return shared * float((means[:, 0] - means[:, 1]).square().mean()) / model.sigma**2


def doubts(model: MoE, x: Tensor, y: Tensor, *, level: float = 1e-4) -> list[str]:
    """Why the fit should not be trusted, in words; empty when nothing speaks against it.

    Looked for: an expert with fewer than d effective samples, two experts alike (``separation``
    within the 99 % point of chi-squared), and a predictive distribution that fails calibration at
    ``level`` (outputs without noise leave nothing to calibrate: ``noiseless``).
    """
    found = []
    load = model.responsibilities(x, y).sum(0)
    for expert in (load < model.d).nonzero()[:, 0].tolist():
        found.append(
            f"expert {expert} has collapsed: it answers for {float(load[expert]):.1f} samples, "
            f"fewer than its d = {model.d} weights"
        )
    for i, j in combinations(range(model.k), 2):
        apart = separation(model, x, load, i, j)
        if apart < chi2.isf(_ALIKE, model.d):
            found.append(
                f"experts {i} and {j} are alike: what they answer differs by no more than two fits "
                f"of one expert would, chi-squared {apart:.1f} with d = {model.d}"
            )
    p_value = 1.0 if noiseless(model, x, y) else calibration_p_value(model, x, y)
    if p_value < level:
        found.append(
            "the fitted model does not describe the data: its predictive distribution is not "
            f"calibrated, p = {p_value:.1e}"
        )
    return found
