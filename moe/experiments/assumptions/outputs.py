"""Outputs that are not what Q_m was made for: norms, a wrong sigma, heavy tails."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from numpy.polynomial.hermite_e import hermevander
from torch import Tensor

from moe.experiments.assumptions.limits import power
from moe.experiments.assumptions.worlds.contestants import drawn, l4, l4_fit
from moe.experiments.assumptions.worlds.laws import StudentNoise
from moe.experiments.assumptions.worlds.repairs import clip_level
from moe.experiments.assumptions.worlds.world import error, world_that_holds
from moe.experiments.common.gaussian_integrals import line_rule
from moe.metrics import match, regressor_error_of
from moe.model.nonlinearity import as_nonlinearity
from moe.moments.hermite import score_tensor
from moe.moments.transforms import solved_transform
from moe.moments.whitening import whiten
from moe.randomness import child_seed, stream
from moe.solvers.quartic import minimise_quartic, proportions_from_norms, random_starts

_MU, _MARGIN = 0.8, 3.0


@dataclass(frozen=True)
class Reweighted:
    """L_4 of exact moments with other weights. error: the largest E_reg of any minimum that a start
    found (1 where none did); proportions, told: largest relative error of pbar_i kappa_2^2/kappa_4
    from the rows' lengths, and of pbar_i kappa_2 from the whitener."""

    error: float
    proportions: float
    told: float


