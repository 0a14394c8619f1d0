"""Recovery for every nonlinearity: L_4 alone against its law, and ``recover`` in full."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from moe.exceptions import TooFewEigenvaluesError
from moe.experiments.common.error_law import bound_law, reference_mixture
from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.nonlinear.own import named
from moe.experiments.regressor_loss.law import Way, l4_law
from moe.metrics import regressor_error, regressor_error_of
from moe.model.mixture import MoE
from moe.moments.centring import Method, cheapest
from moe.moments.estimate import Moments, ScoreMoment, score_moment
from moe.moments.transforms import output_transform
from moe.moments.whitening import Whitening, whiten
from moe.randomness import stream
from moe.recovery import recover
from moe.solvers.l4 import L4Moments, NoMinimumError, l4_moments_of, minimise_l4

METHODS: tuple[Way, ...] = ("least_squares", "centred", "bounded")
GOAL = 0.1


@dataclass(frozen=True)
class Spec:
    """A reference mixture (``reference_mixture``) of experts g; L_4, sigma known, at n of ``sizes``
    by each of ``methods``: T by least squares or a centred average of the polynomial, M by what
    ``score_moment`` chooses; or both by ``best_transforms``. ``recover`` at ``recovered``, told
    nothing but k and g."""

    nonlinearity: str
    sigma: float = 0.1
    k: int = 3
    d: int = 6
    gate_norm: float = 1.0
    sizes: tuple[int, ...] = ()
    recovered: tuple[int, ...] = ()
    methods: tuple[Way, ...] = METHODS
    starts: int = 16


@dataclass(frozen=True, eq=False)
class Cell:
    """E_reg of one spec: errors[method] (sizes, seeds), errors["recover"] (recovered, seeds);
    converged (recovered, seeds): one where ``recover`` trusts its answer."""

    spec: Spec
    errors: dict[str, Tensor]
    converged: Tensor

    @property
    def polynomial(self) -> Tensor:
        """E_reg with the polynomial's better estimate, by the exact errors of T: (sizes, seeds)."""
        return self.errors[chosen(self.spec)]

    def at(self, method: str, n: int) -> Tensor:
        """E_reg of a method at one n, (seeds,)."""
        sizes = self.spec.recovered if method == "recover" else self.spec.sizes
        errors = self.polynomial if method == "polynomial" else self.errors[method]
        return errors[sizes.index(n)]


def truth_of(spec: Spec) -> MoE:
    """The reference mixture with experts g."""
    base = reference_mixture(spec.k, spec.d, spec.sigma, spec.gate_norm)
    return MoE(base.regressors, base.gating, spec.sigma, named(spec.nonlinearity))


def chosen(spec: Spec) -> Method:
    """Least squares or the centred average, by the exact errors."""
    return cheapest(output_transform(named(spec.nonlinearity), spec.sigma, 4), spec.k, spec.k)


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """E_reg at every n, keys "method n"; 1 where a method gave no answer. Deterministic."""
    truth = truth_of(spec)
    x, y = truth.sample(max(spec.sizes + spec.recovered), stream("data", seed))
    out = {}
    for n in spec.sizes:
        for method, found in l4_answers(spec, x[:n], y[:n], seed).items():
            error = 1.0 if found is None else regressor_error_of(found, truth.regressors)
            out[f"{method} {n}"] = error
    for n in spec.recovered:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = recover(x[:n], y[:n], spec.k, truth.nonlinearity, seed=seed)
        out[f"recover {n}"] = regressor_error(fit.model, truth)
        out[f"converged {n}"] = float(fit.converged)
    return out


def l4_answers(spec: Spec, x: Tensor, y: Tensor, seed: int) -> dict[str, Tensor | None]:
    """Regressors of L_4 with sigma known, by method; None: no answer."""
    g, out = named(spec.nonlinearity), dict[str, Tensor | None]()
    whitening, sums = _polynomial(spec, x, y)
    for method in spec.methods:
        out[method] = None
        try:
            if method == "bounded":
                moments = l4_moments_of(x, y, spec.k, g, spec.sigma, bounded=True)
            elif whitening is None or sums is None:
                continue
            else:
                tensor = whitening.apply(sums.tensor(method))
                unused = ScoreMoment(tensor, method, len(y), sums.features)
                moments = L4Moments(spec.sigma, unused, unused, whitening, tensor)
            starts = stream("starts", seed)
            fit = minimise_l4(moments, y @ x / len(y), starts, starts=spec.starts)
        except NoMinimumError:
            continue
        out[method] = fit.regressors
    return out


def _polynomial(spec: Spec, x: Tensor, y: Tensor) -> tuple[Whitening | None, Moments | None]:
    """M's whitening, and sums from which every estimate of T can be had."""
    g = named(spec.nonlinearity)
    quadratic, quartic = (output_transform(g, spec.sigma, m) for m in (2, 4))
    try:
        whitening = whiten(score_moment(x, y, quadratic).tensor, spec.k)
    except TooFewEigenvaluesError:
        return None, None
    sums = Moments(quartic, spec.d, whitening.basis, "least_squares").update(x, y)
    return whitening, sums


def run(specs: Sequence[Spec], seeds: Iterable[int], workers: int | None = None) -> list[Cell]:
    """Every spec with every seed, through the sweep engine."""
    seeds = list(seeds)
    cells = []
    trials = sweep(trial, specs, seeds, workers=workers)
    for spec, mine in zip(specs, by_spec(trials, len(seeds)), strict=True):
        rows = [one.result for one in mine]

        def of(name: str, sizes: tuple[int, ...], rows: list[dict[str, float]] = rows) -> Tensor:
            values = [[row[f"{name} {n}"] for row in rows] for n in sizes]
            return torch.tensor(values, dtype=torch.float64)

        errors: dict[str, Tensor] = {method: of(method, spec.sizes) for method in spec.methods}
        errors["recover"] = of("recover", spec.recovered)
        cells.append(Cell(spec, errors, of("converged", spec.recovered)))
    return cells


def limit(spec: Spec, method: str) -> float:
    """The median of n E_reg in many samples: L_4's by ``method`` ("polynomial": the better one), or
    the Cramer-Rao bound."""
    way = chosen(spec) if method == "polynomial" else method
    return _limit(spec.nonlinearity, spec.sigma, spec.k, spec.d, spec.gate_norm, way)


@lru_cache(maxsize=128)
def _limit(g: str, sigma: float, k: int, d: int, gate_norm: float, way: str) -> float:
    truth = truth_of(Spec(g, sigma, k, max(d, 2 * k - 1), gate_norm))
    if way == "recover":
        return bound_law(truth, samples=8_000).median()
    return l4_law(truth, way).median()  # type: ignore[arg-type]
