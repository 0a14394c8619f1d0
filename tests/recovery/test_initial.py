"""``moe.recover(..., initial=...)``: a start of the user's own is one more way, and no more."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import samples
from torch import Tensor

import moe
from moe.exceptions import DoubtfulFitWarning, NonGaussianInputWarning
from moe.metrics import regressor_error
from moe.model.mixture import MoE
from moe.randomness import stream
from moe.recovery.results import Origin, Recovery


def quietly(*arguments: Any, **options: Any) -> Recovery:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulFitWarning)
        warnings.simplefilter("ignore", NonGaussianInputWarning)
        return moe.recover(*arguments, **options)


def same(one: Recovery, other: Recovery) -> bool:
    """All that is said but the number of passes, to the last bit."""
    return (
        torch.equal(one.model.regressors, other.model.regressors)
        and torch.equal(one.model.gating, other.model.gating)
        and (one.model.sigma, one.log_likelihood) == (other.model.sigma, other.log_likelihood)
        and (one.origin, one.supporters) == (other.origin, other.supporters)
        and (one.doubts, one.refusals) == (other.doubts, other.refusals)
    )


def test_the_truth_wins_where_all_other_starts_fail() -> None:
    """k = 8, d = 8, 192 samples without gates: most answers are wrong (test_recovery)."""
    won = 0
    for seed in range(4):
        truth, x, y = samples(8, 8, 192, seed, sigma=0.05, gate_norm=0.0)
        alone = quietly(x, y, 8, gated=False)
        helped = quietly(x, y, 8, gated=False, initial=truth)
        if regressor_error(alone.model, truth) < 0.05:
            assert same(alone, helped)
            continue
        won += 1
        assert helped.origin is Origin.GIVEN and "the given start won" in helped.reason
        assert regressor_error(helped.model, truth) < 0.05
        assert helped.log_likelihood > alone.log_likelihood + 1
        assert not helped.converged, "nothing else supports it"
    assert won >= 2


@pytest.mark.parametrize("n", [150, 5_000, 9_000])
def test_a_bad_start_loses_and_leaves_no_trace(n: int) -> None:
    _, x, y = samples(3, 7, n)
    alone = quietly(x, y, 3)
    rows = torch.randn(4, 3, 7, generator=stream("bad"), dtype=torch.float64)
    far = 1e6 * rows[0]
    for bad in (
        rows[0],
        rows,
        far,
        0 * rows[0],
        rows[0][[0, 0, 0]],
        MoE(rows[0], rows[1] - rows[1, -1], 1e-6),
    ):
        helped = quietly(x, y, 3, initial=bad)
        assert helped.passes > alone.passes
        if helped.origin is not Origin.GIVEN:
            assert same(alone, helped)
        else:
            assert helped.log_likelihood > alone.log_likelihood + 1


def test_the_answer_itself_as_a_start_supports_nothing() -> None:
    """A wrong answer that is given back is no second witness of itself."""
    for seed in range(3):
        _, x, y = samples(6, 6, 108, seed, sigma=0.05, gate_norm=0.0)
        alone = quietly(x, y, 6, gated=False)
        again = quietly(x, y, 6, gated=False, initial=alone.model)
        assert same(alone, again)


MIXING = torch.randn(7, 7, generator=stream("mixing"), dtype=torch.float64)


@pytest.mark.parametrize("start", ["model", "rows"])
def test_the_start_turns_with_the_inputs_and_the_unit_of_the_outputs(start: str) -> None:
    truth, x, y = samples(4, 7, 150, 3, sigma=0.3)
    a, w = truth.regressors, truth.gating

    def given(a: Tensor, w: Tensor, sigma: float) -> MoE | Tensor:
        return MoE(a, w, sigma) if start == "model" else a

    plain = quietly(x, y, 4, initial=given(a, w, 0.3))
    turned = torch.linalg.solve(MIXING, torch.cat([a, w]).T).T
    inputs = x @ MIXING
    other = quietly(inputs, 5 * y, 4, initial=given(5 * turned[:4], turned[4:], 1.5))
    assert other.origin is plain.origin
    torch.testing.assert_close(other.model.mean(inputs) / 5, plain.model.mean(x), rtol=0, atol=1e-6)


def test_columns_that_depend_on_others_change_no_start() -> None:
    truth, x, y = samples(2, 5, 60, 3)
    plain = quietly(x, y, 2, initial=truth.regressors)
    wide = torch.cat([x, x[:, :1] + x[:, 1:2]], 1)
    rows = torch.nn.functional.pad(truth.regressors, (0, 1))
    fit = quietly(wide, y, 2, initial=rows)
    assert fit.origin is plain.origin
    torch.testing.assert_close(fit.model.mean(wide), plain.model.mean(x), rtol=0, atol=1e-6)


TRUTH, X, Y = samples(2, 4, 400)
WRONG: dict[str, tuple[Callable[[], Any], dict[str, Any], type[Exception], str]] = {
    "one row too few": (
        lambda: torch.ones(1, 4), {}, ValueError, r"initial: expected a model of k = 2 .* \(1, 4\)",
    ),
    "another dimension": (lambda: torch.ones(3, 2, 5), {}, ValueError, r"got shape \(3, 2, 5\)"),
    "no start": (lambda: torch.ones(0, 2, 4), {}, ValueError, r"got shape \(0, 2, 4\)"),
    "a vector": (lambda: torch.ones(4), {}, ValueError, r"initial: .* got shape \(4,\)"),
    "a model of three": (
        lambda: moe.random_moe(3, 4, generator=stream("truth")), {}, ValueError,
        r"initial: expected a model of k = 2 experts in d = 4 dimensions.* got shape \(3, 4\)",
    ),
    "text": (lambda: "truth", {}, TypeError, "initial: expected an array or tensor of numbers"),
    "NaN": (lambda: torch.full((2, 4), torch.nan), {}, ValueError, "initial: expected finite"),
    "huge": (lambda: 1e200 * TRUTH.regressors, {}, ValueError, "initial: .* within a factor"),
    "another g": (
        lambda: moe.random_moe(2, 4, nonlinearity="relu", generator=stream("truth")), {},
        ValueError, "initial: expected experts with nonlinearity 'linear', got 'relu'",
    ),
    "gates where there are none": (
        lambda: TRUTH, {"gated": False}, ValueError, "initial: expected equal gates",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=WRONG)
def test_a_start_that_cannot_be_used_is_named(case: str) -> None:
    initial, options, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        moe.recover(X, Y, 2, initial=initial(), **options)


def test_gate_any_refuses_a_start_and_takes_a_number_of_iterations() -> None:
    with pytest.raises(ValueError, match="initial: expected None if gate is 'any'"):
        moe.recover(X, Y, 2, gate="any", initial=TRUTH)  # type: ignore[call-overload]
    with pytest.warns(moe.DoubtfulFitWarning, match="EM had not converged"):
        moe.recover(X, Y, 2, gate="any", classifiers=(), iterations=1)


def test_a_recovery_is_a_start_as_its_model_is() -> None:
    fit = quietly(X, Y, 2)
    again, model = (quietly(X, Y, 2, initial=start) for start in (fit, fit.model))
    assert again.log_likelihood == model.log_likelihood
