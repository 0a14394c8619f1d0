"""The contestants of chapter 8, their contests, and why some of them get stuck."""

import math

import pytest
import torch
from helpers import assert_shows

from moe.experiments import (
    annealing,
    contest,
    em_and_spectral,
    gridlock,
    transition,
    tuning,
    wrong_ends,
)
from moe.experiments.baselines import METHODS, Contest, trial
from moe.experiments.problems import Fit, Problem, Setting, draw, errors
from moe.experiments.random_starts import Share
from moe.experiments.transition import Panel, Search, Threshold
from moe.losses import squared_loss
from moe.plotting import baselines as figures
from moe.plotting import baselines_tables as tables
from moe.randomness import child_seed

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
    assert set(result) == {"error", "gate_error", "iterations", "log_likelihood", "no_start"}
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


def test_failed_runs_are_compared_with_the_oracle_on_their_own_data() -> None:
    hard = Setting(4, 4, 64)
    seeds = [child_seed(0, run) for run in range(4)]
    trials = [
        [trial(Contest(name, hard), s) for name in ("EM, sigma held", "oracle")] for s in seeds
    ]
    failed = [pair for pair in trials if pair[0]["error"] >= 0.05]
    below = sum(mine["log_likelihood"] < best["log_likelihood"] for mine, best in failed)
    assert failed and contest.below_oracle("EM, sigma held", hard, 4) == (len(failed), below)
    problem = draw(hard, seeds[0])
    fit = METHODS["oracle"](problem)
    densities = [
        torch.distributions.Normal(problem.x @ row, fit.sigma).log_prob(problem.y).exp() / 4
        for row in fit.regressors
    ]
    assert trials[0][1]["log_likelihood"] == pytest.approx(float(sum(densities).log().mean()))


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


def told(setting: Setting, seed: int) -> dict[str, float]:
    """In place of ``contest.answer``: run i ends with ENDS[i], or all is well."""
    run = [child_seed(0, i) for i in range(len(ENDS))].index(seed)
    error, converged = ENDS[run] if setting.k == 8 else (0.0, 1.0)
    return {"error": error, "converged": converged, "ahead": float(error not in (0.0, 0.2))}


def test_trust_counts_every_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "answer", told)
    settings = [Setting(3, 6, 600), Setting(8, 8, 192)]
    easy, hard = contest.trust(settings, len(ENDS))
    assert easy == contest.Trust(settings[0], 8, 0, 0, 0, 0)
    assert hard == contest.Trust(
        settings[1], right=2, right_doubted=1, wrong_doubted=3, wrong=2, ahead=1
    )
    assert (hard.misplaced.successes, hard.misplaced.trials) == (2, 4)


def test_a_threshold_is_the_first_size_with_enough_successes_and_a_bad_size_is_left_early() -> None:
    calls: list[tuple[int, int]] = []

    def answer(climb: object) -> Threshold:
        size = next(climb)  # type: ignore[call-overload]
        while True:
            asked, seeds = size
            calls.append((asked.setting.n, len(seeds)))
            good = len(seeds) if asked.setting.n >= 40 else 0
            try:
                size = climb.send(good)  # type: ignore[attr-defined]
            except StopIteration as stop:
                end: Threshold = stop.value
                return end

    search = Search("oracle", Setting(2, 2, 0), (10, 20, 40, 80), 20, 1)
    end = answer(transition._climb(search))
    assert end.smallest == 40 and [n for n, _ in end.tried] == [10, 20, 40]
    assert end.tried[0][1].trials == 2 and end.tried[-1][1] == Share(20, 20)
    assert sum(count for n, count in calls if n == 40) == 20
    never = answer(transition._climb(Search("oracle", Setting(2, 2, 0), (10, 20), 20, 1)))
    assert math.isinf(never.smallest)


def test_holding_sigma_needs_more_samples_than_a_sigma_each() -> None:
    panel = Panel(
        "small",
        (Setting(4, 4, 0),),
        tuple((name, (4,)) for name in ("EM, sigma held", "EM, a sigma each", "recover")),
        600,
        runs=8,
        allowed=1,
    )
    ends = {end.search.method: end for end in transition.thresholds([panel])["small"]}
    assert ends["oracle"].smallest <= ends["recover"].smallest
    assert ends["recover"].smallest <= ends["EM, a sigma each"].smallest
    assert ends["EM, a sigma each"].smallest < ends["EM, sigma held"].smallest
    text = tables.smallest(list(ends.values()))
    assert "recover" in text and "| 4 |" in text
    assert_shows(figures.thresholds({"small": list(ends.values())}), *map(figures.label, ends))


def test_boards_report_shares_medians_and_ratios_to_the_oracle() -> None:
    rows = contest.board(("oracle", "EM, sigma learned"), [EASY], 3)
    assert [row.method for row in rows] == ["oracle", "EM, sigma learned"]
    assert rows[0].share == Share(3, 3) and rows[0].error < 1e-3
    assert "3 of 3" in tables.board(rows)
    assert_shows(figures.shares(rows), "oracle", r"EM, $\sigma$ learned")


