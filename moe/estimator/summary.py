"""The table of a fit, as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

if TYPE_CHECKING:
    from moe.estimator.results import MixtureResults

_WIDTH = 80


@dataclass(frozen=True)
class Summary:
    """Rows of cells under a heading, facts above, remarks below: ``print`` it, or show it in a
    notebook."""

    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    sections: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        longest = max([12, *(len(row[0]) for _, rows in self.sections for row in rows)])
        wide = longest + 2
        width = max(_WIDTH, wide + 11 * len(self.columns))
        lines = [" Mixture of experts ".center(width, "=")]
        half = (len(self.facts) + 1) // 2
        for left, right in zip(
            self.facts[:half], (*self.facts[half:], ("", ""))[:half], strict=True
        ):
            lines.append(f"{_fact(left):<40}{_fact(right)}".rstrip())
        head = "".ljust(wide) + "".join(f"{column:>11}" for column in self.columns)
        lines += ["=" * width, head]
        for title, rows in self.sections:
            lines.append(f" {title} ".center(width, "-"))
            lines += [
                (row[0].ljust(wide) + "".join(f"{c:>11}" for c in row[1:])).rstrip() for row in rows
            ]
        return "\n".join([*lines, "=" * width, *self.remarks])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        facts = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in self.facts)
        head = "".join(f"<th>{escape(column)}</th>" for column in ("", *self.columns))
        body = ""
        for title, rows in self.sections:
            span = len(self.columns) + 1
            body += f'<tr><th colspan="{span}" scope="rowgroup">{escape(title)}</th></tr>'
            for name, *cells in rows:
                told = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
                body += f'<tr><th scope="row">{escape(name)}</th>{told}</tr>'
        remarks = "".join(f"<p>{escape(remark)}</p>" for remark in self.remarks)
        return (
            f"<table><caption>Mixture of experts</caption><tbody>{facts}</tbody></table>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{remarks}"
        )


def _fact(pair: tuple[str, str]) -> str:
    return f"{pair[0]}: {pair[1]}" if pair[0] else ""


def summary_of(
    results: MixtureResults,
    errors: NDArray[np.float64],
    alpha: float,
    robust: bool,
    missing: str,
    words: dict[str, str],
) -> Summary:
    """The table of ``results`` with these standard errors (P,); ``missing`` says why not, ``words``
    stand for names of columns."""
    half = norm.isf(alpha / 2) * errors
    sections: dict[str, list[tuple[str, ...]]] = {}
    for j, name in enumerate(results.param_names):
        part, _, term = name.partition(": ")
        value, error = float(results.params[j]), float(errors[j])
        if part.startswith("noise"):
            continue
        z = value / error if error > 0 else np.nan
        p_value = _p_value(2 * norm.sf(abs(z)))
        interval = _number(value - half[j]), _number(value + half[j])
        cells = (
            words.get(term, term),
            _number(value),
            _number(error),
            _number(z),
            p_value,
            *interval,
        )
        sections.setdefault(_title(part, results), []).append(cells)
    sections["noise: sigma"] = _noise(results, errors, half)
    facts = (
        *results.settings.items(),
        ("Samples", f"{results.nobs:g}"),
        ("Parameters", str(results.df_model)),
        ("Log-likelihood", f"{results.llf:.3f}"),
        ("AIC", f"{results.aic:.3f}"),
        ("BIC", f"{results.bic:.3f}"),
        ("ICL", f"{results.icl:.3f}"),
    )
    remarks = [f"Gates are log odds against expert {results.n_experts - 1}."]
    if results.n_experts == 1:
        remarks = []
    remarks += [f"Standard errors: {'robust (sandwich)' if robust else 'observed information'}."]
    if missing:
        remarks[-1] = f"No standard errors: {missing}."
    remarks += [f"Doubt: {doubt}." for doubt in results.doubts]
    columns = ("estimate", "std err", "z", "P>|z|", f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]")
    return Summary(facts, columns, tuple((t, tuple(r)) for t, r in sections.items()), (*remarks,))


def _title(part: str, results: MixtureResults) -> str:
    kind, index = part.split()
    share = f", share {results.proportions[int(index)]:.3f}" if kind == "expert" else ""
    return f"{part}{share}"


def _noise(
    results: MixtureResults, errors: NDArray[np.float64], half: NDArray[np.float64]
) -> list[tuple[str, ...]]:
    """Sigma with its error by the delta method and an interval that is one of log sigma."""
    rows: list[tuple[str, ...]] = []
    known = results.settings.get("Noise") == "known"
    k = 1 if results.shared_noise else results.n_experts
    for i in range(k):
        j, sigma = len(errors) - results.n_experts + i, float(results.sigmas[i])
        low, high = sigma * np.exp(-half[j]), sigma * np.exp(half[j])
        name = "all experts" if results.shared_noise else f"expert {i}"
        found = [""] * 3 if known else [_number(v) for v in (sigma * float(errors[j]), low, high)]
        cells = (_number(sigma), found[0], "", "", *found[1:])
        rows.append((name, *cells))
    return rows


def _p_value(value: float) -> str:
    """Zero is what is too small for a number."""
    return "< 1e-300" if value == 0 else _number(value)


def _number(value: float) -> str:
    if np.isnan(value):
        return ""
    size = abs(value)
    return f"{value:.4f}" if size == 0 or 1e-3 <= size < 1e4 else f"{value:.3e}"
