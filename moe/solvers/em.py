"""Expectation-maximisation for mixtures of experts; many starts advance as one batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.grams import Grams
from moe.model import gaussian_log_density
from moe.nonlinearity import Nonlinearity

_HALVINGS = 12
_RIDGE = 1e-9
_CHUNK_ENTRIES = 100_000
_CACHED_ENTRIES = 20_000_000
_PARAMETERS = ("regressors", "gating", "sigma")


@dataclass(frozen=True, eq=False)
class EMResult:
    """Where each of S starts ended.

    regressors, gating (S, k, d); sigma (S,); log_likelihood (S,) summed over samples, in nats;
    iterations (S,) int; converged (S,) bool; trace (T, S), the log-likelihood at every iteration
    (constant after a start has stopped); path: the recorded (regressors, gating, sigma), if asked.
    """

    regressors: Tensor
    gating: Tensor
    sigma: Tensor
    log_likelihood: Tensor
    iterations: Tensor
    converged: Tensor
    trace: Tensor
    path: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()


@dataclass
class _State:
    """Parameters of the starts that still run, with what the E-step says there (sums over samples).

    gram_a (S, k, d, d), pull_a (S, k, d): curvature and gradient of the complete-data objective in
    the regressors, times sigma^2; gram_w (S, k-1 + ..., d, d) upper blocks and pull_w (S, k-1, d)
    in the gating; squares (S,): sum of r_i e_i^2.
    """

    regressors: Tensor
    gating: Tensor
    sigma: Tensor
    log_likelihood: Tensor
    squares: Tensor
    gram_a: Tensor
    pull_a: Tensor
    gram_w: Tensor
    pull_w: Tensor

    def __getitem__(self, index: Tensor) -> _State:
        return _State(*(value[index] for value in vars(self).values()))

    def __setitem__(self, index: Tensor, other: _State) -> None:
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[index] = theirs


class _Data:
    """Samples in chunks small enough to stay in the processor's cache."""

    def __init__(
        self, x: Tensor, y: Tensor, starts: int, k: int, learn: Collection[str], hard: bool
    ) -> None:
        self.n, self.learn, self.hard = len(x), learn, hard
        rows = max(1_000, _CHUNK_ENTRIES // (starts * k))
        self._chunks = list(zip(x.split(rows), y.split(rows), strict=True))
        keep = x.numel() * (x.shape[1] + 1) // 2 <= _CACHED_ENTRIES
        self._grams = [Grams(part) for part, _ in self._chunks] if keep else None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Grams]]:
        for index, (x, y) in enumerate(self._chunks):
            yield x, y, Grams(x) if self._grams is None else self._grams[index]


def _expectation(
    data: _Data, g: Nonlinearity, regressors: Tensor, gating: Tensor, sigma: Tensor
) -> _State:
    """The E-step and all the sums an M-step needs, in one pass over the samples."""
    starts, k, d = regressors.shape
    row, column = torch.triu_indices(k - 1, k - 1)
    diagonal = (row == column).nonzero()[:, 0]
    state = _State(
        regressors,
        gating,
        sigma,
        *(regressors.new_zeros(starts, *shape) for shape in _sum_shapes(k, d)),
    )
    for x, y, grams in data:
        eta = regressors @ x.T
        residual = y - g(eta)
        log_gate = torch.log_softmax(gating @ x.T, dim=1)
        joint = log_gate + gaussian_log_density(residual, sigma[:, None, None])
        if data.hard:
            log_density, winner = joint.max(dim=1)
            r = torch.zeros_like(joint).scatter_(1, winner[:, None], 1.0)
        else:
            log_density = torch.logsumexp(joint, dim=1)
            r = (joint - log_density[:, None]).exp_()
        state.log_likelihood += log_density.sum(-1)
        pull = r * residual
        state.squares += (pull * residual).sum((1, 2))
        if "regressors" in data.learn:
            weights = r
            if g.name != "linear":
                slope = g.derivative(eta)
                weights, pull = r * slope.square(), pull * slope
            state.gram_a += grams(weights.flatten(0, 1)).unflatten(0, (starts, k))
            state.pull_a += pull @ x
        if "gating" in data.learn and k > 1:
            gate = log_gate[:, :-1].exp_()
            weights = -gate[:, row] * gate[:, column]
            weights[:, diagonal] += gate
            state.gram_w += grams(weights.flatten(0, 1)).unflatten(0, (starts, -1))
            state.pull_w += (r[:, :-1] - gate) @ x
    return state


