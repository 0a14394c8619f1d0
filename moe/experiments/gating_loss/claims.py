"""Chapter 6, the gates' loss: what its claims hold by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moe.experiments.common.claims import Finding, over_clusters
from moe.experiments.gating_loss.convergence import ConvergenceRecord
from moe.experiments.gating_loss.dimension import DimensionRecord
from moe.experiments.gating_loss.landscape.convexity import ConvexityRecord
from moe.experiments.gating_loss.landscape.minima import PhaseRecord
from moe.experiments.gating_loss.rates import SeparationRecord
from moe.experiments.gating_loss.transfer import TransferRecord


def one_end(record: ConvexityRecord) -> Finding:
    """From all of the random gates EM ends at the one minimiser of its sample."""
    same = record.apart < 0.01
    return Finding(bool(same.all()), f"{int(same.sum())} of {same.numel()} starts")


def curved_down_far_out(record: ConvexityRecord) -> Finding:
    """At the largest norm nearly all Hessians have a negative eigenvalue, at every noise level; for
    the smallest sigma none has one up to norm one; and the larger sigma, the more have."""
    down = (record.lowest < 0).double()
    norms = torch.tensor(record.spec.norms)
    by_noise = down.mean((1, 2, 3))
    holds = (
        bool((down[:, -1].mean((1, 2)) > 0.9).all())
        and not bool(down[0, norms <= 1].any())
        and bool((by_noise.diff() > 0).all())
    )
    return Finding(holds, *over_clusters([*down[:, -1].transpose(0, 1).flatten(1).numpy()]))


def separations(record: PhaseRecord) -> Tensor:
    """sigma / |a_1 - a_3| (angles, sigmas)."""
    angles = torch.tensor(record.spec.angles, dtype=torch.float64).deg2rad()
    return (
        torch.tensor(record.spec.sigmas, dtype=torch.float64) / (2 * torch.sin(angles / 2))[:, None]
    )


def second_minima(record: PhaseRecord) -> Finding:
    """Every second end found is a minimum (no slope, curvature above 2e-4) of larger loss."""
    found = ~record.excess.isnan()
    minima = (record.slope < 1e-6) & (record.curvature > 2e-4)
    higher = bool((record.excess[found] > 0).all())
    words = f"{int(found.sum())} of {found.numel()} cells of the figure have one"
    return Finding(bool(found.any()) and bool(minima.all()) and higher, words)


def threshold(record: PhaseRecord) -> Finding:
    """No second minimum at sigma / |a_1 - a_3| below 2, one at all above 5; once there it stays as
    sigma grows, and it goes as the angle opens."""
    found, ratio = ~record.excess.isnan(), separations(record)
    low, high = float(ratio[found].min()), float(ratio[~found].max())
    steady = bool((found.long().diff(dim=1) >= 0).all() and (found.long().diff(dim=0) <= 0).all())
    ratio_name = r"$\sigma / \lvert a_1 - a_3 \rvert$"
    words = f"a second minimum at no {ratio_name} below {low:.1f}, at every one above {high:.1f}"
    return Finding(steady and 2 < low < 5 and high < 5, words)


def found_from_zero(record: PhaseRecord) -> Finding:
    """Descent from W = 0 ends at the minimum next to W* in every cell."""
    same = record.from_zero < 1e-2
    return Finding(bool(same.all()), f"{int(same.sum())} of {same.numel()} cells")


def geometric(record: ConvergenceRecord) -> Finding:
    """EM and descent both come within 1e-8 of the minimiser, at rates between 0.9 and 1.02 of those
    that the information matrices predict."""
    em = record.em_measured / record.em_predicted
    descent = record.descent_measured / record.descent_predicted
    ratio = torch.cat([em, descent])
    arrived = bool((record.em[-1] < 1e-8).all() and (record.descent[-1] < 1e-8).all())
    words = f"measured rate / predicted rate {float(ratio.min()):.3f} to {float(ratio.max()):.3f}"
    return Finding(arrived and bool((ratio > 0.9).all() and (ratio < 1.02).all()), words)


def stops_at_the_floor(record: ConvergenceRecord) -> Finding:
    """EM's last distance to W* over the predicted (tr H^-1 / n)^1/2: root mean square near one."""
    ratio = record.to_truth[-1] / record.floor
    mean, interval = over_clusters([*ratio.square().numpy()])
    low, high = (v**0.5 for v in interval)
    holds = bool((ratio > 0.5).all() and (ratio < 1.8).all()) and low < 1.15 and high > 0.85
    return Finding(holds, mean**0.5, (low, high))


