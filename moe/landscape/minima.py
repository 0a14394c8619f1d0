"""Which local minima the population L_4 has, for any mu and lambda (derived; book, chapter 5).

Where L_4 is bounded below (lambda > mu / min_m p_m), a nondegenerate local minimum puts each row at
one expert. With r_m rows at expert m it needs, for every m with r_m >= 2 and for an empty expert,

    mu > r_m - 1   and   lambda > (mu + 1) / p_m.

So for mu < 1 only the truth remains, and for mu > 1 too as long as lambda < (mu + 1) / max_m p_m.
Degenerate minima beside the truth exist only for mu > 1 and lambda = (mu + 1) / p_m; at mu = 1 two
rows that share an expert can leave it downhill, though only by the fourth power of the step.
"""

from fractions import Fraction
from math import factorial

from torch import Tensor

from moe.landscape.squares import check_bounded


def count_spurious_minima(proportions: Tensor, mu: float, lam: float) -> int:
    """The number of nondegenerate local minima, up to signs, in which rows share an expert.

    The rows' assignments to experts with allowed loads r_m: k! [z^k] prod_m sum_r z^r / r!, less
    the k! permutations. ValueError when L_4 is not bounded below.
    """
    p, mu, lam = check_bounded(proportions, mu, lam)
    k = len(p)
    assignments = [Fraction(1)] + [Fraction(0)] * k
    for share in p.tolist():
        loads = [r for r in range(k + 1) if r < 2 or (mu > r - 1 and lam > (mu + 1) / share)]
        assignments = [
            sum((assignments[n - r] / factorial(r) for r in loads if r <= n), Fraction(0))
            for n in range(k + 1)
        ]
    return int(assignments[k] * factorial(k)) - factorial(k)


def only_truths(proportions: Tensor, mu: float, lam: float) -> bool:
    """Whether every nondegenerate local minimum is the truth: mu <= 1 or lambda <= (mu + 1) /
    max_m p_m.

    So is then every local minimum of any kind, except at equality in the second with mu > 1: there
    segments of equal minima stand beside the truth. At mu = 1 the saddles with two rows at one
    expert are not strict. ValueError when L_4 is not bounded below.
    """
    return count_spurious_minima(proportions, mu, lam) == 0


def largest_delta(proportions: Tensor, mu: float, lam: float) -> float:
    """The delta up to which, for orthogonal experts and mu < 1, every local minimum is the truth.

    Beyond 4 (1 - mu) p_min / (p_max - p_min + (1 - mu) / lambda) two rows at the commonest expert
    and none at the rarest become a minimum. Where lambda < (mu + 1) / p_max rows never share, and
    what ends the truth is delta = 4 lambda p_min, from where no row comes to the rarest expert.
    ValueError when L_4 is not bounded below, or mu >= 1.
    """
    p, mu, lam = check_bounded(proportions, mu, lam)
    if not mu < 1:
        raise ValueError(f"mu: expected a number below 1, got {mu}")
    low, high = float(p.min()), float(p.max())
    if lam < (mu + 1) / high:
        return 4 * lam * low
    return 4 * (1 - mu) * low / (high - low + (1 - mu) / lam)
