"""Is a fitted mixture to be trusted? Calibration, collapsed and duplicate experts."""

from __future__ import annotations

import torch
from scipy.special import gammaincc, gammainccinv
from torch import Tensor

from moe.model.mixture import MoE

_TESTED, _PAIRED = 100_000, 500
_TAIL = 1e-12
_ALIKE = 0.01
_RANK, _EXACT = 1e-10, 1e-6
REMEDY = 'recover(..., gate="any") needs no model of the gate'


def in_words(p_value: float) -> str:
    """A p-value for a message: "p = 3.2e-05", or "p below 1e-300" where it is too small to be told
    from zero."""
    return f"p = {p_value:.1e}" if p_value > 1e-300 else "p below 1e-300"


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
    from scipy.stats import kstest  # half a second to import, and `recover` does not always ask

    together = float(kstest(uniform.cpu().numpy(), "uniform").pvalue)
    return min(1.0, 2.0 * min(together, dependence_p_value(uniform, x.double())))


def dependence_p_value(uniform: Tensor, x: Tensor) -> float:
    """p-value of the hypothesis that the spread of z = Phi^-1(F) does not depend on x.

    The statistic is the squared length of sum_n q_n x_n x_n', q the standardised z^2, x whitened by
    its own mean and covariance (directions in which it does not vary are left out): White's test
    (1980), but referred to what permutations of z would give. z^2 has heavy tails, hence the terms
    q_n^2 |x_n|^4 are replaced by their mean, and the products x_a x_b are correlated in a sample
    that is not much larger than their number, or not Gaussian, hence mean and variance are those
    given x (``_moments``); the law is taken to be that of a multiple of a chi-squared variable with
    both (derived; Satterthwaite 1946 for the approximation). uniform (n,), x (n, d).
    """
    n, d = x.shape
    q = torch.special.ndtri(uniform.clamp(_TAIL, 1 - _TAIL)).square()
    if n <= d or float(q.std()) == 0:
        return 1.0
    white = whitened(x)
    if white.shape[1] == 0:
        return 1.0
    q = (q - q.mean()) / q.std(correction=0)
    diagonal, mean, variance = _moments(white)
    whole = (white.T @ (q[:, None] * white)).square().sum()
    statistic = float(whole - (q.square() - 1.0) @ diagonal)
    return tail(statistic, mean, variance)


def tail(statistic: float, mean: float, variance: float) -> float:
    """The chance of more, of a multiple of a chi-squared variable with that mean and variance
    (Satterthwaite 1946); 1 where it does not vary."""
    if variance <= _TAIL * mean**2:
        return 1.0
    scale = variance / (2 * mean)
    return float(gammaincc(mean / scale / 2, max(statistic, 0.0) / scale / 2))


def kernel_diagonal(white: Tensor) -> Tensor:
    """|phi(x_n)|^2 (n,), phi the products of x (n, d) less the identity:
    <phi(x_n), phi(x_m)> = <x_n, x_m>^2 - |x_n|^2 - |x_m|^2 + d."""
    length = white.square().sum(1)
    return length.square() - 2 * length + white.shape[1]


def kernel(white: Tensor) -> Tensor:
    """<phi(x_n), phi(x_m)> (n, n), phi as in ``kernel_diagonal``."""
    square = white.square().sum(1)
    return (white @ white.T).square_().sub_(square - white.shape[1]).sub_(square[:, None])


def _moments(white: Tensor) -> tuple[Tensor, float, float]:
    """Of sum_ij q_i q_j K_ij over permutations of q, q_i^2 replaced by one: K_ii (n,), the mean
    n tr K / (n - 1), and the variance, 2 sum_{i != j} K_ij^2 up to terms of lower order (the sum by
    ``drawn`` in proportion to K_ii). K_ij = <x_i, x_j>^2 with its row and column means taken off.
    """
    n = len(white)
    diagonal = kernel_diagonal(white)
    rows, stands_for = drawn(diagonal)
    pairs = off_diagonal(kernel(white[rows]).square_(), rows, stands_for)
    return diagonal, n * float(diagonal.sum()) / (n - 1), 2 * pairs


def drawn(importance: Tensor) -> tuple[Tensor, Tensor]:
    """At most 500 places at even steps of the cumulated importance (n,), and what each stands for:
    a sum over the n is one over them, weighted so. Where importance bounds the terms, as K_ii K_jj
    does K_ij^2, no pair of samples weighs more than another, however far out they lie."""
    n, total = len(importance), importance.sum()
    if n <= _PAIRED:
        return torch.arange(n), torch.ones_like(importance)
    steps = (torch.arange(_PAIRED, dtype=importance.dtype) + 0.5) / _PAIRED * total
    rows = torch.searchsorted(importance.cumsum(0), steps).clamp_max(n - 1)
    return rows, total / _PAIRED / importance[rows]


