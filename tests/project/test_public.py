"""The public names: loaded on first use, and typed. mypy reads this file too, strictly: a line
that it is told to ignore is an error for it, and would be a complaint if it were none."""

import ast
from pathlib import Path
from typing import assert_type

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import moe
from moe.estimator.regressor import MoERegressor
from moe.estimator.results import MixtureResults
from moe.model.mixture import MoE
from moe.recovery.results import Recovery

PACKAGE = Path(moe.__file__).parent


def test_the_stub_names_what_the_lazy_table_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    typed = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == moe._PUBLIC  # type: ignore[attr-defined]
    for name in typed:
        assert callable(getattr(moe, str(name)))
        assert name in dir(moe)


def test_public_names_have_their_own_types() -> None:
    truth = moe.random_moe(2, 3, generator=moe.stream("truth"))
    x, y = truth.sample(400, moe.stream("data"))
    fit = moe.recover(x, y, 2)
    assert_type(truth, MoE)
    assert_type(fit, Recovery)
    assert_type(fit.model.regressors, Tensor)
    assert isinstance(fit.model.regressors, torch.Tensor)
    model = moe.MoERegressor(2).fit(x, y)
    assert_type(model, MoERegressor)
    assert_type(model.predict(x), NDArray[np.float64])
    assert_type(model.predict(x, return_std=True), tuple[NDArray[np.float64], NDArray[np.float64]])
    assert_type(model.results_, MixtureResults)


def test_a_wrong_call_is_a_type_error_and_says_so_at_run_time() -> None:
    with pytest.raises((TypeError, ValueError), match="k: expected"):
        moe.recover([[1.0]], [1.0], k="three")  # type: ignore[call-overload]
    with pytest.raises(AttributeError, match=r"no attribute 'recovr'; it has .*MoE"):
        _ = moe.recovr  # type: ignore[attr-defined]
