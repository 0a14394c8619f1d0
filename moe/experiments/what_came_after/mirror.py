"""EM for the gated model as mirror descent: the step, its rate, and what another mirror does.

Given x, the law of (expert z, y) is an exponential family in the pair of functions of x
    nu_i(x) = <w_i, x> - m_i(x)^2 / (2 sigma^2)  of 1{z = i},   m_i(x) / sigma^2  of 1{z = i} y,
m_i = g(<a_i, x>), with log-partition psi(nu) = log sum_i exp <w_i, x> + constant. The model is a
subset of the family, which is why the mirror step is a projected one (derived; book, chapter 13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from moe.likelihood.information import em_rate, information
from moe.model.mixture import MoE, full_gating, log_gate, random_moe
from moe.randomness import stream
from moe.solvers.em import expectation_maximisation


@dataclass(frozen=True)
class Spec:
    """A random mixture, n samples of it, sigma known."""

    k: int = 3
    d: int = 5
    n: int = 1_000
    sigma: float = 0.5
    nonlinearity: str = "linear"
    seed: int = 0


def problem(spec: Spec) -> tuple[MoE, Tensor, Tensor]:
    """Truth and samples."""
    generator = stream("truth", spec.seed)
    truth = random_moe(
        spec.k, spec.d, sigma=spec.sigma, nonlinearity=spec.nonlinearity, generator=generator
    )
    return truth, *truth.sample(spec.n, stream("data", spec.seed))


def natural(model: MoE, x: Tensor) -> tuple[Tensor, Tensor]:
    """nu (n, k) of the experts' indicators and of indicators times y."""
    mean = model.expert_means(x)
    return x @ model.gating.T - mean.square() / (2 * model.sigma**2), mean / model.sigma**2


def partition(first: Tensor, second: Tensor, sigma: float) -> Tensor:
    """psi (n,) of natural parameters (n, k): log sum_i of e^first times the integral over y of
    e^(second y - y^2 / (2 sigma^2)), up to a constant."""
    return torch.logsumexp(first + second.square() * sigma**2 / 2, 1)


def mirror_objective(new: MoE, old: MoE, x: Tensor, y: Tensor) -> Tensor:
    """<grad L(nu_old), nu_new> + D_psi(nu_new, nu_old), a mean over the samples; L = - log
    likelihood as a function of the natural parameters, its gradient by automatic differentiation.
    """
    level = old.sigma
    at = [part.detach().clone().requires_grad_() for part in natural(old, x)]
    answered = torch.logsumexp(at[0] + at[1] * y[:, None], 1)
    loss = (partition(at[0], at[1], level) - answered).sum()
    slopes = torch.autograd.grad(loss, at)
    psi = partition(at[0], at[1], level)
    tilts = torch.autograd.grad(psi.sum(), at)
    there = natural(new, x)
    linear = sum((s * t).sum(1) for s, t in zip(slopes, there, strict=True))
    bend = sum((t * (a - b)).sum(1) for t, a, b in zip(tilts, there, at, strict=True))
    return (linear + partition(*there, level) - psi.detach() - bend).mean()


def expected_complete(new: MoE, old: MoE, x: Tensor, y: Tensor) -> Tensor:
    """EM's Q(new | old): the mean of sum_i r_i log (p_i(x) N(y; m_i, sigma^2)), r from ``old``."""
    return (old.responsibilities(x, y) * new.log_joint(x, y)).sum(1).mean()


def divergence(new: MoE, old: MoE, x: Tensor) -> Tensor:
    """KL(old || new) of the laws of (expert, y) given x, a mean over x: gate plus experts."""
    gate = old.gate(x)
    gates = (gate * (log_gate(old.gating, x) - log_gate(new.gating, x))).sum(1)
    shift = (old.expert_means(x) - new.expert_means(x)).square() / (2 * old.sigma**2)
    return (gates + (gate * shift).sum(1)).mean()


@dataclass(frozen=True)
class Identity:
    """spread: of mirror objective + Q over random new parameters, which should be none; bregman:
    the largest difference of D_psi and the KL divergence; steps: the distance of EM's step and an
    independent minimiser of the mirror objective."""

    spread: float
    bregman: float
    steps: float


def identity(spec: Spec, draws: int = 20) -> Identity:
    """Objectives compared at random pairs of parameters, and the steps (linear experts only)."""
    truth, x, y = problem(spec)
    generator = stream("points", spec.seed)
    sums, gaps = [], []
    old = moved(truth, generator)
    for _ in range(draws):
        new = moved(truth, generator)
        value = mirror_objective(new, old, x, y)
        sums.append((value + expected_complete(new, old, x, y)).item())
        bend = value - _linear_part(new, old, x, y)
        gaps.append(abs((bend - divergence(new, old, x)).item()))
    steps = _steps_apart(old, x, y) if truth.nonlinearity.is_linear else math.nan
    return Identity(max(sums) - min(sums), max(gaps), steps)


def _linear_part(new: MoE, old: MoE, x: Tensor, y: Tensor) -> Tensor:
    """<E[s | x] - E[s | x, y], nu_new> under ``old``, s the sufficient statistics."""
    change = old.gate(x) - old.responsibilities(x, y)
    first, second = natural(new, x)
    answer = old.gate(x) * old.expert_means(x) - old.responsibilities(x, y) * y[:, None]
    return ((change * first).sum(1) + (answer * second).sum(1)).mean()


