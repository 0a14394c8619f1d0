"""Tables of the chapter on Stein's lemma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moe.experiments.shown.tables import Table, table
from moe.experiments.stein.estimators import Record
from moe.model.nonlinearity import NONLINEARITIES
from moe.moments.transforms import output_transform


def terms(record: Record) -> Table:
    """For y, y^m and Q_m(y): the factor of each part j of the score moment, and the part's norm."""
    m = record.spec.order
    head, rows = ["$j$", "gate factor"], []
    for name in ("y", f"y^{m}", f"Q_{m}(y)"):
        head += [rf"$\mathbb E\,q^{{(j)}}$, ${name}$", f"norm, ${name}$"]
    for j in range(m + 1):
        pairs = [(float(record.expert_factors[o, j]), float(record.terms[o, j])) for o in range(3)]
        cells = [round(value, 9) + 0.0 for pair in pairs for value in pair]
        rows.append([j, float(record.gate_factors[j]), *cells])
    return table(head, rows, ["d", *[".3f"] * 7])


def transforms(sigma: float, noise: Mapping[str, Sequence[float]]) -> Table:
    """Coefficients and normalisers of Q_4, Q_2, and ``noise``: sd(Q_4(y)) / |c_4| at three sigmas,
    a row a nonlinearity."""
    rows = []
    for name in NONLINEARITIES:
        quartic, quadratic = (output_transform(name, sigma, degree) for degree in (4, 2))
        gamma, beta, alpha, _ = quartic.coefficients
        scales = (quartic.normaliser, quadratic.normaliser)
        rows.append([name.replace("_", " "), alpha, beta, gamma, *scales, *noise[name]])
    head = ["$g$", r"$\alpha$", r"$\beta$", r"$\gamma$", "$c_4$", "$c_2$"]
    head += [r"noise, $\sigma = 0.05$", "$0.1$", "$0.5$"]
    return table(head, rows, ["", *[".4g"] * 5, *[".3g"] * 3])
