"""Tables of the chapter on the gates' loss."""

from __future__ import annotations

from math import isinf

import torch

from moe.experiments.gating_loss.claims import separations
from moe.experiments.gating_loss.convergence import ConvergenceRecord
from moe.experiments.gating_loss.landscape.minima import PhaseRecord
from moe.experiments.gating_loss.transfer import TransferRecord
from moe.experiments.shown.tables import Table, table


def found_or_not(value: float) -> str:
    """A ratio, or that there was none."""
    return "none found" if isinf(value) else f"{value:.1f}"


def onsets(phase: PhaseRecord) -> Table:
    """By angle: up to which ratio of noise to distance no second minimum was found, and from which
    one was."""
    rows = []
    found = ~phase.excess.isnan()
    for angle, here, ratio in zip(phase.spec.angles, found, separations(phase), strict=True):
        first = float(ratio[here].min()) if bool(here.any()) else None
        rows.append((angle, float(ratio[~here].max()), first))
    last = r"none found up to $\sigma / \lvert a_1 - a_3\rvert =$"
    return table(
        ("angle (degrees)", last, "one from"),
        rows,
        ("g", ".1f", lambda value: "not up to 1" if value is None else f"{value:.1f}"),
    )


def rates(record: ConvergenceRecord) -> Table:
    """Rates foretold and measured, means over the trials."""
    rows = []
    for name, predicted, measured in (
        ("EM", record.em_predicted, record.em_measured),
        ("gradient descent", record.descent_predicted, record.descent_measured),
    ):
        ratio = measured / predicted
        range_ = (float(ratio.min()), float(ratio.max()))
        rows.append((name, predicted.mean(), measured.mean(), range_))
    head = ("Method", "predicted rate", "measured rate", "measured / predicted")
    return table(head, rows, (None, ".3f", ".3f", ".3f"))


def responses(record: TransferRecord) -> Table:
    """How the gates answer an error of the regressors, by sigma: medians over the trials."""
    columns = {
        "slope, random": record.slope,
        "slope, worst": record.worst,
        "random, large sample": record.large,
        "worst, large sample": record.worst_large,
        r"shift at $\sigma/10$, worst": record.moved_worst,
        "error with exact regressors": record.statistical,
    }
    middle = torch.stack([values.quantile(0.5, dim=1) for values in columns.values()], 1)
    rows = [(s, *line) for s, line in zip(record.spec.sigmas, middle.tolist(), strict=True)]
    return table((r"$\sigma$", *columns), rows, ("g", *[".3f"] * len(columns)))


def learning(record: TransferRecord) -> Table:
    """The gates' error where all regressors are wrong by 2 sigma, sigma held or learned."""
    columns = (record.statistical, record.held, record.learned)
    middle = torch.stack([values.quantile(0.5, dim=1) for values in columns], 1).tolist()
    better = (record.learned < record.held).sum(1).tolist()
    rows = [
        (sigma, *line, count)
        for sigma, line, count in zip(record.spec.sigmas, middle, better, strict=True)
    ]
    wrong = r"wrong by $2\sigma$, $\sigma$"
    head = (r"$\sigma$", "exact regressors", f"{wrong} held", f"{wrong} learned")
    helps = f"learning helps, of {record.spec.trials}"
    return table((*head, helps), rows, ("g", *[".2f"] * 3, "d"))
