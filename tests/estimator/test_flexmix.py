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
