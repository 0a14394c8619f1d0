"""What the library warns of, and the errors it catches itself: a category each."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import sys
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parent
_FOUND = (find_spec(name) for name in ("sklearn", "joblib"))  # not imported: that takes seconds
_FILES = (
    *(found.origin for found in _FOUND if found is not None),
    *(module.__file__ for module in (multiprocessing, concurrent.futures)),
)
_BETWEEN = tuple(Path(str(file)).parent for file in _FILES)


class DoubtfulFitWarning(UserWarning):
    """A fit that has not converged, or against which something speaks; the estimator's, of
    ``moe.estimator.exceptions``, is a ``sklearn.exceptions.ConvergenceWarning`` too."""


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
    library (its experiments are callers too), and scikit-learn's and joblib's, which call it. In a
    thread of a pool, where there is no such line, at the innermost one that is not of this package.
    """
    level, frame, outside = 1, sys._getframe(), 0
    while frame.f_back is not None and _inside(frame.f_code.co_filename):
        if not outside and not _ours(frame.f_code.co_filename):
            outside = level
        level, frame = level + 1, frame.f_back
    if frame.f_back is None and frame.f_code.co_filename == threading.__file__:
        level = outside or level
    warnings.warn(message, category, stacklevel=level)


def _inside(file: str) -> bool:
    path = Path(file)
    between = file == threading.__file__ or any(path.is_relative_to(each) for each in _BETWEEN)
    return between or _ours(file)


def _ours(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(_PACKAGE) and "experiments" not in path.relative_to(_PACKAGE).parts
