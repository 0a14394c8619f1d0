"""The contestants of chapter 8, their contests, and why some of them get stuck."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import assert_shows

from moe.experiments.baselines import contest, figures, interactive, searches, stuck, tables, tuning
from moe.experiments.baselines import spectral as em_and_spectral
from moe.experiments.baselines.contest import Contest, trial
from moe.experiments.baselines.contestants import METHODS, random
from moe.experiments.baselines.gradient import descend, descend_all
from moe.experiments.baselines.thresholds import climbs
from moe.experiments.baselines.thresholds.climbs import Climb
from moe.experiments.common.problems import SUCCESS, Fit, Problem, Setting, draw, errors
from moe.experiments.common.shares import Share
from moe.experiments.shown.interactive.marks import LEVELS
from moe.losses import squared_loss
from moe.metrics import match
from moe.randomness import child_seed, stream

EASY = Setting(3, 6, 4000, 0.05, 1.0, orthonormal=True)


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """One core: the sweeps run in the test's own process."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.delenv("MOE_STORE", raising=False)


def test_every_contestant_gets_the_same_problem_and_random_ones_the_same_start() -> None:
    first, second = draw(EASY, 3), draw(EASY, 3)
    assert torch.equal(first.x, second.x) and torch.equal(first.y, second.y)
    assert torch.equal(first.starts(1)[0], second.starts(20)[0])
    few = draw(replace(EASY, n=700), 3)
    assert torch.equal(few.x, first.x[:700]) and torch.equal(few.y, first.y[:700])
    assert torch.equal(few.truth.regressors, first.truth.regressors)
    assert len(first.x[:, 0].unique()) == EASY.n, "no block of samples comes twice"
    exact = Fit(first.truth.regressors, first.truth.gating, 0.05, 0)
    assert errors(exact, first.truth) == pytest.approx((0, 0), abs=1e-12)


@pytest.fixture(scope="module")
def highest() -> float:
    """The oracle's log-likelihood on the easy problem of seed 0."""
    return trial(Contest("oracle", EASY), 0)["log_likelihood"]


@pytest.mark.parametrize("method", METHODS)
def test_every_contestant_runs_and_only_those_that_cannot_are_far_from_the_truth(
    method: str, highest: float
) -> None:
    result = trial(Contest(method, EASY), 0)
    assert set(result) >= {"error", "gate_error", "passes", "log_likelihood", "no_start"}
    assert math.isnan(result["converged"]) == (method != "recover")
    assert result["log_likelihood"] < highest + 1e-6, "the maximum near the truth is the highest"
    assert result["no_start"] == 0
    if "squared" not in method:
        assert result["error"] < (0.1 if "alone" in method else 0.05)


@pytest.mark.parametrize("method", ["squared loss, SGD", "squared loss, Adam"])
def test_the_squared_loss_comes_down_to_the_truths_and_the_experts_are_wrong(method: str) -> None:
    problem = draw(EASY, 0)
    fit, truth = METHODS[method](problem), problem.truth
    reached, best = (
        squared_loss(end.regressors, end.gating, problem.x, problem.y, truth.nonlinearity)
        for end in (fit, truth)
    )
    assert float(reached) < 1.05 * float(best)
    assert errors(fit, truth)[0] > 0.05


def test_all_that_maximise_the_likelihood_meet_at_one_point() -> None:
    names = ("EM, a sigma each", "T_3, then EM", "L_4, then EM", "recover", "oracle")
    found = [trial(Contest(name, EASY), 1)["error"] for name in names]
    assert max(found) == pytest.approx(min(found), rel=0.01)


def test_gradient_descent_side_by_side_is_gradient_descent() -> None:
    small = Setting(2, 3, 300, gate_norm=1.0)
    problems = [draw(small, seed) for seed in (1, 2)]
    both = descend_all(problems, loss="likelihood", optimiser="adam", steps=20)
    alone = [descend(p, loss="likelihood", optimiser="adam", steps=20) for p in problems]
    for one, other in zip(both, alone, strict=True):
        assert torch.allclose(one.regressors, other.regressors)
        assert torch.allclose(one.gating, other.gating)
        assert one.sigma == pytest.approx(other.sigma)