def moved(truth: MoE, generator: torch.Generator) -> MoE:
    """The truth with 1/2 N(0, 1) added to every parameter."""
    rows, gating = (
        torch.randn(truth.k, truth.d, generator=generator, dtype=torch.float64) / 2
        for _ in range(2)
    )
    gating[-1] = 0.0
    return MoE(truth.regressors + rows, truth.gating + gating, truth.sigma, truth.nonlinearity)


def em_step(old: MoE, x: Tensor, y: Tensor) -> MoE:
    """The complete M-step for linear experts: weighted least squares, and Newton's method for the
    gates' logistic regression on the responsibilities."""
    r = old.responsibilities(x, y)
    rows = torch.stack(
        [torch.linalg.solve((x * w[:, None]).T @ x, (w * y) @ x) for w in r.T.unbind()]
    )
    gating = old.gating.clone()
    free, d = old.k - 1, old.d
    for _ in range(50):
        p = torch.softmax(x @ gating.T, 1)[:, :free]
        pull = ((r[:, :free] - p).T @ x).flatten()
        curve = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        hessian = torch.einsum("nij,na,nb->iajb", curve, x, x).reshape(free * d, free * d)
        move = torch.linalg.solve(hessian, pull).view(free, d)
        gating[:-1] += move
        if float(move.abs().max()) < 1e-13:
            break
    return MoE(rows, gating, old.sigma, old.nonlinearity)


def _steps_apart(old: MoE, x: Tensor, y: Tensor) -> float:
    """EM's step against L-BFGS on the mirror objective from the old parameters."""
    size = old.regressors.numel()

    def model(theta: Tensor) -> tuple[Tensor, Tensor]:
        return theta[:size].view(old.k, old.d), full_gating(theta[size:].view(-1, old.d))

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(theta).clone().requires_grad_()
        rows, gating = model(point)
        new = _Raw(rows, gating, old)
        loss = mirror_objective(new, old, x, y)  # type: ignore[arg-type]
        (slope,) = torch.autograd.grad(loss, point)
        return loss.item(), slope.numpy()

    start = torch.cat([old.regressors.flatten(), old.gating[:-1].flatten()])
    end = minimize(
        value,
        start.numpy(),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-16, "gtol": 1e-10, "maxiter": 2_000, "maxcor": 30},
    )
    rows, gating = model(torch.from_numpy(end.x))
    step = em_step(old, x, y)
    apart = [(rows - step.regressors).abs().max(), (gating - step.gating).abs().max()]
    return float(max(apart))


class _Raw:
    """Experts and gates that autograd sees, with what ``natural`` asks of a model."""

    def __init__(self, rows: Tensor, gating: Tensor, like: MoE) -> None:
        self.rows, self.gating, self.sigma, self.g = rows, gating, like.sigma, like.nonlinearity

    def expert_means(self, x: Tensor) -> Tensor:
        return self.g(x @ self.rows.T)


@dataclass(frozen=True)
class Rates:
    """EM's factor per step beside its maximum: measured, and predicted by the missing information;
    other: that of mirror descent linearised in (A, W) instead, predicted."""

    measured: float
    predicted: float
    other: float


def rates(spec: Spec) -> Rates:
    """Joint EM for experts and gates, from beside its maximum in the slowest direction."""
    truth, x, y = problem(spec)
    learn = ("regressors", "gating")
    start = (truth.regressors, truth.gating, truth.sigma, truth.nonlinearity)
    far = expectation_maximisation(x, y, *start, learn=learn, iterations=2_000, tolerance=1e-9)
    best = far.model(0, truth.nonlinearity)
    for _ in range(3):  # Newton's last digits, so that the distance has a floor to fall to
        _, gradient, observed = information(best, x, y)
        best = _shifted(best, torch.linalg.solve(observed[:-1, :-1], gradient[:-1]))
    complete = information(best, x, y, "complete")[2][:-1, :-1]
    missing = information(best, x, y, "missing")[2][:-1, :-1]
    values, vectors = torch.linalg.eig(torch.linalg.solve(complete, missing))
    slowest = vectors[:, values.real.argmax()].real
    beside = _shifted(best, 0.01 * slowest / slowest.norm())
    path = expectation_maximisation(
        x,
        y,
        beside.regressors,
        beside.gating,
        best.sigma,
        best.nonlinearity,
        learn=learn,
        iterations=12,
        tolerance=-math.inf,
        record=True,
    ).path
    errors = torch.stack(
        [torch.cat([a[0] - best.regressors, w[0] - best.gating]).norm() for a, w, _ in path]
    )
    other = complete.clone()
    p = best.gate(x)
    for i in range(best.k):
        mine = slice(i * best.d, (i + 1) * best.d)
        other[mine, mine] = (x * p[:, i, None]).T @ x / best.sigma**2
    rate = em_rate(other, other - complete + missing)
    return Rates(float((errors[-1] / errors[4]) ** (1 / 8)), em_rate(complete, missing), rate)


def _shifted(model: MoE, move: Tensor) -> MoE:
    """(A, W without its last row) moved by ``move``."""
    size = model.regressors.numel()
    return MoE(
        model.regressors + move[:size].view_as(model.regressors),
        model.gating + full_gating(move[size:].view(-1, model.d)),
        model.sigma,
        model.nonlinearity,
    )
