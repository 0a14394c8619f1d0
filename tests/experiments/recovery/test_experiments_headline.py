"""The recovery chapter's experiments, small."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import assert_shows

from moe.experiments.common.mixtures import mixtures_of
from moe.experiments.engine.sweep import Trial
from moe.experiments.recovery import (
    em_starts,
    figures,
    headline,
    headline_steps,
    headline_stream,
    how_many,
    interactive,
    stages,
    tables,
)
from moe.experiments.recovery.headline_stream import losses_of
from moe.experiments.recovery.z_scores import summary, z_scores
from moe.experiments.regressor_loss import fresh_samples as l4_stream
from moe.likelihood.efficiency import standard_errors
from moe.metrics import align, regressor_error_of
from moe.model.mixture import random_moe
from moe.randomness import child_seed, stream
from moe.recovery import recover

SPEC = headline_stream.Spec(
    k=3, d=6, seeds=12, batch=200, steps=800, gate_steps=150, points=20, em_sizes=(500, 2_000)
)
RECORD = headline.run(SPEC)
SMALL = headline_stream.Spec(
    k=2, d=4, seeds=2, batch=50, steps=20, gate_steps=10, points=5, em_sizes=(100,)
)
STAGES = stages.Spec(k=2, d=5, sizes=(2_000, 8_000), seeds=3)
FINITE = stages.run(STAGES)
HELD, LEARNED, TRUE = headline.GATES


def test_the_typical_squared_loss_is_stuck_l4_arrives_and_so_does_em() -> None:
    l4, squared = (RECORD.regressor[name][-1] for name in ("L_4", "squared loss"))
    assert float(l4.median()) < 0.05 and float(squared.median()) > 0.2
    assert float(RECORD.oracle["squared loss"].max()) < 0.02
    assert float((RECORD.em[-1] < 2 * RECORD.em_oracle[-1]).double().mean()) > 0.7


def test_gates_come_nearer_with_true_experts_and_with_a_learned_sigma() -> None:
    held, learned, true = (float(RECORD.gate[name][-1].median()) for name in headline.GATES)
    assert true < learned < held < float(RECORD.gate["squared loss"][-1].median())
    distance = (2 * RECORD.regressor["L_4"][-1]).sqrt()
    assert bool((RECORD.sigma > SPEC.sigma).all())
    assert bool((RECORD.sigma < 1.2 * (SPEC.sigma**2 + distance.square()).sqrt()).all())


def test_the_shares_that_a_reader_moves_count_the_runs() -> None:
    figure = interactive.success({"orthonormal": RECORD}).data
    level = interactive.LEVELS.index(0.1)
    experts, gates = (panel["marks"] for panel in figure["panels"])
    seen = [int(n) for n in RECORD.regressor_samples]
    for mark, errors in (
        (experts[0], RECORD.regressor["squared loss"]),
        (experts[1], RECORD.regressor["L_4"]),
    ):
        for x, share in zip(mark["x"], mark["y"][0][level], strict=True):
            row = errors[min(range(len(seen)), key=lambda t: abs(seen[t] - x))].tolist()
            assert share == pytest.approx(sum(e < 0.1 for e in row) / len(row), abs=1e-4)
    assert gates[-1]["y"][0][level][-1] == pytest.approx(
        float((RECORD.em_gate[-1] < 0.1).double().mean()), abs=1e-4
    )
    passed = int((RECORD.regressor["L_4"][-1] < 0.1).sum())
    assert f"L₄ of {passed} of {SPEC.seeds}" in figure["say"]["words"][0][level][0]
    assert len(figure["say"]["words"][0]) == len(interactive.LEVELS)


def test_all_methods_share_their_start_and_their_axes() -> None:
    start = RECORD.regressor["squared loss"][0]
    assert RECORD.regressor["squared loss"].shape == RECORD.regressor["L_4"].shape
    assert start.shape == (SPEC.seeds,)
    assert len(RECORD.regressor_samples) == len(RECORD.regressor["L_4"])
    assert int(RECORD.regressor_samples[-1]) == SPEC.steps * SPEC.batch
    assert RECORD.em.shape == RECORD.em_gate.shape == (2, SPEC.seeds)
    for errors in RECORD.gate.values():
        torch.testing.assert_close(errors[0], torch.ones_like(errors[0]))


def test_the_losses_see_one_stream_from_its_beginning() -> None:
    """Their batches are equal: the squared loss of a mixture's own mean is its noise's."""
    truths = mixtures_of(SMALL)
    experts = torch.stack([truth.regressors for truth in truths])
    gates = torch.stack([truth.gating for truth in truths])[:, :-1]
    first, second = (losses_of(SMALL, truths, 2)(experts, gates) for _ in range(2))
    assert torch.equal(first, second)
    loss = losses_of(SMALL, truths, 2)
    loss(experts, gates)
    assert not torch.equal(loss(experts, gates), first)
    twice = torch.cat([experts, experts]), torch.cat([gates, gates])
    assert torch.equal(losses_of(SMALL, truths, 4)(*twice), torch.cat([first, first]))
    squared, l4 = losses_of(SMALL, truths, 2)(*twice).split(2)
    assert torch.equal(squared, first)
    assert torch.equal(l4, losses_of(SMALL, truths, 0)(experts, gates))


def test_the_oracle_of_l4_starts_at_the_truth() -> None:
    truths = mixtures_of(SMALL)
    experts = torch.stack([truth.regressors for truth in truths])
    rows = headline_stream.dual_rows(headline.minimiser(SMALL, experts))
    assert float(headline_stream.regressor_errors(rows, truths).max()) < 1e-12
    tiny = headline_stream.Spec(k=2, d=4, seeds=2, batch=50, steps=1, l4_step=1e-9)
    assert float(headline.l4_floor(tiny).max()) < 1e-6


def test_the_record_depends_on_the_spec_alone() -> None:
    first, second = headline.run(SMALL), headline.run(SMALL)
    for name, values in first.regressor.items():
        assert torch.equal(values, second.regressor[name])


def test_first_steps_are_tried_together_as_they_would_be_alone() -> None:
    grid: headline_steps.Grid = {
        "squared loss": {"sgd": (0.1, 0.5), "adam": (0.01, 0.1)},
        "L_4": {"sgd": (0.001, 0.01)},
    }
    tuning = headline_steps.run(SMALL, 2, grid)
    other = child_seed(SMALL.seed, "tuning")
    for (loss, optimiser, step), errors in tuning.errors.items():
        spec = replace(SMALL, gate_steps=2, em_sizes=(60,), seed=other)
        if loss == "L_4":
            alone = headline.run(replace(spec, l4_step=step))
        else:
            alone = headline.run(replace(spec, squared_optimiser=optimiser, squared_step=step))
        torch.testing.assert_close(alone.regressor[loss][-1], errors, rtol=1e-4, atol=1e-6)
        if loss == "squared loss":
            kept = tuning.kept[loss, optimiser, step]
            torch.testing.assert_close(alone.oracle[loss], kept, rtol=1e-4, atol=1e-6)
    best = min((float(e.mean()), key) for key, e in tuning.errors.items() if key[0] == "L_4")
    assert tuning.best("L_4") == best[1][1:] and tuning.spec.l4_step == best[1][2]


def test_a_step_that_leaves_the_truth_is_no_contestant() -> None:
    key = "squared loss", "adam"
    errors = {(*key, step): torch.tensor([e]) for step, e in ((0.1, 0.5), (0.3, 0.4), (1.0, 0.2))}
    kept = {(*key, step): torch.tensor([e]) for step, e in ((0.1, 0.01), (0.3, 0.04), (1.0, 0.5))}
    tuning = headline_steps.Tuning(SMALL, errors, kept)
    assert tuning.best("squared loss") == ("adam", 0.3) and not tuning.at_edge("squared loss")
    free = headline_steps.Tuning(SMALL, errors, {})
    assert free.best("squared loss") == ("adam", 1.0) and free.at_edge("squared loss")


def test_recovery_ends_at_the_oracle_at_every_size() -> None:
    assert FINITE.l4.shape == (2, 3)
    torch.testing.assert_close(FINITE.final, FINITE.oracle, rtol=0.02, atol=1e-9)
    torch.testing.assert_close(FINITE.gate_final, FINITE.gate_oracle, rtol=0.02, atol=1e-9)
    tried = ~FINITE.l4.isnan()  # NaN: moments too noisy for L_4, recovery did without it
    assert bool((FINITE.l4 > FINITE.final)[tried].all()) and bool(FINITE.converged.all())
    assert float(tried.double().mean()) > 0.5


def test_z_scores_are_those_of_the_aligned_model_and_of_contrasts() -> None:
    truth = random_moe(3, 5, sigma=0.1, generator=stream("truth", 0))
    x, y = truth.sample(3_000, stream("data", 0))
    fit = recover(x, y, 3)
    regressors, gates = z_scores(fit, truth)
    model = align(fit.model, truth)
    errors = standard_errors(model, x, y)
    expected = (model.regressors - truth.regressors) / errors.regressors
    torch.testing.assert_close(regressors, expected, rtol=1e-4, atol=1e-6)
    own = (model.gating - truth.gating)[:-1] / errors.gating[:-1]  # against the last expert
    torch.testing.assert_close(gates[[1, 2]], own, rtol=1e-4, atol=1e-6)
    swapped = align(fit.model, truth.reordered(torch.tensor([0, 2, 1])))
    errors = standard_errors(swapped, x, y)
    other = (swapped.gating - truth.reordered(torch.tensor([0, 2, 1])).gating)[0] / errors.gating[0]
    torch.testing.assert_close(gates[0], other, rtol=1e-4, atol=1e-6)
    shares = summary(fit, truth)
    assert shares["covered_regressors"] == float((regressors.abs() < 1.96).double().mean())


def test_em_and_l4_are_given_the_same_data_sets() -> None:
    spec = em_starts.Spec(k=2, d=4, n=1_000, starts=2)
    (record,) = em_starts.run([spec], 3)
    assert record.oracle_learned == [1.0, 1.0, 1.0] and sum(record.learned) >= 2
    assert all(32 * share in range(1, 33) for share in record.l4_lowest), "32 starts, and the best"
    assert em_starts.trial(spec, 5) == em_starts.trial(spec, 5)
    (none,) = em_starts.run([em_starts.Spec(k=4, d=4, n=60, starts=2, gate_norm=0.0)], 1)
    assert none.l4 in ([0.0], [1.0])


def test_figures_draw_with_labelled_axes() -> None:
    gates = [
        r"$L_{\log}$, experts from $L_4$, $\sigma$ held",
        r"$L_{\log}$, experts from $L_4$, $\sigma$ learned",
        r"$L_{\log}$, true experts, $\sigma$ held",
    ]
    methods = ["squared loss", "$L_4$"]
    slides = [r"$L_{\log}$, experts from $L_4$", r"$L_{\log}$, true experts"]
    ends = ["$L_4$ alone", "recover", "oracle"]
    ends += [rf"$L_{{\log}}$, $\sigma$ {how}" for how in ("held", "learned")]
    em = r"EM, $\sigma$ learned, on stored samples"
    for figure, names in (
        (figures.headline({"one": RECORD, "two": RECORD}), [*methods, *gates, em]),
        (figures.runs(RECORD), []),
        (figures.slides(), [*methods, *slides]),
        (figures.stages(FINITE), ends),
    ):
        assert_shows(figure, *names)
        rows = figure.axes[-2:]
        assert all(axes.get_xlabel() for axes in rows)


def test_tables_say_what_the_records_say() -> None:
    ends = tables.ends({"one": RECORD}).markdown
    low, middle, high = (float(RECORD.regressor["L_4"][-1].quantile(q)) for q in (0.1, 0.5, 0.9))
    assert f"| {middle:.2g} | {low:.2g} to {high:.2g} |" in ends and "2,000 samples" in ends
    grid: headline_steps.Grid = {"squared loss": {"sgd": (0.1,)}, "L_4": {"sgd": (0.001, 0.01)}}
    steps = tables.first_steps({"one": headline_steps.run(SMALL, 2, grid)}).markdown
    assert steps.count("| yes |") == 2 and "0.001" in steps
    stream_ = l4_stream.run(l4_stream.Spec(k=2, d=4, batches=(50, 100), steps=5, seeds=2))
    assert "two half batches" in tables.batches(stream_).markdown
    trials = [
        Trial(how_many.Spec(k=2, samples_per_expert=n), s, {"chosen": float(c), "distinct": 2.0}, 0)
        for n, s, c in ((100, 0, 1), (100, 1, 2), (600, 0, 2))
    ]
    assert tables.found(trials).shown == (("2", "2", "1 of 2", "2", "1 of 1"),)


def test_a_regressor_error_of_a_stack_is_that_of_its_parts() -> None:
    truths = mixtures_of(SMALL)
    rows = torch.randn(3, 2, 2, 4, generator=stream("rows"), dtype=torch.float64)
    errors = headline_stream.regressor_errors(rows, truths)
    assert errors.shape == (3, 2)
    expected = regressor_error_of(rows[2, 1], truths[1].regressors)
    assert math.isclose(float(errors[2, 1]), expected)