def off_diagonal(values: Tensor, rows: Tensor, stands_for: Tensor) -> float:
    """The sum of values (m, m) over pairs of different samples, of those ``drawn``."""
    weighted = values * stands_for * stands_for[:, None]
    return float(weighted.masked_fill_(rows == rows[:, None], 0.0).sum())


def whitened(x: Tensor) -> Tensor:
    """x (n, d) with mean zero and the identity as covariance, (n, r), r the covariance's rank."""
    centred = x - x.mean(0)
    spread = centred.square().mean(0).sqrt()
    varies = spread > _RANK * x.abs().amax(0)
    unit = centred[:, varies] / spread[varies]
    values, vectors = torch.linalg.eigh(unit.T @ unit / len(x))
    kept = values > _RANK
    return unit @ (vectors[:, kept] * values[kept].rsqrt())


def noiseless(model: MoE, x: Tensor, y: Tensor) -> bool:
    """Whether every sample is fitted exactly: no residual of the experts that answer for it counts
    (``exact``). A small sigma alone does not say so: it may be given."""
    if model.sigma > 10 * _EXACT * float(y.abs().median()):
        return False
    residual = (y[:, None] - model.expert_means(x)).abs()
    return exact((model.responsibilities(x, y) * residual).sum(1), y)


def exact(residual: Tensor, y: Tensor) -> bool:
    """Whether no |residual| (n,) exceeds a millionth of the median size of y (n,)."""
    return float(residual.max()) <= _EXACT * float(y.abs().median())


def separation(means: Tensor, load: Tensor, sigma: float) -> float:
    """m mean (g(<a_i, x>) - g(<a_j, x>))^2 / sigma^2, 1/m = 1/load_i + 1/load_j (derived), of two
    experts, means (n, 2).

    About chi-squared with d degrees of freedom, were both fits of one expert, each to a random part
    of the samples as large as its ``load`` (2,). EM chooses the parts that fit best, so
    two fits of one expert mostly lie further apart: a small value tells duplicates, a large one
    does not tell that there are none. Does not depend on the units of x or y.
    """
    shared = 1.0 / float(load.clamp_min(_TAIL).reciprocal().sum())
    return shared * float((means[:, 0] - means[:, 1]).square().mean()) / sigma**2


def _near(means: Tensor, load: Tensor, sigma: float, least: float) -> list[tuple[int, int]]:
    """The pairs whose ``separation`` may be below ``least``: by one product of all means, whose
    rounding is allowed for. What is left is looked at pair by pair."""
    gram = means.T @ means / len(means)
    squares = gram.diagonal()
    apart = squares[:, None] + squares - 2 * gram
    rounding = len(means) * torch.finfo(means.dtype).eps * (squares[:, None] + squares)
    inverse = load.clamp_min(_TAIL).reciprocal()
    close = (apart - rounding) / sigma**2 < 2 * least * (inverse[:, None] + inverse)
    maybe = ~torch.isfinite(apart) | close
    return [(i, j) for i, j in maybe.triu(1).nonzero().tolist()]


def crowding(means: Tensor, load: Tensor, sigma: float, d: int) -> list[str]:
    """What the experts' means (n, k) and loads (k,) say against a fit, in words: one with fewer
    than d effective samples, two alike (``separation`` within the 99 % point of chi-squared)."""
    found = []
    for expert in (load < d).nonzero()[:, 0].tolist():
        found.append(
            f"expert {expert} has collapsed: it answers for {float(load[expert]):.1f} samples, "
            f"fewer than its d = {d} weights"
        )
    least = 2 * gammainccinv(d / 2, _ALIKE)
    for pair in _near(means, load, sigma, least):
        apart = separation(means[:, pair], load[[*pair]], sigma)
        if apart < least:
            found.append(
                f"experts {pair[0]} and {pair[1]} are alike: what they answer differs by no more "
                f"than two fits of one expert would, chi-squared {apart:.1f} with d = {d}"
            )
    return found


def doubts(model: MoE, x: Tensor, y: Tensor, *, level: float = 1e-4) -> list[str]:
    """Why the fit should not be trusted, in words; empty when nothing speaks against it.

    Looked for: experts that are too many (``crowding``), and a predictive distribution that fails
    calibration at ``level`` (outputs without noise leave nothing to calibrate: ``noiseless``).
    """
    load = model.responsibilities(x, y).sum(0)
    found = crowding(model.expert_means(x), load, model.sigma, model.d)
    p_value = 1.0 if noiseless(model, x, y) else calibration_p_value(model, x, y)
    if p_value < level:
        found.append(
            "the fitted model does not describe the data: its predictive distribution is not "
            f"calibrated, {in_words(p_value)}" + (f"; {REMEDY}" if model.gating.any() else "")
        )
    return found
