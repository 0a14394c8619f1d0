"""What is left of the gates where the noise has another law than the transform was made for."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch

from moe.experiments.common.gaussian_integrals import line_rule
from moe.experiments.nonlinear.own import named
from moe.moments.bounded import bounded_transform
from moe.moments.transforms import OutputTransform, output_transform

Noise = Literal["Gaussian", "coin"]


def leftover(
    name: str, sigma: float, kind: str, law: Noise, *, actual: float | None = None, dim: int = 3
) -> float:
    """max over j = 1, 2, 3 of |E[Q_4 He_j]| / sqrt(j!), over |E[Q_4 He_4]| / sqrt(4!).

    The transform is made for Gaussian noise of level sigma; the noise has the ``law`` and the
    ``actual`` level (sigma if None). kind: "polynomial" or "bounded".
    """
    g, level = named(name), sigma if actual is None else actual
    transform: OutputTransform = (
        bounded_transform(g, sigma, 4, dim) if kind == "bounded" else output_transform(g, sigma, 4)
    )
    z, weight = line_rule(g.kinks)
    if law == "coin":
        xi, xi_weight = torch.tensor([-1.0, 1.0]).double(), torch.tensor([0.5, 0.5]).double()
    else:
        xi, xi_weight = line_rule()
    q = (transform(g(z)[:, None] + level * xi) @ xi_weight).numpy()
    hermite = np.polynomial.hermite_e.hermevander(z.numpy(), 4)
    roots = np.sqrt([math.factorial(j) for j in range(5)])
    found = np.abs((weight.numpy() * q) @ hermite) / roots
    return float(found[1:4].max() / found[4])
