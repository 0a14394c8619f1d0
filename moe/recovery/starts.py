"""Where EM may begin: every way to get starts is a function of one type, and gives one type."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from moe.exceptions import NoTransformError
from moe.model.nonlinearity import Nonlinearity
from moe.recovery.restarts import ample, race, race_gates, race_jointly
from moe.recovery.results import Origin, Stage, Stopwatch
from moe.solvers.em import EMResult
from moe.solvers.em.samples import Columns, Terms
from moe.solvers.l4 import L4Moments, NoMinimumError, l4_moments_of, minimise_l4
from moe.solvers.newton import affordable
from moe.solvers.tensor_power import spectral_start

LOOSE, NEAR, TIGHT = 1.0, 1e-2, 1e-6
RESOLUTION, SUBSAMPLE, SCARCE = 0.4, 4_000, 100
_GATE_SAMPLES, _CHEAP = 500, 1_500


class NoStartError(Exception):
    """A way gives no start for these samples: which one, why, and the stages it got through."""

    def __init__(self, name: str, reason: object, stages: tuple[Stage, ...] = ()) -> None:
        super().__init__(f"{name} gave no start: {reason}")
        self.stages = stages


@dataclass(frozen=True, eq=False)
class Problem:
    """Samples x (n, d), y (n,) in random order, and what is taken as known: k, g, sigma (None:
    not), gated (whether there are gates); counts (n,), how often each sample counts (None: once);
    columns, which of x experts and gates look at (None: all). Moments and searches see neither of
    the last two."""

    x: Tensor
    y: Tensor
    k: int
    g: Nonlinearity
    sigma: float | None
    gated: bool
    counts: Tensor | None = None
    columns: Columns | None = None

    @property
    def weights(self) -> int:
        """Free entries of regressors and gates: k d, and (k - 1) d more where there are gates."""
        return (2 * self.k - 1 if self.gated else self.k) * self.x.shape[1]

    @property
    def learn(self) -> tuple[str, ...]:
        """What EM moves beside the regressors while the noise is not held."""
        return ("sigma", *(("gating",) if self.gated else ()))

    @property
    def terms(self) -> Terms:
        """What EM has to be told beside the samples."""
        return {"counts": self.counts, "columns": self.columns}

    @property
    def scarce(self) -> bool:
        """Fewer than 100 samples a weight: tests of a fit see little, so it is searched for."""
        return self.k > 1 and len(self.y) < SCARCE * self.weights

    @property
    def gates_are_cheap(self) -> bool:
        """Whether learning the gates in a search costs little: k (k + 1) / 2 Gram matrices of d^2
        entries an iteration, at most 1,500 in all. With over 20 weights and 150 samples for each
        of them tests of the fit see a compromise, and it is left out."""
        size = self.k * (self.k + 1) // 2 * self.x.shape[1] ** 2
        telling = self.weights > 20 and len(self.y) > 150 * self.weights
        return self.gated and self.k > 1 and size <= _CHEAP and not telling

    @cached_property
    def moments(self) -> L4Moments | NoMinimumError:
        """M, and T in its top-k eigenspace; or why M cannot be trusted."""
        try:
            return l4_moments_of(
                *(self.x, self.y, self.k, self.g, self.sigma),
                resolution=RESOLUTION,
                bounded=not self.g.is_linear,
            )
        except NoMinimumError as error:
            return error

    def part(self) -> Problem:
        """The first samples, enough to find the basin; all of them unless that saves half."""
        size = max(SUBSAMPLE, 40 * self.weights)
        if len(self.y) < 2 * size:
            return self
        counts = None if self.counts is None else self.counts[:size]
        return replace(self, x=self.x[:size], y=self.y[:size], counts=counts)


@dataclass(frozen=True, eq=False)
class Starts:
    """S places for EM to begin at, of one origin, any two of different lineages.

    regressors (S, k, d); gating (S, k, d), zero where L_log has still to find it; sigma (S,), the
    level EM anneals from; proportions (k,) in the order of
    the first start's rows, NaN where the origin knows none; stages: what was learned on the way;
    weights: mu, lam of L_4; passes over the samples that EM has made to find them.
    """

    origin: Origin
    regressors: Tensor
    gating: Tensor
    sigma: Tensor
    proportions: Tensor
    stages: tuple[Stage, ...] = ()
    weights: tuple[float, float] = (math.nan, math.nan)
    passes: int = 0


@dataclass(frozen=True, eq=False)
class Options:
    """What a caller of ``recover`` may turn: L_4's weights and number of starts, that of the
    search, the iterations of joint EM, starts of the caller's own, the gain in nats below which
    joint EM ends; newton: whether Newton's method takes over from EM, and starts that can wait are
    followed as one batch."""

    mu: float | None = None
    lam: float | None = None
    starts: int = 32
    restarts: int = 300
    iterations: int = 500
    initial: Starts | None = None
    tolerance: float = TIGHT
    newton: bool = False


Way = Callable[[Problem, Problem, Options, torch.Generator], Starts]
"""(all samples, the part that EM searches on, options, randomness) -> starts; raises
NoStartError."""


def fourth_moments(
    full: Problem, part: Problem, options: Options, generator: torch.Generator
) -> Starts:
    """The lowest minimum of L_4 (``solvers.l4``)."""
    watch = Stopwatch()
    moments = full.moments
    if isinstance(moments, NoMinimumError):
        raise NoStartError("L_4", moments)
    seen = moments.whitening.all_eigenvalues
    first = Stage("moments", None, None, moments.sigma, seen, 1, watch.lap())
    pull = full.y @ full.x / len(full.y)
    try:
        fit = minimise_l4(
            moments, pull, generator, mu=options.mu, lam=options.lam, starts=options.starts
        )
    except NoMinimumError as error:
        raise NoStartError("L_4", error, (first,)) from error
    found = fit.solution
    second = Stage("L4", fit.regressors, None, None, found.values, found.iterations, watch.lap())
    return Starts(
        Origin.FOURTH_MOMENTS,
        fit.regressors[None],
        torch.zeros_like(fit.regressors)[None],
        full.y.std()[None],
        fit.proportions,
        (first, second),
        (fit.mu, fit.lam),
    )


def third_moments(
    full: Problem, part: Problem, options: Options, generator: torch.Generator
) -> Starts:
    """The tensor power method on third moments (``solvers.tensor_power``)."""
    moments = full.moments
    if isinstance(moments, NoMinimumError):
        raise NoStartError("T_3", moments)
    try:
        rows, shares = spectral_start(
            full.x, full.y, moments, full.g, generator, bounded=not full.g.is_linear
        )
    except NoTransformError as error:
        raise NoStartError("T_3", error) from error
    zero = torch.zeros_like(rows)
    return Starts(Origin.THIRD_MOMENTS, rows[None], zero[None], full.y.std()[None], shares)


def search(full: Problem, part: Problem, options: Options, generator: torch.Generator) -> Starts:
    """Random starts annealed expert by expert, mended and recombined where they disagree, on the
    first samples, as many as are ample (``restarts``): fewer cost more."""
    watch = Stopwatch()
    size = max(SUBSAMPLE, int(ample(full.k) * full.k * full.x.shape[1]))
    x, y = full.x[:size], full.y[:size]
    ends = race(x, y, full.k, full.g, generator, starts=options.restarts)
    return _from_ends(Origin.SEARCH, "search", ends, len(y), watch)


def gates_too(full: Problem, part: Problem, options: Options, generator: torch.Generator) -> Starts:
    """Random starts whose gates are random too (``restarts.race_gates``)."""
    watch = Stopwatch()
    size = max(_GATE_SAMPLES, 20 * full.weights)
    ends = race_gates(part.x[:size], part.y[:size], full.k, full.g, generator)
    return _from_ends(Origin.GATES, "gates", ends, len(part.y[:size]), watch)


def jointly(full: Problem, part: Problem, options: Options, generator: torch.Generator) -> Starts:
    """Random starts of joint EM (``restarts.race_jointly``): three of them, or ten where Newton's
    method makes it cheap to follow them to the end."""
    watch = Stopwatch()
    kept = 10 if options.newton and affordable(part.x, full.weights, full.g) else 3
    ends = race_jointly(
        part.x, part.y, full.k, full.g, generator, starts=options.restarts, kept=kept
    )
    return _from_ends(Origin.GATES, "gates", ends, len(part.y), watch)


def given(full: Problem, part: Problem, options: Options, generator: torch.Generator) -> Starts:
    """The caller's own starts."""
    if options.initial is None:
        raise NoStartError("initial", "there is none")
    return options.initial


def _from_ends(origin: Origin, name: str, ends: EMResult, n: int, watch: Stopwatch) -> Starts:
    level = ends.sigma if ends.sigma.ndim == 1 else ends.sigma.square().mean(1).sqrt()
    stage = Stage(
        name,
        ends.regressors[0],
        ends.gating[0] if bool(ends.gating.any()) else None,
        float(level[0]),
        ends.log_likelihood / n,
        ends.passes,
        watch.lap(),
    )
    unknown = level.new_full((ends.regressors.shape[1],), math.nan)
    return Starts(
        origin, ends.regressors, ends.gating, level, unknown, (stage,), passes=ends.passes
    )
