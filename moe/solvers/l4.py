"""L_4 from samples: moments, whitening, minimisation, and the way back to regressors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.exceptions import (
    DependentFeaturesError,
    OutsideTheoryWarning,
    TooFewEigenvaluesError,
    warn,
)
from moe.model.nonlinearity import Nonlinearity
from moe.moments.best import best_transforms
from moe.moments.estimate import ScoreMoment, score_moment
from moe.moments.quadrature import gauss_hermite
from moe.moments.transforms import OutputTransform, solved_transform
from moe.moments.whitening import Whitening, whiten
from moe.solvers.quartic import (
    QuarticSolution,
    check_weights,
    minimise_quartic,
    minimise_quartics,
    random_starts,
)

DEFAULT_MU, MARGIN = 0.8, 3.0


class NoMinimumError(RuntimeError):
    """The moments of these samples give L_4 no minimum: too noisy, or fewer than k experts."""


@dataclass(frozen=True, eq=False)
class L4Moments:
    """All that L_4 sees of the data: M's top-k eigenspace and T in its whitened coordinates.

    sigma: the noise level the output transforms were made for; second, fourth: how the moments
    were estimated; tensor (k, k, k, k): T[V, V, V, V].
    """

    sigma: float
    second: ScoreMoment
    fourth: ScoreMoment
    whitening: Whitening
    tensor: Tensor


@dataclass(frozen=True, eq=False)
class L4Fit:
    """The best minimum of L_4. regressors (k, d) unit rows with signs from E[y x]; proportions
    (k,) in the same order; mu, lam the weights used; solution: every start's end."""

    regressors: Tensor
    proportions: Tensor
    mu: float
    lam: float
    solution: QuarticSolution


def noise_level(variance: float, nonlinearity: Nonlinearity) -> float:
    """sigma from Var y = Var g(z) + sigma^2, z ~ N(0, 1), at least a tenth of y's spread (derived).

    Holds for unit regressors with gates orthogonal to them: every expert's output then has the
    same law. Good enough for the output transforms; the likelihood stage refines it.
    """
    nodes, weights = gauss_hermite(180)
    values = nonlinearity(torch.from_numpy(nodes)).numpy()
    signal = float(weights @ values**2 - (weights @ values) ** 2)
    return math.sqrt(max(variance - signal, 0.01 * variance))


def l4_moments_of(
    x: Tensor,
    y: Tensor,
    k: int,
    nonlinearity: Nonlinearity,
    sigma: float | None = None,
    *,
    resolution: float = 0.0,
    bounded: bool = False,
) -> L4Moments:
    """M and T from samples x (n, d), y (n,): M first, then T inside M's top-k eigenspace.

    bounded: T by a bounded transform (`moe.moments.bounded`), and M too where that errs less than
    the polynomial. The noise has then to be Gaussian, of the level ``sigma``. Polynomials serve
    where the nonlinearity has no bounded transform.

    Raises NoMinimumError where M has fewer than k positive eigenvalues, or where its k-th does not
    exceed ``resolution`` times the largest eigenvalue that noise alone would give the plain average
    (``noise_edge``): the eigenspace is then not to be had from these samples. NoTransformError
    where the nonlinearity has no transform of degree 2 or 4.
    """
    level = noise_level(float(y.var()), nonlinearity) if sigma is None else sigma
    quartic, quadratic = (solved_transform(nonlinearity, level, m) for m in (4, 2))
    if bounded and k <= x.shape[1]:
        quadratic, quartic = best_transforms(nonlinearity, level, x.shape[1], k, len(y))
    second = robust_moment(x, y, quadratic)
    if k > x.shape[1]:
        raise NoMinimumError(f"k = {k} experts do not fit into the {x.shape[1]} axes of the inputs")
    if not bool(torch.isfinite(second.tensor).all()):
        raise NoMinimumError("the second moment is not finite")
    try:
        whitening = whiten(second.tensor, k)
    except TooFewEigenvaluesError as error:
        raise NoMinimumError(str(error)) from error
    edge, least = noise_edge(x, y, quadratic), float(whitening.eigenvalues[-1])
    if least <= resolution * edge:
        raise NoMinimumError(
            f"eigenvalue {k} of M, {least:.2g}, is too small to be told from noise, which alone "
            f"reaches {edge:.2g} with these {len(y)} samples"
        )
    fourth = robust_moment(x, y, quartic, whitening.basis)
    return L4Moments(level, second, fourth, whitening, whitening.apply(fourth.tensor))


def noise_edge(x: Tensor, y: Tensor, transform: OutputTransform) -> float:
    """The largest eigenvalue of the average of q S_2(x), q = Q_2(y) / c_2, were q independent of x.

    Its entries then have variance E[q^2] / n off the diagonal and twice that on it: a Gaussian
    orthogonal ensemble, with largest eigenvalue near 2 sqrt(d E[q^2] / n) (derived; Wigner's law).
    """
    q = transform(y) / transform.normaliser
    return 2.0 * math.sqrt(x.shape[1] * float(q.square().mean()) / len(y))


def robust_moment(
    x: Tensor, y: Tensor, transform: OutputTransform, basis: Tensor | None = None
) -> ScoreMoment:
    """What ``score_moment`` chooses; the centred average where the features of x are dependent."""
    try:
        return score_moment(x, y, transform, basis=basis)
    except DependentFeaturesError:
        return score_moment(x, y, transform, "centred", basis=basis)


