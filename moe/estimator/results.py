"""What a fit says of its parameters, as statsmodels has it: errors, tests, intervals, criteria."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from moe.estimator.summary import Summary, summary_of
from moe.likelihood.sandwich import Curvature, covariance

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MixtureResults:
    """Estimates with their uncertainty, in one order: experts (each with its intercept last), gates
    of all experts but the last (against which they are measured), log sigma of each expert.

    param_names, params (P,); llf: the log-likelihood in nats; nobs: samples, that is the sum of
    their weights; df_model: free parameters; proportions (k,); classification: the log-likelihood
    with every sample at its likeliest expert, sum_n max_i log p_i N(y_n; ...); sigmas (k,);
    doubts; settings: what was fitted,
    in words.

    Standard errors are those of maximum likelihood at an interior maximum: the experts distinct,
    the gates finite. ``robust`` ones (sandwich) do not take the model for true; in both, a weight
    of 2 is the sample twice. Where the information is singular they raise ValueError (``bse`` and
    all that rests on it), and ``summary`` leaves them out and says so.
    """

    param_names: tuple[str, ...]
    params: Array
    llf: float
    classification: float
    nobs: float
    df_model: int
    proportions: Array
    sigmas: Array
    n_experts: int
    shared_noise: bool
    doubts: tuple[str, ...]
    settings: dict[str, str]
    _curvature: Curvature | None
    _free: torch.Tensor
    _jacobian: torch.Tensor

    @property
    def regular(self) -> bool:
        """Whether this is the fit of a mixture, and not one regression for want of samples."""
        return self._curvature is not None

    def cov_params(self, *, robust: bool = False) -> Array:
        """The covariance of ``params``, (P, P): T (T' I T)^-1 T', or its sandwich. Its entries have
        the squares of the columns' units: ``errors`` is right in any, this where they are finite.
        """
        return (self._jacobian @ self._white(robust) @ self._jacobian.T).numpy()

    def _white(self, robust: bool) -> Tensor:
        """The covariance of the parameters of the white designs."""
        if self._curvature is None:
            raise ValueError("cov_params: this fit has no maximum of the likelihood to expand at")
        return covariance(self._curvature, self._free, robust=robust)

    @cached_property
    def _errors(self) -> dict[bool, Array]:
        return {}

    def errors(self, *, robust: bool = False) -> Array:
        """Standard errors, (P,); 0 for what is held."""
        if robust not in self._errors:
            size = self._jacobian.abs().amax(1, keepdim=True)
            unit = self._jacobian / torch.where(size > 0, size, 1.0)
            variance = ((unit @ self._white(robust)) * unit).sum(1).clamp_min(0.0)
            self._errors[robust] = (size[:, 0] * variance.sqrt()).numpy()
        return self._errors[robust]

    @property
    def bse(self) -> Array:
        """Standard errors from the observed information, (P,)."""
        return self.errors()

    @property
    def tvalues(self) -> Array:
        """params / bse, (P,); NaN for what is held. Standard normal where the truth is zero."""
        return self.z_values()

    def z_values(self, *, robust: bool = False) -> Array:
        """``tvalues`` with either kind of standard error."""
        errors = self.errors(robust=robust)
        return np.divide(self.params, errors, out=np.full_like(errors, np.nan), where=errors > 0)

    @property
    def pvalues(self) -> Array:
        """2 P(Z > |t|), (P,). For a log sigma zero is no hypothesis of interest."""
        return self.p_values()

    def p_values(self, *, robust: bool = False) -> Array:
        """``pvalues`` with either kind of standard error."""
        p: Array = 2 * norm.sf(np.abs(self.z_values(robust=robust)))
        return p

    def conf_int(self, alpha: float = 0.05, *, robust: bool = False) -> Array:
        """Intervals of level 1 - alpha, (P, 2), from the normal law."""
        check_alpha(alpha)
        half = norm.isf(alpha / 2) * self.errors(robust=robust)
        return np.stack([self.params - half, self.params + half], axis=1)

    @property
    def aic(self) -> float:
        """2 P - 2 log L."""
        return 2 * self.df_model - 2 * self.llf

    @property
    def bic(self) -> float:
        """P log n - 2 log L."""
        return self.df_model * float(np.log(self.nobs)) - 2 * self.llf

    @property
    def icl(self) -> float:
        """P log n - 2 sum_n max_i log p_i N(y_n; ...): bic that pays for overlap (Biernacki,
        Celeux, Govaert 2000)."""
        return self.df_model * float(np.log(self.nobs)) - 2 * self.classification

    def summary(
        self,
        alpha: float = 0.05,
        *,
        robust: bool = False,
        rename: Mapping[str, str] | None = None,
    ) -> Summary:
        """A table that prints as text and shows as HTML in a notebook.

        rename: other words for some columns, ``{"x0": "age"}``; ValueError for a column that no
        row tells of.
        """
        check_alpha(alpha)
        words = dict(rename or {})
        terms = {name.partition(": ")[2] for name in self.param_names} - {""}
        if unknown := [name for name in words if name not in terms]:
            raise ValueError(f"rename: expected names among {sorted(terms)}, got {unknown}")
        try:
            errors = self.errors(robust=robust)
            missing = ""
        except ValueError as error:
            errors, missing = np.full(len(self.params), np.nan), str(error)
        return summary_of(self, errors, alpha, robust, missing, words)

    def to_frame(self, alpha: float = 0.05, *, robust: bool = False) -> Any:
        """The same numbers as a pandas DataFrame, one row a parameter. Needs pandas."""
        import pandas

        interval = self.conf_int(alpha, robust=robust)
        return pandas.DataFrame(
            {
                "estimate": self.params,
                "std err": self.errors(robust=robust),
                "z": self.z_values(robust=robust),
                "P>|z|": self.p_values(robust=robust),
                f"[{alpha / 2:g}": interval[:, 0],
                f"{1 - alpha / 2:g}]": interval[:, 1],
            },
            index=list(self.param_names),
        )


def check_alpha(alpha: float) -> None:
    """Raise ValueError unless 0 < alpha < 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected a number between 0 and 1, got {alpha!r}")
