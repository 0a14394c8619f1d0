"""What the library warns of, and the errors it catches itself: a category each."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from sklearn.exceptions import ConvergenceWarning

_PACKAGE = str(Path(__file__).parent)


class DoubtfulFitWarning(ConvergenceWarning):  # type: ignore[misc]
    """A fit that has not converged, or against which something speaks."""


class OutsideTheoryWarning(UserWarning):
    """An assumption of the theory does not hold: dependent regressors, weights of L_4 outside its
    benign region, ..."""


class NonGaussianInputWarning(OutsideTheoryWarning):
    """Inputs far from Gaussian with mean zero, which the moment stages assume."""


class SignsLostWarning(OutsideTheoryWarning):
    """An even nonlinearity: the outputs do not tell a regressor a from -a."""


class NoTransformError(ValueError):
    """A nonlinearity has no output transform of that degree."""


class DependentFeaturesError(ValueError):
    """Least squares has no unique solution: too few samples, or inputs whose features depend."""


class TooFewEigenvaluesError(ValueError):
    """A second moment has fewer positive eigenvalues than there are experts."""


def warn(message: str, category: type[Warning]) -> None:
    """A warning that points at the line of the caller's own code: the first outside this package's
    library (its experiments are callers too)."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _inside(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _inside(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(_PACKAGE) and "experiments" not in path.parts