def minimise_l4(
    moments: L4Moments,
    first_moment: Tensor,
    generator: torch.Generator,
    *,
    mu: float | None = None,
    lam: float | None = None,
    starts: int = 32,
) -> L4Fit:
    """The lowest minimum of L_4 over ``starts`` random starts, as regressors.

    In whitened coordinates b_i is proportional to sqrt(p_i) V' a_i, so a_i is proportional to
    U diag(eigenvalues^1/2) b_i; its sign follows E[y x] = sum_i p_i E[g'] a_i (``first_moment``).
    By default mu = 0.8 and lam = 3 mu max eig(T as a (k^2, k^2) matrix). In population that
    eigenvalue is 1 / min_i p_i, so lam is three times the smallest of the benign region; of the
    pairs tried, those with mu near one survive noisy moments best.

    Proportions: for a unit regressor, sqrt(p_i) V' a_i has norm one, so p_i = 1 / |V' a_i|^2
    (derived). The minimiser's own norms give them too (``proportions_from_norms``), with about
    three times the error, since they rest on fourth moments.

    Where the noise of the moments makes two rows of the lowest minimum share an expert, the next
    lowest whose k rows are independent is taken.

    Warns where mu, lam given by the caller lie outside the benign region that the recovered
    proportions imply. Raises NoMinimumError where no start converged to such a minimum.
    """
    mu, lam = _weights(moments, mu, lam)
    k, dtype = moments.tensor.shape[0], moments.tensor.dtype
    points = random_starts(starts, k, generator, dtype)
    solution = minimise_quartic(moments.tensor, mu, lam, points)
    return _fit(moments, first_moment, mu, lam, solution)


def minimise_l4_of_many(
    moments: Sequence[L4Moments],
    first_moments: Sequence[Tensor],
    generators: Sequence[torch.Generator],
    *,
    starts: int = 32,
) -> list[L4Fit | NoMinimumError]:
    """``minimise_l4`` of many moments for as many experts in one batch, with the weights that it
    has by default; the error in the place of a fit where there is none."""
    found: list[L4Fit | NoMinimumError] = []
    known: list[tuple[int, float, float]] = []
    for place, one in enumerate(moments):
        found.append(NoMinimumError("not tried"))
        try:
            known.append((place, *_weights(one, None, None)))
        except NoMinimumError as error:
            found[place] = error
    if not known:
        return found
    places, (mu, *_), lams = zip(*known, strict=True)
    tensors = torch.stack([moments[place].tensor for place in places])
    k, dtype = tensors.shape[-1], tensors.dtype
    points = torch.stack([random_starts(starts, k, generators[p], dtype) for p in places])
    solutions = minimise_quartics(tensors, mu, torch.tensor(lams, dtype=dtype), points)
    for place, lam, solution in zip(places, lams, solutions, strict=True):
        try:
            found[place] = _fit(moments[place], first_moments[place], mu, lam, solution)
        except NoMinimumError as error:
            found[place] = error
    return found


def _weights(moments: L4Moments, mu: float | None, lam: float | None) -> tuple[float, float]:
    """mu and lambda, those that are not given by default; warns of what is not benign."""
    k = moments.tensor.shape[0]
    ceiling = float(torch.linalg.eigvalsh(moments.tensor.reshape(k * k, k * k))[-1])
    if not ceiling > 0:
        raise NoMinimumError("the fourth moment has no positive direction")
    mu = DEFAULT_MU if mu is None else mu
    given = lam is not None
    lam = MARGIN * mu * ceiling if lam is None else lam
    broken = check_weights(mu, lam, min(1.0, 1.0 / ceiling)) if given or mu >= 1 else ()
    if broken:
        warn(
            f"mu, lam: expected weights inside the benign region of L_4; {'; '.join(broken)} "
            f"(p_min = {1 / ceiling:.3g} estimated from the samples)",
            OutsideTheoryWarning,
        )
    return mu, lam


def _fit(
    moments: L4Moments, first_moment: Tensor, mu: float, lam: float, solution: QuarticSolution
) -> L4Fit:
    if not bool(solution.converged.any()):
        raise NoMinimumError("no start converged: L_4 has no minimum that the starts could reach")
    regressors = _lowest_independent(solution, moments.whitening)
    weight = torch.linalg.lstsq(regressors.T, first_moment[:, None], driver="gelsd").solution[:, 0]
    regressors = regressors * torch.where(weight < 0, -1.0, 1.0).to(regressors.dtype)[:, None]
    proportions = 1.0 / (regressors @ moments.whitening.whitener).square().sum(1)
    return L4Fit(regressors, proportions, mu, lam, solution)


def _lowest_independent(solution: QuarticSolution, whitening: Whitening) -> Tensor:
    """Unit regressors (k, d) of the lowest minimum whose rows are independent."""
    order = solution.values.argsort(stable=True)
    for index in order[solution.converged[order]].tolist():
        regressors = solution.points[index] @ whitening.dewhitener.T
        norms = regressors.norm(dim=1, keepdim=True)
        if float(norms.min()) < 1e-6 * float(norms.max()):
            continue
        regressors = regressors / norms
        if int(torch.linalg.matrix_rank(regressors, rtol=1e-6)) == len(regressors):
            return regressors
    raise NoMinimumError("in every minimum two rows share an expert")