def test_sigma_held_decides_at_once_and_a_sigma_each_expert_by_expert() -> None:
    record = annealing.run(Setting(6, 6, 2000), 3, 60)
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
    spec = gridlock.Spec(Setting(4, 4, 150), levels=(0.05, 1.0), times=(8,))
    ends = [gridlock.trial(spec, seed) for seed in range(12)]
    stuck = [end for end in ends if end["stuck"]]
    assert len(stuck) >= 6 and all(end["found"] < 1 for end in stuck)
    values = {name: torch.tensor([end[name] for end in stuck]) for name in stuck[0]}
    assert float((values["lost"] > 0).double().mean()) > 0.75
    assert float(values["reheated 0.05"].mean()) < 0.25
    assert float(values["reheated 1"].mean()) > 0.5
    assert float(values["fresh 8"].mean()) > 0.5
    assert float(values["barrier 1"].median()) < 0.1 * float(values["barrier 0.05"].median())


def test_the_slides_figure_has_every_start_and_noise() -> None:
    specs = [
        em_and_spectral.Spec(Setting(k, 5, 400, 0.1, 1.0), start, noise)
        for k in (3, 4)
        for start in ("EM", "spectral + EM")
        for noise in ("held", "one")
    ]
    cells = em_and_spectral.table(specs, 2)
    assert [cell.spec for cell in cells] == specs
    runs = [em_and_spectral.trial(specs[0], child_seed(0, run)) for run in range(2)]
    assert cells[0].regressors == pytest.approx(sum(run["regressors"] for run in runs) / 2)
    assert cells[0].both == pytest.approx(sum(run["both"] for run in runs) / 2)
    figure = figures.em_and_spectral(cells)
    names = [rf"{s}, $\sigma$ {n}" for s in ("EM", "spectral + EM") for n in ("held", "learned")]
    assert_shows(figure, *names)
    assert [axes.get_title() for axes in figure.axes] == ["3 mixtures", "4 mixtures"]


def test_the_slides_errors_are_small_at_the_truth_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = em_and_spectral.Spec(Setting(3, 5, 400, 0.1, 1.0), "EM", "one")
    ends = []
    for order in ([0, 1, 2], [2, 0, 1]):
        monkeypatch.setattr(
            Problem, "starts", lambda self, _, rows=order: self.truth.regressors[None, rows]
        )
        ends.append(em_and_spectral.trial(spec, 0))
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)
    assert ends[0]["regressors"] < 0.15 < ends[0]["both"] < 2


def test_tuning_uses_data_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Setting(2, 3, 300)
    choices: list[tuning.Descent | tuning.Start] = [
        tuning.Descent(small, "likelihood", "adam", 0.03, 50), tuning.Start(small, "one", 1.0, 1.0)
    ]  # fmt: skip
    assert [end.share.trials for end in tuning.outcomes(choices, 2)] == [2, 2]

    class Asked(Exception):  # noqa: N818
        """Carries the seeds of a sweep, in place of its results."""

    def ask(trial: object, specs: object, seeds: list[int]) -> None:
        raise Asked(seeds)

    def seeds_of(*arguments: object) -> set[int]:
        with pytest.raises(Asked) as caught:
            getattr(module, name)(*arguments)
        return set(caught.value.args[0])

    used = {}
    for module, name, choice in (
        (tuning, "outcomes", (choices,)),
        (contest, "board", (["oracle"], [small])),
        (contest, "below_oracle", ("oracle", small)),
        (contest, "trust", ([small],)),
        (em_and_spectral, "table", ([],)),
        (wrong_ends, "run", ([],)),
    ):
        monkeypatch.setattr(module, "sweep", ask)
        used[name] = set().union(*(seeds_of(*choice, 1000, seed) for seed in range(3)))
        assert len(used[name]) == 3000
    tuned = used.pop("outcomes")
    assert not any(tuned & others for others in used.values())
    assert torch.equal(draw(small, 5).x, draw(small, 5).x)
    mine, other = (draw(small, seed).x for seed in (min(tuned), min(used["board"])))
    assert not (mine == other).any()


def test_what_two_wrong_ends_share_is_mostly_right() -> None:
    spec = wrong_ends.Spec(Setting(6, 6, 144), starts=8)
    (record,) = wrong_ends.run([spec], 3)
    counts = [wrong_ends.trial(spec, child_seed(0, run)) for run in range(3)]
    totals = {name: sum(count[name] for count in counts) for name in counts[0]}
    assert all(count["experts"] % 6 == 0 and count["experts"] <= 48 for count in counts)
    assert record.right == totals["right"] / totals["experts"]
    assert record.right_of_shared == totals["right_of_shared"] / totals["shared"]
    assert record.right_of_shared > record.right + 0.3
