"""The squared loss with more experts than the teacher: training, pruning, tuning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.shares import Share
from moe.experiments.what_came_after.likelihood import with_ones
from moe.experiments.what_came_after.too_many.least_squares import Regression, fit_mean, mean
from moe.losses import squared_loss
from moe.metrics import regressor_error_of
from moe.model.mixture import random_rows
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import child_seed, stream
from moe.solvers.gradient import gradient_descent

SUCCESS = 0.05
_BATCH = 128


@dataclass(frozen=True)
class Spec:
    """``teachers`` random mixtures of k unit experts times ``length`` in R^d, gates of norm
    ``gate_norm``; students of factor * k experts see the teacher's mean, without noise, at fresh
    inputs; ``restarts`` students each, the one with the lowest loss is kept."""

    nonlinearity: str = "tanh"
    factor: int = 1
    restarts: int = 1
    k: int = 3
    d: int = 6
    length: float = 2.0
    gate_norm: float = 2.0
    teachers: int = 12
    steps: int = 1_000
    step: float = 0.03
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """Of the teachers: covered: for every expert a student's expert within E_reg 0.05, before
    pruning; found: E_reg < 0.05 with k experts after pruning and tuning; fitted: the tuned mean is
    the teacher's but for a millionth of its variance; loss: of the students before pruning, the
    median share of the teacher's variance."""

    spec: Spec
    covered: Share
    found: Share
    fitted: Share
    loss: float


def run(specs: tuple[Spec, ...]) -> list[Row]:
    """Every spec; the teachers of one seed are the same for all of them."""
    return [_row(spec) for spec in specs]


def teacher(spec: Spec, index: int) -> tuple[Tensor, Tensor]:
    """Experts (k, d) in random directions, gates (k, d + 1) with zero offsets and last row."""
    generator = stream("truth", child_seed(spec.seed, "teacher", index))
    rows, gating = (
        torch.nn.functional.normalize(
            torch.randn(spec.k, spec.d, generator=generator, dtype=torch.float64)
        )
        for _ in range(2)
    )
    gating = spec.gate_norm * gating
    gating[-1] = 0.0
    return spec.length * rows, torch.nn.functional.pad(gating, (0, 1))


def _row(spec: Spec) -> Row:
    g = as_nonlinearity(spec.nonlinearity)
    teachers = [teacher(spec, index) for index in range(spec.teachers)]
    copies = [t for t in teachers for _ in range(spec.restarts)]
    students, gates = _trained(spec, copies, g)
    covered = found = fitted = 0
    losses = []
    for index, (rows, gating) in enumerate(teachers):
        x = torch.randn(
            1_000, spec.d, generator=stream("data", spec.seed, index), dtype=torch.float64
        )
        y = mean(rows, gating, x, g)
        mine = range(index * spec.restarts, (index + 1) * spec.restarts)
        ends = [(float((mean(students[i], gates[i], x, g) - y).square().mean()), i) for i in mine]
        loss, best = min(ends)
        losses.append(loss / float(y.var()))
        covered += _covers(students[best], rows)
        tuned = [_tuned(students[i], gates[i], x, y, g, spec.k) for i in mine]
        end = min(tuned, key=lambda one: one.loss)
        found += regressor_error_of(end.rows, rows) < SUCCESS
        fitted += end.loss < 1e-6 * float(y.var())
    count = spec.teachers
    return Row(
        spec,
        Share(covered, count),
        Share(found, count),
        Share(fitted, count),
        float(torch.tensor(losses, dtype=torch.float64).median()),
    )


def _covers(students: Tensor, rows: Tensor) -> bool:
    unit = torch.nn.functional.normalize(students) @ torch.nn.functional.normalize(rows).T
    return float(unit.abs().amax(0).min()) > 1 - SUCCESS


def _trained(
    spec: Spec, teachers: list[tuple[Tensor, Tensor]], g: Nonlinearity
) -> tuple[Tensor, Tensor]:
    """Adam on fresh batches, all students side by side: (S, m, d) and (S, m, d + 1)."""
    rows, gating = (torch.stack(parts) for parts in zip(*teachers, strict=True))
    count, m = len(rows), spec.factor * spec.k
    generator = stream("starts", spec.seed, m)
    A = random_rows(count, m, spec.d, generator)
    W = torch.randn(count, m, spec.d + 1, generator=generator, dtype=torch.float64) / 10
    batches = stream("batches", spec.seed, m)

    def loss(a: Tensor, w: Tensor) -> Tensor:
        x = torch.randn(_BATCH, spec.d, generator=batches, dtype=torch.float64)
        wide = with_ones(x)
        share = torch.softmax(wide @ gating.mT, -1)
        y = (share * g(x @ rows.mT)).sum(-1)
        return squared_loss(torch.nn.functional.pad(a, (0, 1)), w, wide, y, g)

    end = gradient_descent(
        loss,
        [A, W],
        step=lambda t: spec.step / (1 + 9 * t / spec.steps),
        iterations=spec.steps,
        optimiser="adam",
        every=spec.steps,
    )
    return end.parameters[0], end.parameters[1]


def _tuned(
    rows: Tensor, gating: Tensor, x: Tensor, y: Tensor, g: Nonlinearity, k: int
) -> Regression:
    """Pruned to k experts, then least squares to the end."""
    kept, gates = pruned(rows, gating, x, y, g, k)
    return fit_mean(kept, gates - gates[-1], x, y, g, steps=60)


def pruned(
    rows: Tensor, gating: Tensor, x: Tensor, y: Tensor, g: Nonlinearity, k: int
) -> tuple[Tensor, Tensor]:
    """k experts: one by one, whichever of two things raises the squared loss least: to drop an
    expert, or to put two into one, their mean by shares, with the sum of their weights."""
    while len(rows) > k:
        shares = torch.softmax(with_ones(x) @ gating.T, 1).mean(0)
        options = [_without(rows, gating, i) for i in range(len(rows))]
        options += [_merged(rows, gating, shares, i, j) for i in range(len(rows)) for j in range(i)]
        A, W = (torch.stack(parts) for parts in zip(*options, strict=True))
        losses = squared_loss(torch.nn.functional.pad(A, (0, 1)), W, with_ones(x), y, g)
        rows, gating = options[int(losses.argmin())]
    return rows, gating


def _without(rows: Tensor, gating: Tensor, i: int) -> tuple[Tensor, Tensor]:
    keep = [j for j in range(len(rows)) if j != i]
    return rows[keep], gating[keep]


def _merged(rows: Tensor, gating: Tensor, shares: Tensor, i: int, j: int) -> tuple[Tensor, Tensor]:
    part = shares[[i, j]] / shares[[i, j]].sum()
    kept, gates = _without(rows, gating, i)
    place = j - (j > i)
    kept, gates = kept.clone(), gates.clone()
    kept[place] = part @ rows[[i, j]]
    gates[place] = part @ gating[[i, j]]
    gates[place, -1] -= float((part * part.clamp_min(1e-300).log()).sum())
    return kept, gates
