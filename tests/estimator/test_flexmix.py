"""Likelihoods beside those of R's flexmix: stored, with the script that makes them again."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import moe
from moe.randomness import numpy_stream

STORED = json.loads(Path(__file__).with_name("flexmix.json").read_text(encoding="utf-8"))


def curves(index: int) -> pd.DataFrame:
    """``benchmarks.flexmix_reference.data_set``."""
    rng = numpy_stream("data", index)
    x = rng.uniform(0, 10, 200)
    means = np.where(np.arange(200) < 100, 5 * x, 10 + 10 * x - x**2)
    return pd.DataFrame({"x": x, "y": means + 3 * rng.normal(size=200)})


@pytest.mark.parametrize("gate", ["constant", "multinomial"])
def test_the_likelihood_is_never_below_flexmixs_on_data_like_npreg(gate: str) -> None:
    """The best of 20 starts of flexmix 2.3.18, made by the script that the file names."""
    assert STORED["made by"] == "benchmarks/flexmix_reference.py"
    softmax = gate == "multinomial"
    for index, reference in list(enumerate(STORED[gate]))[: 4 if softmax else 8]:
        formula = "y ~ x + I(x**2)" + " | x" * softmax
        kind = "softmax" if softmax else "constant"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
            model = moe.MoERegressor.from_formula(
                formula, curves(index), n_experts=2, gate=kind, noise="each"
            )
        assert reference - 0.01 < model.log_likelihood_ < reference + 2


def test_every_name_of_flexmix_in_the_readme_has_its_answer_here() -> None:
    """The right-hand sides of README's table, on one data set."""
    frame = curves(0)
    frame["z"] = numpy_stream("data", 100).normal(size=len(frame))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", moe.DoubtfulFitWarning)
        plain = moe.MoERegressor.from_formula(
            "y ~ x", frame, n_experts=2, gate="constant", noise="each", n_init=5
        )
        barred = moe.MoERegressor.from_formula("y ~ x | z", frame, n_experts=2, n_init=5)
        named = moe.MoERegressor(2, expert_features=["x"], gate_features=["z"], n_init=5)
        named.fit(frame[["x", "z"]], frame.y)
        several = moe.MoERegressor(range(1, 4), n_init=5).fit(frame[["x"]], frame.y)
        weighted = moe.MoERegressor(2, n_init=5).fit(
            frame[["x"]], frame.y, sample_weight=np.arange(200) % 3
        )
    np.testing.assert_allclose(barred.predict(frame), named.predict(frame[["x", "z"]]), atol=1e-6)
    assert set(several.held_out_) <= {1, 2, 3} and weighted.results_.nobs == 199
    posterior = plain.responsibilities(frame, frame.y)
    np.testing.assert_array_equal(posterior.argmax(1), plain.assign(frame, frame.y))
    np.testing.assert_allclose(posterior.mean(0), plain.proportions_)
    results = plain.results_
    assert "BIC" in str(plain.summary()) and "sandwich" in str(plain.summary(robust=True))
    assert len(results.to_frame()) == len(results.params)
    assert results.aic < results.bic <= results.icl and results.llf == plain.log_likelihood_
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for name in ("posterior", "clusters", "prior", "refit", "BIC", "ICL", "FLXPmultinom"):
        assert f"{name}`" in readme or f"{name}(" in readme, name
