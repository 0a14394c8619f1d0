"""What the estimator warns of, in scikit-learn's categories too."""

from __future__ import annotations

from sklearn.exceptions import ConvergenceWarning

from moe.exceptions import DoubtfulFitWarning


class DoubtfulEstimateWarning(DoubtfulFitWarning, ConvergenceWarning):  # type: ignore[misc]
    """A ``DoubtfulFitWarning`` for those who look for scikit-learn's category."""
