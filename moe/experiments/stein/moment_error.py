"""The error of moments E[Q_m(y) S_m(x)] / c_m, predicted and then measured (book, chapter 3)."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, factorial
from typing import Literal

import torch
from numpy.polynomial.hermite_e import hermevander
from torch import Tensor

from moe.experiments.common.gaussian_integrals import grid_rule, line_rule, noise_averaged
from moe.model.mixture import random_moe
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.moments.estimate import Moments
from moe.moments.transforms import output_transform
from moe.randomness import stream

Method = Literal["average", "least_squares"]


@dataclass(frozen=True)
class Spec:
    """``trials`` data sets of each size for each nonlinearity, k = 2 experts, moments of order
    ``degree`` over all d coordinates or, with ``in_span``, over the experts' span only."""

    nonlinearities: tuple[str, ...] = ("linear", "tanh", "sigmoid", "relu")
    d: int = 8
    degree: int = 4
    in_span: bool = False
    methods: tuple[Method, ...] = ("average",)
    sigma: float = 0.1
    gate_norm: float = 1.0
    sizes: tuple[int, ...] = (2_000, 8_000, 32_000)
    trials: int = 20
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Record:
    """errors (methods, G, sizes, trials): |T_hat - T|_F^2 for G nonlinearities;
    constants (methods, G): the predicted n E|T_hat - T|_F^2."""

    spec: Spec
    errors: Tensor
    constants: Tensor

    @property
    def predicted(self) -> Tensor:
        """Root mean square of |T_hat - T|_F that theory gives, (methods, G, sizes)."""
        n = torch.tensor(self.spec.sizes, dtype=torch.float64)
        return (self.constants[..., None] / n).sqrt()

    @property
    def measured(self) -> Tensor:
        """Root mean square of |T_hat - T|_F over data sets, (methods, G, sizes)."""
        return self.errors.mean(-1).sqrt()

    @property
    def typical(self) -> Tensor:
        """Median of |T_hat - T|_F over data sets, (methods, G, sizes)."""
        return self.errors.median(-1).values.sqrt()


def multisets(dim: int, size: int) -> int:
    """Number of monomials of degree ``size`` in ``dim`` variables."""
    return comb(dim + size - 1, size) if dim > 0 else int(size == 0)


def rising(d: int, degree: int) -> int:
    """E|S_m(x)|_F^2 = d (d + 1) ... (d + m - 1), m = degree (derived)."""
    return factorial(degree) * multisets(d, degree)


def average_constant(
    nonlinearity: str,
    sigma: float,
    dim: int,
    degree: int,
    squared_norm: float,
    centred: bool = False,
) -> float:
    """n E|T_hat - T|_F^2 of the plain average, exact for every n (derived; book, chapter 3):

    (m!/c_m^2) sum_{j=0..m} C(dim - 2 + m - j, m - j) E[Q_m(y)^2 He_j(z)^2] / j!  -  |T|_F^2,

    y = g(z) + sigma xi. Neither regressors nor gates enter but through |T|_F^2 (``squared_norm``).
    centred: for the average of (Q_m(y) - E Q_m(y)) S_m(x), which has the same mean.
    """
    g, transform = as_nonlinearity(nonlinearity), output_transform(nonlinearity, sigma, degree)
    z, weight = line_rule(g.kinks)
    first, second = (noise_averaged(transform, g, sigma, z, power) for power in (1, 2))
    shift = float(weight @ first) if centred else 0.0
    square = weight * (second - 2 * shift * first + shift**2)
    moments = square @ torch.from_numpy(hermevander(z.numpy(), degree)).square()
    total = sum(
        multisets(dim - 1, degree - j) * float(moments[j]) / factorial(j) for j in range(degree + 1)
    )
    return factorial(degree) * total / transform.normaliser**2 - squared_norm


def least_squares_constant(
    nonlinearity: str, sigma: float, dim: int, degree: int, cosine: float
) -> float:
    """lim n E|T_hat - T|_F^2 of least squares, k = 2, <a_1, a_2> = cosine (derived):

    E[r^2 |S_m(x)|_F^2] / c_m^2,  r = Q_m(y) - E Q_m(y) - (c_m / m!) sum_i pbar_i He_m(<a_i, x>),

    what is left of Q_m(y) after its projection on polynomials of degree m in x: the projection has
    no parts of degree 1, ..., m - 1. By symmetry p_i(x) may be replaced by 1/2. Quadrature over
    span{a_1, a_2}; the other dim - 2 coordinates are averaged exactly.
    """
    g, transform = as_nonlinearity(nonlinearity), output_transform(nonlinearity, sigma, degree)
    z, z_weight = line_rule(g.kinks)
    v, v_weight = grid_rule(1, nodes=24)
    first, second = (noise_averaged(transform, g, sigma, z, power)[:, None] for power in (1, 2))
    one = torch.from_numpy(hermevander(z.numpy(), degree))
    other = torch.from_numpy(hermevander(v[:, 0].numpy(), degree))
    tilted = cosine * z[:, None] + (1 - cosine**2) ** 0.5 * v[:, 0]
    both = one[:, None, -1] + torch.from_numpy(hermevander(tilted.numpy(), degree))[..., -1]
    fit = z_weight @ first + transform.normaliser / factorial(degree) * both / 2
    residual = second - 2 * first * fit + fit.square()
    squares = sum(
        multisets(dim - 2, degree - i - j)
        / (factorial(i) * factorial(j))
        * torch.outer(one[:, i].square(), other[:, j].square())
        for i in range(degree + 1)
        for j in range(degree + 1 - i)
    )
    total = float(z_weight @ (residual * squares) @ v_weight)
    return factorial(degree) * total / transform.normaliser**2