ENDS = [
    (0.01, 1.0),
    (0.049, 1.0),
    (0.01, 0.0),
    (0.05, 0.0),
    (0.3, 0.0),
    (0.4, 0.0),
    (0.3, 1.0),
    (0.2, 1.0),
]


def told(asked: Contest, seed: int) -> dict[str, float]:
    """In place of ``baselines.trial``: run i ends with ENDS[i], or all is well. The oracle's
    likelihood is 0."""
    run = [child_seed(0, i) for i in range(len(ENDS))].index(seed)
    error, converged = ENDS[run] if asked.setting.k == 8 else (0.0, 1.0)
    value = 0.0 if asked.method == "oracle" else 1.0 if error not in (0.0, 0.2) else -1.0
    return {"error": error, "converged": converged, "log_likelihood": value}


def test_trust_counts_every_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "trial", told)
    settings = [Setting(3, 6, 600), Setting(8, 8, 192)]
    easy, hard = contest.trust(settings, len(ENDS))
    assert easy == contest.Trust(settings[0], 8, 0, 0, 0, 0)
    assert hard == contest.Trust(
        settings[1], right=2, right_doubted=1, wrong_doubted=3, wrong=2, ahead=1
    )
    assert (hard.misplaced.successes, hard.misplaced.trials) == (2, 4)
    crowded = contest.Trust(Setting(8, 8, 256), 1, 0, 0, 0, 0)
    shown = tables.trust([easy, hard, crowded])
    assert shown.names == ("$k$, samples per weight", "3, 33", "8, 3", "8, 4")


