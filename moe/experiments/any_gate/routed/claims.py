"""What decides the claims about routed layers (chapter 10)."""

from __future__ import annotations

import torch
from torch import Tensor

from moe.experiments.any_gate.routed.contest import LONG, ON, THEN, TWO, Record
from moe.experiments.any_gate.routed.joint import LIKELIHOOD, SOFT, SPARSE
from moe.experiments.common.claims import Finding, geometric_mean

_LOST = 0.1  # E_reg beyond which an expert is lost


def _of(record: Record, method: str, chosen: int) -> Tensor:
    """E_reg of every layer with that routing, all g."""
    found = [each[method] for (top, _), each in record.errors.items() if top == chosen]
    return torch.cat(found) if found else torch.empty(0)


def _ratio(record: Record, above: str, below: str, chosen: int) -> Finding:
    """Geometric mean over layers of the ratio of two E_reg, with its interval over layers; holds
    where that lies above one."""
    logs = (_of(record, above, chosen) / _of(record, below, chosen)).log()
    value, ends = geometric_mean([[value] for value in logs.tolist()])
    return Finding(ends[0] > 1, value, ends)


def one_is_a_mixture(record: Record) -> Finding:
    """Top-1: two losses, joint likelihood from random starts, and from the two losses lose no
    expert, and the last two end within a factor of two of each other, on average. The number: how
    many times the error from random starts is that from the two losses."""
    kept = all(float(_of(record, method, 1).max()) < _LOST for method in (TWO, THEN, LIKELIHOOD))
    found = _ratio(record, LIKELIHOOD, THEN, 1)
    near = isinstance(found.value, float) and 0.5 < found.value < 2
    return Finding(kept and near, found.value, found.interval)


def squares_lose(record: Record) -> Finding:
    """The squared losses, from random starts, lose an expert in some layers, the soft one from the
    two losses in none, and with a larger budget in no more than with the small one. The words
    count."""

    def lost(method: str, cells: list[dict[str, Tensor]]) -> tuple[int, int]:
        errors = torch.cat([cell[method] for cell in cells])
        return int((errors > _LOST).sum()), len(errors)

    every = list(record.errors.values())
    long = [cell for cell in every if LONG in cell]
    (soft, total), (sparse, _) = lost(SOFT, every), lost(SPARSE, every)
    words, more = f"soft {soft}, routed {sparse} of {total}", 0
    if long:
        more, of = lost(LONG, long)
        words += f"; linear experts, soft, {lost(SOFT, long)[0]} of {of}"
        words += f", with eight times the budget {more}"
    right = soft + sparse > 0 and lost(ON, every)[0] == 0
    return Finding(right and (not long or more <= lost(SOFT, long)[0]), words)


def two_is_no_mixture(record: Record) -> Finding:
    """Top-2: the likelihood from the two losses' experts errs more than the squared loss from
    there. The number: how many times, geometric mean over layers."""
    found = _ratio(record, THEN, ON, 2)
    far = found.interval is not None and found.interval[0] > 3
    return Finding(far, found.value, found.interval)
