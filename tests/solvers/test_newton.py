"""Newton's method on the likelihood: against the information of one model, and EM to the end."""

import pytest
import torch
from helpers import samples
from torch import Tensor

from moe.likelihood.information import information
from moe.model.mixture import MoE, random_rows
from moe.model.nonlinearity import as_nonlinearity
from moe.randomness import stream
from moe.recovery.climbing import climbed
from moe.recovery.starts import Problem
from moe.solvers.curvature import Point, look
from moe.solvers.em import EMResult, expectation_maximisation
from moe.solvers.em.samples import Columns, Samples, sigma_floor
from moe.solvers.newton import newton_climb

LINEAR = as_nonlinearity("linear")
ALL = ("regressors", "gating", "sigma")


def wrong(n: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples that no mixture of three lines describes; the last column is one."""
    x = torch.randn(n, 2, generator=stream("inputs", seed), dtype=torch.float64)
    noise = torch.randn(n, generator=stream("noise", seed), dtype=torch.float64)
    y = torch.sin(2 * x[:, 0]) + x[:, 1].abs() + 0.2 * noise
    return torch.cat([x, torch.ones(n, 1, dtype=torch.float64)], 1), y


def begun(x: Tensor, y: Tensor, starts: int = 6, tolerance: float = 1.0) -> EMResult:
    rows = random_rows(starts, 3, x.shape[1], stream("starts", 0), x.dtype)
    gates = torch.zeros_like(rows)
    return expectation_maximisation(x, y, rows, gates, y.std(), LINEAR, tolerance=tolerance)


@pytest.mark.parametrize("learn", [ALL, ("regressors", "sigma")])
def test_score_and_information_are_those_of_each_model(learn: tuple[str, ...]) -> None:
    truth, x, y = samples(3, 4, 300, sigma=0.4)
    shift = torch.stack([torch.zeros_like(truth.regressors), truth.regressors.flip(0)])
    rows, sigma = truth.regressors + 0.2 * shift, torch.tensor([0.4, 0.7], dtype=torch.float64)
    gates = truth.gating + 0.5 * shift - 0.5 * shift[:, -1:]
    counts = torch.randint(1, 4, (300,), generator=stream("counts", 0)).double()
    repeated = torch.arange(300).repeat_interleave(counts.long())
    at = look(Samples(x, y, 2, 3, learn, False, counts), rows, gates, sigma)
    kept = [*range(12), *(range(12, 20) if "gating" in learn else ()), 20]
    for s in range(2):
        model = MoE(rows[s], gates[s], float(sigma[s]), LINEAR)
        unit = torch.ones(21, dtype=torch.float64)
        unit[:12] = sigma[s]
        for kind, ours in (("observed", at.observed[s]), ("complete", at.complete[s])):
            value, score, matrix = information(model, x[repeated], y[repeated], kind)  # type: ignore[arg-type]
            torch.testing.assert_close(ours, (matrix * unit * unit[:, None])[kept][:, kept])
        torch.testing.assert_close(at.score[s], (score * unit)[kept])
        assert float(at.value[s]) == pytest.approx(value, rel=1e-12)


def to_the_end(x: Tensor, y: Tensor, fit: EMResult, **options: object) -> EMResult:
    state = fit.regressors, fit.gating, fit.sigma
    return expectation_maximisation(
        x,
        y,
        *state,
        LINEAR,
        iterations=50_000,
        tolerance=1e-10,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_end_is_the_maximum_that_em_has_in_the_end(seed: int) -> None:
    x, y = wrong(seed=seed)
    fit, behind = newton_climb(x, y, *ends(begun(x, y)), tolerance=1e-6)
    best = fit.best
    assert bool(best.converged) and not bool(behind[fit.log_likelihood.argmax()])
    assert 0 <= float(to_the_end(x, y, best).log_likelihood - best.log_likelihood) < 1e-6
    plain = to_the_end(x, y, begun(x, y, tolerance=1e-2))
    assert int(fit.iterations.max()) < int(plain.iterations.max()) / 5
    at = look(Samples(x, y, 1, 3, ALL, False), best.regressors, best.gating, best.sigma)
    curvature = torch.linalg.eigvalsh(at.observed)[0]  # gates that grow for ever have none
    rounding = 1e-15 * float(curvature[-1])
    assert float(curvature[0]) > -rounding, "a maximum, not a saddle"
    assert float(at.score.abs().max()) < 1e-2


def ends(fit: EMResult) -> tuple[Tensor, Tensor, Tensor]:
    return fit.regressors, fit.gating, fit.sigma


def test_the_likelihood_never_falls_and_what_is_given_up_is_behind() -> None:
    x, y = wrong()
    start = begun(x, y, starts=12, tolerance=20.0)
    fit, behind = newton_climb(x, y, *ends(start), tolerance=1e-2)
    assert float(fit.trace.diff(dim=0).min()) >= -1e-9
    torch.testing.assert_close(fit.trace[0], start.log_likelihood)
    torch.testing.assert_close(fit.trace[-1], fit.log_likelihood)
    assert bool(behind.any()) and not bool((behind & fit.converged).any())
    rest = to_the_end(x, y, fit[behind])
    assert float(rest.log_likelihood.max()) < float(fit.log_likelihood.max()) + 1e-2


def test_what_is_held_stays_and_the_rest_is_where_em_takes_it() -> None:
    x, y = wrong()
    columns: Columns = torch.tensor([0, 2]), torch.tensor([1, 2])
    counts = torch.ones(len(y), dtype=torch.float64)
    counts[::3] = 2.0
    rows = random_rows(3, 3, 3, stream("starts", 1), x.dtype)
    rows[:, :, 1] = 0
    terms = {"counts": counts, "columns": columns}
    for learn in (ALL, ("regressors", "gating"), ("regressors", "sigma"), ("regressors",)):
        em = expectation_maximisation(
            x,
            y,
            rows,
            torch.zeros_like(rows),
            0.5,
            LINEAR,
            learn=learn,
            tolerance=1e-1,
            **terms,  # type: ignore[arg-type]
        )
        fit, _ = newton_climb(x, y, *ends(em), learn=learn, tolerance=1e-8, **terms)  # type: ignore[arg-type]
        best = fit.best
        assert bool(best.converged)
        assert not bool(best.regressors[..., 1].any()) and not bool(best.gating[..., 0].any())
        assert ("sigma" in learn) or bool((fit.sigma == 0.5).all())
        assert ("gating" in learn) == bool(best.gating.any())
        more = to_the_end(x, y, best, learn=learn, **terms)
        assert abs(float(more.log_likelihood - best.log_likelihood)) < 1e-6


def test_a_saddle_and_an_expert_without_samples_are_no_maximum() -> None:
    x, y = wrong()
    alike = torch.zeros(1, 3, 3, dtype=torch.float64)
    saddle = expectation_maximisation(x, y, alike, alike, y.std(), LINEAR, tolerance=1e-9)
    assert bool(saddle.converged), "EM calls it an end"
    fit, behind = newton_climb(x, y, *ends(saddle))
    assert not bool(fit.converged) and not bool(behind) and int(fit.iterations) < 30
    empty = begun(x, y, starts=1)
    empty.gating[:, 0, -1] = -1e4
    fit, behind = newton_climb(x, y, *ends(empty))
    assert not bool(fit.converged) and not bool(behind)


def test_a_climb_that_newton_cannot_finish_is_finished_by_em() -> None:
    x, y = wrong()
    start = begun(x, y, starts=2)
    start.gating[1, 0, -1] = -1e4
    problem = Problem(x, y, 3, LINEAR, None, True)
    fit = climbed(problem, ends(start), ALL, 5_000, 1e-6, newton=True)
    assert bool(fit.converged.all())
    assert (
        len(fit.trace) > int(fit.iterations.max()) and float(fit.trace.diff(dim=0).min()) >= -1e-9
    )
    torch.testing.assert_close(fit.trace[-1], fit.log_likelihood)
    for s in range(2):
        model = MoE(fit.regressors[s], fit.gating[s], float(fit.sigma[s]), LINEAR)
        assert float(model.log_density(x, y).sum()) == pytest.approx(float(fit.log_likelihood[s]))
    short = climbed(problem, ends(begun(x, y, tolerance=20.0)), ALL, 1, 1e-6, newton=True)
    assert not bool(short.converged.any()), "two iterations and one of EM are not enough"


def test_points_are_taken_and_put() -> None:
    x, y = wrong(50)
    fit = begun(x, y, starts=3)
    at = look(Samples(x, y, 3, 3, ALL, False), *ends(fit))
    one: Point = at[torch.tensor([2])]
    at[torch.tensor([0])] = one
    torch.testing.assert_close(at.observed[0], at.observed[2])


def test_what_is_behind_a_rival_is_given_up_at_once() -> None:
    x, y = wrong()
    start = begun(x, y, starts=6)
    plain, _ = newton_climb(x, y, *ends(start))
    far = float(plain.log_likelihood.max()) + 1e6
    fit, behind = newton_climb(x, y, *ends(start), rival=far)
    assert bool(behind.all()) and int(fit.iterations.sum()) < int(plain.iterations.sum()) / 3
    free, _ = newton_climb(x, y, *ends(start), rival=float(start.log_likelihood.min()) - 1.0)
    torch.testing.assert_close(free.log_likelihood, plain.log_likelihood, rtol=0, atol=0)


def test_a_sigma_at_its_floor_is_held_there() -> None:
    truth, x, _ = samples(2, 3, 300, sigma=0.1)
    y = (x @ truth.regressors.T).gather(1, (x[:, :1] > 0).long())[:, 0]
    near, flat = truth.regressors[None] + 0.1, torch.zeros_like(truth.regressors)[None]
    em = expectation_maximisation(x, y, near, flat, 0.3, LINEAR, learn=ALL[::2], tolerance=1.0)
    fit, behind = newton_climb(x, y, *ends(em), learn=ALL[::2])
    assert bool(fit.converged) and not bool(behind) and int(fit.iterations) < 30
    assert float(fit.sigma) == pytest.approx(sigma_floor(y), rel=1e-12)
    torch.testing.assert_close(fit.regressors[0], truth.regressors, rtol=0, atol=1e-6)
