"""Held-out likelihood and error of all contestants over repeated splits of each table."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moe.experiments.engine.sweep import by_spec, sweep
from moe.experiments.real_data.contestants import METHODS, OTHERS
from moe.experiments.real_data.data import SOURCES, digest, load, split
from moe.experiments.real_data.intervals import Resampled, resampled
from moe.randomness import child_seed

DENSITY, MEDIAN, ERROR = "density", "median", "error"
SECONDS, FITTED = "seconds", "fitted"
HELD_OUT = 0.2


@dataclass(frozen=True)
class Spec:
    """One table (digest: of its file), k experts, these methods."""

    name: str
    digest: str
    experts: int
    methods: tuple[str, ...] = tuple(METHODS)


@dataclass(frozen=True, eq=False)
class Record:
    """values[table, method, measure]: one a split, (J,). The measures: nats a held-out sample,
    their mean and their median, root mean square error, CPU seconds of the fit, nats of all fitted
    samples."""

    values: dict[tuple[str, str, str], NDArray[np.float64]] = field(repr=False)

    @property
    def tables(self) -> list[str]:
        """In the order in which they were run."""
        return list(dict.fromkeys(name for name, _, _ in self.values))

    def methods(self, table: str) -> list[str]:
        """Those that ran on a table."""
        return list(dict.fromkeys(method for name, method, _ in self.values if name == table))

    def gain(self, table: str, method: str, over: str, measure: str = DENSITY) -> Resampled:
        """The mean over splits of a measure of ``method`` less that of ``over``, split by split."""
        difference = self.values[table, method, measure] - self.values[table, over, measure]
        return resampled(difference.tolist(), HELD_OUT)

    def mean(self, table: str, method: str, measure: str) -> Resampled:
        """The mean over splits."""
        return resampled(self.values[table, method, measure].tolist(), HELD_OUT)


def spec_of(name: str, methods: Sequence[str] = tuple(METHODS)) -> Spec:
    """For a table of ``SOURCES``."""
    return Spec(name, digest(name), SOURCES[name].experts, tuple(methods))


def run(specs: Sequence[Spec], splits: Sequence[int], seed: int) -> Record:
    """Every spec on as many random splits as it is given, 80 % to fit and 20 % held out."""
    values = {}
    for spec, count in zip(specs, splits, strict=True):
        seeds = [child_seed(seed, spec.name, index) for index in range(count)]
        (trials,) = by_spec(sweep(trial, [spec], seeds), count)
        for key in trials[0].result:
            method, measure = key.split(": ")
            found = np.array([each.result[key] for each in trials])
            values[spec.name, method, measure] = found
    return Record(values)


def trial(spec: Spec, seed: int) -> dict[str, float]:
    """All methods on one split. Deterministic but for the seconds."""
    data = load(spec.name)
    kept, out = split(len(data.y), seed, HELD_OUT)
    result = {}
    for method in spec.methods:
        started = time.process_time()
        fit = (METHODS | OTHERS)[method](
            data.x[kept], data.y[kept], spec.experts, child_seed(seed, "fit", method)
        )
        seconds = time.process_time() - started
        inside = fit.density(data.x[kept], data.y[kept])
        rest = data.y[out] - fit.mean(data.x[out])
        density = fit.density(data.x[out], data.y[out])
        result[f"{method}: {DENSITY}"] = float(density.mean())
        result[f"{method}: {MEDIAN}"] = float(np.median(density))
        result[f"{method}: {ERROR}"] = math.sqrt(float(np.mean(rest**2)))
        result[f"{method}: {SECONDS}"] = seconds
        result[f"{method}: {FITTED}"] = float(inside.sum())
    return result
