"""The population squared loss: where descent from random starts ends, each end certified."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.common.shares import Share
from moe.experiments.gated_networks.twins import two_experts
from moe.experiments.standard_losses.population.newton_kantorovich import Enclosure, certify_squared
from moe.experiments.standard_losses.population.population_losses import (
    levenberg_marquardt,
    squared_population,
    unstack,
)
from moe.experiments.standard_losses.random_starts import SUCCESS
from moe.metrics import regressor_error_of
from moe.model.mixture import MoE, random_moe, random_rows
from moe.randomness import child_seed, stream
from moe.solvers.gradient import gradient_descent

SAME_VALUE = 1e-6
STEPS = ((0.22, 0.19), (0.2, 0.17))
ROUGH = ((0.36, 0.3),)
WORTH = 3e-5  # flatter ends are not tried: the rules are not that exact


def oblique_pair(gate_angle: float = 60.0, gate_norm: float = 2.0, sigma: float = 0.1) -> MoE:
    """k = d = 2: a_1, a_2 = (1, 1)/sqrt 2, (1, -1)/sqrt 2, the gate at that angle (degrees) from
    their difference. No gate is orthogonal to both regressors in the plane."""
    half = math.sqrt(0.5)
    regressors = torch.tensor([[half, half], [half, -half]], dtype=torch.float64)
    angle = math.radians(90.0 - gate_angle)
    gate = gate_norm * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    return MoE(regressors, torch.stack([gate, torch.zeros_like(gate)]), sigma)


def orthogonal_pair(gate_norm: float = 2.0, sigma: float = 0.1) -> MoE:
    """k = 2, d = 3, orthonormal regressors, the gate orthogonal to both (the paper's setting)."""
    return two_experts(0.0, gate_norm, sigma, d=3)


def orthogonal_three(gate_norm: float = 3.0, sigma: float = 0.1, seed: int = 0) -> MoE:
    """k = 3, d = 4: random unit regressors in the first three inputs, the gates along the fourth,
    opposite to each other: the smallest case that meets the paper's assumptions."""
    regressors = torch.randn(3, 3, generator=stream("truth", seed), dtype=torch.float64)
    regressors = regressors / regressors.norm(dim=1, keepdim=True)
    gating = torch.zeros(3, 4, dtype=torch.float64)
    gating[0, 3], gating[1, 3] = gate_norm, -gate_norm
    return MoE(torch.nn.functional.pad(regressors, (0, 1)), gating, sigma)


def spanned_two(gate_norm: float = 2.0, sigma: float = 0.1, seed: int = 0) -> MoE:
    """k = d = 2: random unit regressors, a random gate, necessarily inside their span."""
    generator = stream("truth", seed)
    return random_moe(
        2, 2, sigma=sigma, gate_norm=gate_norm, gates_in_span=True, generator=generator
    )


def spanned_three(gate_norm: float = 2.0, sigma: float = 0.1, seed: int = 0) -> MoE:
    """k = d = 3: random unit regressors, two random gates, necessarily inside their span."""
    generator = stream("truth", seed)
    return random_moe(
        3, 3, sigma=sigma, gate_norm=gate_norm, gates_in_span=True, generator=generator
    )


@dataclass(frozen=True, eq=False)
class Spec:
    """A truth, how many random starts, the nodes an axis of the rule that searches, the steps of
    the lattices that certify, in pairs (coarse, fine), the later where the earlier do not
    do. one: a certified minimum with wrong experts is enough, all others are left."""

    truth: MoE
    starts: int = 200
    seed: int = 0
    nodes: int = 16
    steps: tuple[tuple[float, float], ...] = STEPS
    iterations: int = 300
    one: bool = False


@dataclass(frozen=True, eq=False)
class Record:
    """Where the starts ended. theta (S, P); excess (S,) above the truth's loss; gradient_norms
    (S,); outcome (S,): 0 the truth, j the j-th point (by excess), -1 no point reached (a valley,
    or not converged). points: the distinct minima of the search's rule other than the truth, but
    for very flat ones, certified or not; errors: E_reg of each."""

    spec: Spec
    theta: Tensor
    excess: Tensor
    gradient_norms: Tensor
    outcome: Tensor
    points: tuple[Enclosure, ...]
    errors: tuple[float, ...]

    def share(self, outcome: int) -> float:
        """Share of the starts with that outcome."""
        return float((self.outcome == outcome).double().mean())

    @property
    def spurious(self) -> tuple[int, ...]:
        """The outcomes that are certified spurious minima with wrong experts, E_reg >= 0.05. (The
        others have nearly the right experts, two of them nearly alike, with the wrong gates.)"""
        pairs = enumerate(zip(self.points, self.errors, strict=True), 1)
        return tuple(j for j, (point, error) in pairs if point.is_spurious and error >= SUCCESS)


@dataclass(frozen=True, eq=False)
class Survey:
    """``run`` at several random truths of one kind. Spurious minima: as in ``Record.spurious``."""

    records: tuple[Record, ...]

    @property
    def trapped(self) -> Share:
        """The truths for which a start ended at a spurious minimum."""
        return Share(sum(bool(record.spurious) for record in self.records), len(self.records))

    @property
    def steepest(self) -> tuple[Record, int]:
        """Of all points with wrong experts, certified or not, that of the largest curvature."""
        found = [
            (record, j)
            for record in self.records
            for j, error in enumerate(record.errors)
            if error >= SUCCESS
        ]
        if not found:
            raise ValueError("survey: expected one with a wrong minimum, got none")
        return max(found, key=lambda pair: pair[0].points[pair[1]].curvature)

    @property
    def minima(self) -> list[tuple[Record, int]]:
        """All spurious minima, each as a record and its outcome, the largest curvature first."""
        found = [(record, j) for record in self.records for j in record.spurious]
        return sorted(found, key=lambda pair: -pair[0].points[pair[1] - 1].curvature)


def random_start(truth: MoE, starts: int, generator: torch.Generator) -> Tensor:
    """Rows a_i ~ N(0, I/d), gates of a tenth of that size: (S, P)."""
    rows = random_rows(starts, 2 * truth.k - 1, truth.d, generator)
    rows[:, truth.k :] *= 0.1
    return rows.flatten(1)


def run(spec: Spec) -> Record:
    """Levenberg-Marquardt from every start, then one certificate for each distinct end."""
    truth = spec.truth
    loss = squared_population(truth, spec.nodes)
    generator = stream("starts", spec.seed)
    theta, excess, norms = levenberg_marquardt(
        loss, random_start(truth, spec.starts, generator), spec.iterations
    )
    outcome = torch.full((spec.starts,), -1)
    outcome[excess < SAME_VALUE] = 0
    reached = norms < 1e-7
    points: list[Enclosure] = []
    errors: list[float] = []
    while bool((left := reached & (outcome < 0)).any()):
        lowest = torch.where(left, excess, torch.inf).argmin()
        same = left & ((excess - excess[lowest]).abs() < SAME_VALUE + 1e-4 * excess[lowest])
        reached = reached & ~same
        hessian = loss.derivatives(theta[lowest])[2]
        tried = not spec.one or _error(theta[lowest], truth) >= SUCCESS
        if tried and float(torch.linalg.eigvalsh(hessian)[0]) > WORTH:
            points.append(certify_squared(truth, theta[lowest], spec.steps))
            outcome[same] = len(points)
            errors.append(_error(points[-1].theta, truth))
            if spec.one and points[-1].is_spurious and errors[-1] >= SUCCESS:
                break
    return Record(spec, theta, excess, norms, outcome, tuple(points), tuple(errors))


def _error(theta: Tensor, truth: MoE) -> float:
    return regressor_error_of(unstack(theta, truth)[0], truth.regressors)


def survey(
    draw: Callable[..., MoE],
    truths: int,
    seed: int = 0,
    *,
    starts: int,
    nodes: int,
    steps: tuple[tuple[float, float], ...] = STEPS,
    iterations: int = 100,
) -> Survey:
    """``run`` at ``truths`` independent truths ``draw(seed=...)``; the rest as in ``Spec``."""
    records = []
    for index in range(truths):
        child = child_seed(seed, draw.__name__, index)
        records.append(run(Spec(draw(seed=child), starts, child, nodes, steps, iterations, True)))
    return Survey(tuple(records))


def adam_excess(
    truth: MoE, starts: int, seed: int, *, iterations: int = 1500, nodes: int = 16
) -> Tensor:
    """Excess squared loss (S,) at which Adam on the population loss ends, from random starts."""
    loss = squared_population(truth, nodes)
    start = random_start(truth, starts, stream("starts", seed))
    descent = gradient_descent(
        loss.values,
        [start],
        step=lambda t: 0.05 / (1 + 4 * t / iterations),
        iterations=iterations,
        optimiser="adam",
        every=iterations,
    )
    return descent.losses[-1]


def gate_profile(truth: MoE, gates: Tensor, nodes: int = 60) -> Tensor:
    """k = 2: min over the regressors of the excess squared loss, at each gate w (M, d): (M,).

    With a_bar and delta half the sum and half the difference, m(x) = <a_bar, x> + tanh(<w, x>/2)
    <delta, x>, linear in both; the two terms are odd and even in x, so a_bar is exact at once and
    F(w) = E[f^2] - b' G^-1 b, f the truth's even part, b = E[t f x], G = E[t^2 x x'],
    t = tanh(<w, x>/2) (derived).

    Raises ValueError unless k = 2.
    """
    if truth.k != 2:
        raise ValueError(f"truth: expected k = 2, got k = {truth.k}")
    loss = squared_population(truth, nodes)
    x, weights = loss.x, loss.weights
    half = (truth.regressors[0] - truth.regressors[1]) / 2
    even = torch.tanh(x @ truth.gating[0] / 2) * (x @ half)
    pairs = (x[:, :, None] * x[:, None, :]).flatten(1)
    profile = []
    for part in gates.split(512):
        t = torch.tanh(part @ x.T / 2)
        b = (t * even * weights) @ x
        gram = ((t.square() * weights) @ pairs).unflatten(1, (truth.d, truth.d))
        profile.append(even.square() @ weights - (b * torch.linalg.solve(gram, b)).sum(1))
    return torch.cat(profile)
