"""Does who answers depend on the inputs as a softmax gate says? Calibration of y alone cannot see a
wrong gate whose shares are near one half."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.likelihood.diagnostics import in_words, kernel, kernel_diagonal, tail, whitened

LEVEL = 1e-4
_TESTED, _PAIRED = 100_000, 500
_UNDECIDED = 20.0


def gate_p_value(excess: Tensor, z: Tensor, *, offsets: bool) -> float:
    """p-value of the hypothesis that E[r_i - p_i | z] = 0 for every expert i: a score test of
    products z_a z_b in the gate's scores (Rao 1948), of offsets too where the gate has none.

    excess (n, k): responsibilities less the gate's probabilities, at a maximum of the likelihood,
    where sum_n e_n z_n = 0; z (n, q), what the gate looks at, whitened here by its own mean and
    covariance. The statistic is sum_i |sum_n e_ni phi(z_n)|^2, phi all products. It is referred to
    a multiple of a chi-squared variable with the mean and the variance that it would have were the
    e_n of different samples independent with mean zero, their sizes as found:

        mean      sum_n |e_n|^2 K_nn,                K_nm = <phi(z_n), phi(z_m)>,
        variance  2 sum_{n != m} <e_n, e_m>^2 K_nm^2

    (derived; Satterthwaite 1946 for the approximation). That the parameters are fitted makes the
    statistic smaller, so the test rejects too seldom. The sum over pairs is that of at most 500
    samples, drawn at even steps of the cumulated |e_n|^2. 1 where the samples are worth fewer than
    20 that were assigned at random, sum |e_n|^2 < 20: too few for a normal law.
    """
    excess, z = excess[:_TESTED], z[:_TESTED]
    white = whitened(z)
    size = excess.square().sum(1)
    if float(size.sum()) < _UNDECIDED or white.shape[1] == 0:
        return 1.0
    mean = float(size @ (kernel_diagonal(white) + (not offsets)))
    variance = _variance(excess, size, white, offsets)
    return tail(_statistic(excess, white, offsets), mean, variance)


def gate_doubt(excess: Tensor, z: Tensor, remedy: str, *, offsets: bool) -> list[str]:
    """What ``gate_p_value`` says against a fit, in words; remedy: what needs no such gate."""
    p_value = gate_p_value(excess, z, offsets=offsets)
    if p_value >= LEVEL:
        return []
    return [
        "the gate does not describe who answers, or the experts are wrong: responsibilities differ "
        f"from the gate's probabilities {'' if offsets else 'on average, or '}with products of "
        f"columns, {in_words(p_value)}; {remedy}"
    ]


def _statistic(excess: Tensor, white: Tensor, offsets: bool) -> float:
    total = 0.0
    ones = torch.eye(white.shape[1], dtype=white.dtype)
    for each in excess.T:
        sums = white.T @ (each[:, None] * white) - each.sum() * ones
        total += float(sums.square().sum()) + (0.0 if offsets else float(each.sum() ** 2))
    return total


def _variance(excess: Tensor, size: Tensor, white: Tensor, offsets: bool) -> float:
    """Drawn in proportion to |e|^2 each pair stands for itself divided by its chance."""
    total, n = size.sum(), len(size)
    rows, unit = torch.arange(n), size.new_ones(n)
    if n > _PAIRED:
        steps = (torch.arange(_PAIRED, dtype=size.dtype) + 0.5) / _PAIRED * total
        rows = torch.searchsorted(size.cumsum(0), steps).clamp_max(n - 1)
        unit = total / _PAIRED / size[rows]
    e = excess[rows]
    pairs = ((e @ e.T) * (kernel(white[rows]) + (not offsets))).square_() * unit * unit[:, None]
    pairs.masked_fill_(rows == rows[:, None], 0.0)
    return 2 * float(pairs.sum())
