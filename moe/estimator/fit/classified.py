"""A classifier as the gate: in EM's M-step it is cross-fitted to the responsibilities.

The classifier's log odds become the columns of a softmax gate, p = softmax(W s(x) + c), and all
else is as it was. So nothing is asked of its probabilities but that they tell something: W and c
calibrate them (Platt 1999, for more classes), and W = 0 is a gate that is constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor

from moe.estimator.fit.request import Request
from moe.estimator.fit.search import Report, climbed
from moe.estimator.fit.task import Data, Found, Task, task_of
from moe.model.regressions import Regressions
from moe.recovery.coordinates import sample_order

FOLDS, ROUNDS = 4, 4
_LEAST, _GAIN = 1e-3, 1.0

Array = NDArray[np.float64]
Begin = tuple[Task, Found]


@dataclass(frozen=True, eq=False)
class ClassifiedGate:
    """What classifiers say of the expert, as columns for a softmax gate.

    columns: places of the columns of X that they look at; classifiers: one a fold, each fitted to
    the samples of the others, class i an expert; k. At new inputs the mean over folds is taken.
    """

    columns: tuple[int, ...]
    classifiers: tuple[Any, ...]
    k: int

    @property
    def name(self) -> str:
        """The classifier's class."""
        return type(self.classifiers[0]).__name__

    def scores(self, x: Tensor) -> Tensor:
        """s(x), (n, m) -> (n, k - 1): log P(class i | x) / P(class k - 1 | x)."""
        part = x[:, list(self.columns)].numpy()
        every = [_log_odds(each, part, self.k) for each in self.classifiers]
        return torch.from_numpy(np.mean(every, axis=0))


@dataclass(frozen=True, eq=False)
class Classified:
    """A fit with the gate that was taken: its task, the search's end, the classifiers (None: the
    gate is softmax or constant), and the request with the scores among the columns."""

    task: Task
    found: Found
    gate: ClassifiedGate | None
    request: Request

    def inputs(self, x: Tensor) -> Tensor:
        """x (n, m) with the scores behind, as the task's design has it."""
        return x if self.gate is None else torch.cat([x, self.gate.scores(x)], 1)

    @property
    def criterion(self) -> float:
        """The log-likelihood less the number of parameters (Akaike 1973). That of a classifier is
        cross-fitted: no sample's gate has seen it, and what the classifier itself fits is not
        counted."""
        return self.task.score(self.found.law) - self.task.parameters


def classified(
    data: Data,
    request: Request,
    begins: Sequence[Begin],
    report: Report,
    rounds: int = ROUNDS,
) -> Classified:
    """The best fit with a classifier as the gate; for gate="any" with boosted trees, or what
    ``begins`` with where Akaike's criterion prefers it.

    data: distinct samples; begins: fits with other gates, softmax first, from whose experts EM goes
    on; rounds: cross-fits at most, from each.
    """
    k = begins[0][0].k
    free = request.parameters["gate"] == "any"
    classifier = boosted_trees(k) if free else request.parameters["gate"]
    plain = [Classified(task, found, None, request.under(task.gate)) for task, found in begins]
    fits = []
    for number, begin in enumerate(plain):
        report("classifier", number, len(plain))
        fits += _rounds(data, request, begin, classifier, rounds)
    return max(fits + (plain if free else []), key=lambda each: each.criterion)


def boosted_trees(k: int) -> Any:
    """The classifier of gate="any". Every sample comes as k, so a leaf holds 20 inputs."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # slow to import, seldom needed

    return HistGradientBoostingClassifier(
        max_iter=50, min_samples_leaf=20 * k, early_stopping=False, random_state=0
    )


def _rounds(
    data: Data, request: Request, at: Classified, classifier: Any, rounds: int
) -> list[Classified]:
    """EM, an outer iteration a cross-fit, until one gains less than a nat: all but that one."""
    x, y, weights = data
    order = sample_order(x, y, request.seed)
    fold = torch.empty_like(order)
    fold[order] = torch.arange(len(y)) % FOLDS
    names = [*request.names, *(f"score {i}" for i in range(at.task.k - 1))]
    places = list(range(len(request.names), len(names)))
    wider = replace(request.under("softmax"), names=names, gate=places)
    fits: list[Classified] = []
    while len(fits) < rounds:
        task = at.task
        soft = at.found.law.responsibilities(task.x, task.z, task.y) * weights[:, None]
        gate, scores = cross_fitted(classifier, x, soft, fold, request.gate)
        new = task_of((torch.cat([x, scores], 1), y, weights), wider, task.k)
        found = climbed(new, _begun(new, at.found.law), request.options)
        at = Classified(new, replace(found, origin=at.found.origin), gate, wider)
        if fits and at.criterion < fits[-1].criterion + _GAIN:
            break
        fits.append(at)
    return fits


def _begun(task: Task, law: Regressions) -> Regressions:
    """The experts of a law under the gate that takes the scores at their word."""
    size = task.k - 1
    gates = torch.eye(task.k, size + task.design.gate.ones, dtype=torch.float64)
    gates[-1] = 0.0
    return replace(law, gates=task.design.gate.forth(gates))


def cross_fitted(
    classifier: Any, x: Tensor, soft: Tensor, fold: Tensor, columns: list[int]
) -> tuple[ClassifiedGate, Tensor]:
    """Clones of ``classifier``, one a fold, and the scores (n, k - 1) of samples none has seen.

    x (n, m); soft (n, k): responsibilities times weights. A sample comes k times, with the labels
    0..k-1 and these weights: ``fit(X, y, sample_weight)``, then ``predict_proba(X)``.
    """
    inputs, labels, k = x[:, columns].numpy(), soft.numpy(), soft.shape[1]
    models, scores = [], np.zeros((len(inputs), k - 1))
    for number in range(FOLDS):
        inside = (fold == number).numpy()
        seen, weights = inputs[~inside], labels[~inside].T.ravel()
        model = clone(classifier)
        counted = {str(weight_argument(classifier)): weights}
        model.fit(np.tile(seen, (k, 1)), np.repeat(np.arange(k), len(seen)), **counted)
        scores[inside] = _log_odds(model, inputs[inside], k)
        models.append(model)
    return ClassifiedGate(tuple(columns), tuple(models), k), torch.from_numpy(scores)


def weight_argument(classifier: Any) -> str | None:
    """By what name ``fit`` takes weights, a pipeline for its last step; None where it does not."""
    if isinstance(classifier, Pipeline):
        name, last = classifier.steps[-1]
        inner = weight_argument(last)
        return None if inner is None else f"{name}__{inner}"
    return "sample_weight" if has_fit_parameter(classifier, "sample_weight") else None


def _log_odds(model: Any, inputs: Array, k: int) -> Array:
    """Against the last class, (n, k - 1), probabilities below 0.001 raised to it."""
    known = model.predict_proba(inputs) if len(inputs) else np.zeros((0, len(model.classes_)))
    shares = np.zeros((len(inputs), k))
    shares[:, np.asarray(model.classes_, dtype=int)] = known
    logs = np.log(np.maximum(shares, _LEAST))
    odds: Array = logs[:, :-1] - logs[:, -1:]
    return odds
