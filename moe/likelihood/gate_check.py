"""Does who answers depend on the inputs as a softmax gate says? Calibration of y alone cannot see a
wrong gate whose shares are near one half."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.likelihood.diagnostics import (
    drawn,
    in_words,
    kernel,
    kernel_diagonal,
    off_diagonal,
    tail,
    whitened,
)

LEVEL = 1e-4
_TESTED = 100_000
_UNDECIDED = 20.0


def gate_p_value(excess: Tensor, z: Tensor, *, offsets: bool) -> float:
    """p-value of the hypothesis that E[r_i - p_i | z] = 0 for every expert i: a score test of
    products z_a z_b in the gate's scores (Rao 1948), of offsets too where the gate has none.

    excess (n, k): responsibilities less the gate's probabilities, at a maximum of the likelihood,
    where sum_n e_n z_n = 0; z (n, q), what the gate looks at, whitened here by its own mean and
    covariance. The statistic is sum_i |sum_n e_ni phi(z_n)|^2, phi all products less the identity.
    It is referred to a multiple of a chi-squared variable with the mean and the variance that it
    would have were the e_n of different samples independent with mean zero, their sizes as found:

        mean      sum_n |e_n|^2 K_nn,                K_nm = <phi(z_n), phi(z_m)>,
        variance  2 sum_{n != m} <e_n, e_m>^2 K_nm^2

    (derived; Satterthwaite 1946 for the approximation). That the parameters are fitted makes the
    statistic smaller, so the test rejects too seldom: a column whose square the gate knows nearly,
    as a rare dummy's, takes much of its power. (Products less their regression on z have that
    power, but right fits of a steep gate were doubted then, one in a hundred at p < 1e-5: large
    excesses at either end of z all have one sign.) The sum over pairs is that of at most 500
    samples, ``drawn`` in proportion to |e_n|^2 K_nn, which bounds the terms. 1 where the samples
    are worth fewer than 20 that were assigned at random, sum |e_n|^2 < 20: too few for a normal
    law. At most 100,000 samples are looked at.
    """
    excess, white = excess[:_TESTED], whitened(z[:_TESTED])
    if float(excess.square().sum()) < _UNDECIDED or white.shape[1] == 0:
        return 1.0
    return tail(*_moments(excess, white, offsets))


def _moments(excess: Tensor, white: Tensor, offsets: bool) -> tuple[float, float, float]:
    """The statistic, and its mean and variance under the hypothesis."""
    own = excess.square().sum(1) * (kernel_diagonal(white) + (not offsets))
    rows, stands_for = drawn(own)
    e = excess[rows]
    terms = ((e @ e.T) * (kernel(white[rows]) + (not offsets))).square_()
    pairs = off_diagonal(terms, rows, stands_for)
    return _statistic(excess, white, offsets), float(own.sum()), 2 * pairs


def _statistic(excess: Tensor, white: Tensor, offsets: bool) -> float:
    total = 0.0
    ones = torch.eye(white.shape[1], dtype=white.dtype)
    for each in excess.T:
        sums = white.T @ (each[:, None] * white) - each.sum() * ones
        total += float(sums.square().sum()) + (0.0 if offsets else float(each.sum() ** 2))
    return total


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
