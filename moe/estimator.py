"""MoERegressor: recovery behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity
from moe.recovery import recover
from moe.recovery.results import Recovery

Array = NDArray[np.float64]


class MoERegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A mixture of experts as a regressor: ``fit(X, y).predict(X)``, pipelines, grid search.

    X is taken as it is: the model has no intercepts and its moment stages assume inputs near
    N(0, I), so put a ``StandardScaler`` (or a whitening ``PCA``) before it and centre y.

    Parameters: n_experts k; nonlinearity, a name or an elementwise torch function; sigma, the
    noise's standard deviation if known; seed.
    Attributes after fit: recovery_ (``moe.Recovery``), regressors_ and gating_ (k, d), sigma_,
    proportions_ (k,), converged_, n_features_in_.

    ``fit`` raises ValueError or TypeError as ``moe.recover`` does.
    """

    def __init__(
        self,
        n_experts: int = 2,
        nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
        sigma: float | None = None,
        seed: int = 0,
    ) -> None:
        self.n_experts = n_experts
        self.nonlinearity = nonlinearity
        self.sigma = sigma
        self.seed = seed

    def fit(self, X: Any, y: Any) -> MoERegressor:
        """Recover the mixture from X (n, d), y (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self.recovery_: Recovery = recover(
            X, y, self.n_experts, self.nonlinearity, sigma=self.sigma, seed=self.seed
        )
        model = self.recovery_.model
        self.regressors_: Array = model.regressors.numpy()
        self.gating_: Array = model.gating.numpy()
        self.sigma_ = model.sigma
        self.proportions_: Array = self.recovery_.proportions.numpy()
        self.converged_ = self.recovery_.converged
        return self

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def predict(self, X: Any) -> Array:
        """E[y | x], (n,)."""
        X = self._inputs(X)
        mean: Array = self.recovery_.model.mean(X).numpy()
        return mean

    def predict_gate(self, X: Any) -> Array:
        """The gate's weights p_i(x), (n, k); rows sum to one."""
        X = self._inputs(X)
        gate: Array = self.recovery_.model.gate(X).numpy()
        return gate