def _sum_shapes(k: int, d: int) -> tuple[tuple[int, ...], ...]:
    return (), (), (k, d, d), (k, d), (k * (k - 1) // 2, d, d), (k - 1, d)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solutions of (matrix + tiny ridge) z = right; (..., m, m), (..., m) -> (..., m)."""
    size = matrix.shape[-1]
    scale = matrix.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(torch.finfo(matrix.dtype).tiny)
    ridge = _RIDGE * scale[..., None, None] * torch.eye(size, dtype=matrix.dtype)
    solution: Tensor = torch.linalg.solve(matrix + ridge, right)
    return solution


def _gating_step(state: _State) -> Tensor:
    """One Newton step of the soft-label multinomial logistic regression; the last row stays."""
    starts, free, d = state.pull_w.shape
    row, column = torch.triu_indices(free, free)
    hessian = state.gram_w.new_empty(starts, free, free, d, d)
    hessian[:, row, column] = hessian[:, column, row] = state.gram_w
    step = _solve(
        hessian.transpose(2, 3).reshape(starts, free * d, free * d),
        state.pull_w.flatten(1),
    )
    return torch.nn.functional.pad(step.view(starts, free, d), (0, 0, 0, 1))


def _maximisation(
    data: _Data,
    g: Nonlinearity,
    state: _State,
    steps: tuple[Tensor, Tensor],
    scale: float,
) -> _State:
    """Move by ``scale`` times the M-step and look again. sigma^2 is the weighted mean square of the
    residuals after the move: exact for linear g, to first order for any other."""
    move_a, move_w = (scale * step for step in steps)
    sigma = state.sigma
    if "sigma" in data.learn:
        change = (move_a * ((state.gram_a @ move_a[..., None])[..., 0] - 2 * state.pull_a)).sum(
            (1, 2)
        )
        least = torch.finfo(sigma.dtype).eps * state.squares
        sigma = ((state.squares + change).maximum(least) / data.n).sqrt()
    return _expectation(data, g, state.regressors + move_a, state.gating + move_w, sigma)


def _iterate(data: _Data, g: Nonlinearity, state: _State) -> tuple[_State, Tensor]:
    """One EM iteration of every start; where the likelihood would fall (Gauss-Newton and Newton
    steps can overshoot) the step is halved, and dropped after 12 halvings. Returns the gain (S,).
    """
    move_a = torch.zeros_like(state.regressors)
    move_w = torch.zeros_like(state.gating)
    if "regressors" in data.learn:
        move_a = _solve(state.gram_a, state.pull_a)
    if "gating" in data.learn and state.gating.shape[1] > 1:
        move_w = _gating_step(state)
    slack = 1e-12 * state.log_likelihood.abs()
    new = _maximisation(data, g, state, (move_a, move_w), 1.0)
    for halving in range(1, _HALVINGS + 1):
        worse = ~(new.log_likelihood - state.log_likelihood >= -slack)
        if not bool(worse.any()):
            break
        scale = 0.5**halving if halving < _HALVINGS else 0.0
        new[worse] = _maximisation(data, g, state[worse], (move_a[worse], move_w[worse]), scale)
    return new, new.log_likelihood - state.log_likelihood


def expectation_maximisation(
    x: Tensor,
    y: Tensor,
    regressors: Tensor,
    gating: Tensor,
    sigma: Tensor | float,
    nonlinearity: Nonlinearity,
    *,
    learn: Collection[str] = _PARAMETERS,
    iterations: int = 500,
    tolerance: float = 1e-6,
    record: bool = False,
    hard: bool = False,
) -> EMResult:
    """EM from S starts at once: exact weighted least squares for linear experts, Gauss-Newton steps
    for others, Newton steps for the gates (Jordan, Jacobs 1994; its rate:
    ``moe.likelihood.em_rate``).

    x (n, d); y (n,); regressors, gating (S, k, d) or (k, d); sigma a number or (S,). ``learn``
    names what moves; the rest is held, so ``learn=("gating",)`` is EM on L_log and leaving out
    "sigma" is EM with the noise held. Each step is halved until the log-likelihood does not fall,
    so the trace is monotone. A start stops when one iteration gains less than ``tolerance`` nats
    in total (not per sample: it is then within about sqrt(tolerance) standard errors of a
    stationary point, up to a factor that grows as EM's rate nears one).

    ``hard`` rounds the responsibilities to 0 and 1 (classification EM; Celeux, Govaert 1992). What
    rises is then the classification likelihood sum_n max_i log p_i(x_n) N(y_n; ...), and that is
    what ``log_likelihood`` and ``trace`` hold.

    Memory does not grow with n beyond the data. Raises ValueError for an unknown name in ``learn``.
    """
    unknown = set(learn) - set(_PARAMETERS)
    if unknown:
        raise ValueError(f"learn: expected names out of {_PARAMETERS}; got {sorted(unknown)}")
    if regressors.ndim == 2:
        regressors, gating = regressors[None], gating[None]
    starts, k, _ = regressors.shape
    data = _Data(x, y, starts, k, learn, hard)
    level = torch.as_tensor(sigma, dtype=x.dtype).expand(starts).clone()
    state = _expectation(data, nonlinearity, regressors, gating.expand_as(regressors), level)
    end = state[torch.arange(starts)]
    counts = torch.zeros(starts, dtype=torch.int64)
    converged = torch.zeros(starts, dtype=torch.bool)
    running = torch.arange(starts)
    trace, path = [end.log_likelihood.clone()], [_snapshot(end)]
    for _ in range(iterations):
        state, gain = _iterate(data, nonlinearity, state)
        end[running] = state
        counts[running] += 1
        trace.append(end.log_likelihood.clone())
        if record:
            path.append(_snapshot(end))
        done = gain < tolerance
        if bool(done.any()):
            converged[running[done]] = True
            running, state = running[~done], state[~done]
        if len(running) == 0:
            break
    return EMResult(
        end.regressors,
        end.gating,
        end.sigma,
        end.log_likelihood,
        counts,
        converged,
        torch.stack(trace),
        tuple(path) if record else (),
    )


def _snapshot(state: _State) -> tuple[Tensor, Tensor, Tensor]:
    return state.regressors.clone(), state.gating.clone(), state.sigma.clone()
