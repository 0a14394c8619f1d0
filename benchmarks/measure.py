"""What every benchmark shares: a row of the table, clocks, data, and the two references."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from moe.model.mixture import MoE, random_moe, random_rows
from moe.randomness import stream
from moe.solvers.em import EMResult, expectation_maximisation

T = TypeVar("T")


class Row(NamedTuple):
    """What was measured, its value, and the goal in words ("" where there is none)."""

    name: str
    value: float
    goal: str = ""


def seconds(call: Callable[[], T], repeats: int = 1) -> tuple[float, T]:
    """Best wall time of ``repeats`` calls, and the last result."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return best, result


def interleaved(*calls: Callable[[], object], repeats: int = 5) -> list[float]:
    """Best wall time of each call, the calls taking turns, so that other load hits all alike."""
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            best[i] = min(best[i], seconds(call)[0])
    return best


def peak_mib() -> float:
    """Of this process; the portable count would start from that of the process that made it."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def problem(seed: int, n: int, **options: Any) -> tuple[MoE, Tensor, Tensor]:
    """A random mixture (``moe.random_moe``) and n samples of it."""
    truth = random_moe(generator=stream("truth", seed), **options)
    return truth, *truth.sample(n, stream("data", seed))


def oracle(truth: MoE, x: Tensor, y: Tensor) -> EMResult:
    """Maximum likelihood by EM from the truth: the reference nobody can use."""
    return expectation_maximisation(
        x, y, truth.regressors, truth.gating, truth.sigma, truth.nonlinearity
    )


def annealed(truth: MoE, x: Tensor, y: Tensor, seed: int, starts: int = 1) -> EMResult:
    """Joint EM from random starts with ONE sigma learned from the spread of y, gates learned."""
    rows = random_rows(starts, truth.k, truth.d, stream("starts", seed), x.dtype)
    return expectation_maximisation(x, y, rows, torch.zeros_like(rows), y.std(), truth.nonlinearity)
