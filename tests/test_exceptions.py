"""moe.exceptions and the logger: what is said on the way, where it points, and who hears it."""

import ast
import concurrent.futures
import logging
import multiprocessing
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from helpers import samples
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

import moe
from moe import exceptions
from moe.estimator.exceptions import DoubtfulEstimateWarning
from moe.exceptions import (
    DependentFeaturesError,
    DoubtfulFitWarning,
    NonGaussianInputWarning,
    NoTransformError,
    OutsideTheoryWarning,
    SignsLostWarning,
    TooFewEigenvaluesError,
)

PACKAGE = Path(moe.__file__).parent


def test_categories_can_be_caught_as_what_they_are() -> None:
    assert issubclass(DoubtfulEstimateWarning, ConvergenceWarning)
    assert issubclass(DoubtfulEstimateWarning, DoubtfulFitWarning)
    assert issubclass(NonGaussianInputWarning, OutsideTheoryWarning)
    assert issubclass(SignsLostWarning, OutsideTheoryWarning)
    for error in (NoTransformError, DependentFeaturesError, TooFewEigenvaluesError):
        assert issubclass(error, ValueError)


def test_every_warning_points_at_the_line_of_the_caller() -> None:
    _, x, y = samples(2, 4, 400)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        moe.recover(x + 3.0, y, 2, iterations=1)
        moe.recover(x, y, 2, torch.square, iterations=1)
        moe.recover(x, y, 2, mu=1.5)
        moe.output_transform(torch.square, 0.1, 2)
        moe.choose_k(x, y, torch.square, max_experts=1)
        moe.MoERegressor(2, random_state=1, max_iter=1).fit(x.numpy() + 3.0, y.numpy())
        moe.regressor_error(np.eye(3), [[1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0]])
    assert {c.category for c in caught} == {
        *(DoubtfulFitWarning, NonGaussianInputWarning, SignsLostWarning, OutsideTheoryWarning)
    }
    assert {c.filename for c in caught} == {__file__}


def test_a_warning_out_of_a_thread_points_at_the_estimators_caller() -> None:
    _, x, y = samples(2, 4, 60)
    search = GridSearchCV(moe.MoERegressor(n_init=5), {"n_experts": [3]}, cv=2, n_jobs=2)
    with (
        warnings.catch_warnings(record=True) as caught,
        joblib.parallel_config(backend="threading"),
    ):
        warnings.simplefilter("always")
        search.fit(x.numpy(), y.numpy())
    files = {Path(c.filename) for c in caught if c.category is DoubtfulEstimateWarning}
    outside = (Path(multiprocessing.__file__).parent, Path(concurrent.futures.__file__).parent)
    assert files and not any(file.is_relative_to(folder) for file in files for folder in outside)
    assert not any(file.is_relative_to(PACKAGE) or file.name == "threading.py" for file in files)


def test_a_package_under_a_folder_called_experiments_is_still_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exceptions, "_PACKAGE", Path("/home/experiments/moe"))
    assert exceptions._inside("/home/experiments/moe/recovery/__init__.py")
    assert not exceptions._inside("/home/experiments/moe/experiments/stein.py")


def test_the_library_swaps_no_filters_and_warns_through_one_function() -> None:
    for path in PACKAGE.rglob("*.py"):
        if "experiments" in path.parts or path.name == "exceptions.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Import) and node.names[0].name == "warnings"), path


def test_a_stage_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    _, x, y = samples(3, 7, 400, 2)
    with caplog.at_level(logging.INFO, logger="moe"):
        fit = moe.recover(x, y, 3)
    lines = [record.getMessage() for record in caplog.records]
    assert all(record.name == "moe" and record.levelno == logging.INFO for record in caplog.records)
    staged = [line for line in lines if "iterations" in line]
    assert len(staged) == len(fit.stages) >= 4
    for stage, line in zip(fit.stages, staged, strict=True):
        assert line.startswith(f"recover: {stage.name}: {stage.seconds:.3f} s, value ")
        assert "origin " in line and "starts " in line
        assert f"value {stage.value:.6g}, " in line
    assert fit.stages[-1].value == pytest.approx(fit.log_likelihood / 400)


def test_a_refusal_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    _, x, y = samples(3, 7, 150)
    with caplog.at_level(logging.INFO, logger="moe"):
        fit = moe.recover(x, y, 3)
    assert fit.refusals
    for refusal in fit.refusals:
        assert any(refusal in record.getMessage() for record in caplog.records)


def test_nothing_is_printed_by_default(capfd: pytest.CaptureFixture[str]) -> None:
    _, x, y = samples(3, 7, 400, 2)
    moe.recover(x, y, 3)
    assert capfd.readouterr() == ("", "")
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("moe").handlers)
