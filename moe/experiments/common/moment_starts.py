"""Regressors from moments, the two ways: third order (T_3) and fourth (L_4)."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor

from moe.exceptions import OutsideTheoryWarning
from moe.experiments.common.problems import NoStartError, Problem
from moe.moments.estimate import ScoreMoment, score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import Whitening
from moe.solvers.l4 import L4Moments, NoMinimumError, minimise_l4
from moe.solvers.tensor_power import spectral_regressors

Method = Literal["auto", "average"]
FLOOR = 0.3
MU, MARGIN = 0.95, 10.0


def t3_regressors(problem: Problem, method: Method = "auto") -> Tensor:
    """Whiten by M, decompose the third-order tensor (the sibling paper's method): (k, d)."""
    whitening, _, third = _moments(problem, 3, method)
    regressors, _ = spectral_regressors(third.tensor, whitening, problem.generator())
    if not bool(torch.isfinite(regressors).all()):
        raise NoStartError("T_3 gave regressors that are not finite")
    return regressors


def l4_regressors(problem: Problem, method: Method = "auto") -> Tensor:
    """The library's start from L_4 (``minimise_l4``), from these moments: (k, d).

    mu = 0.95 and lam = 10 mu max eig(T): inside the benign region, and of the pairs tried the most
    tolerant of noise.
    """
    k = problem.k
    whitening, second, fourth = _moments(problem, 4, method)
    tensor = whitening.apply(fourth.tensor)
    ceiling = float(torch.linalg.eigvalsh(tensor.reshape(k * k, k * k))[-1])
    lam = MARGIN * MU * ceiling if ceiling > 0 else None  # else there is no minimum to weigh
    moments = L4Moments(problem.sigma, second, fourth, whitening, tensor)
    pull = problem.x.T @ problem.y / len(problem.y)
    try:
        with warnings.catch_warnings():  # few samples may put these weights outside the region
            warnings.simplefilter("ignore", OutsideTheoryWarning)
            return minimise_l4(moments, pull, problem.generator(), mu=MU, lam=lam).regressors
    except NoMinimumError as error:
        raise NoStartError(str(error)) from error


def _moments(
    problem: Problem, degree: int, method: Method
) -> tuple[Whitening, ScoreMoment, ScoreMoment]:
    """M's whitening, M, and the moment of that degree in the coordinates of M's basis.

    Eigenvalues of M below 0.3 of their mean are raised to it, where whitening would blow up noise:
    with few samples some are negative. Of 0.03, 0.1, 0.3 and 1 it serves best over all settings.
    """
    quadratic, higher = (
        output_transform(problem.nonlinearity, problem.sigma, m) for m in (2, degree)
    )
    second = score_moment(problem.x, problem.y, quadratic, method)
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(second.tensor))
    top = values[: problem.k].clamp_min(0)
    if not float(top.sum()) > 0:
        raise NoStartError("M has no positive eigenvalue")
    basis = vectors[:, : problem.k]
    moment = score_moment(problem.x, problem.y, higher, method, basis=basis)
    return Whitening(basis, top.clamp_min(FLOOR * float(top.mean())), values), second, moment