def on_one_curve(record: SeparationRecord, predicted: Tensor) -> Finding:
    """Measured rates over ``predicted`` (noises,), which knows sigma / |a_1 - a_2| alone: within 5
    per cent on average; at each noise within what the samples in the strip allow, 25 at most."""
    ratio = record.measured / predicted[:, None]
    inside = record.spec.n * torch.tensor(record.spec.noises, dtype=torch.float64)
    allowed = (2.5 * (record.spec.d / inside).sqrt() + 0.02).clamp_max(0.25)
    close = bool(((ratio.mean((0, 2)) - 1).abs() < allowed).all())
    mean, interval = over_clusters([*ratio.transpose(0, 2).flatten(1).numpy()])
    return Finding(close and abs(mean - 1) < 0.05, mean, interval)


def same_in_every_dimension(record: DimensionRecord) -> Finding:
    """EM and descent: the rate in the extreme directions, on data that did not choose them, is in
    no dimension and trial above the population's by more than 4 per cent, nor below by more than 10
    (they are not quite the extreme ones); and the rates of finite samples lie above it (descent's
    within 5 per cent, as its Hessian is the one at the sample's own minimiser)."""
    em, descent = record.fresh / record.em_limit, record.descent_fresh / record.descent_limit
    above = bool((record.em_predicted > 0.99 * record.fresh).all())
    above &= bool((record.descent > 0.95 * record.descent_fresh).all())
    both = torch.cat([em, descent])
    level = bool((both < 1.04).all() and (both > 0.9).all())
    return Finding(level and above, *over_clusters([*em[-1].numpy()]))


def bias_shrinks(fewer: DimensionRecord, record: DimensionRecord) -> Finding:
    """Where ``record`` has four times the data of ``fewer``, the excess of the sample's rate over
    the population's is less than three quarters of that, at the largest dimension."""
    before, after = (float((r.em_predicted[-1] / r.em_limit - 1).mean()) for r in (fewer, record))
    return Finding(after < 0.75 * before, f"{before:.3f} to {after:.3f}")


def _lengths(record: TransferRecord) -> tuple[Tensor, Tensor]:
    """shifts (1, shifts, 1) in units of sigma, and sigmas (sigmas, 1, 1)."""
    shifts, sigmas = record.spec.shifts, record.spec.sigmas
    return (
        torch.tensor(shifts, dtype=torch.float64)[None, :, None],
        torch.tensor(sigmas, dtype=torch.float64)[:, None, None],
    )


def promise_kept(record: TransferRecord) -> Finding:
    """No shift of the gates exceeds epsilon = |a_i - a_i*| / sigma^2, in random directions at any
    distance and in the worst ones at sigma / 10."""
    shifts, sigmas = _lengths(record)
    random = record.moved / (shifts / sigmas)
    worst = record.moved_worst / (0.1 / sigmas[:, 0])
    largest = max(float(random.max()), float(worst.max()))
    return Finding(largest < 1, largest)


def bounded_response(record: TransferRecord) -> Finding:
    """Large samples: the slope at the smallest sigma is no more than 1.5 times that at the largest,
    in random and in worst directions."""
    growth = max(
        float(np.median(slope[0]) / np.median(slope[-1]))
        for slope in (record.large, record.worst_large)
    )
    return Finding(growth < 1.5, growth)


def linear_up_to_the_noise(record: TransferRecord) -> Finding:
    """Shift over predicted line: within 15 per cent of one below 0.03 sigma, in every trial; off by
    more than 15 per cent (median) somewhere beyond sigma, at every noise level."""
    shifts, sigmas = _lengths(record)
    ratio = record.moved / (shifts * sigmas * record.slope[:, None])
    near, far = shifts[0, :, 0] < 0.03, shifts[0, :, 0] >= 1
    error = float((ratio[:, near] - 1).abs().max())
    bend = np.abs(np.median(ratio[:, far], axis=2) - 1).max(axis=1)
    return Finding(error < 0.15 and bool((bend > 0.15).all()), error)


def small_beside_the_error(record: TransferRecord) -> Finding:
    """Regressors wrong by sigma / 10: the gates move by less than a third of the error that exact
    regressors leave (random directions), by less than all of it (worst directions)."""
    shifts, _ = _lengths(record)
    within = record.moved[:, shifts[0, :, 0] <= 0.1001]
    random = float((within / record.statistical[:, None]).max())
    worst = float((record.moved_worst / record.statistical).max())
    words = f"at most {random:.2f} of that error in random directions, {worst:.2f} in the worst"
    return Finding(random < 1 / 3 and worst < 1, words)


def helped(record: TransferRecord) -> Finding:
    """Regressors wrong by 2 sigma: in more than half of the problems (noise levels of at least 0.1,
    trials as clusters) learning sigma leaves a smaller error than holding it."""
    rows = torch.tensor(record.spec.sigmas) >= 0.1
    better = (record.learned < record.held)[rows]
    mean, interval = over_clusters([*better.double().T.numpy()])
    return Finding(None if record.spec.trials < 10 else interval[0] > 0.5, mean, interval)
