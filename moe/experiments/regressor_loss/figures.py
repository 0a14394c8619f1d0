"""Figures of chapter 4: L_4's three forms, descents on it, and what projection saves."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from moe.experiments.regressor_loss import ambient as l4_ambient
from moe.experiments.regressor_loss import descent as l4_descent
from moe.experiments.regressor_loss import fresh_samples as l4_stream
from moe.experiments.regressor_loss import three_forms
from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, DASHES, SEQUENTIAL, band, drawing, subplots
from moe.losses import l4_population


@drawing
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
    return figure


@drawing
def descent_figure(record: l4_descent.Record) -> Figure:
    """E_reg and the excess of L_4 over its lowest value, one line a start."""
    figure, axes = subplots(1, 2, height=3.2)
    excess = (record.values - record.values.min()).clamp_min(1e-12)
    quantities = ((record.errors, r"$E_{\mathrm{reg}}$"), (excess, r"$L_4 - \min L_4$"))
    for panel, (runs, label) in zip(axes[0], quantities, strict=True):
        panel.plot(record.iterations, runs, color=COLOURS["blue"], linestyle="-", alpha=0.45, lw=1,
                   label=hidden("a start"))  # fmt: skip
        panel.plot(
            record.iterations,
            runs.median(1).values,
            color=COLOURS["vermilion"],
            linestyle="--",
            label="median",
        )
        panel.set(yscale="log", xlabel="iteration", ylabel=label)
        panel.legend()
    return figure


@drawing
def ambient_figure(record: l4_ambient.Record) -> Figure:
    """E_reg after the same number of steps against n: in R^d, with delta, in R^d and projected
    only then, and projected before."""
    figure, axes = subplots(height=3.4, width=5.6)
    panel = axes[0, 0]
    sizes = np.asarray(record.spec.sizes, dtype=float)
    series = (
        (record.ambient, r"in $\mathbb{R}^d$", "vermilion", "o"),
        (record.ridge, rf"in $\mathbb{{R}}^d$, $\delta = {record.spec.delta:g}$", "orange", "s"),
        (record.afterwards, "projected afterwards", "green", "^"),
        (record.projected, "projected first", "blue", "D"),
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
            label=hidden(f"{label}, a data set"),
        )
        panel.plot(
            sizes,
            errors.nanmedian(1).values,
            marker=marker,
            color=COLOURS[colour],
            linestyle=DASHES[index],
            label=label,
        )
    panel.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel=r"$E_{\mathrm{reg}}$")
    panel.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], minor=False)
    panel.set_xticks([], minor=True)
    panel.legend()
    return figure


@drawing
def stream_figure(record: l4_stream.Record) -> Figure:
    """E_reg at the end, and the rows' length outside the span, against the batch size."""
    figure, axes = subplots(1, 2, height=3.4)
    batches = np.asarray(record.spec.batches, dtype=float)
    looks = (("vermilion", "o"), ("orange", "s"), ("blue", "D"))
    gone = 10.0  # longer rows than this are drawn at the edge
    for panel, values, exact in (
        (axes[0, 0], record.errors, record.population),
        (axes[0, 1], record.outside.clamp(max=gone), record.population_outside),
    ):
        for index, (way, (colour, marker)) in enumerate(zip(l4_stream.WAYS, looks, strict=True)):
            runs = values[:, index].numpy()
            place = np.repeat(batches[:, None], runs.shape[1], 1)
            style = dict(marker=marker, color=COLOURS[colour])
            told = hidden(f"{way}, a run")
            panel.plot(place, runs, alpha=0.4, linestyle="none", markersize=4, label=told, **style)
            middle = np.median(runs, axis=1)
            panel.plot(batches, middle, linestyle=DASHES[index], label=way, **style)
        level = float(exact.median())
        panel.axhline(level, color=COLOURS["black"], lw=1, label="exact expectations")
        panel.set(xscale="log", yscale="log", xlabel="samples in a batch")
        panel.set_xticks(batches, [f"{size:,.0f}" for size in batches], minor=False)
        panel.set_xticks([], minor=True)
    axes[0, 0].set_ylabel(r"$E_{\mathrm{reg}}$")
    axes[0, 1].set_ylabel("length outside the span / at the start")
    axes[0, 1].legend(fontsize=8, loc="upper right")
    return figure


@drawing
def dual_figure(
    truth: Tensor, proportions: Tensor, mu: float, lam: float, extent: float = 3.0
) -> Figure:
    """Level lines of the population L_4 of a single row in the plane, the two experts and their
    dual basis; beside it the same after whitening, where both are the axes of one square."""
    figure, axes = subplots(1, 2, height=3.6)
    spectrum, vectors = torch.linalg.eigh((truth.T * proportions) @ truth)
    whitener = vectors / spectrum.sqrt()
    v = proportions.sqrt()[:, None] * truth @ whitener
    norms = (lam / (lam - mu / proportions)).sqrt()
    minima = norms[:, None] * torch.linalg.pinv(truth).mT / proportions.sqrt()[:, None]
    panels = (
        (axes[0, 0], truth, minima, torch.eye(2, dtype=truth.dtype), extent, "original"),
        (axes[0, 1], v, norms[:, None] * v, whitener, 1.8, "whitened"),
    )
    for panel, experts, lowest, back, size, title in panels:
        line = torch.linspace(-size, size, 161, dtype=truth.dtype)
        grid = torch.cartesian_prod(line, line)
        values = l4_population((grid @ back.T).unsqueeze(-2), truth, proportions, mu, lam)
        low, high = float(values.min()), lam
        levels = low + (high - low) * np.linspace(0.1, 1, 14) ** 3
        shape = (len(line), len(line))
        panel.contour(line, line, values.view(shape).T, levels, cmap=SEQUENTIAL, linewidths=0.8)
        for index, (pair, colour, name) in enumerate(
            ((experts, "blue", "experts"), (lowest, "vermilion", "minima"))
        ):
            for m, point in enumerate(pair.tolist()):
                label = name if m == 0 else hidden(name)
                start = [0.0, 0.0] if index == 0 else [-point[0], -point[1]]
                ends = np.array([start, point])
                style = dict(marker="os"[index], linestyle="-" if index == 0 else "none")
                panel.plot(*ends.T, color=COLOURS[colour], label=label, markersize=5, **style)
        panel.set(aspect="equal", title=title, xlim=(-size, size), ylim=(-size, size))
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
