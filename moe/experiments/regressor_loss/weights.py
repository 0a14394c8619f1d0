"""What mu, lambda and delta do to the minimisers of the population L_4 (book, chapter 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moe.experiments.regressor_loss.descent import skewed_regressors
from moe.landscape.squares import population_tensor
from moe.losses import dual_basis, l4_population
from moe.metrics import regressor_error_of
from moe.randomness import stream
from moe.solvers.quartic import minimise_quartic, quartic_gradient, quartic_loss, random_starts

_FEW = 32
_STEPS = 2_500


def with_norm_penalty(truth: Tensor, proportions: Tensor) -> Tensor:
    """T = sum_m p_m a*_m^(4) in the original coordinates, k = d (authors' slides).

    L_4 with lambda sum_i (|a_i|^2 - 1)^2 in place of the general term is the quartic of this tensor
    without whitening.
    """
    return torch.einsum("m,ma,mb,mc,md->abcd", proportions, truth, truth, truth, truth)


@dataclass(frozen=True)
class Spec:
    """k = d = 3 experts with pairwise inner product ``cosine``, and weights to try; the deltas are
    tried at delta_mu, from delta_starts starts."""

    cosine: float = 0.5
    proportions: tuple[float, float, float] = (0.1, 0.1, 0.8)
    lam: float = 35.0
    mus: tuple[float, ...] = (0.0, 0.05, 0.5, 0.9, 1.5, 3.0)
    penalty_mus: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5)
    delta_mu: float = 0.5
    deltas: tuple[float, ...] = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
    delta_starts: int = 40
    starts: int = 200
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """truth (3, 3); success (mus,): share of starts that end at the truth, general form;
    valley (failures,): L_4 where the other starts end at mus[0];
    norm_penalty (penalty_mus, 2): E_reg of the lowest minimum of the slides' form, through the dual
    basis and read directly; general: the same for the general form;
    ridge (deltas,): E_reg of the general form's minimum nearest the truth, value its L_4;
    shared (deltas,): share of random starts that end with two rows at one expert, lowest (deltas,):
    the lowest L_4 among them, infinite when there is none.
    """

    spec: Spec
    truth: Tensor
    success: Tensor
    valley: Tensor
    norm_penalty: Tensor
    general: Tensor
    ridge: Tensor
    value: Tensor
    shared: Tensor
    lowest: Tensor


def run(spec: Spec) -> Record:
    """Minimise the population L_4 for every weight."""
    truth = skewed_regressors(3, 3, spec.cosine, stream("truth", spec.seed))
    generator = stream("starts", spec.seed)
    p = torch.tensor(spec.proportions, dtype=torch.float64)
    whitened = population_tensor(p)
    # Rows b_i in the basis of the orthonormal v_m; a_i = sum_m <v_m, b_i> dual_m / sqrt(p_m).
    back = dual_basis(truth) / p.sqrt()[:, None]
    solutions = [
        minimise_quartic(whitened, mu, spec.lam, random_starts(spec.starts, 3, generator))
        for mu in spec.mus
    ]
    success = torch.tensor([float(_at_truth(s.points).double().mean()) for s in solutions])

    plain = with_norm_penalty(truth, p)
    norm_penalty, general = [], []
    for mu in spec.penalty_mus:
        starts = random_starts(_FEW, 3, generator)
        slides = minimise_quartic(plain, mu, spec.lam, starts)
        norm_penalty.append(_errors(slides.points[slides.best], truth))
        whole = minimise_quartic(whitened, mu, spec.lam, starts)
        general.append(_errors(whole.points[whole.best] @ back, truth))
    ridge = []
    for delta in spec.deltas:
        minimum = _ridge_minimum(truth, p, spec, delta)
        value = float(l4_population(minimum, truth, p, spec.delta_mu, spec.lam, delta))
        ridge.append((regressor_error_of(dual_basis(minimum), truth), value))
    turned, values = torch.tensor(ridge, dtype=torch.float64).T
    return Record(
        spec,
        truth,
        success,
        solutions[0].values[~_at_truth(solutions[0].points)],
        torch.tensor(norm_penalty, dtype=torch.float64),
        torch.tensor(general, dtype=torch.float64),
        turned,
        values,
        *_with_delta(whitened, back, spec, generator),
    )


def _at_truth(points: Tensor) -> Tensor:
    """Which of the whitened points (S, k, k) have rows that hold one expert each, all different."""
    cosines = points.abs() / points.norm(dim=-1, keepdim=True)
    held = (cosines > 1 - 1e-6).long()
    return (held.sum(-1) == 1).all(-1) & (held.sum(-2) == 1).all(-1)


def _errors(rows: Tensor, truth: Tensor) -> tuple[float, float]:
    return regressor_error_of(dual_basis(rows), truth), regressor_error_of(rows, truth)


def _ridge_minimum(truth: Tensor, p: Tensor, spec: Spec, delta: float) -> Tensor:
    """The minimum of the general form next to the dual basis: Newton's method."""

    def loss(flat: Tensor) -> Tensor:
        rows = flat.reshape(truth.shape)
        return l4_population(rows, truth, p, spec.delta_mu, spec.lam, delta)

    rows = (dual_basis(truth) / p.sqrt()[:, None]).flatten()
    for _ in range(12):
        curvature = torch.autograd.functional.hessian(loss, rows)
        slope = torch.autograd.functional.jacobian(loss, rows)
        rows = rows - torch.linalg.solve(curvature, slope)
    return rows.reshape(truth.shape)


def _with_delta(
    tensor: Tensor, back: Tensor, spec: Spec, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Gradient descent in whitened coordinates, (delta / 2) |B back|^2 added: for each delta the
    share of starts that end with two rows nearest one expert, and the lowest value there."""
    count = len(spec.deltas)
    deltas = torch.tensor(spec.deltas, dtype=torch.float64).repeat_interleave(spec.delta_starts)
    rows = random_starts(count * spec.delta_starts, 3, generator)
    metric = deltas[:, None, None] * (back @ back.T)
    for _ in range(_STEPS):
        slope = quartic_gradient(rows, tensor, spec.delta_mu, spec.lam) + rows @ metric
        rows = rows - slope / (40 * spec.lam)
    values = quartic_loss(rows, tensor, spec.delta_mu, spec.lam)
    values = values + deltas / 2 * (rows @ back).square().sum((-2, -1))
    nearest = rows.abs().argmax(-1).sort(-1).values
    wrong = (nearest != torch.arange(3)).any(-1).view(count, -1)
    lowest = torch.where(wrong, values.view(count, -1), torch.inf).amin(1)
    return wrong.double().mean(1), lowest


@dataclass(frozen=True, eq=False)
class ThirdOrderEnds:
    """Where descents on L_3 end: values (S,), the lowest of them, and whether each row sits nearest
    an expert of its own with a positive sign (S,)."""

    values: Tensor
    lowest: float
    at_truth: Tensor


def third_order_ends(
    p: Tensor, *, mu: float, lam: float, kappa: float, starts: int, seed: int
) -> ThirdOrderEnds:
    """Gradient descent on L_3 = -mu sum_i T_3[b_i^3] + kappa sum_{i != j} <b_i, b_j>^2
    + lambda sum_i (|b_i|^2 - 1)^2, T_3 = sum_m p_m^(-1/2) e_m^(3): whitened coordinates."""
    weight = p.rsqrt()
    rows = random_starts(starts, len(p), stream("third-order starts", seed))
    for _ in range(_STEPS):
        inner = rows @ rows.mT
        excess = inner.diagonal(dim1=-2, dim2=-1) - 1
        apart = (inner - torch.diag_embed(excess + 1)) @ rows
        slope = -3 * mu * weight * rows.square() + 4 * kappa * apart
        rows = rows - (slope + 4 * lam * excess.unsqueeze(-1) * rows) / (40 * (lam + kappa))
    inner = rows @ rows.mT
    norms = inner.diagonal(dim1=-2, dim2=-1)
    values = -mu * (weight * rows**3).sum((-2, -1)) + lam * (norms - 1).square().sum(-1)
    values = values + kappa * (inner.square().sum((-2, -1)) - norms.square().sum(-1))
    own = rows.argmax(-1).sort(-1).values == torch.arange(len(p))
    return ThirdOrderEnds(values, float(values.min()), own.all(-1))
