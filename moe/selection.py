"""How many experts? Eigenvalues of M for a first guess, held-out likelihood for the answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.model_selection import KFold
from torch import Tensor

from moe.checks import as_samples, check_at_least
from moe.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import as_seed, child_seed
from moe.recovery import recover
from moe.solvers.l4 import noise_edge, noise_level, robust_moment
from moe.transforms import output_transform

_STANDARD_ERRORS = 2.0


@dataclass(frozen=True, eq=False)
class Choice:
    """What ``choose_k`` found.

    k: the number of experts chosen; eigenvalues (d,) of M, decreasing; noise: what the largest
    eigenvalue would be without any signal; distinct: how many eigenvalues exceed it; held_out: mean
    log-density of samples that were not fitted, in nats per sample, for every k that was tried;
    gains: for each k tried with k - 1, (held-out gain over k - 1, its standard error).
    """

    k: int
    eigenvalues: Tensor
    noise: float
    distinct: int
    held_out: dict[int, float]
    gains: dict[int, tuple[float, float]]


def choose_k(
    x: Any,
    y: Any,
    nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
    *,
    max_experts: int = 8,
    folds: int = 4,
    every: bool = False,
    seed: Any = 0,
) -> Choice:
    """The number of experts that predicts held-out samples best, x (n, d), y (n,).

    1. M has rank k in population: its eigenvalues above the noise (``noise_edge``) are a first
       guess, too small where experts are nearly dependent.
    2. From there k goes up while one expert more gains more than two standard errors of held-out
       log-likelihood (cross-validated over ``folds``, paired sample by sample), and else down while
       one expert less loses no more than that.

    ``every`` tries all k and not only those on the way, for a plot of ``held_out``. Fits with the
    wrong k are not waited for: 100 iterations, 8 random starts. k is at most
    min(max_experts, d). seed: see ``moe.randomness.as_seed``. Raises TypeError or ValueError for
    data that cannot be used, as ``recover`` does.
    """
    x, y = (part.double() for part in as_samples(x, y))
    g = as_nonlinearity(nonlinearity)
    check_at_least(max_experts, 1, "max_experts")
    check_at_least(folds, 2, "folds")
    seed = as_seed(seed)
    top = min(max_experts, x.shape[1])
    transform = output_transform(g, noise_level(float(y.var()), g), 2)
    eigenvalues = torch.linalg.eigvalsh(robust_moment(x, y, transform).tensor).flip(0)
    noise = noise_edge(x, y, transform)
    distinct = int((eigenvalues > noise).sum())
    folding = KFold(folds, shuffle=True, random_state=child_seed(seed, "split") % 2**32)
    split = list(folding.split(x))
    densities: dict[int, Tensor] = {}
    gains: dict[int, tuple[float, float]] = {}

    def worth(k: int) -> bool:
        """Whether k experts predict better than k - 1."""
        for size in (k - 1, k):
            if size not in densities:
                densities[size] = _held_out(x, y, size, g, split, seed)
        difference = densities[k] - densities[k - 1]
        gains[k] = float(difference.mean()), float(difference.std()) / len(y) ** 0.5
        return gains[k][0] > _STANDARD_ERRORS * gains[k][1]

    if every:
        for size in range(2, top + 1):
            worth(size)
    k = guess = min(max(1, distinct), top)
    while k < top and worth(k + 1):
        k += 1
    if k == guess:
        while k > 1 and not worth(k):
            k -= 1
    held_out = {size: float(densities[size].mean()) for size in sorted(densities)}
    return Choice(k, eigenvalues, noise, distinct, held_out, gains)


def _held_out(
    x: Tensor, y: Tensor, k: int, g: Nonlinearity, split: list[tuple[Any, Any]], seed: int
) -> Tensor:
    """log P(y | x) of every sample under the fit that has not seen it, (n,)."""
    result = torch.empty_like(y)
    for fitted, left_out in split:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # too many experts: doubts are expected
            fit = recover(x[fitted], y[fitted], k, g, seed=seed, restarts=8, iterations=100)
        result[left_out] = fit.model.log_density(x[left_out], y[left_out])
    return result
