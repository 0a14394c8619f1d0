"""How many experts? The smallest number whose held-out predictions no other number betters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moe.checks import as_samples, check_at_least
from moe.exceptions import DoubtfulFitWarning, warn
from moe.likelihood.diagnostics import calibration_p_value, in_words, noiseless
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.best import best_transforms
from moe.moments.transforms import OutputTransform, solved_transform, warn_if_even
from moe.randomness import as_seed, child_seed
from moe.recovery.arguments import task_of
from moe.recovery.judging import model_of
from moe.recovery.plan import carried_out
from moe.solvers.l4 import noise_edge, noise_level, robust_moment
from moe.threads import one_thread

_STANDARD_ERRORS = 2.0
_LEVEL = 1e-4
_LOST = 2
_RESTARTS, _ITERATIONS = 60, 100


@dataclass(frozen=True, eq=False)
class Choice:
    """What ``choose_k`` found.

    k: the number of experts chosen; eigenvalues (d,) of M, decreasing; noise: what the largest
    eigenvalue would be without any signal; distinct: how many eigenvalues exceed it; held_out: mean
    log-density of samples that were not fitted, in nats per sample, for every k that was tried;
    gains: for each k tried with k - 1, (held-out gain over k - 1, its standard error); calibration:
    for every k tried, the p-value of the fits to the parts of the samples
    (``diagnostics.calibration_p_value``; the smallest, times their number); doubts: what speaks
    against k, in words.
    """

    k: int
    eigenvalues: Tensor
    noise: float
    distinct: int
    held_out: dict[int, float]
    gains: dict[int, tuple[float, float]]
    calibration: dict[int, float]
    doubts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Tried:
    """What one k gave: log P(y | x) of every sample under the fit that has not seen it, (n,), and
    the p-value of the fits."""

    density: Tensor
    calibration: float

    @property
    def calibrated(self) -> bool:
        return self.calibration >= _LEVEL

    def behind(self, other: Tried) -> bool:
        """Whether it predicts worse, by more than two standard errors of the paired difference."""
        gain, error = _gain(other.density, self.density)
        return gain > _STANDARD_ERRORS * error


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

    k goes up from one, and every k is cross-validated over ``folds``, as long as there are samples
    for it: until two k in a row are behind the best by more than two standard errors of held-out
    log-likelihood (paired sample by sample), where the best is also calibrated. One expert more
    need not pay although several do, so one step that does not pay ends nothing.

    Chosen is the smallest k that is not behind the best, among those whose fits are calibrated (all
    of them, if none is): a k too small may predict nearly as well, but covers two experts with one
    compromise, which calibration sees. ``doubts`` says, and a ``DoubtfulFitWarning`` with it, if
    the chosen k is not calibrated or the largest one tried still gains.

    The eigenvalues of M above the noise (``noise_edge``) are only reported: M has rank k in
    population, but experts that are nearly dependent hide there, and gates can add one.

    Cost: ``folds`` fits for every k tried, on one thread: some ten seconds for 10,000 samples in
    ten dimensions.

    ``every`` tries all k, for a plot of ``held_out``. Fits with the wrong k are not waited for: 100
    iterations, 60 random starts. k is at most min(max_experts, d). seed: see
    ``moe.randomness.as_seed``. Raises TypeError or ValueError for data that cannot be used, as
    ``recover`` does.
    """
    from sklearn.model_selection import KFold  # slow to import

    x, y = (part.double() for part in as_samples(x, y))
    g = as_nonlinearity(nonlinearity)
    check_at_least(max_experts, 1, "max_experts")
    check_at_least(folds, 2, "folds")
    seed = as_seed(seed)
    top = min(max_experts, x.shape[1])
    transform = _quadratic(g, noise_level(float(y.var()), g), x.shape[1], top, len(y))
    warn_if_even(g)
    eigenvalues = torch.linalg.eigvalsh(robust_moment(x, y, transform).tensor).flip(0)
    noise = noise_edge(x, y, transform)
    folding = KFold(folds, shuffle=True, random_state=child_seed(seed, "split") % 2**32)
    split = list(folding.split(x))
    least = min(len(fitted) for fitted, _ in split)
    tried: dict[int, Tried] = {}
    for k in range(1, top + 1):
        if k > 1 and least <= (2 * k - 1) * x.shape[1] + 1:
            break
        with one_thread():
            tried[k] = _try(x, y, k, g, split, seed)
        if not every and enough_tried(tried):
            break
    k = smallest_of(tried)
    against = objections(tried, k, top)
    if against:
        warn(f"choose_k: {'; '.join(against)}", DoubtfulFitWarning)
    return Choice(
        k,
        eigenvalues,
        noise,
        int((eigenvalues > noise).sum()),
        {size: float(each.density.mean()) for size, each in tried.items()},
        {size: _gain(tried[size].density, tried[size - 1].density) for size in tried if size > 1},
        {size: each.calibration for size, each in tried.items()},
        against,
    )


def _quadratic(g: Nonlinearity, sigma: float, d: int, k: int, n: int) -> OutputTransform:
    """Q_2 as ``recover`` chooses it: for Gaussian noise bounded where that errs less."""
    if g.is_linear:
        return solved_transform(g, sigma, 2)
    return best_transforms(g, sigma, d, k, n)[0]


def _gain(density: Tensor, other: Tensor) -> tuple[float, float]:
    """How much more the first gives a sample than the other, and the standard error of that."""
    difference = density - other
    return float(difference.mean()), float(difference.std()) / len(difference) ** 0.5


def _best(tried: dict[int, Tried]) -> int:
    return max(tried, key=lambda k: float(tried[k].density.mean()))


def enough_tried(tried: dict[int, Tried]) -> bool:
    """Whether the last two k are behind the best one, which is calibrated."""
    best = _best(tried)
    last = sorted(tried)[-_LOST:]
    return (
        tried[best].calibrated
        and best not in last
        and all(tried[k].behind(tried[best]) for k in last)
    )


def smallest_of(tried: dict[int, Tried]) -> int:
    best = tried[_best(tried)]
    rivals = [k for k in tried if not tried[k].behind(best)]
    return min([k for k in rivals if tried[k].calibrated] or rivals)


def objections(tried: dict[int, Tried], k: int, top: int) -> tuple[str, ...]:
    """What speaks against k."""
    found, last = [], max(tried)
    if not tried[k].calibrated:
        found.append(
            f"fits of {k} experts do not describe the data: {in_words(tried[k].calibration)}"
        )
    if k == last and k > 1 and tried[k - 1].behind(tried[k]):
        why = "the largest k allowed" if last == top else "more would need more samples"
        found.append(f"the held-out likelihood still rises at k = {last}, {why}")
    return tuple(found)


def _try(
    x: Tensor, y: Tensor, k: int, g: Nonlinearity, split: list[tuple[Any, Any]], seed: int
) -> Tried:
    density, p_value = torch.empty_like(y), 1.0
    for fitted, left_out in split:
        task = task_of(
            *(x[fitted], y[fitted], k, g),
            seed=seed,
            restarts=_RESTARTS,
            iterations=_ITERATIONS,
            newton=True,
        )
        model = task.coordinates.model(model_of(carried_out(task).fit, task.problem))
        density[left_out] = model.log_density(x[left_out], y[left_out])
        if not noiseless(model, x[fitted], y[fitted]):
            p_value = min(p_value, calibration_p_value(model, x[fitted], y[fitted]))
    return Tried(density, min(1.0, len(split) * p_value))
