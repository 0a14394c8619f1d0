"""Figures of chapter 4: L_4's three forms, descents on it, and what projection saves."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from moe.experiments import l4_ambient, l4_descent, three_forms
from moe.plotting.style import COLOURS, DASHES, band, subplots


def forms_figure(record: three_forms.Record) -> Figure:
    """Distance of the moment form from the population form against n, and a line of slope -1/2."""
    figure, axes = subplots(height=3.4, width=5.6)
    panel = axes[0, 0]
    sizes = np.asarray(record.spec.sizes)
    per_trial = (record.moments - record.population).square().mean(-1).sqrt()
    band(
        panel,
        sizes,
        per_trial.numpy(),
        colour=COLOURS["blue"],
        label="one data set: median, 10-90 %",
        linestyle="--",
    )
    rms = record.rms_error.numpy()
    panel.plot(sizes, rms, "o", color=COLOURS["vermilion"], label="root mean square")
    middle = np.exp(np.mean(np.log(rms) + 0.5 * np.log(sizes)))
    panel.plot(sizes, middle / np.sqrt(sizes), color=COLOURS["black"], label=r"slope $-1/2$")
    panel.set(
        xscale="log",
        yscale="log",
        xlabel="samples $n$",
        ylabel=r"$|L_4(\hat M, \hat T) - L_4|$",
    )
    panel.legend()
    plt.close(figure)
    return figure


def descent_figure(record: l4_descent.Record) -> Figure:
    """E_reg and the excess of L_4 over its lowest value, one line a start."""
    figure, axes = subplots(1, 2, height=3.2)
    excess = (record.values - record.values.min()).clamp_min(1e-12)
    quantities = ((record.errors, r"$E_{\mathrm{reg}}$"), (excess, r"$L_4 - \min L_4$"))
    for panel, (runs, label) in zip(axes[0], quantities, strict=True):
        panel.plot(record.iterations, runs, color=COLOURS["blue"], linestyle="-", alpha=0.45, lw=1)
        panel.plot(
            record.iterations,
            runs.median(1).values,
            color=COLOURS["vermilion"],
            linestyle="--",
            label="median",
        )
        panel.set(yscale="log", xlabel="iteration", ylabel=label)
        panel.legend()
    plt.close(figure)
    return figure


def ambient_figure(record: l4_ambient.Record) -> Figure:
    """E_reg after the same number of steps against n: in R^d, with delta, and projected."""
    figure, axes = subplots(height=3.4, width=5.6)
    panel = axes[0, 0]
    sizes = np.asarray(record.spec.sizes, dtype=float)
    series = (
        (record.ambient, r"in $\mathbb{R}^d$", "vermilion", "o"),
        (record.ridge, rf"in $\mathbb{{R}}^d$, $\delta = {record.spec.delta:g}$", "orange", "s"),
        (record.projected, "projected", "blue", "D"),
    )
    for index, (errors, label, colour, marker) in enumerate(series):
        values = errors.numpy()
        place = np.repeat(sizes[:, None], values.shape[1], 1)
        panel.plot(
            place,
            values,
            marker,
            color=COLOURS[colour],
            alpha=0.5,
            linestyle="none",
            markersize=5,
        )
        panel.plot(
            sizes,
            np.median(values, axis=1),
            marker=marker,
            color=COLOURS[colour],
            linestyle=DASHES[index],
            label=label,
        )
    panel.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel=r"$E_{\mathrm{reg}}$")
    panel.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], minor=False)
    panel.set_xticks([], minor=True)
    panel.legend()
    plt.close(figure)
    return figure
