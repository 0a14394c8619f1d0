"""MoERegressor: a mixture of experts behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, _clone_parametrized, _fit_context
from sklearn.utils.validation import _check_sample_weight, validate_data
from torch import Tensor

from moe.estimator.answers import Answers, opened
from moe.estimator.arguments import (
    CONSTRAINTS,
    column_names,
    columns_named,
    refuse_masked,
    refuse_unweighted,
)
from moe.estimator.exceptions import DoubtfulEstimateWarning
from moe.estimator.fit.finishing import Fit
from moe.estimator.fit.request import Request
from moe.estimator.fit.whole import fitted
from moe.estimator.formula import FormulaDesign
from moe.estimator.progress import progress
from moe.estimator.results import MixtureResults
from moe.estimator.state import packed
from moe.exceptions import warn
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.transforms import warn_if_even
from moe.randomness import as_seed
from moe.threads import one_thread

Array = NDArray[np.float64]


class MoERegressor(Answers, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A mixture of regressions whose weights depend on the inputs (a mixture of experts).

        P(y | x) = sum_i p_i(x) N(y ; g(b_i + <a_i, x>), sigma_i^2),
        p_i(x) = exp(c_i + <w_i, x>) / sum_j exp(c_j + <w_j, x>)

    Fitted by maximum likelihood: starts from moments where there are at least as many columns as
    experts, from random searches where these cannot be trusted, then joint EM and Newton's method
    (``moe.recover``; the book, chapters 7 and 8). X is centred and whitened inside; nothing depends
    on its units.

    >>> import numpy as np
    >>> from moe import MoERegressor
    >>> from moe.randomness import numpy_stream
    >>> rng = numpy_stream("data")
    >>> x = rng.uniform(0, 10, size=(500, 1))  # two lines, the second the likelier the larger x
    >>> second = rng.random(500) < 1 / (1 + np.exp(5 - x[:, 0]))
    >>> y = np.where(second, 20 - x[:, 0], 1 + 2 * x[:, 0]) + rng.normal(size=500)
    >>> model = MoERegressor(n_experts=2).fit(x, y)
    >>> order = np.argsort(model.intercepts_)
    >>> model.intercepts_[order].round(), model.experts_[order, 0].round()
    (array([ 1., 20.]), array([ 2., -1.]))
    >>> mean, deviation = model.predict([[5.0]], return_std=True)
    >>> model.responsibilities([[5.0]], [15.0]).argmax() == order[1]
    np.True_

    Parameters
    ----------
    n_experts : int, range, sequence of int or "auto", default 2
        k. "auto" (1 to 8) and several: the smallest whose held-out likelihood no other betters,
        under the gate that is asked for.
    nonlinearity : str or callable, default "linear"
        g: linear, relu, leaky_relu, sigmoid, tanh, softplus, gelu, or an elementwise torch
        function.
    gate : {"softmax", "constant", "equal", "any"} or classifier, default "softmax"
        "constant": p_i does not depend on x, and is learned; "equal": p_i = 1/k, held. A classifier
        (unfitted, of scikit-learn, or a pipeline that ends in one; ``fit(X, y, sample_weight)`` and
        ``predict_proba``) is fitted to
        the responsibilities on ``gate_features``, four-fold cross-fitted; its log odds s are the
        columns of a softmax gate, p = softmax(W s + c). "any": boosted trees, softmax or constant,
        by Akaike's criterion.
    expert_features, gate_features : sequence of names or places of columns, default all
        What the experts, and what the gate look at; "constant" and "equal" gates look at none.
    fit_intercept : bool, default True
        b_i and c_i. Without, and with gate="softmax", the model of the paper.
    noise : {"shared", "each"}, default "shared"
        One sigma for all experts, or one each. "each" has a weak inverse-gamma prior against
        collapse (0.3 samples a coefficient at a hundredth of the least variance found, or of the
        shared one where an expert has few samples); not in log_likelihood_ and standard errors.
    sigma : float, default None
        The noise's standard deviation if it is known (with noise="shared").
    start : fitted MoERegressor, array (k, columns) or mapping, default None
        Where EM begins, instead of the search: the experts, or a mapping of "experts" and any of
        "intercepts", "gates", "gate_intercepts", "sigma".
    n_init, l4_starts, mu, lam : int, int, float, float
        Random starts of EM at most; starts of L_4, and its weights (``moe.recover``).
    max_iter, tol : int, float
        Iterations of EM, and then of Newton's method (linear experts, few weights), from one start;
        it ends when an iteration of EM gains, or Newton's has left to gain, less than tol nats.
    random_state : int, None, RandomState, Generator, default 0
        An integer gives the same fit every time, None another one.
    warm_start : bool, default False
        Begin at the end of the previous fit, if of this shape, instead of searching.
    verbose : int or bool, default 0
        A bar (tqdm) where there is tqdm; else a line a stage from the logger "moe".

    Attributes
    ----------
    experts_ (k, e), intercepts_ (k,), gates_ (k, z), gate_intercepts_ (k,): experts by falling
    share of the samples, equal ones by their first coefficient; the last gate is zero. sigma_, a
    number or (k,); proportions_ (k,), shares of the samples; n_experts_, n_iter_,
    log_likelihood_ (nats), converged_ (nothing speaks against the likelihood reached;
    doubts_ may name columns that leave coefficients undetermined), doubts_ (what speaks),
    origin_ (which start won), held_out_ (of every k tried: nats a sample), results_
    (``MixtureResults``), n_features_in_, feature_names_in_, expert_names_, gate_names_; gate_: the
    fitted classifiers, else None (log_likelihood_ is then cross-fitted, and gates_ (k, k - 1) are
    weights of their scores; errors and criteria take the scores as given).

    ``fit`` warns with ``DoubtfulFitWarning`` (here a ``ConvergenceWarning`` of scikit-learn's too)
    where something speaks against the fit, and raises ValueError or TypeError, naming the argument,
    where there is none. With fewer distinct samples than parameters all experts are one
    least-squares regression.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    def __init__(
        self,
        n_experts: int | str | Iterable[int] = 2,
        *,
        nonlinearity: str | Callable[[Tensor], Tensor] | Nonlinearity = "linear",
        gate: Any = "softmax",
        expert_features: Iterable[Any] | None = None,
        gate_features: Iterable[Any] | None = None,
        fit_intercept: bool = True,
        noise: str = "shared",
        sigma: float | None = None,
        start: Any = None,
        n_init: int = 300,
        l4_starts: int = 32,
        mu: float | None = None,
        lam: float | None = None,
        max_iter: int = 500,
        tol: float = 1e-6,
        random_state: Any = 0,
        warm_start: bool = False,
        verbose: int | bool = 0,
    ) -> None:
        self.n_experts = n_experts
        self.nonlinearity = nonlinearity
        self.gate = gate
        self.expert_features = expert_features
        self.gate_features = gate_features
        self.fit_intercept = fit_intercept
        self.noise = noise
        self.sigma = sigma
        self.start = start
        self.n_init = n_init
        self.l4_starts = l4_starts
        self.mu = mu
        self.lam = lam
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MoERegressor:
        """Fit to X (n, m), y (n,). A sample_weight (n,) of 2 is the sample twice, of 0 never."""
        refuse_masked(X=X, y=y, sample_weight=sample_weight)
        refuse_unweighted(self.gate)
        if self.noise == "each" and self.sigma is not None:
            raise ValueError(f"sigma: expected None with noise='each', got {self.sigma!r}")
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        weights = np.ones(len(y))
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        names = column_names(self, X.shape[1])
        bare = not isinstance(self.gate, str) or self.gate == "any"
        bare = bare or (not self.fit_intercept and self.gate == "softmax")
        warm = self.warm_start and hasattr(self, "results_") and self.results_.regular
        request = Request(
            self.get_params(deep=False),
            names,
            columns_named(self.expert_features, names, "expert_features", not self.fit_intercept),
            columns_named(self.gate_features, names, "gate_features", bare),
            as_nonlinearity(self.nonlinearity),
            self if warm else self.start,
            as_seed(self.random_state, "random_state"),
            sample_weight is not None,
            warm,
        )
        warn_if_even(request.g)
        with progress(self.verbose) as report, one_thread():
            fit = fitted(np.asarray(X), np.asarray(y, dtype=np.float64), weights, request, report)
        self.__dict__.pop("formula_", None)
        self._take(fit)
        if self.doubts_:
            warn(f"MoERegressor: {'; '.join(self.doubts_)}", DoubtfulEstimateWarning)
        return self

    if not TYPE_CHECKING:  # the decorator would hide fit's types
        fit = _fit_context(prefer_skip_nested_validation=True)(fit)

    def _take(self, fit: Fit) -> None:
        """The attributes of a fit."""
        law, found = fit.law, fit.found
        experts, gates = law.experts.numpy(), law.gates.numpy()
        self._places, self._ones = (fit.experts, fit.gate), fit.ones
        self.experts_, self.intercepts_ = opened(experts, fit.ones[0])
        self.gates_, self.gate_intercepts_ = opened(gates, fit.ones[1])
        self.sigma_ = law.sigmas.numpy() if self.noise == "each" else float(law.sigmas[0])
        self.proportions_ = fit.proportions
        self.n_experts_, self.gate_ = law.k, fit.classified
        self.expert_names_ = [fit.names[place] for place in fit.experts]
        self.gate_names_ = [fit.names[place] for place in fit.gate]
        self.n_iter_ = found.iterations
        self.log_likelihood_ = fit.results.llf
        self.doubts_ = fit.results.doubts
        self.converged_ = not fit.against
        self.origin_ = found.origin
        self.held_out_ = fit.chosen.held_out
        self.results_: MixtureResults = fit.results
        self._moments: Array = fit.moments.numpy()

    @classmethod
    def from_formula(cls, formula: str, data: Any, **parameters: Any) -> MoERegressor:
        """Fitted to a data frame by a formula, "y ~ x1 + x2 | z1": the experts' terms, then those
        of the gate (without a bar the same). ``predict`` and the like then take data frames.
        ``sample_weight`` may be among the parameters. Functions in a formula are formulaic's and
        NumPy's (``np.log(x)``); outputs are those of the left side, so ``score`` wants them
        transformed. A clone knows no formula: to cross-validate, give arrays. Needs the package
        formulaic (the extra "formula"); raises ImportError without."""
        read = FormulaDesign.read(formula, data)
        read.refuse(parameters)
        weights = parameters.pop("sample_weight", None)
        model = cls(**parameters | read.features).fit(*read.samples(data), sample_weight=weights)
        model.formula_ = read
        return model

    def __sklearn_clone__(self) -> MoERegressor:
        """A clone, which keeps a fitted ``start`` as it is."""
        fresh: MoERegressor = _clone_parametrized(self)
        if hasattr(self.start, "experts_"):
            fresh.start = self.start
        return fresh

    def __getstate__(self) -> Any:
        return packed(super().__getstate__())
