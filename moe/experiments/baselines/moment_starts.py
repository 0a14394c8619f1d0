"""Regressors from moments, the two ways: third order (T_3) and fourth (L_4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from moe.experiments.common.problems import NoStartError, Problem
from moe.moments.estimate import score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import Whitening
from moe.solvers.quartic import minimise_quartic, random_starts
from moe.solvers.tensor_power import spectral_regressors

Method = Literal["auto", "average"]
FLOOR = 0.3
MU, MARGIN = 0.95, 10.0
STARTS = 32


def t3_regressors(problem: Problem, method: Method = "auto") -> Tensor:
    """Whiten by M, decompose the third-order tensor (the sibling paper's method): (k, d)."""
    whitening, tensor = _moments(problem, 3, method)
    regressors, _ = spectral_regressors(tensor, whitening, problem.generator())
    if not bool(torch.isfinite(regressors).all()):
        raise NoStartError("T_3 gave regressors that are not finite")
    return regressors


def l4_regressors(problem: Problem, method: Method = "auto") -> Tensor:
    """The lowest minimum of L_4 over 32 starts whose k rows are independent: (k, d).

    mu = 0.95 and lam = 10 mu max eig(T): inside the benign region, and of the pairs tried the most
    tolerant of noise. Where the noise of the moments makes two rows of the lowest minimum share an
    expert, the next lowest is taken. Signs by E[y x] = sum_i p_i E[g'] a_i.
    """
    k = problem.k
    whitening, tensor = _moments(problem, 4, method)
    tensor = whitening.apply(tensor)
    ceiling = float(torch.linalg.eigvalsh(tensor.reshape(k * k, k * k))[-1])
    if not ceiling > 0:
        raise NoStartError("the fourth moment has no positive direction")
    starts = random_starts(STARTS, k, problem.generator(), tensor.dtype)
    solution = minimise_quartic(tensor, MU, MARGIN * MU * ceiling, starts)
    order = solution.values.argsort()
    for index in order[solution.converged[order]]:
        rows = solution.points[index] @ whitening.dewhitener.T
        norms = rows.norm(dim=1, keepdim=True)
        if float(norms.min()) < 1e-6 * float(norms.max()):
            continue
        rows = rows / norms
        if int(torch.linalg.matrix_rank(rows, rtol=1e-6)) == k:
            signed: Tensor = rows * _signs(rows, problem)
            return signed
    raise NoStartError("no minimum of L_4 has k independent rows")


def _moments(problem: Problem, degree: int, method: Method) -> tuple[Whitening, Tensor]:
    """M's whitening and the tensor of that degree in the coordinates of its basis.

    Eigenvalues of M below 0.3 of their mean are raised to it, where whitening would blow up noise:
    with few samples some are negative. Of 0.03, 0.1, 0.3 and 1 it serves best over all settings.
    """
    quadratic, higher = (
        output_transform(problem.nonlinearity, problem.sigma, m) for m in (2, degree)
    )
    second = score_moment(problem.x, problem.y, quadratic, method).tensor
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(second))
    top = values[: problem.k].clamp_min(0)
    if not float(top.sum()) > 0:
        raise NoStartError("M has no positive eigenvalue")
    basis = vectors[:, : problem.k]
    tensor = score_moment(problem.x, problem.y, higher, method, basis=basis).tensor
    return Whitening(basis, top.clamp_min(FLOOR * float(top.mean())), values), tensor


def _signs(rows: Tensor, problem: Problem) -> Tensor:
    first = problem.x.T @ problem.y / len(problem.y)
    weight = torch.linalg.lstsq(rows.T, first[:, None]).solution
    return torch.where(weight < 0, -1.0, 1.0).to(rows.dtype)
