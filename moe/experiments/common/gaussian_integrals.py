"""Integrals over a standard Gaussian by quadrature: what the experiments take as exact."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from moe.model.mixture import MoE, log_gate
from moe.model.nonlinearity import Nonlinearity
from moe.moments.quadrature import gauss_hermite
from moe.moments.transforms import OutputTransform

_REACH, _PANEL_NODES = 12.0, 20


def line_rule(kinks: tuple[float, ...] = ()) -> tuple[Tensor, Tensor]:
    """Nodes and weights (q,) for E[f(z)], z ~ N(0, 1): Gauss-Legendre panels split at the kinks."""
    inside = [kink for kink in kinks if abs(kink) < _REACH]
    edges = np.unique([*np.linspace(-_REACH, _REACH, 25), *inside])
    points, weights = np.polynomial.legendre.leggauss(_PANEL_NODES)
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half * (1 + points)).ravel()
    density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    return torch.from_numpy(nodes), torch.from_numpy((half * weights).ravel() * density)


def grid_rule(dim: int, nodes: int = 40) -> tuple[Tensor, Tensor]:
    """Gauss-Hermite product rule for E[f(t)], t ~ N(0, I): nodes (nodes^dim, dim), weights."""
    points, weights = (torch.from_numpy(part) for part in gauss_hermite(nodes))
    if dim == 0:
        return torch.zeros(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    grid = torch.cartesian_prod(*[points] * dim).reshape(-1, dim)
    return grid, torch.cartesian_prod(*[weights] * dim).reshape(-1, dim).prod(1)


def exact_proportions(model: MoE) -> Tensor:
    """pbar_i = E[p_i(x)], (k,), by quadrature over the span of the gating rows; for k <= 4.

    Gauss-Hermite with 40 nodes an axis: about ten digits at gate norm 1, four at gate norm 4.
    """
    if model.k > 4:
        raise ValueError(f"model: expected at most 4 experts for quadrature, got {model.k}")
    basis = torch.linalg.qr(model.gating[:-1].T).Q
    grid, weights = grid_rule(basis.shape[1])
    return weights @ log_gate(model.gating @ basis, grid).exp()


def noise_averaged(
    transform: OutputTransform, nonlinearity: Nonlinearity, sigma: float, z: Tensor, power: int = 1
) -> Tensor:
    """E_xi[Q(g(z) + sigma xi)^power], elementwise in z; exact, Q being a polynomial."""
    points, weights = grid_rule(1, nodes=transform.degree * power // 2 + 1)
    outputs = nonlinearity(z)[..., None] + sigma * points[:, 0]
    return (transform(outputs) ** power) @ weights
