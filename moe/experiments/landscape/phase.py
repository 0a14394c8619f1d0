"""Where random starts end, over (mu, lambda), and where theory says (book, chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.landscape.lists import REGIMES, regime, skewed_proportions
from moe.landscape import population_tensor
from moe.randomness import stream
from moe.solvers.quartic import QuarticSolution, minimise_quartic, random_starts

_RAN_OFF = 40.0  # |B| / sqrt(k) at which a start counts as gone


@dataclass(frozen=True)
class Spec:
    """mus x lams weights for every k and skew; lams are in units of k. ``starts`` a weight."""

    ks: tuple[int, ...] = (3, 5, 8)
    skews: tuple[float, ...] = (1.0, 1.5)
    mus: tuple[float, ...] = (0.4, 0.85, 1.3, 2.0)
    lams: tuple[float, ...] = (0.45, 1.0, 1.8, 2.6, 8.0)
    starts: int = 8
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """Shares of starts (skews, ks, lams, mus): truth, reached the truth; other, another minimum;
    the rest ran off. predicted: the regime as an index of REGIMES."""

    spec: Spec
    truth: Tensor
    other: Tensor
    predicted: Tensor

    def where(self, name: str) -> Tensor:
        """(skews, ks, lams, mus) bool: the weights whose predicted regime is ``name``."""
        return self.predicted == REGIMES.index(name)


def at_truth(solution: QuarticSolution) -> Tensor:
    """(S,) bool: converged with one expert a row, each expert once; population coordinates."""
    squares = solution.points.square()
    active = squares > 1e-6 * squares.amax((-2, -1), keepdim=True)
    return solution.converged & ((active.sum(-1) == 1) & (active.sum(-2) == 1)).all(-1)


def run(spec: Spec) -> Record:
    """Minimise from random starts at every weight; all starts of a weight are one batch."""
    generator = stream("starts", spec.seed)
    shares, codes = [], []
    for skew in spec.skews:
        for k in spec.ks:
            p = skewed_proportions(k, skew)
            tensor = population_tensor(p)
            for lam in (k * lam for lam in spec.lams):
                for mu in spec.mus:
                    drawn = random_starts(spec.starts, k, generator)
                    end = minimise_quartic(
                        tensor,
                        mu,
                        lam,
                        drawn,
                        first_order_iterations=40,
                        max_iterations=100,
                        radius=_RAN_OFF,
                    )
                    right = at_truth(end)
                    shares.append((right, end.converged & ~right))
                    codes.append(REGIMES.index(regime(p, mu, lam)))
    shape = (len(spec.skews), len(spec.ks), len(spec.lams), len(spec.mus))
    truth, other = (
        torch.stack([pair[which].double().mean() for pair in shares]).view(shape)
        for which in (0, 1)
    )
    return Record(spec, truth, other, torch.tensor(codes).view(shape))
