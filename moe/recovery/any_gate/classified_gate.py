"""Any classifier as the gate: cross-fitted scores, quantised into cells with own proportions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moe.randomness import child_seed

FOLDS, CELLS, TRAINED, QUANTISED = 2, 32, 100_000, 20_000
_PER_CELL = 100

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassifiedGate:
    """A gate q(x): a classifier scores the part of x outside the experts' span, the nearest of a
    few scores is the cell, and a cell's weights are its experts' proportions.

    complement (d, d - k): an orthonormal basis of that part; classifiers, quantisers: one a fold;
    proportions (C, k), the cells of the first fold first. At a new x: the mean over the folds.
    """

    complement: Tensor
    classifiers: tuple[Any, ...]
    quantisers: tuple[KMeans, ...]
    proportions: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """q(x), (n, d) -> (n, k); rows sum to one."""
        v = (x @ self.complement).numpy()
        rows = [
            self.proportions[fold * CELLS + _nearest(quantiser, _scores(classifier, v))]
            for fold, (classifier, quantiser) in enumerate(
                zip(self.classifiers, self.quantisers, strict=True)
            )
        ]
        return torch.stack(rows).mean(0)

    def reordered(self, order: Tensor) -> ClassifiedGate:
        """Of the experts in this order (k,)."""
        return replace(self, proportions=self.proportions[:, order])

    def through(self, basis: Tensor) -> ClassifiedGate:
        """The same gate of x, where this one is of x basis."""
        return replace(self, complement=basis @ self.complement)


def fold_cells(
    classifier: Any, v: Tensor, responsibilities: Tensor, seed: int
) -> tuple[Tensor, tuple[Any, ...], tuple[KMeans, ...]]:
    """A cell for every sample, from classifiers that have not seen it: cells (n,), and per fold the
    classifier and the quantiser.

    v (n, m): what the gate may look at; responsibilities (n, k): soft labels. The samples of a fold
    are scored by a clone of ``classifier`` fitted to the others (at most 100,000 of them), each
    as k samples with the labels 0..k-1 weighted by the responsibilities: ``fit(X, y,
    sample_weight)``, ``predict_proba(X)``. So given the other fold a cell is a function of v alone.
    Raises TypeError for a classifier without those methods.
    """
    from sklearn.base import clone  # slow to import, seldom needed
    from sklearn.cluster import KMeans

    for method in ("fit", "predict_proba"):
        if not hasattr(classifier, method):
            raise TypeError(
                "classifiers: expected 'softmax' or classifiers with fit(X, y, sample_weight) and "
                f"predict_proba(X), got {type(classifier).__name__} without {method}"
            )
    inputs, labels = v.numpy(), responsibilities.numpy()
    n, k = labels.shape
    cells = torch.zeros(n, dtype=torch.long)
    fitted, quantisers = [], []
    for fold in range(FOLDS):
        inside = np.arange(n) % FOLDS == fold
        chosen = np.flatnonzero(~inside)[:TRAINED]
        model = clone(classifier).fit(
            np.tile(inputs[chosen], (k, 1)),
            np.repeat(np.arange(k), len(chosen)),
            sample_weight=labels[chosen].T.ravel(),
        )
        scores = _scores(model, inputs[inside])
        quantiser = KMeans(
            min(CELLS, 1 + len(scores) // _PER_CELL, len(np.unique(scores[:QUANTISED], axis=0))),
            n_init=1,
            random_state=child_seed(seed, fold) % 2**32,
        ).fit(scores[:QUANTISED])
        cells[torch.from_numpy(inside)] = fold * CELLS + _nearest(quantiser, scores)
        fitted.append(model)
        quantisers.append(quantiser)
    return cells, tuple(fitted), tuple(quantisers)


def _scores(classifier: Any, v: Array) -> Array:
    """Square roots of the predicted probabilities (Hellinger's distance), (n, k)."""
    scores: Array = np.sqrt(classifier.predict_proba(v))
    return scores


def _nearest(quantiser: KMeans, scores: Array) -> Tensor:
    return torch.from_numpy(quantiser.predict(scores)).long()
