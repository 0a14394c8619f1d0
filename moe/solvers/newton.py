"""Newton's method on the likelihood, damped by EM's metric; many starts advance as one batch."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from moe.model.mixture import full_gating
from moe.model.nonlinearity import Nonlinearity
from moe.solvers.curvature import Point, look
from moe.solvers.em import EMResult
from moe.solvers.em.samples import Columns, Samples

_SLACK = 1e-12
_LEAST, _MOST = 1e-3, 1e6
_FASTER, _SLOWER, _GOOD, _POOR = 4.0, 2.0, 0.75, 0.25
_CALM, _BEHIND, _IDLE = 0.3, 0.03, 10
_MOST_WEIGHTS, _KEPT, _MOST_MOVE = 200, 20_000_000, 3.0


def affordable(x: Tensor, weights: int, g: Nonlinearity) -> bool:
    """Whether a step costs little more than an iteration of EM: linear experts, no more than 200
    free weights, and products of columns that are kept (``moe.likelihood.grams``)."""
    kept = x.numel() * (x.shape[1] + 1) // 2 <= _KEPT
    return g.is_linear and weights <= _MOST_WEIGHTS and kept


def newton_climb(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    gating: Tensor,
    sigma: Tensor,
    *,
    learn: Collection[str] = ("regressors", "gating", "sigma"),
    iterations: int = 500,
    tolerance: float = 1e-6,
    counts: Tensor | None = None,
    columns: Columns | None = None,
    rival: float = -math.inf,
) -> tuple[EMResult, Tensor]:
    """Maxima of the likelihood of linear experts with one noise level, from S starts at once; and
    which (S,) were given up for the best.

    A step solves (I + damping C) step = score, I the observed information, C that of the complete
    data. Without damping it is Newton's; C^-1 score is EM's own step to first order, of which heavy
    damping takes a small part. So where C is positive definite a step climbs also where the
    likelihood is not concave, and near a maximum convergence is quadratic, where EM's is linear
    with a rate that is often close to one. Far from a maximum C may be indefinite; then no damping
    helps, and the start is given back as it is. Damping begins at zero, is what makes the system
    positive definite at the least, and goes down where the quadratic model says well what a step
    gains. (Levenberg 1944, Marquardt 1963; C for their metric, so that, but for rounding, no step
    depends on units: derived.)

    A start is ``converged`` when a step without damping, where I is positive definite, has less
    than ``tolerance`` nats to gain by the quadratic model: a maximum (perhaps at infinity, where
    gates part the samples). It is given up when, little damped, it has less to gain than 3 % of
    what it lacks of the best, or of ``rival``, a log-likelihood that was reached elsewhere; then,
    where no damping helps (an expert without samples), and where ten damped steps have gained
    nothing (a saddle), ``converged`` is False. The trace is monotone.

    A sigma at its floor (``sigma_floor``) that would fall is held there.

    Arguments and shapes as in ``moe.solvers.em.expectation_maximisation``; sigma (S,). ``learn``
    holds "regressors".
    """
    starts, k, _ = regressors.shape
    with torch.inference_mode():
        data = Samples(x, y, starts, k, learn, False, counts, columns)
        now = look(data, regressors.clone(), gating.clone(), sigma.clone())
        fit, behind = _climbed(data, now, iterations, tolerance, rival)
    return fit.outside(), behind.clone()


def _climbed(
    data: Samples, now: Point, iterations: int, tolerance: float, rival: float
) -> tuple[EMResult, Tensor]:
    """Steps of all starts, each until it stops."""
    starts = len(now.value)
    end = now.regressors.clone(), now.gating.clone(), now.sigma.clone()
    running, spent = torch.arange(starts), torch.zeros(starts, dtype=torch.int64)
    converged, behind = torch.zeros(2, starts, dtype=torch.bool)
    damping, idle = torch.zeros_like(now.sigma), torch.zeros(starts, dtype=torch.int64)
    trace = [now.value.clone()]
    for left in reversed(range(iterations)):
        step, damping = _step(now, damping)
        sound = damping <= _MOST
        hope = ((now.score - 0.5 * (now.observed @ step[..., None])[..., 0]) * step).sum(1)
        tried = _moved(data, now, step)
        gain = tried.value - now.value
        better = sound & (gain >= -_SLACK * now.value.abs())
        still = sound & (hope < tolerance)
        done = still & (damping == 0)
        idle = torch.where(still, idle + 1, 0)
        lost = max(rival, float(trace[-1].max())) - now.value
        hopeless = sound & (damping <= _CALM) & (hope < _BEHIND * lost) & ~done
        if bool(better.all()):
            now = tried
        else:
            now[better] = tried[better]
        spent[running] += 1
        trace.append(trace[-1].index_copy(0, running, now.value))
        damping = _damped(damping, better, gain / hope)
        damping[still] = 0.0
        stop = done | hopeless | ~sound | (idle > _IDLE)
        if bool(stop.any()) or not left:
            for mine, theirs in zip(end, (now.regressors, now.gating, now.sigma), strict=True):
                mine[running] = theirs
            converged[running[done]] = behind[running[hopeless]] = True
            left_over = ~stop
            running, now = running[left_over], now[left_over]
            damping, idle = damping[left_over], idle[left_over]
        if len(running) == 0:
            break
    values = trace[-1].clone()
    fit = EMResult(*end, values, spent, converged, torch.stack(trace), int(spent.sum()))
    return fit, behind


def _damped(damping: Tensor, better: Tensor, ratio: Tensor) -> Tensor:
    """The damping of the next step, from the gain over what the quadratic model promised."""
    less = torch.where(damping < _LEAST, 0.0, damping / _FASTER)
    more = damping.clamp_min(_LEAST) * _SLOWER
    kept = torch.where(ratio > _GOOD, less, torch.where(ratio < _POOR, more, damping))
    return torch.where(better, kept, more)


def _step(now: Point, damping: Tensor) -> tuple[Tensor, Tensor]:
    """The step (S, P), and the damping (S,) that it took for a positive definite system; above
    ``_MOST`` where there was none, and the step is zero."""
    damping, factor = damping.clone(), torch.zeros_like(now.observed)
    left = torch.arange(len(damping))
    while len(left):
        system = now.observed[left] + damping[left, None, None] * now.complete[left]
        factor[left], failed = torch.linalg.cholesky_ex(system)
        left = left[(failed > 0) & (damping[left] <= _MOST)]
        damping[left] = damping[left].clamp_min(_LEAST) * _SLOWER
    sound = damping <= _MOST
    factor[~sound] = torch.eye(factor.shape[1], dtype=factor.dtype)
    step = torch.cholesky_solve(now.score[..., None], factor)[..., 0]
    return step * sound[:, None], damping


def _moved(data: Samples, now: Point, step: Tensor) -> Point:
    """After a step, which changes log sigma by no more than three and keeps sigma above its
    floor."""
    (starts, k, d), free = now.regressors.shape, data.free
    experts = step[:, : k * d].view(starts, k, d)
    regressors, gating = now.regressors + now.sigma[:, None, None] * experts, now.gating
    if free:
        gating = gating + full_gating(step[:, k * d : -1].view(starts, free, d))
    sigma = now.sigma * step[:, -1].clamp(-_MOST_MOVE, _MOST_MOVE).exp()
    if "sigma" in data.learn:
        sigma = sigma.clamp_min(data.least_variance**0.5)
    return look(data, regressors, gating, sigma)