def exact_minimum(seed: int, sign: float = 1.0, k: int = 3, d: int = 5) -> Reweighted:
    """Random directions, proportions and positive factors kappa_2, kappa_4; the first kappa_4 times
    ``sign``."""
    generator = stream("factors", seed)
    rows = world_that_holds(k, d, 0.1, 1.0, seed).regressors
    shares, second, fourth = (
        0.3 + torch.rand(k, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    fourth[0] *= sign
    shares = shares / shares.sum()
    whitening = whiten(power(rows, shares * second, 2), k)
    white = rows @ whitening.whitener
    tensor = power(white, shares * fourth, 4)
    ceiling = float(torch.linalg.eigvalsh(tensor.reshape(k * k, k * k))[-1])
    lam = _MARGIN * _MU * ceiling
    found = minimise_quartic(
        tensor, _MU, lam, random_starts(32, k, stream("starts", seed), tensor.dtype)
    )
    ends = found.points[found.converged]
    if len(ends) == 0:
        return Reweighted(1.0, math.nan, math.nan)
    back = [end @ whitening.dewhitener.T for end in ends]
    worst = max(regressor_error_of(each, rows) for each in back)
    order = match(back[0], rows)
    lengths = ends[0].square().sum(1)[order]
    guessed = proportions_from_norms(lengths, _MU, lam)
    effective = shares * second.square() / fourth
    by_whitener = 1 / (rows @ whitening.whitener).square().sum(1)
    return Reweighted(
        worst,
        float((guessed / effective - 1).abs().max()),
        float((by_whitener / (shares * second) - 1).abs().max()),
    )


def norms_from_lengths(ratio: float, n: int, seed: int) -> tuple[float, float]:
    """Linear experts with norms up to ``ratio`` apart, constant gates: E_reg of L_4, and the
    largest relative error of the norms that M and the lengths tell together:
    c_i^2 = (1 / |V'a_i|^2) / (proportion from the lengths)."""
    base = world_that_holds(3, 6, 0.3, 0.0, seed)
    norms = ratio ** torch.linspace(-0.5, 0.5, 3, dtype=torch.float64)
    world = replace(base, regressors=norms[:, None] * base.regressors)
    fit = l4_fit(drawn(world, n, seed))
    if fit is None:
        return math.nan, math.nan
    lengths = fit.solution.points[fit.solution.best].square().sum(1)
    squared = fit.proportions / proportions_from_norms(lengths, fit.mu, fit.lam)
    order = match(fit.regressors, world.regressors)
    found = squared[order].sqrt()
    return error(fit.regressors, world.regressors), float((found / norms - 1).abs().max())


@dataclass(frozen=True)
class ToldSigma:
    """E_reg of L_4, a row a factor on sigma, a column a mixture, NaN where it has no minimum."""

    nonlinearity: str
    sigma: float
    factors: tuple[float, ...]
    errors: Tensor


def told_sigma(
    nonlinearity: str, sigma: float, factors: tuple[float, ...], mixtures: int, n: int, seed: int
) -> ToldSigma:
    """L_4 told ``factor`` times sigma, on the same samples."""
    rows = []
    for index in range(mixtures):
        own = child_seed(seed, "mixture", index)
        world = world_that_holds(3, 6, sigma, 1.5, own, nonlinearity)
        data = drawn(world, n, own)
        column = []
        for factor in factors:
            fit = l4(replace(data, told=replace(data.told, sigma=factor * sigma)))
            column.append(math.nan if fit is None else error(fit, world.regressors))
        rows.append(column)
    return ToldSigma(nonlinearity, sigma, factors, torch.tensor(rows, dtype=torch.float64).T)


@dataclass(frozen=True)
class Tails:
    """|T_hat - T|_F in the span for Student noise: rows are sizes, columns data sets."""

    nu: float
    sizes: tuple[int, ...]
    plain: Tensor
    clipped: Tensor


def tails(nu: float, sizes: tuple[int, ...], sets: int, seed: int, sigma: float = 1.0) -> Tails:
    """Averages of Q_4(y) S_4(B'x) / c_4, of outputs and of clipped outputs, less their limits (for
    the clipped ones the mean over data sets at the largest size). The level of the clip is that of
    the largest sample of a data set, at all its sizes."""
    base = world_that_holds(3, 6, sigma, 1.5, seed)
    world = replace(base, noise=StudentNoise(nu))
    basis = torch.linalg.qr(base.regressors.T).Q
    transform = solved_transform(base.nonlinearity, base.sigma, 4)
    values: list[list[list[Tensor]]] = [[[] for _ in sizes] for _ in range(2)]
    for index in range(sets):
        x, y = world.sample(max(sizes), stream("data", seed, index))
        scores = score_tensor(x @ basis, 4)
        level = clip_level(y)
        for way, outputs in enumerate((y, y.clamp(-level, level))):
            q = transform(outputs) / transform.normaliser
            for place, n in enumerate(sizes):
                own = q[:n] - q[:n].mean()
                values[way][place].append(torch.tensordot(own, scores[:n], dims=1) / n)
    shares = base.gate(base.sample(50_000, stream("fresh", seed))[0]).mean(0)
    truth = power(base.regressors @ basis, shares, 4)
    limits = (truth, torch.stack(values[1][-1]).mean(0))
    plain, clipped = (
        torch.stack([torch.stack([(t - limit).norm() for t in row]) for row in way])
        for way, limit in zip(values, limits, strict=True)
    )
    return Tails(nu, sizes, plain, clipped)


def fourth_factor(nonlinearity: str, sigma: float, told: float) -> float:
    """kappa_4 / c_4 of unit experts when Q_4 was made for ``told`` in place of sigma (derived):
    1 - (told^2 - sigma^2) (6 E[g^2 He_4] + 3 alpha E[g He_4]) / c_4, alpha the coefficient of y^3.
    """
    g = as_nonlinearity(nonlinearity)
    z, weights = line_rule(g.kinks)
    hermite = torch.from_numpy(hermevander(z.numpy(), 4)[:, 4].copy()) * weights
    transform = solved_transform(g, sigma, 4)
    alpha = transform.coefficients[2]
    bend = 6 * float(hermite @ g(z).square()) + 3 * alpha * float(hermite @ g(z))
    right = transform.normaliser
    other = solved_transform(g, told, 4).normaliser
    return (right - (told**2 - sigma**2) * bend) / other
