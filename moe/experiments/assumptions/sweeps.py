"""Every violation at every degree, on independent mixtures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moe.experiments.assumptions.worlds.contestants import (
    CHECKS,
    drawn,
    em_from_random,
    em_from_truth,
    l4,
    recovered,
)
from moe.experiments.assumptions.worlds.repairs import by_likelihood
from moe.experiments.assumptions.worlds.violations import VIOLATIONS
from moe.experiments.assumptions.worlds.world import World, error, world_that_holds
from moe.experiments.engine.sweep import by_spec, sweep
from moe.randomness import child_seed, stream

L4, RECOVER, EM, ORACLE = "L_4", "recover", "EM", "EM from the truth"
FAR, REPAIRED = "L_4, many samples", "repaired"
METHODS = (L4, RECOVER, EM, ORACLE)
DOUBTS = tuple(check for check in CHECKS if check not in ("inputs", "refused"))


@dataclass(frozen=True)
class Trial:
    """One violation at one degree (0: none), k experts in d dimensions, n samples; ``far`` more for
    L_4 alone (0: not run); repaired: whether the repair runs."""

    violation: str
    degree: float
    n: int = 10_000
    far: int = 0
    repaired: bool = False
    k: int = 3
    d: int = 6
    sigma: float = 0.3
    gate_norm: float = 1.5


def world_of(spec: Trial, seed: int) -> World:
    """The world of a trial: one in which all holds, with the one thing changed."""
    world = world_that_holds(spec.k, spec.d, spec.sigma, spec.gate_norm, seed)
    if spec.degree == 0:
        return world
    return VIOLATIONS[spec.violation].change(world, spec.degree, stream("violation", seed))


def trial(spec: Trial, seed: int) -> dict[str, float]:
    """E_reg of every contestant (NaN: no answer), and which checks spoke."""
    world = world_of(spec, seed)
    data = drawn(world, spec.n, seed)

    def graded(rows: Tensor | None) -> float:
        return math.nan if rows is None else error(rows, world.regressors)

    found, spoke = recovered(data)
    out = {
        L4: graded(l4(data)),
        RECOVER: graded(found),
        EM: graded(em_from_random(data)),
        ORACLE: graded(em_from_truth(data, world)),
    }
    if spec.far:
        out[FAR] = graded(l4(drawn(world, spec.far, seed)))
    if spec.repaired:
        repair = VIOLATIONS[spec.violation].repair
        out[REPAIRED] = out[RECOVER] if repair is by_likelihood else graded(repair(data))
    return out | spoke


@dataclass(frozen=True)
class Spec:
    """Which violations, on how many mixtures; ``degrees`` of each (None: all; 1: the largest)."""

    violations: tuple[str, ...] = tuple(VIOLATIONS)
    mixtures: int = 3
    n: int = 10_000
    far: int = 50_000
    only_largest: bool = False
    repaired: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """values[violation, degree][name]: a number a mixture, (mixtures,); degree 0 is the world in
    which all holds, the same for every violation."""

    spec: Spec
    values: dict[tuple[str, float], dict[str, Tensor]]

    def degrees(self, violation: str) -> tuple[float, ...]:
        """0 and those that ran."""
        return tuple(sorted({d for name, d in self.values if name == violation}))

    def at(self, violation: str, name: str, degree: float | None = None) -> Tensor:
        """The numbers of that name, at the largest degree unless another is given; NaN where they
        were not asked for."""
        degree = self.degrees(violation)[-1] if degree is None else degree
        cell = self.values[violation, degree]
        return cell.get(name, torch.full_like(cell[L4], math.nan))

    def median(self, violation: str, method: str, degree: float | None = None) -> float:
        """Of E_reg over mixtures, where no answer is worse than any; NaN where most have none."""
        values = self.at(violation, method, degree).nan_to_num(nan=math.inf)
        middle = float(values.quantile(0.5, interpolation="higher"))
        return middle if math.isfinite(middle) else math.nan

    def share(self, violation: str, check: str, degree: float | None = None) -> float:
        """Of the mixtures, how many a check of ``recover`` spoke on."""
        return float(self.at(violation, check, degree).mean())

    def doubts(self, violation: str, degree: float | None = None) -> Tensor:
        """Whether a doubt was raised about the fit of ``recover``, (mixtures,) of 0 and 1."""
        return torch.stack([self.at(violation, c, degree) for c in DOUBTS]).amax(0)

    def notices(self, violation: str, degree: float | None = None) -> dict[str, float]:
        """The checks that spoke, with their shares."""
        shares = {check: self.share(violation, check, degree) for check in CHECKS}
        return {check: share for check, share in shares.items() if share > 0}


def run(spec: Spec, workers: int | None = None) -> Record:
    """All trials: one world in which all holds, and every violation. Deterministic in ``spec``."""
    base = Trial("none", 0.0, n=spec.n, far=spec.far)
    trials = [base]
    for name in spec.violations:
        degrees = VIOLATIONS[name].degrees
        for degree in degrees[-1:] if spec.only_largest else degrees:
            own = replace(base, violation=name, degree=float(degree))
            last = degree == degrees[-1]
            far = spec.far if last else 0
            trials.append(replace(own, far=far, repaired=spec.repaired and last))
    seeds = [child_seed(spec.seed, "mixture", index) for index in range(spec.mixtures)]
    done = by_spec(sweep(trial, trials, seeds, workers=workers), spec.mixtures)
    values: dict[tuple[str, float], dict[str, Tensor]] = {}
    for one, group in zip(trials, done, strict=True):
        cell = {
            name: torch.tensor([t.result[name] for t in group], dtype=torch.float64)
            for name in group[0].result
        }
        for name in spec.violations if one is base else (one.violation,):
            values[name, one.degree] = cell
    return Record(spec, values)


@dataclass(frozen=True)
class Judged:
    """Fits of ``recover`` in the world of ``spec``: errors, doubted (0 or 1), (mixtures,) each."""

    spec: Trial
    errors: Tensor
    doubted: Tensor

    def unseen(self, beyond: float = 0.01) -> Tensor:
        """The errors beyond that size that no check doubted."""
        return self.errors[(self.errors > beyond) & (self.doubted == 0)]


def judged_trial(spec: Trial, seed: int) -> dict[str, float]:
    """E_reg of ``recover`` alone, and whether any of its checks doubts the fit."""
    world = world_of(spec, seed)
    rows, spoke = recovered(drawn(world, spec.n, seed))
    return {"error": error(rows, world.regressors), "doubted": max(spoke[c] for c in DOUBTS)}


def judge(specs: list[Trial], mixtures: int, seed: int) -> list[Judged]:
    """``recover`` alone on that many mixtures of each world."""
    seeds = [child_seed(seed, "judged", index) for index in range(mixtures)]
    groups = by_spec(sweep(judged_trial, specs, seeds), mixtures)
    return [
        Judged(
            spec,
            *(
                torch.tensor([t.result[name] for t in group], dtype=torch.float64)
                for name in ("error", "doubted")
            ),
        )
        for spec, group in zip(specs, groups, strict=True)
    ]