def score_size(x: Tensor, degree: int) -> Tensor:
    """|S_m(x)|_F^2 (n,), a function of |x|: at |x| e_1 it is m! sum_j He_j(|x|)^2 / j! times the
    coefficient of t^(m-j) in (1 - t^2)^(-(d-1)/2), from He_2i(0)^2 / (2i)! = C(2i, i) / 4^i."""
    hermite = torch.from_numpy(hermevander(x.norm(dim=1).numpy(), degree)).square()
    rest = [1.0, 0.0]
    for i in range(1, degree // 2 + 1):
        rest += [rest[-2] * ((x.shape[1] - 1) / 2 + i - 1) / i, 0.0]
    share = [rest[degree - j] / factorial(j) for j in range(degree + 1)]
    return factorial(degree) * hermite @ torch.tensor(share, dtype=x.dtype)


@dataclass(frozen=True)
class Checked:
    """A constant n E|T_hat - T|_F^2 by quadrature, and by samples with its standard error."""

    exact: float
    sampled: float
    error: float


def sampled_constants(
    name: str, sigma: float, d: int, degree: int, *, n: int = 400_000, seed: int = 0
) -> dict[Method, Checked]:
    """Both constants for a random mixture of two, by an independent route.

    Most of either mean is made by rare, large x. So x is drawn from N(0, s^2 I), s = 1.75, and each
    value is multiplied by the ratio of the densities.
    """
    truth = stream("truth", seed)
    model = random_moe(2, d, sigma=sigma, gate_norm=2.0, nonlinearity=name, generator=truth)
    wide, inputs = 1.75, stream("inputs", seed)
    x = wide * torch.randn(n, d, generator=inputs, dtype=torch.float64)
    ratio = wide**d * (0.5 * (1 / wide**2 - 1) * x.square().sum(1)).exp()
    z, expert = x @ model.regressors.T, torch.multinomial(model.gate(x), 1, generator=inputs)
    noise = torch.randn(n, generator=stream("noise", seed), dtype=x.dtype)
    y = model.nonlinearity(z).gather(1, expert)[:, 0] + sigma * noise
    transform = output_transform(name, sigma, degree)
    cosine, q = float(model.regressors[0] @ model.regressors[1]), transform(y)
    top = torch.from_numpy(hermevander(z.numpy(), degree))[..., -1].mean(1)
    residual = q - (ratio * q).mean() - transform.normaliser / factorial(degree) * top
    size, square = ratio * score_size(x, degree) / transform.normaliser**2, (1 + cosine**degree) / 2
    average, fit = size * q.square() - square, size * residual.square()
    settings = (name, sigma, d, degree)
    return {
        "average": _checked(average_constant(*settings, square), average),
        "least_squares": _checked(least_squares_constant(*settings, cosine), fit),
    }


def _checked(exact: float, values: Tensor) -> Checked:
    return Checked(exact, float(values.mean()), float(values.std()) / len(values) ** 0.5)


def steepness(slopes: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    """sd(Q_4) / |c_4| for g(z) = sigmoid(s z), (sigmas, slopes)."""
    rows = []
    for sigma in sigmas:
        experts = [Nonlinearity("sigmoid(s z)", _Logistic(float(s))) for s in slopes]
        rows.append([output_transform(g, sigma, 4).noise for g in experts])
    return torch.tensor(rows, dtype=torch.float64)


@dataclass(frozen=True)
class _Logistic:
    slope: float

    def __call__(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * z)


def run(spec: Spec) -> Record:
    """The constants, then every estimate on every data set."""
    mixtures, samples = stream("truth", spec.seed), stream("data", spec.seed)
    errors, constants = [], []
    for name in spec.nonlinearities:
        model = random_moe(
            2,
            spec.d,
            sigma=spec.sigma,
            gate_norm=spec.gate_norm,
            nonlinearity=name,
            generator=mixtures,
        )
        basis = torch.linalg.qr(model.regressors.T).Q if spec.in_span else None
        rows = model.regressors if basis is None else model.regressors @ basis
        dim, transform = rows.shape[1], output_transform(name, spec.sigma, spec.degree)
        tensor = torch.stack([_power(row, spec.degree) for row in rows]).mean(0)
        square = float(tensor.square().sum())
        cosine = float(model.regressors[0] @ model.regressors[1])
        constants.append(
            [
                average_constant(name, spec.sigma, dim, spec.degree, square)
                if method == "average"
                else least_squares_constant(name, spec.sigma, dim, spec.degree, cosine)
                for method in spec.methods
            ]
        )
        for n in spec.sizes:
            for _ in range(spec.trials):
                x, y = model.sample(n, samples)
                for method in spec.methods:
                    estimate = Moments(transform, spec.d, basis, method).update(x, y).tensor()
                    errors.append(float((estimate - tensor).square().sum()))
    shape = (len(spec.nonlinearities), len(spec.sizes), spec.trials, len(spec.methods))
    table = torch.tensor(errors, dtype=torch.float64).reshape(shape).movedim(-1, 0)
    return Record(spec, table, torch.tensor(constants, dtype=torch.float64).T)


def _power(row: Tensor, degree: int) -> Tensor:
    power = torch.ones((), dtype=row.dtype)
    for _ in range(degree):
        power = power[..., None] * row
    return power
