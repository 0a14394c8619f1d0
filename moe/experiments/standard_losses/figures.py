"""Figures of the chapter on the standard losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from moe.experiments.shown.figures_names import hidden
from moe.experiments.shown.style import COLOURS, DASHES, SEQUENTIAL, band, drawing, subplots
from moe.experiments.standard_losses.annealing import Annealing, StuckPaths
from moe.experiments.standard_losses.random_starts import EMShares
from moe.experiments.standard_losses.sigma_held import Record as HeldRecord
from moe.experiments.standard_losses.squared_phase import CERTIFIED, FOUND, NONE, Phase
from moe.landscape.slices import Path

_FALLING = ("black", "green", "orange", "vermilion")


@drawing
def gate_profiles(
    axis: Tensor, oblique: Tensor, orthogonal: Tensor, marks: dict[str, list[tuple[float, float]]]
) -> Figure:
    """F(w) for two pairs of experts on the same grid of gates (R, R), first axis across; marks:
    "truth oblique", "spurious", "truth orthogonal" -> points."""
    figure, axes = subplots(1, 2, height=3.5)
    panels: tuple[tuple[str, Tensor, list[tuple[float, float]], list[tuple[float, float]]], ...] = (
        ("gate at 60° from $\\delta^*$", oblique, marks["truth oblique"], marks["spurious"]),
        ("gate orthogonal to $\\delta^*$", orthogonal, marks["truth orthogonal"], []),
    )
    for axes_, (title, values, truths, spurious) in zip(axes[0], panels, strict=True):
        shades = axes_.contourf(
            axis,
            axis,
            values.T.clamp_min(1e-4).log10(),
            levels=np.linspace(-3.5, float(values.max().log10()), 24),
            cmap=SEQUENTIAL,
            extend="min",
        )
        axes_.plot(*zip(*truths, strict=True), "*", color="white", mec="black", ms=13,
                   label=hidden("truths"))  # fmt: skip
        if spurious:
            axes_.plot(
                *zip(*spurious, strict=True), "X", color=COLOURS["vermilion"], mec="white", ms=9,
                label=hidden("spurious minima"),
            )  # fmt: skip
        else:
            for side in (1.7, -1.7):
                arrow = dict(arrowstyle="->", color="white", lw=1.8)
                axes_.annotate("", (0, 0), (side, 0), arrowprops=arrow)
        axes_.set(title=title, xlabel=r"$w$ along $\delta^*$ (1)", aspect="equal")
        axes_.grid(visible=False)
    axes[0, 0].set_ylabel(r"$w$ across $\delta^*$ (1)")
    figure.colorbar(
        shades,
        ax=axes[0],
        label="$\\log_{10}$ excess squared loss ($y^2$)",
        shrink=0.8,
        format="{x:.1f}",
    )
    return figure


@drawing
def squared_paths(to_truth: Path, between: Path) -> Figure:
    """Excess squared loss from a spurious minimum to the truth, and between two truths."""
    figure, ((axes,),) = subplots(1, 1, height=2.9, width=5.5)
    for path, colour, dashes, label in (
        (to_truth, "vermilion", "-", "spurious minimum → truth"),
        (between, "blue", "--", "truth, experts swapped → truth"),
    ):
        axes.plot(path.steps, path.values, color=COLOURS[colour], linestyle=dashes, label=label)
    axes.set(xlabel="share of the way (1)", ylabel="excess squared loss ($y^2$)", ylim=(0, None))
    figure.legend(loc="outside upper center")
    return figure


@drawing
def phase_diagram(record: Phase) -> Figure:
    """Left: where a spurious minimum exists, coloured by its least curvature. Right: curvature and
    size of the regressors against the angle, one line a gate norm of one or more."""
    figure, axes = subplots(1, 2, height=3.8)
    left, right = axes[0]
    angle = np.array(record.spec.angles, dtype=float)
    norm = np.array(record.spec.norms, dtype=float)
    across, up = np.meshgrid(angle, norm)
    kind, curvature = record.kind.numpy(), record.curvature.numpy()
    left.plot(
        across[kind == NONE], up[kind == NONE], "x", color=COLOURS["grey"], label="none found"
    )
    sure, open_ = kind == CERTIFIED, kind == FOUND
    left.plot(across[open_], up[open_], "o", mfc="none", mec="black", label="not certified")
    shades = left.scatter(
        across[sure],
        up[sure],
        c=np.log10(curvature[sure]),
        cmap=SEQUENTIAL,
        s=45,
        label="certified",
    )
    figure.colorbar(shades, ax=left, label=r"$\log_{10}$ least curvature")
    degrees = r"angle of $w^*$ to $\delta^*$ (degrees)"
    left.set(xlabel=degrees, ylabel=r"gate norm $|w^*|$ (1)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    shown = [i for i, value in enumerate(norm) if value >= 1]
    for i, colour, dashes in zip(shown, COLOURS.values(), DASHES, strict=False):
        there = kind[i] != NONE
        right.plot(
            angle[there],
            curvature[i][there],
            color=colour,
            linestyle=dashes,
            marker="o",
            ms=3.5,
            label=rf"$|w^*| = {norm[i]:g}$",
        )
    right.set(xlabel=degrees, ylabel="least curvature at the spurious minimum", xlim=(0, 92))
    right.set_yscale("log")
    right.legend(loc="lower left")
    return figure


@drawing
def held_slices(record: HeldRecord) -> Figure:
    """The tempered loss on one plane, sigma held at each value; stars: truths, cross: stuck."""
    count = len(record.slices)
    figure, axes = subplots(2, (count + 1) // 2, height=2.8, sharex=True, sharey=True)
    for axes_, sigma, plane in zip(axes.flat, record.spec.sigmas, record.slices, strict=True):
        values = (plane.values / plane.values.min()).log().T
        levels = np.linspace(0, min(1.8, float(values.max())), 19)
        options: Any = dict(levels=levels, extend="max")
        axes_.contourf(plane.first, plane.second, values, cmap=SEQUENTIAL, **options)
        axes_.contour(plane.first, plane.second, values, colors="white", linewidths=0.4, **options)
        axes_.plot([0, record.swap], [0, 1], "*", color="white", mec="black", ms=12, clip_on=False,
                   label=hidden("truths"))  # fmt: skip
        axes_.plot([1], [0], "X", color=COLOURS["vermilion"], mec="white", ms=9,
                   label=hidden("stuck point"))  # fmt: skip
        axes_.set_title(rf"$\sigma$ held at {sigma:g}")
        axes_.grid(visible=False)
    axes[0, 0].locator_params(axis="x", prune="upper")  # its place is the next panel's
    for axes_ in axes[-1]:
        axes_.set_xlabel("towards the stuck point (1)")
    for axes_ in axes[:, 0]:
        axes_.set_ylabel("towards a relabelling (1)")
    return figure


@drawing
def held_paths(record: HeldRecord) -> Figure:
    """The tempered loss from the stuck point to the truth, relative to its value at the former."""
    figure, ((axes,),) = subplots(1, 1, height=2.9, width=5.8)
    steps = record.paths[0].steps
    stuck = steps.abs().argmin()
    _by_sigma(axes, record.spec.sigmas, steps, [p.values / p.values[stuck] for p in record.paths])
    axes.set(xlabel="share of the way from the stuck point to the truth (1)", ylim=(0, None))
    axes.set_ylabel(r"$F_\sigma$, 1 where stuck (1)")
    axes.legend()
    return figure


def _by_sigma(axes: Axes, sigmas: Sequence[float], steps: Tensor, curves: Sequence[Tensor]) -> None:
    for sigma, values, colour, dashes in zip(sigmas, curves, _FALLING, DASHES, strict=False):
        label = rf"$\sigma$ held at {sigma:g}"
        axes.plot(steps, values, color=COLOURS[colour], linestyle=dashes, label=label)


@drawing
def stuck_paths(record: StuckPaths) -> Figure:
    """Loss along the way out, scaled to 1 at the stuck point and 0 at the maximum."""
    figure, axes = subplots(1, 2, height=3.2, sharey=True)
    start, end = ((record.steps - at).abs().argmin() for at in (0.0, 1.0))
    titles = {
        "data": f"the {record.cell.n:,} samples",
        "large sample": f"{record.large:,} fresh samples",
    }
    for axes_, (name, curves) in zip(axes[0], record.curves.items(), strict=True):
        scaled = [(v - v[end]) / (v[start] - v[end]) for v in curves]
        _by_sigma(axes_, record.sigmas, record.steps, scaled)
        axes_.set(title=titles[name], xlabel="share of the way to the best maximum (1)")
    axes[0, 0].set_ylabel("negative log-likelihood, scaled (1)")
    axes[0, 1].legend()
    return figure


@drawing
def em_shares(families: dict[str, Sequence[EMShares]]) -> Figure:
    """Share of successful starts against n with 95 % intervals over data sets, a panel a family."""
    figure, axes = subplots(1, len(families), height=3.1, sharey=True)
    for axes_, (title, results) in zip(axes[0], families.items(), strict=True):
        _shares(axes_, results)
        axes_.set(title=title, xlabel="samples $n$", ylim=(-0.04, 1.04))
    axes[0, 0].set_ylabel(r"share with $E_{\rm reg} < 0.05$ (1)")
    axes[0, 0].legend(loc="center right")
    return figure


def _shares(axes: Axes, results: Sequence[EMShares]) -> None:
    for name, colour, marker, shift, dashes in (
        ("learned", "blue", "o", 0.97, "-"),
        ("held", "vermilion", "s", 1.03, "--"),
    ):
        shares = [getattr(result, name) for result in results]
        values = np.array([share.value for share in shares])
        low, high = np.array([share.interval() for share in shares]).T
        axes.errorbar(
            [shift * result.cell.n for result in results],
            values,
            [np.maximum(values - low, 0), np.maximum(high - values, 0)],
            color=COLOURS[colour],
            marker=marker,
            linestyle=dashes,
            capsize=3,
            label=rf"$\sigma$ {name}",
        )
    axes.set_xscale("log")
    sizes = [result.cell.n for result in results]
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()


@drawing
def annealing(record: Annealing) -> Figure:
    """sigma and the entropy of the responsibilities over the iterations of EM."""
    figure, axes = subplots(1, 2, height=3.1)
    styles = {"sigma held": ("vermilion", "--"), "sigma learned": ("blue", "-")}
    for axes_, runs, label in (
        (axes[0, 0], record.sigma, r"$\sigma$ of the model ($y$)"),
        (axes[0, 1], record.entropy, "entropy of the responsibilities (nats)"),
    ):
        for name, values in runs.items():
            colour, dashes = styles[name]
            band(
                axes_,
                np.arange(len(values)),
                values,
                colour=COLOURS[colour],
                linestyle=dashes,
                label=name.replace("sigma", r"$\sigma$"),
            )
        axes_.set(xlabel="iteration", ylabel=label)
    axes[0, 0].set_yscale("log")
    axes[0, 0].legend()
    return figure
