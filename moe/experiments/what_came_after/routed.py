"""Top-K gates with k known: errors against n, from the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.experiments.engine.sweep import by_spec, sweep
from moe.model.mixture import drawn, full_gating
from moe.randomness import child_seed, stream

_ROUNDS = 60


@dataclass(frozen=True)
class Spec:
    """top = 1: two linear experts in the plane, each answers on one side of a line through the
    origin. top = 2: three experts in R^3, softmax over the two largest scores <w_i, x>."""

    top: int
    n: int
    sigma: float = 0.5

    @property
    def shape(self) -> tuple[int, int]:
        return (2, 2) if self.top == 1 else (3, 3)


def truth(spec: Spec, seed: int) -> tuple[Tensor, Tensor]:
    """Unit experts (k, d), each pair at least 60 degrees apart, and gates (k, d) of norm 2 with a
    last row of zeros."""
    generator = stream("truth", seed)
    k, d = spec.shape
    while True:
        rows = torch.randn(k, d, generator=generator, dtype=torch.float64)
        rows = rows / rows.norm(dim=1, keepdim=True)
        if float((rows @ rows.T - torch.eye(k, dtype=rows.dtype)).abs().max()) < 0.5:
            break
    gating = torch.randn(k, d, generator=generator, dtype=torch.float64)
    gating = 2 * gating / gating.norm(dim=1, keepdim=True)
    gating[-1] = 0.0
    return rows, gating


def shares(gating: Tensor, x: Tensor, top: int) -> Tensor:
    """Softmax over the ``top`` largest scores, zero elsewhere: (n, k)."""
    scores = x @ gating.T
    best = scores.topk(top, 1).indices
    masked = torch.full_like(scores, -torch.inf).scatter(1, best, scores.gather(1, best))
    return torch.softmax(masked, 1)


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """experts: root mean square distance of the experts; gate: angle of the line (top = 1), or
    distance of the gates over their norm."""
    rows, gating = truth(spec, seed)
    generator = stream("data", seed, spec.n)
    x = torch.randn(spec.n, spec.shape[1], generator=generator, dtype=torch.float64)
    y, _ = drawn(shares(gating, x, spec.top), x @ rows.T, spec.sigma, generator)
    if spec.top == 1:
        found, angle = best_line(x, y, rows, gating[0])
        start = float(torch.atan2(gating[0, 1], gating[0, 0]))
        gate = abs(float(np.angle(np.exp(1j * (angle - start)))))
    else:
        found, gates = climb(x, y, rows, gating, spec.sigma, spec.top)
        gate = float((gates - gating).norm() / gating.norm())
    return {"experts": float((found - rows).square().sum(1).mean().sqrt()), "gate": gate}


def best_line(x: Tensor, y: Tensor, rows: Tensor, normal: Tensor) -> tuple[Tensor, float]:
    """Least squares over two experts and the line between them: each in turn exactly, from the
    truth, until the line stays. Returns the experts and the angle of the line's normal."""
    place = torch.atan2(x[:, 1], x[:, 0])
    order = place.argsort()
    ordered = place[order]
    angle = float(torch.atan2(normal[1], normal[0]))
    for _ in range(_ROUNDS):
        side = torch.cos(place - angle) > 0
        rows = torch.stack(
            [torch.linalg.lstsq(x[s], y[s], driver="gelsd").solution for s in (side, ~side)]
        )
        residual = (y[:, None] - x @ rows.T).square()
        gain = torch.cumsum((residual[:, 0] - residual[:, 1])[order], 0)
        new = _least_half(ordered, gain)
        if abs(new - angle) < 1e-12:
            break
        angle = new
    return rows, angle


def _least_half(ordered: Tensor, gain: Tensor) -> float:
    """The middle of the open half circle with the least sum of gains; ``gain``: running sums over
    the samples in the order of their angles. Candidates lie between two changes of the half."""
    turn = 2 * np.pi
    changes = torch.cat([ordered + np.pi / 2, ordered - np.pi / 2]).remainder(turn).sort().values
    after = torch.cat([changes[1:], changes[:1] + turn])
    middle = (changes + after) / 2
    low, high = middle - np.pi / 2, middle + np.pi / 2

    def below(edge: Tensor) -> Tensor:
        rounds = ((edge + np.pi) / turn).floor()
        place = torch.searchsorted(ordered, edge - rounds * turn)
        inside = torch.where(place > 0, gain[(place - 1).clamp_min(0)], 0.0)
        return inside + rounds * gain[-1]

    best = int((below(high) - below(low)).argmin())
    return float(torch.remainder(middle[best] + np.pi, turn) - np.pi)


def climb(
    x: Tensor, y: Tensor, rows: Tensor, gating: Tensor, sigma: float, top: int
) -> tuple[Tensor, Tensor]:
    """EM from the truth, sigma known. The gates' step is Newton's for the logistic regression on
    responsibilities with the present routes; it is halved until the likelihood, with the new
    routes, does not fall."""
    value = _likelihood(x, y, rows, gating, sigma, top)
    free, d = len(rows) - 1, x.shape[1]
    for _ in range(_ROUNDS):
        p = shares(gating, x, top)
        joint = p.log() - (y[:, None] - x @ rows.T).square() / (2 * sigma**2)
        r = torch.softmax(joint, 1)
        new = torch.stack(
            [torch.linalg.solve((x * w[:, None]).T @ x, (w * y) @ x) for w in r.T.unbind()]
        )
        curve = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        hessian = torch.einsum("nij,na,nb->iajb", curve[:, :free, :free], x, x)
        pull = ((r - p)[:, :free].T @ x).flatten()
        move = torch.linalg.solve(hessian.reshape(free * d, -1), pull).view(free, d)
        for halving in range(12):
            there = gating + 0.5**halving * full_gating(move)
            reached = _likelihood(x, y, new, there, sigma, top)
            if reached >= value:
                break
        else:
            there, reached = gating, _likelihood(x, y, new, gating, sigma, top)
        gain, value, rows, gating = reached - value, reached, new, there
        if gain < 1e-4:
            break
    return rows, gating


def _likelihood(
    x: Tensor, y: Tensor, rows: Tensor, gating: Tensor, sigma: float, top: int
) -> float:
    squares = (y[:, None] - x @ rows.T).square() / (2 * sigma**2)
    return float(torch.logsumexp(shares(gating, x, top).log() - squares, 1).sum())


@dataclass(frozen=True)
class Record:
    """values[name][top]: a tensor (sizes, data sets), for "experts" and "gate"."""

    sizes: tuple[int, ...]
    values: dict[str, dict[int, Tensor]]


def run(sizes: tuple[int, ...], runs: int, seed: int = 0) -> Record:
    """Both gates at every n, on ``runs`` data sets."""
    tops = (1, 2)
    specs = [Spec(top, n) for top in tops for n in sizes]
    done = by_spec(sweep(trial, specs, [child_seed(seed, run) for run in range(runs)]), runs)
    values: dict[str, dict[int, Tensor]] = {}
    for name in ("experts", "gate"):
        found = torch.tensor(
            [[t.result[name] for t in trials] for trials in done], dtype=torch.float64
        )
        values[name] = dict(zip(tops, found.view(len(tops), len(sizes), runs), strict=True))
    return Record(sizes, values)
