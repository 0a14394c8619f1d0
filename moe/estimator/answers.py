"""What a fitted MoERegressor answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from moe.estimator.fit.classified import ClassifiedGate
from moe.estimator.results import MixtureResults
from moe.estimator.summary import Summary
from moe.model.nonlinearity import as_nonlinearity
from moe.model.regressions import Regressions
from moe.randomness import stream

Array = NDArray[np.float64]


class Answers:
    """Predictions, memberships, densities and criteria of a fit; X (n, m) as ``fit`` had it."""

    nonlinearity: Any
    experts_: Array
    intercepts_: Array
    gates_: Array
    gate_intercepts_: Array
    sigma_: float | Array
    gate_: ClassifiedGate | None
    results_: MixtureResults
    n_experts_: int
    _places: tuple[list[int], list[int]]
    _ones: tuple[bool, bool]
    _moments: Array

    @overload
    def predict(self, X: Any) -> Array: ...
    @overload
    def predict(self, X: Any, return_std: Literal[True]) -> tuple[Array, Array]: ...
    @overload
    def predict(self, X: Any, return_std: bool) -> Array | tuple[Array, Array]: ...
    def predict(self, X: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """E[y | x], (n,); with ``return_std`` also sd[y | x], (n,): of a new output at the fitted
        parameters, between the experts and within them."""
        x, z = self._designs(X)
        law = self._law
        if return_std:
            return law.mean(x, z).numpy(), law.deviation(x, z).numpy()
        return law.mean(x, z).numpy()

    def predict_experts(self, X: Any) -> Array:
        """What each expert says, g(b_i + <a_i, x>), (n, k)."""
        return self._law.expert_means(self._designs(X)[0]).numpy()

    def predict_gate(self, X: Any) -> Array:
        """The gate's weights p_i(x), (n, k); rows sum to one."""
        return self._law.gate(self._designs(X)[1]).numpy()

    def predict_interval(self, X: Any, alpha: float = 0.05) -> Array:
        """(n, 2): the alpha/2 and 1 - alpha/2 quantiles of y given x at the fitted parameters."""
        if not 0 < alpha < 1:
            raise ValueError(f"alpha: expected a number between 0 and 1, got {alpha!r}")
        designs, law = self._designs(X), self._law
        ends = [law.quantile(*designs, level) for level in (alpha / 2, 1 - alpha / 2)]
        return torch.stack(ends, 1).numpy()

    def responsibilities(self, X: Any, y: Any) -> Array:
        """P(expert i | x, y), (n, k); rows sum to one (flexmix: posterior)."""
        return self._law.responsibilities(*self._samples(X, y)).numpy()

    def assign(self, X: Any, y: Any) -> NDArray[np.int64]:
        """The expert with the largest responsibility, (n,) (flexmix: clusters)."""
        return self.responsibilities(X, y).argmax(1)

    def score_samples(self, X: Any, y: Any = None) -> Array:
        """log P(y | x), (n,), in nats; without y that of the predicted mean E[y | x]."""
        if y is None:
            x, z = self._designs(X)
            return self._law.log_density(x, z, self._law.mean(x, z)).numpy()
        return self._law.log_density(*self._samples(X, y)).numpy()

    def sample(self, X: Any, random_state: Any = None) -> Array:
        """One new output for every row of X, (n,): others every time, or with an integer the
        same."""
        return self._law.sample(*self._designs(X), stream("sample", random_state)).numpy()

    def aic(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """2 P - 2 log L of these samples (``results_.aic``: of those that were fitted)."""
        return 2 * self.results_.df_model - 2 * _summed(self.score_samples(X, y), sample_weight)[0]

    def bic(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """P log n - 2 log L of these samples, n the sum of their weights (``results_.bic``: of
        those that were fitted)."""
        total, n = _summed(self.score_samples(X, y), sample_weight)
        return self.results_.df_model * float(np.log(n)) - 2 * total

    def icl(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """P log n - 2 sum_n max_i log p_i N(y_n; ...) of these samples (``results_.icl``)."""
        joint = self._law.log_joint(*self._samples(X, y)).amax(1).numpy()
        total, n = _summed(joint, sample_weight)
        return self.results_.df_model * float(np.log(n)) - 2 * total

    def summary(
        self,
        alpha: float = 0.05,
        *,
        robust: bool = False,
        rename: Mapping[str, str] | None = None,
    ) -> Summary:
        """``results_.summary``: a table that prints as text and shows as HTML."""
        check_is_fitted(self)
        return self.results_.summary(alpha, robust=robust, rename=rename)

    def align(self, reference: Answers) -> NDArray[np.int64]:
        """The permutation pi, (k,), with which expert pi[i] of this fit is expert i of the
        reference: the one whose linear predictors differ least, in the mean square over the
        reference's samples (Hungarian method). Both need the same columns."""
        check_is_fitted(self)
        if not isinstance(reference, Answers):
            raise TypeError(f"reference: expected a fitted MoERegressor, got {reference!r}")
        check_is_fitted(reference)
        mine, theirs = (_rows(each) for each in (self, reference))
        if mine.shape != theirs.shape:
            raise ValueError(
                f"reference: expected experts of shape {mine.shape}, got {theirs.shape}"
            )
        difference = theirs[:, None] - mine[None]
        cost = np.einsum("ijp,pq,ijq->ij", difference, reference._moments, difference)
        order: NDArray[np.int64] = linear_sum_assignment(cost)[1]
        return order

    @property
    def _law(self) -> Regressions:
        """The fitted law on the raw designs."""
        check_is_fitted(self)
        gates = self.gates_
        if self._ones[1]:
            gates = np.column_stack([gates, self.gate_intercepts_])
        sigmas = np.broadcast_to(np.asarray(self.sigma_, dtype=np.float64), (self.n_experts_,))
        return Regressions(
            torch.tensor(_rows(self)), torch.tensor(gates), torch.tensor(sigmas),
            as_nonlinearity(self.nonlinearity),
        )  # fmt: skip

    def _inputs(self, X: Any, y: Any = None) -> Any:
        check_is_fitted(self)
        if (formula := getattr(self, "formula_", None)) is not None:
            X = formula.inputs(X)
        if y is None:
            return validate_data(self, X, dtype=np.float64, reset=False)
        return validate_data(self, X, y, dtype=np.float64, y_numeric=True, reset=False)

    def _designs(self, X: Any) -> tuple[Tensor, Tensor]:
        return self._split(torch.tensor(self._inputs(X)))

    def _samples(self, X: Any, y: Any) -> tuple[Tensor, Tensor, Tensor]:
        X, y = self._inputs(X, y)
        return *self._split(torch.tensor(X)), torch.tensor(np.asarray(y, dtype=np.float64))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.gate_ is not None:
            x = torch.cat([x, self.gate_.scores(x)], 1)
        parts = (x[:, places] for places in self._places)
        first, second = (
            torch.cat([part, torch.ones_like(x[:, :1])], 1) if ones else part
            for part, ones in zip(parts, self._ones, strict=True)
        )
        return first, second


def opened(rows: Array, ones: bool) -> tuple[Array, Array]:
    """Coefficients and intercepts (zero where there are none)."""
    return (rows[:, :-1].copy(), rows[:, -1].copy()) if ones else (rows, np.zeros(len(rows)))


def _rows(of: Answers) -> Array:
    """Experts with their intercepts last, (k, p)."""
    if not of._ones[0]:
        return of.experts_
    return np.column_stack([of.experts_, of.intercepts_])


def _summed(density: Array, sample_weight: Any) -> tuple[float, float]:
    """The sum over samples and their number, as the weights count them."""
    weights = _check_sample_weight(sample_weight, density, ensure_non_negative=True)
    return float(weights @ density), float(weights.sum())
