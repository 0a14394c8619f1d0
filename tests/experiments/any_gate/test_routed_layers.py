"""Chapter 10: routed layers, joint training in one batch, and what decides the claims."""

from __future__ import annotations

from dataclasses import replace
from math import log, pi

import pytest
import torch

from moe.experiments.any_gate.routed import claims as judge
from moe.experiments.any_gate.routed import contest, tables
from moe.experiments.any_gate.routed.contest import METHODS, THEN, TWO
from moe.experiments.any_gate.routed.joint import (
    LIKELIHOOD,
    SOFT,
    SPARSE,
    Data,
    random_students,
    train,
)
from moe.experiments.any_gate.routed.layers import noisy_top, routed_layer
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream

SMALL = contest.Spec(
    settings=((1, "linear"),),
    k=2,
    d=5,
    n=1_000,
    tested=200,
    layers=2,
    starts=2,
    iterations=40,
    batch=64,
)


def data(chosen: int = 2, n: int = 400) -> Data:
    layers = [routed_layer(chosen, 3, 6, 0.2, seed) for seed in range(2)]
    pairs = [layer.sample(n, stream("data", i)) for i, layer in enumerate(layers)]
    x, y = (torch.stack(part) for part in zip(*pairs, strict=True))
    return Data(x, y, n // 4, as_nonlinearity("linear"), 2)


@pytest.mark.parametrize("chosen", [1, 2])
def test_a_router_keeps_so_many_and_weighs_them_by_a_softmax(chosen: int) -> None:
    logits = torch.randn(1_000, 3, generator=stream("logits"), dtype=torch.float64)
    still = torch.full_like(logits, -60.0)  # softplus zero: no noise
    weights = noisy_top(logits.T, still.T, chosen, stream("router")).T
    assert ((weights > 0).sum(1) == chosen).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(1_000, dtype=torch.float64))
    best = logits.topk(chosen, 1)
    expected = torch.zeros_like(logits).scatter(1, best.indices, best.values.softmax(1))
    torch.testing.assert_close(weights, expected)
    noisy = noisy_top(logits.T, 0 * still.T, chosen, stream("router")).T
    moved = float((noisy.argmax(1) != logits.argmax(1)).double().mean())
    assert 0.1 < moved < 0.5


def test_the_mean_is_what_samples_have_and_looks_outside_the_span() -> None:
    layer = routed_layer(2, 3, 6, 0.2, 4)
    assert float((layer.regressors @ layer.complement).abs().max()) < 1e-12
    x, y = layer.sample(20_000, stream("data", 3))
    residual = y - layer.mean(x, stream("router", 1), 100)
    bound = 5 * float(residual.std()) / len(y) ** 0.5
    assert abs(float(residual.mean())) < bound
    for column in x.T:
        assert abs(float((residual * column).mean())) < 1.5 * bound


def test_losses_are_those_of_single_students() -> None:
    some = data()
    students = random_students(2, 3, 3, 6, stream("students"))
    students = replace(students, log_sigma=students.log_sigma - 0.3)
    for kind in (LIKELIHOOD, SOFT):
        both = students.loss(kind, some.x, some.y, some, stream("adam"))
        for t in range(2):
            for r in range(3):
                a, w = students.experts[t, r], students.gates[t, r]
                x, y = some.x[t], some.y[t]
                weights = torch.softmax(x @ w[:, :-1].T + w[:, -1], 1)
                answers = x @ a.T
                if kind == SOFT:
                    one = (y - (weights * answers).sum(1)).square().mean()
                else:
                    s = float(students.log_sigma[t, r].exp())
                    bell = torch.exp(-0.5 * ((y[:, None] - answers) / s).square()) / s
                    one = 0.5 * log(2 * pi) - (weights * bell).sum(1).log().mean()
                torch.testing.assert_close(both[t, r], one)


def test_training_chooses_a_run_for_each_data_set_that_beats_its_start() -> None:
    some = data()
    begin = random_students(2, 2, 3, 6, stream("students", 1))
    for kind in (LIKELIHOOD, SOFT, SPARSE):
        end = train(kind, some, begin, (0.01, 0.03), 120, 64, stream("adam", 1))
        assert end.experts.shape == (2, 1, 3, 6)
        after = end.loss(kind, some.x, some.y, some, stream("adam", 2))[:, 0]
        before = begin.loss(kind, some.x, some.y, some, stream("adam", 2)).amin(1)
        assert (after < before).all()


def test_step_sizes_in_one_batch_are_those_of_runs_alone() -> None:
    some = data()
    begin = random_students(2, 1, 3, 6, stream("students", 2))
    small = train(SOFT, some, begin, (1e-3,), 40, 64, stream("adam", 3))
    both = train(SOFT, some, begin, (1e-3, 1e-9), 40, 64, stream("adam", 3))
    torch.testing.assert_close(small.experts, both.experts, rtol=1e-6, atol=1e-8)


def test_a_small_contest_runs() -> None:
    record = contest.run(SMALL, workers=1)
    assert len(tables.contest(record).values) == len(METHODS)
    errors = record.errors[1, "linear"]
    assert float(errors[TWO].max()) < 0.2


def record(**errors: float) -> contest.Record:
    """The same errors in all layers, with a scatter of a tenth."""
    good = dict(zip(METHODS, (1e-3, 3e-4, 2e-3, 3e-4, 2e-3, 2e-3, 2e-3), strict=True))
    keys = ("two", "then", "on", "likelihood", "soft", "routed", "long")
    names = dict(zip(keys, METHODS, strict=True))
    scatter = torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64)
    cells = {}
    for chosen in (1, 2):
        values = dict(good)
        if chosen == 2:
            values[THEN] = 2e-2
        values |= {names[key]: value for key, value in errors.items()}
        cells[chosen, "linear"] = {m: v * scatter for m, v in values.items()}
        for method in (SOFT, SPARSE):
            cells[chosen, "linear"][method][0] = 0.5
    return contest.Record(contest.Spec(), cells, cells)


def test_claims_about_routed_layers_notice() -> None:
    assert judge.one_is_a_mixture(record()).holds
    assert not judge.one_is_a_mixture(record(likelihood=0.2)).holds
    assert not judge.one_is_a_mixture(record(likelihood=9e-4)).holds
    assert judge.squares_lose(record()).holds
    assert not judge.squares_lose(record(on=0.2)).holds
    assert not judge.squares_lose(record(long=0.2)).holds, "a larger budget that does worse"
    never = record()
    for cell in never.errors.values():
        for method in (SOFT, SPARSE):
            cell[method][0] = 1e-3
    assert not judge.squares_lose(never).holds
    assert judge.two_is_no_mixture(record()).holds
    assert not judge.two_is_no_mixture(record(then=3e-3)).holds
