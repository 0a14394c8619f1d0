"""What the chapter on the standard losses may say of its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moe.experiments.common.claims import Finding
from moe.experiments.common.shares import Share
from moe.experiments.standard_losses.lifted_trap import Lifted
from moe.experiments.standard_losses.population.newton_kantorovich import (
    Enclosure,
    lattice_population,
)
from moe.experiments.standard_losses.population.population_losses import squared_population
from moe.experiments.standard_losses.random_starts import SUCCESS, Contest, EMShares
from moe.experiments.standard_losses.squared_phase import CERTIFIED, NONE, Phase
from moe.model.mixture import MoE
from moe.randomness import stream

ENOUGH = 6  # data sets below which nothing is said of a share


def fails(contest: Contest) -> Finding:
    """Random starts fail where the truth's own start succeeds on every data set: at most half of
    them succeed, and the interval over data sets lies below three quarters."""
    share = contest.share
    possible = bool((contest.oracle < SUCCESS).all())
    small = len(contest.errors) < ENOUGH
    holds = possible and share.value <= 0.5 and (small or share.interval()[1] < 0.75)
    return _of(share, None if small and holds else holds)


def succeeds(contests: Sequence[Contest]) -> Finding:
    """Each method's interval over data sets lies above one half."""
    worst = min((contest.share for contest in contests), key=lambda share: share.value)
    if len(contests[0].errors) < ENOUGH:
        return _of(worst, None if worst.value >= 0.5 else False)
    return _of(worst, worst.interval()[0] > 0.5)


def certified(enclosure: Enclosure) -> Finding:
    """A strict minimum lies in the ball, above the truth's value; the value is h."""
    return Finding(enclosure.is_spurious, enclosure.quotient)


def encloses(truth: MoE, point: Enclosure, seed: int, distance: float = 1e-7) -> Finding:
    """The proposition beside a certified minimum: the ball of a point at that distance holds the
    minimum, whose value is not below the bound. The value is the ball's radius."""
    push = torch.randn(len(point.theta), generator=stream("push", seed), dtype=torch.float64)
    theta = point.theta + distance * push / push.norm()
    value, slope, bend, _ = lattice_population(truth, theta, 0.12).derivatives(theta)
    eps, kappa = float(slope.norm()), float(torch.linalg.eigvalsh(bend)[0])
    h = eps * point.lipschitz / kappa**2
    if h >= 0.5:
        return Finding(False, math.inf)
    radius = kappa / point.lipschitz * (1 - math.sqrt(1 - 2 * h))
    inside = 0 < float((theta - point.theta).norm()) <= radius + point.radius < 0.1
    return Finding(inside and value - eps * radius <= point.excess + 1e-12, radius)


def lifts(truth: MoE, point: Enclosure) -> Finding:
    """With two inputs more, the Hessian at the padded point is block diagonal: the old one, and
    E l'' for each new input. The value is the least eigenvalue of E l''."""
    q, d = 2 * truth.k - 1, truth.d
    pad = torch.nn.functional.pad
    wide = MoE(pad(truth.regressors, (0, 2)), pad(truth.gating, (0, 2)), truth.sigma)
    padded = pad(point.theta.view(q, d), (0, 2)).flatten()
    _, _, lifted, extra = squared_population(wide, 24).derivatives(padded)
    own = squared_population(truth, 24).derivatives(point.theta)[2].view(q, d, q, d)
    lifted = lifted.view(q, d + 2, q, d + 2)
    added = torch.einsum("ij,ab->iajb", extra, torch.eye(2).to(extra))
    blocks = (
        bool(lifted[:, :d, :, d:].abs().max() < 1e-10)
        and torch.allclose(lifted[:, :d, :, :d], own, atol=1e-8)
        and torch.allclose(lifted[:, d:, :, d:], added, atol=1e-8)
    )
    least = point.extra_curvature
    return Finding(blocks and least > 0 and point.is_strict_minimum, least)


def common(trapped: Share, at_least: float) -> Finding:
    """The share of truths with a certified spurious minimum is above a bound, interval and all; a
    few truths do not tell."""
    if trapped.trials < ENOUGH:
        return _of(trapped, None)
    return _of(trapped, trapped.interval()[0] > at_least)


def valley_is_born(phase: Phase, norm: float) -> Finding:
    """At this gate norm: none at the least angle, certified from 30 to 75 degrees, none at 90, and
    the curvature falls from 45 degrees on."""
    row = phase.spec.norms.index(norm)
    angles = phase.spec.angles
    kinds = dict(zip(angles, phase.kind[row].tolist(), strict=True))
    middle = [kinds[angle] == CERTIFIED for angle in angles if 30 <= angle <= 75]
    late = [i for i, angle in enumerate(angles) if angle >= 45 and kinds[angle] != NONE]
    falls = bool((phase.curvature[row][late].diff() < 0).all())
    holds = kinds[min(angles)] == kinds[90] == NONE and all(middle) and falls
    return Finding(holds, float(phase.curvature[row][late[-1]]))


def trapped(lifted: Lifted) -> Finding:
    """Held and learned: EM ends at a strict minimum of the sample, well above the truth's, with
    wrong experts; learning makes it shallower. The value is the excess with sigma learned."""
    held, learned = lifted.excess
    strict = min(lifted.curvature) > 0 and min(lifted.error) > 0.1
    return Finding(strict and held > learned > 0.05, learned)


def stuck_when_held(families: Mapping[str, Sequence[EMShares]]) -> Finding:
    """Fewest samples: sigma held does worse than learned, the intervals apart where there are
    enough data sets. The value is the share, held, in the hardest cell."""
    first = [results[0] for results in families.values()]
    gaps = [cell.learned.value - cell.held.value for cell in first]
    hardest = min((cell.held for cell in first), key=lambda share: share.value)
    oracles = all(cell.oracle.value == 1 for results in families.values() for cell in results)
    if not oracles or min(gaps) < 0.2:
        return _of(hardest, False)
    if hardest.units is not None and hardest.units < ENOUGH:
        return _of(hardest, None)
    learned = max((cell.learned for cell in first), key=lambda share: share.interval()[0])
    return _of(hardest, hardest.interval()[1] < learned.interval()[0])


def seldom_stuck_when_learned(families: Mapping[str, Sequence[EMShares]]) -> Finding:
    """At least three runs of four in every cell; the value is the lowest share."""
    shares = [result.learned for results in families.values() for result in results]
    worst = min(shares, key=lambda share: share.value)
    return _of(worst, worst.value >= 0.75)


def anneals(entropy: Mapping[str, Tensor], sigma: Tensor, truth: float, k_log: float) -> Finding:
    """First responsibilities: nearly hard with sigma held, nearly uniform when learned; the learned
    sigma (T, S) falls from one to the truth, slowly, and the last responsibilities are less than
    half as soft as the first. The value is the first, learned."""
    held = float(entropy["sigma held"][1].median())
    learned = float(entropy["sigma learned"][1].median())
    path = sigma.median(1).values
    hardens = float(entropy["sigma learned"][-1].median()) < 0.5 * learned
    cools = path[0] == 1 and path[5] > 4 * truth and path[-1] < 1.2 * truth
    return Finding(bool(held < 0.15 and learned > k_log / 2 and cools and hardens), learned)


def _of(share: Share, holds: bool | None) -> Finding:
    return Finding(holds, share.value, share.interval())