def pretend(n50: float, steepness: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs succeed with the probability of a curve; the oracle's likelihood is 0."""

    def run(asked: Contest, seed: int) -> dict[str, float]:
        n = asked.setting.n
        luck = float(torch.rand(1, generator=stream("luck", seed, n)))
        won = luck < 1 / (1 + (n50 / n) ** steepness)
        value = 0.0 if asked.method == "oracle" else 1.0 if n < 20 else -1.0
        return {"error": 0.01 if won else 0.5, "no_start": 0.0, "log_likelihood": value}

    monkeypatch.setattr(climbs, "one_run", run)


def test_intervals_of_n50_and_n95_cover_and_a_climb_goes_where_success_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n50, steepness = 150.0, 3.0
    n95 = n50 * 19 ** (1 / steepness)
    pretend(n50, steepness, monkeypatch)
    climb, covered = Climb("EM, a sigma each", Setting(4, 4, 0), runs=60), [0, 0]
    for seed in range(40):
        curve = climbs._curve(climb, climbs.trial(climb, seed))
        sizes = curve.n50.interval(), curve.n95.interval()
        for i, (truth, (low, high)) in enumerate(zip((n50, n95), sizes, strict=True)):
            covered[i] += low < truth < high
        assert curve.n50.interval()[0] <= curve.n50.value <= curve.n50.interval()[1]
        assert len(curve.outcomes) <= 60 and sum(s.trials for s in curve.shares.values()) <= 60
        near = [n for n, *_ in curve.outcomes if n50 / 3 < n < 4 * n95]
        assert len(near) > 0.6 * len(curve.outcomes)
    assert min(covered) >= 35, "of 40, where 38 are expected of a 95 % interval"


def test_a_climb_ends_at_its_cap_and_starts_at_its_least(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(4, 4, 0)
    pretend(1e6, 5.0, monkeypatch)
    hopeless = climbs._curve(
        climb := Climb("L_4, then EM", setting, cap=500), climbs.trial(climb, 0)
    )
    assert not hopeless.reached(0.5) and hopeless.at_cap == (362, hopeless.shares[362])
    assert hopeless.shares[362].successes == 0 and max(hopeless.shares) <= 500
    pretend(1.0, 5.0, monkeypatch)
    certain = climbs._curve(climb := Climb("oracle", setting, least=12), climbs.trial(climb, 0))
    assert certain.below(0.5) and min(certain.shares) >= 12
    assert "under 1.0" in tables.sizes([certain], 0.5).markdown
    assert f"{hopeless.at_cap[1]} at 23" in tables.sizes([hopeless], 0.5).markdown
    assert len(hopeless.outcomes) < climb.runs, "what lies out of range is soon known to"


def test_runs_that_were_made_before_count_and_are_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(150.0, 3.0, monkeypatch)
    climb = Climb("recover", Setting(4, 4, 0), runs=20)
    first = climbs._curve(climb, climbs.trial(climb, 0))
    more = replace(climb, before=first.outcomes, runs=8)
    both = climbs._curve(more, climbs.trial(more, 0))
    assert both.outcomes[: len(first.outcomes)] == first.outcomes
    assert len(first.outcomes) < len(both.outcomes) <= len(first.outcomes) + 8
    answer = contest.Trust(Setting(4, 4, 48), 1, 0, 1, 0, 0, errors=(0.01, 0.5))
    panel = climbs.panels(True, [answer])["no gates, random experts"]
    (asked,) = (c for c in panel if c.method == "recover" and c.setting.k == 4)
    assert asked.before == ((48, 0, 0.01), (48, 1, 0.5))
    assert not any(c.before for c in panel if c is not asked)


def test_failed_runs_are_compared_with_the_oracle_on_their_own_data() -> None:
    climb = Climb("EM, sigma learned", Setting(4, 4, 0), begin=2.0, runs=4, compare=True)
    curve = climbs._curve(climb, climbs.trial(climb, 0))
    failed = [(n, run) for n, run, error in curve.outcomes if error >= 0.05]
    assert failed and len(curve.ahead) == len(failed)
    for (n, run), (size, ahead) in zip(failed, curve.ahead, strict=True):
        setting = Setting(4, 4, n)
        seed = child_seed(0, run)
        mine, best = (trial(Contest(m, setting), seed) for m in (climb.method, "oracle"))
        assert n == size and ahead == (mine["log_likelihood"] > best["log_likelihood"])
    alone = replace(climb, compare=False)
    assert climbs._curve(alone, climbs.trial(alone, 0)).ahead == ()


def test_the_likelihood_of_a_fit_is_that_of_its_densities() -> None:
    problem = draw(Setting(4, 4, 64), 1)
    fit = METHODS["oracle"](problem)
    densities = [
        torch.distributions.Normal(problem.x @ row, fit.sigma).log_prob(problem.y).exp() / 4
        for row in fit.regressors
    ]
    found = trial(Contest("oracle", Setting(4, 4, 64)), 1)["log_likelihood"]
    assert found == pytest.approx(float(sum(densities).log().mean()))


def test_holding_sigma_needs_more_samples_than_a_sigma_each() -> None:
    names = ("EM, sigma held", "EM, a sigma each", "oracle")
    wanted = [Climb(name, Setting(4, 4, 0), cap=2_000) for name in names]
    (curves,) = climbs.curves({"small": wanted}).values()
    held, each, oracle = (curve.n50.value for curve in curves)
    assert oracle < each < held
    assert_shows(figures.thresholds({"small": curves}), *(figures.label(n) for n in names))
    assert_shows(figures.success(curves), *(figures.label(n) for n in names))
    assert (curves[0].n50 - curves[1].n50).value == pytest.approx(held / each)


def test_boards_report_shares_and_medians() -> None:
    rows = contest.board(("oracle", "likelihood, SGD", "EM, sigma learned"), [EASY], 3)
    assert [row.method for row in rows] == ["oracle", "likelihood, SGD", "EM, sigma learned"]
    assert rows[0].share == Share(3, 3) and rows[0].error < 1e-3
    assert "3 of 3" in tables.board(rows).markdown
    alone = [trial(Contest("likelihood, SGD", EASY), child_seed(0, run)) for run in range(3)]
    assert rows[1].error == pytest.approx(sorted(one["error"] for one in alone)[1])
    assert rows[1].passes == 600 * 200 // EASY.n


def test_the_best_of_more_starts_costs_more_and_recover_stands_beside_it() -> None:
    spec = searches.EffortSpec(Setting(4, 4, 64), best=(1, 4, 30), restarts=(30,))
    (record,) = searches.effort([spec], 3)
    best = [record.point("best", m) for m in spec.best]
    assert best[0].passes < best[1].passes < best[2].passes
    assert best[0].share.successes <= best[2].share.successes
    one = searches.effort_trial(spec, child_seed(0, 0))
    assert record.hits[0] == one["hits"] / 30
    assert record.point("recover", 30).won[0] == (one["recover 30"] < 0.05)
    assert record.trust.right + record.trust.right_doubted == sum(record.point("recover", 30).won)
    assert_shows(figures.effort([record]), "best of $m$ starts", "recover")


def test_sigma_held_decides_at_once_and_a_sigma_each_expert_by_expert() -> None:
    record = stuck.watch(Setting(6, 6, 2000), 3, 60)
    sharp = {way: float(values[1].median()) for way, values in record.sharp.items()}
    assert sharp["held"] > 0.75 > sharp["one each"]
    spread = record.most["one each"] / record.least["one each"]
    assert float(spread[0].max()) == pytest.approx(1) and float(spread.max()) > 2
    assert bool((record.sigma["held"] == 0.05).all())
    assert bool((record.error["one each"][-1] < 0.05).all())
    assert_shows(figures.annealing(record), *record.sharp, "largest", "smallest")


def test_most_stuck_runs_are_let_go_by_heating_and_by_more_samples() -> None:
    """The straight way to the truth, on the run's own samples, rises at the true sigma and hardly
    or not at all at the spread of y."""
    spec = stuck.Spec(Setting(4, 4, 150), levels=(0.05, 1.0), times=(8,))
    ends = stuck.stuck_runs(spec, 12)
    assert len(ends) >= 6 and all(end["found"] < 1 for end in ends)
    values = {name: torch.tensor([end[name] for end in ends]) for name in ends[0]}
    assert float((values["lost"] > 0).double().mean()) > 0.75
    assert float(values["reheated 0.05"].mean()) < 0.25
    assert float(values["reheated 1"].mean()) > 0.5
    assert float(values["fresh 8"].mean()) > 0.5
    assert float(values["barrier 1"].median()) < 0.1 * float(values["barrier 0.05"].median())


def test_the_slides_figure_has_every_start_and_noise() -> None:
    specs = [
        em_and_spectral.Spec(Setting(k, 5, 400, 0.1, 1.0), noise)
        for k in (3, 4)
        for noise in ("held", "one")
    ]
    cells = em_and_spectral.table(specs, 2)
    both = [(spec, start) for spec in specs for start in em_and_spectral.SLIDES]
    assert [(cell.spec, cell.start) for cell in cells] == both
    runs = [em_and_spectral.trial(specs[0], child_seed(0, run)) for run in range(2)]
    assert cells[0].regressors == pytest.approx(sum(run["EM regressors"] for run in runs) / 2)
    assert cells[0].both == pytest.approx(sum(run["EM both"] for run in runs) / 2)
    figure = figures.em_and_spectral(cells)
    names = [rf"{s}, $\sigma$ {n}" for s in ("EM", "spectral + EM") for n in ("held", "learned")]
    assert_shows(figure, *names)
    assert [axes.get_title() for axes in figure.axes] == ["3 mixtures", "4 mixtures"]


def test_the_slides_errors_are_small_at_the_truth_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = em_and_spectral.Spec(Setting(3, 5, 400, 0.1, 1.0), "one")
    ends = []
    for order in ([0, 1, 2], [2, 0, 1]):
        monkeypatch.setattr(
            Problem, "starts", lambda self, _, rows=order: self.truth.regressors[None, rows]
        )
        ends.append(em_and_spectral.trial(spec, 0))
    ends = [{name: one[f"EM {name}"] for name in em_and_spectral.NAMES} for one in ends]
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)
    assert ends[0]["regressors"] < 0.15 < ends[0]["both"] < 2


def test_tuning_uses_data_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Setting(2, 3, 300)
    choices: list[tuning.Descent | tuning.Starts] = [
        tuning.Descent(small, 2, "likelihood", "adam", 0.03, 50),
        tuning.Starts(small, 2, "one", (1.0, 2.0), (0.1, 1.0)),
    ]
    (descended,), found = tuning.outcomes(choices)
    assert [end.share.trials for end in (descended, *found)] == [2] * 5
    problem = draw(small, child_seed(child_seed(0, "tuning"), 1))
    alone = errors(random(problem, "one"), problem.truth)[0]
    assert found[1].errors[1] == pytest.approx(alone, rel=1e-6), "side by side as alone"

    class Asked(Exception):  # noqa: N818
        """Carries the seeds of a sweep, in place of its results."""

    def ask(trial: object, specs: object, seeds: list[int], **_: object) -> None:
        raise Asked(seeds)

    def seeds_of(*arguments: object) -> set[int]:
        with pytest.raises(Asked) as caught:
            getattr(module, name)(*arguments)
        return set(caught.value.args[0])

    used = {}
    for module, name, choice in (
        (contest, "board", (["oracle"], [small])),
        (contest, "trust", ([small],)),
        (em_and_spectral, "table", ([],)),
        (searches, "wrong_ends", ([],)),
    ):
        monkeypatch.setattr(module, "sweep", ask)
        used[name] = set().union(*(seeds_of(*choice, 1000, seed) for seed in range(3)))
        assert len(used[name]) == 3000
    tuned = {child_seed(child_seed(seed, "tuning"), run) for seed in range(3) for run in range(99)}
    assert not any(tuned & others for others in used.values())
    assert torch.equal(draw(small, 5).x, draw(small, 5).x)
    mine, other = (draw(small, seed).x for seed in (min(tuned), min(used["board"])))
    assert not (mine == other).any()


def test_what_two_wrong_ends_share_is_mostly_right() -> None:
    spec = searches.EndsSpec(Setting(6, 6, 144), starts=8)
    (record,) = searches.wrong_ends([spec], 3)
    counts = [searches.ends_trial(spec, child_seed(0, run)) for run in range(3)]
    totals = {name: sum(count[name] for count in counts) for name in counts[0]}
    assert all(count["experts"] % 6 == 0 and count["experts"] <= 48 for count in counts)
    assert record.experts == tuple(count["experts"] for count in counts)
    assert record.right == totals["right"] / totals["experts"]
    assert record.right_of_shared == totals["right_of_shared"] / totals["shared"]
    assert record.right_of_shared > record.right + 0.3


def test_the_responsibilities_that_a_reader_steps_through_are_those_of_the_model() -> None:
    setting = Setting(3, 4, 400)
    record = stuck.watch(setting, 2, 40)
    figure = interactive.annealing(record, 0).data
    worst = int(record.error["held"][-1].argmax())
    problem = draw(setting, child_seed(0, worst))
    way, t = list(stuck.WAYS).index("one each"), len(record.times) - 1
    rows, sigmas = (part[t] for part in record.paths["one each"][worst])
    order = match(rows, problem.truth.regressors)
    shown = interactive.by_expert(problem)
    cells, clock = figure["panels"][0]["marks"][0], figure["panels"][1]["marks"]
    levels = torch.tensor([LEVELS.index(c) for c in cells["cells"][way][t][0]]).double() / 63
    density = torch.exp(
        -(problem.y[shown] - (rows @ problem.x[shown].T)).square() / (2 * sigmas[:, None] ** 2)
    )
    weights = density / sigmas[:, None]
    expected = (weights / weights.sum(0))[order]
    assert (levels.view(3, -1) - expected).abs().max() < 0.51 / 63
    assert expected.shape[1] == 3 * interactive.EACH == cells["columns"]
    assert clock[-1]["y"][way][t][0] == pytest.approx(
        float(record.sigma["one each"][t, worst]), rel=1e-3
    )
    arrived = float(record.error["one each"][-1, worst]) < SUCCESS
    assert ("it has arrived" in figure["say"]["words"][way][t][0]) == arrived
