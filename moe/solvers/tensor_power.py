"""The sibling paper's start: whiten by M, then the tensor power method on third-order moments.

In whitened coordinates E[Q_3(y) S_3(x)] / c_3 = sum_m p_m^-1/2 v_m^(3) with orthonormal
v_m = sqrt(p_m) V' a_m (Makkuva, Oh, Kannan, Viswanath 2019; Anandkumar et al. 2014). Third moments
are less noisy than the fourth ones of L_4, and give the signs of the regressors too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moe.model.nonlinearity import Nonlinearity
from moe.moments.best import rounded
from moe.moments.bounded import bounded_transform
from moe.moments.transforms import OutputTransform, output_transform
from moe.moments.whitening import Whitening
from moe.solvers.l4 import L4Moments, robust_moment


def tensor_power(
    tensor: Tensor, generator: torch.Generator, *, starts: int = 32, iterations: int = 30
) -> tuple[Tensor, Tensor]:
    """Robust orthogonal decomposition T = sum_m s_m v_m^(3): weights (k,) and rows v_m (k, k).

    Power steps b <- T[I, b, b] / |T[I, b, b]| from ``starts`` random directions at once; the one
    with the largest T[b, b, b] is kept, polished, and subtracted; k times. The weights are
    positive: the sign of v_m absorbs theirs. tensor (k, k, k) symmetric.
    """
    k = tensor.shape[0]
    rest, weights, rows = tensor.clone(), [], []
    for _ in range(k):
        b = torch.randn(starts, k, generator=generator, dtype=tensor.dtype)
        b = b / b.norm(dim=1, keepdim=True)
        for _ in range(iterations):
            image = torch.einsum("abc,sb,sc->sa", rest, b, b)
            b = image / image.norm(dim=1, keepdim=True).clamp_min(torch.finfo(b.dtype).tiny)
        values = torch.einsum("abc,sa,sb,sc->s", rest, b, b, b)
        best = int(values.argmax())
        weights.append(values[best])
        rows.append(b[best])
        rest = rest - values[best] * torch.einsum("a,b,c->abc", b[best], b[best], b[best])
    return torch.stack(weights), torch.stack(rows)


def spectral_regressors(
    third_moment: Tensor, whitening: Whitening, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Unit regressors (k, d) with their signs, and proportions p_m = 1 / s_m^2 (k,).

    third_moment (k, k, k): E[Q_3(y) S_3(U'x)] / c_3 in the coordinates of ``whitening.basis``.
    """
    weights, rows = tensor_power(whitening.apply(third_moment), generator)
    regressors = rows @ whitening.dewhitener.T
    return regressors / regressors.norm(dim=1, keepdim=True), weights.square().reciprocal()


def spectral_start(
    x: Tensor,
    y: Tensor,
    moments: L4Moments,
    g: Nonlinearity,
    generator: torch.Generator,
    *,
    bounded: bool = False,
) -> tuple[Tensor, Tensor]:
    """``spectral_regressors`` from samples x (n, d), y (n,) whose M has been whitened already.

    bounded: by a bounded Q_3 (`moe.moments.bounded`), where g has one and noise is Gaussian. It
    mostly errs less, though not in every sample (measured: six nonlinearities in several settings,
    0.1 to 1.1 of the error, geometric means over eight to twelve mixtures each).

    Raises NoTransformError where g has no third-order transform (an even g, say).
    """
    transform = cubic_transform(g, moments.sigma, len(moments.tensor), bounded=bounded)
    third = robust_moment(x, y, transform, moments.whitening.basis)
    return spectral_regressors(third.tensor, moments.whitening, generator)


def cubic_transform(g: Nonlinearity, sigma: float, k: int, *, bounded: bool) -> OutputTransform:
    """Q_3 for x in the span of k experts: bounded where that is asked for and to be had."""
    if bounded:
        try:
            return bounded_transform(g, rounded(sigma), 3, k, in_span=True)
        except ValueError:
            pass
    return output_transform(g, sigma, 3)
