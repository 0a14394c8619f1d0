"""moe.experiments.headline and stages: the recovery chapter's claims, small."""

import torch
from helpers import assert_shows

from moe.experiments import headline, stages
from moe.plotting import headline as figures

SPEC = headline.Spec(k=3, d=6, seeds=12, batch=200, steps=800, gate_steps=150, points=20)
RECORD = headline.run(SPEC)
STAGES = stages.Spec(k=2, d=5, sizes=(2_000, 8_000), seeds=3)


def test_the_typical_squared_loss_is_stuck_l4_arrives_and_better_experts_give_better_gates() -> (
    None
):
    l4, squared = (RECORD.regressor[name][-1] for name in ("L_4", "squared loss"))
    assert float(l4.median()) < 0.05 and float(squared.median()) > 0.2
    joint, with_l4, with_truth = (
        float(RECORD.gate[name][-1].median())
        for name in ("squared loss", "L_log, experts from L_4", "L_log, true experts")
    )
    assert with_truth < with_l4 < joint
    assert float(RECORD.gate["L_log, true experts"][-1].max()) < 0.2


def test_all_methods_share_their_start_and_their_axes() -> None:
    start = RECORD.regressor["squared loss"][0]
    assert RECORD.regressor["squared loss"].shape == RECORD.regressor["L_4"].shape
    assert start.shape == (SPEC.seeds,)
    assert len(RECORD.regressor_samples) == len(RECORD.regressor["L_4"])
    assert int(RECORD.regressor_samples[-1]) == SPEC.steps * SPEC.batch
    for errors in RECORD.gate.values():
        torch.testing.assert_close(errors[0], torch.ones_like(errors[0]))


def test_the_record_depends_on_the_spec_alone() -> None:
    small = headline.Spec(k=2, d=4, seeds=2, batch=50, steps=20, gate_steps=10, points=5)
    first, second = headline.run(small), headline.run(small)
    for name, values in first.regressor.items():
        assert torch.equal(values, second.regressor[name])


def test_recovery_ends_at_the_oracle_at_every_size() -> None:
    record = stages.run(STAGES)
    assert record.l4.shape == (2, 3)
    torch.testing.assert_close(record.final, record.oracle, rtol=0.02, atol=1e-9)
    torch.testing.assert_close(record.gate_final, record.gate_oracle, rtol=0.02, atol=1e-9)
    tried = ~record.l4.isnan()  # NaN: moments too noisy for L_4, recovery did without it
    assert bool((record.l4 > record.final)[tried].all()) and bool(record.converged.all())
    assert float(tried.double().mean()) > 0.5


def test_figures_draw_with_labelled_axes() -> None:
    gates = [r"$L_{\log}$, experts from $L_4$", r"$L_{\log}$, true experts"]
    methods = ["squared loss", "$L_4$", *gates]
    ends = ["$L_4$ alone", "recover", "oracle", r"$L_4$, then $L_{\log}$"]
    for figure, names in (
        (figures.headline(RECORD), methods),
        (figures.runs(RECORD), []),
        (figures.slides(), methods),
        (figures.stages(stages.run(STAGES)), ends),
    ):
        assert_shows(figure, *names)
        assert all(axes.get_xlabel() for axes in figure.axes)
