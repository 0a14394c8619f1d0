"""Squared errors over the Cramer-Rao bound, and coverage, at small size."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import assert_shows

from moe.experiments.sample_complexity import efficiency
from moe.experiments.sample_complexity.figures_efficiency import efficiency_figure
from moe.likelihood.efficiency import cramer_rao

SPEC = efficiency.Spec(k=2, d=4, sigma=0.2, n=2_000, oracle=True, bound_samples=100_000)
KNOWN = replace(SPEC, sigma_known=True)
RECORDS = efficiency.run([SPEC, KNOWN], range(80), workers=1)


@pytest.mark.parametrize("record", RECORDS, ids=["sigma learned", "sigma known"])
def test_recover_reaches_the_bound_and_its_intervals_cover(record: efficiency.Record) -> None:
    """As far as 80 data sets tell: standard errors are 0.06 and 0.08 of ratios, 0.01 of shares."""
    for name in ("regressors", "gating"):
        assert record.mean(name).value == pytest.approx(1, abs=0.3)
        assert record.mean(f"covered_{name}").value == pytest.approx(0.95, abs=0.05)
    assert float(record.values["error"].max()) < 0.01
    assert bool(record.values["converged"].all())


@pytest.mark.parametrize("record", RECORDS, ids=["sigma learned", "sigma known"])
def test_recover_ends_where_em_from_the_truth_ends(record: efficiency.Record) -> None:
    assert float(record.values["oracle_gap"].abs().max()) < 1e-4
    assert float(record.values["oracle_distance"].max()) < 1e-3


def test_the_bounds_are_those_of_the_package_and_fall_like_one_over_n() -> None:
    truth = efficiency.truth_of(SPEC)
    bound = cramer_rao(truth, 2_000, sigma_known=False, samples=100_000)
    regressors, gating = efficiency.bounds_of(SPEC)
    assert (regressors, gating) == pytest.approx((bound.regressor_mse, bound.gating_mse), rel=0.03)
    assert efficiency.bounds_of(replace(SPEC, n=8_000))[0] == pytest.approx(regressors / 4)


@pytest.mark.parametrize("record", RECORDS, ids=["sigma learned", "sigma known"])
def test_first_order_estimates_have_their_expectations_and_the_scatter_of_the_fits(
    record: efficiency.Record,
) -> None:
    expected = {"regressors": 1, "gating": 1, "covered_regressors": 0.95, "covered_gating": 0.95}
    for name, value in (expected | {"gate_length": 0}).items():
        first = record.values[f"first_order_{name}"]
        assert abs(float(first.mean()) - value) < 4 * float(first.std()) / 80**0.5
        assert float(record.each(name).std()) < 0.8 * float(record.values[name].std())


def test_a_trial_depends_on_its_spec_and_seed_alone() -> None:
    spec = replace(SPEC, oracle=False)
    first, second = efficiency.trial(spec, 5), efficiency.trial(spec, 5)
    assert first.pop("oracle_gap") != second.pop("oracle_gap")  # NaN: not asked for
    del first["oracle_distance"], second["oracle_distance"]
    assert first == second
    assert first["regressors"] == float(RECORDS[0].values["regressors"][5])
    assert efficiency.trial(replace(spec, truth_seed=2), 5)["regressors"] != first["regressors"]


def test_means_leave_out_nans_and_have_intervals_of_the_central_limit_theorem() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, math.nan]).double()
    mean = efficiency.Record(SPEC, {"gating": values}).mean("gating")
    assert mean.value == 2.0
    assert mean.high - mean.value == pytest.approx(1.96 / 3**0.5, rel=1e-4)


def test_gates_come_out_too_long_in_small_samples() -> None:
    """Eight samples a parameter, twelve mixtures: in the typical data set, and their errors exceed
    the bound."""
    few = replace(SPEC, d=16, n=400, gate_norm=2.0, oracle=False, bound_samples=20_000)
    trials = [
        efficiency.trial(replace(few, truth_seed=truth), 5 * truth + repeat)
        for truth in range(12)
        for repeat in range(5)
    ]
    length, gating = (torch.tensor([t[name] for t in trials]) for name in ("gate_length", "gating"))
    assert float(length.median()) > 0
    assert float(gating.mean()) > 1.1


def test_the_figure_draws() -> None:
    records = [*RECORDS, efficiency.Record(replace(SPEC, n=500), RECORDS[0].values)]
    louder = [replace(record, spec=replace(record.spec, sigma=0.5)) for record in records]
    figure = efficiency_figure([*records, *louder])
    assert_shows(figure, r"$\sigma = 0.2$", r"$\sigma = 0.5$")
    low, high = figure.axes[0].get_ylim()
    assert low < RECORDS[0].mean("regressors").value < high
