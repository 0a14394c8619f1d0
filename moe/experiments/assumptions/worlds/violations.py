"""The catalogue: each assumption, the knob that breaks it, and what repairs it.

To add one, write an entry of ``VIOLATIONS``: how a world in which everything holds is changed at a
degree. Sweep, table and pictures do the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from moe.experiments.assumptions.worlds import changes, repairs
from moe.experiments.assumptions.worlds.changes import Change
from moe.experiments.assumptions.worlds.laws import (
    Correlated,
    Outliers,
    Smoothed,
    SomeBinary,
    Student,
    StudentNoise,
)
from moe.experiments.assumptions.worlds.repairs import Repair


@dataclass(frozen=True)
class Violation:
    """One assumption broken.

    name: unique; knob: what the degree counts; degrees: increasing in size, all of them broken (at
    0 the model holds); change; limit: what plain averages converge to, as Markdown; repair, and
    what it does in words; believed: whether the likelihood too believes what is broken, not the
    moments alone.
    """

    name: str
    knob: str
    degrees: tuple[float, ...]
    change: Change
    limit: str
    repair: Repair
    repaired_by: str
    believed: bool


_REWEIGHTS = r"the truth in the span, with other weights"
_CUMULANT = (
    r"plus $\frac12 \operatorname{diag}(\gamma_j \sum_i \bar p_i a_{ij}^2)$, and the gate's share"
)

_ENTRIES = (
    Violation(
        "gates in the span",
        "sine of the angle",
        (0.5, 1.0),
        changes.into_the_span,
        "no closed form: the gate selects inputs",
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "correlated inputs",
        r"$\rho$",
        (0.4, 0.8),
        changes.other_inputs(lambda degree: Correlated(degree)),
        r"$\Sigma a_i$ for $a_i$, plus $\frac12 (a_i^\top \Sigma a_i + \sigma^2)(\Sigma - I)$",
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "uniform columns",
        "share of the deviation",
        (0.7, 1.0),
        changes.other_inputs(lambda degree: Smoothed("uniform", degree)),
        _CUMULANT,
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "two clusters a column",
        "half their distance",
        (0.7, 0.95),
        changes.other_inputs(lambda degree: Smoothed("clusters", degree)),
        _CUMULANT,
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "Student columns",
        r"$1/\nu$",
        (0.1, 0.2),
        changes.other_inputs(lambda degree: Student(1 / degree)),
        _CUMULANT,
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "binary columns",
        "how many of six",
        (3, 6),
        changes.other_inputs(lambda degree: SomeBinary(round(degree))),
        _CUMULANT,
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "unequal norms",
        r"$\log_2$ of longest over shortest",
        (1.0, 2.0),
        changes.norms,
        _REWEIGHTS
        + r"; outside it the gate, $\frac12 \sum_i \lvert a_i\rvert^2\, \mathbb E[\nabla^2 p_i]$",
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "skewed proportions",
        "norm of opposite gates",
        (4.0, 12.0),
        changes.opposite_gates,
        "the truth: nothing is broken",
        repairs.by_likelihood,
        "the joint likelihood",
        False,
    ),
    Violation(
        "sigma told too large",
        r"$\log_2$ of the factor",
        (1.0, 2.0),
        changes.told_sigma,
        _REWEIGHTS,
        repairs.sigma_learned,
        r"learning $\sigma$",
        True,
    ),
    Violation(
        "sigma told too small",
        r"$-\log_2$ of the factor",
        (1.0, 3.0),
        lambda world, degree, generator: changes.told_sigma(world, -degree, generator),
        _REWEIGHTS,
        repairs.sigma_learned,
        r"learning $\sigma$",
        True,
    ),
    Violation(
        "heavy-tailed noise",
        r"$1/\nu$",
        (0.2, 0.4),
        changes.other_noise(lambda degree: StudentNoise(1 / degree)),
        _REWEIGHTS + r", $T$ for $\nu > 4$",
        repairs.trimmed,
        "leaving out the largest outputs",
        True,
    ),
    Violation(
        "outliers",
        "share",
        (0.01, 0.05),
        changes.other_noise(lambda degree: Outliers(degree)),
        _REWEIGHTS,
        repairs.trimmed,
        "leaving out the largest outputs",
        True,
    ),
    Violation(
        "wrong nonlinearity",
        "one minus the slope below zero",
        (0.4, 0.9),
        changes.bent_experts,
        _REWEIGHTS + r"; $\mathbb E[q_2 \mathrm{He}_1] \ne 0$ tilts the span",
        repairs.nonlinearity_chosen,
        "the nonlinearity of highest likelihood among three, one of them the true one",
        True,
    ),
    Violation(
        "too many experts",
        "how many too many",
        (1,),
        changes.asked_for(1),
        "the truth, of rank $k$",
        repairs.experts_counted,
        "counting by likelihood",
        True,
    ),
    Violation(
        "too few experts",
        "how many too few",
        (1,),
        changes.asked_for(-1),
        "the truth, of rank $k$",
        repairs.experts_counted,
        "counting by likelihood",
        True,
    ),
    Violation(
        "a gate bias",
        "offset",
        (0.5, 1.0),
        changes.gate_offsets,
        "the truth (chapter 10)",
        repairs.offsets_allowed,
        "gates with offsets",
        True,
    ),
)
VIOLATIONS = {each.name: each for each in _ENTRIES}
