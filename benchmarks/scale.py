"""Moments and sweeps at scale: what they cost, as ratios to references measured in the same run.

python -m benchmarks.scale 100000000 streams that many samples through M and T and prints the time
and the peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Row, interleaved, peak_mib
from moe.experiments.engine.sweep import sweep
from moe.metrics import regressor_error, regressor_error_of
from moe.model.mixture import MoE, random_moe
from moe.moments.estimate import Method, score_moment
from moe.moments.transforms import output_transform
from moe.randomness import stream
from moe.recovery import recover
from moe.solvers.l4 import minimise_l4
from moe.solvers.streaming import stream_l4_moments, stream_moments

CHUNK = 100_000


def truth(d: int, k: int = 3) -> MoE:
    return random_moe(k=k, d=d, sigma=0.1, generator=stream("truth"))


def chunk(model: MoE, index: int, n: int = CHUNK) -> tuple[Tensor, Tensor]:
    return model.sample(n, stream("data", 0, index))


def moments() -> list[Row]:
    """Second moments against X'X, the matrix product any method needs; one thread."""
    rows = []
    for d, n in ((20, 500_000), (100, 200_000)):
        x, y = chunk(truth(d), 1, n)
        quadratic = output_transform("linear", 0.1, 2)
        methods: tuple[Method, ...] = ("average", "least_squares")
        calls = [partial(score_moment, x, y, quadratic, method) for method in methods]
        product, *times = interleaved(partial(torch.matmul, x.T, x), *calls)
        for method, taken, goal in zip(methods, times, ("<= 3", "<= 20"), strict=True):
            name = f"second moment, {method.replace('_', ' ')}, d = {d}, n = {n:,} / X'X"
            rows.append(Row(name, taken / product, goal))
    return rows


def streaming(n: int = 2_000_000) -> list[Row]:
    """One pass of fourth moments over chunks that are made where they are used; two idle cores."""
    quartic, model = output_transform("linear", 0.1, 4), truth(20)
    basis = torch.linalg.qr(model.regressors.T).Q
    source = [partial(chunk, model, index) for index in range(n // CHUNK)]
    one, two = interleaved(
        partial(stream_moments, source, quartic, basis=basis),
        partial(stream_moments, source, quartic, basis=basis, workers=2),
        repeats=3,
    )
    return [Row(f"streamed moments of {n:,} samples, 1 worker / 2", one / two, ">= 1.7")]


@dataclass(frozen=True)
class Recovered:
    k: int = 3
    d: int = 10
    n: int = 40_000


def recovered(spec: Recovered, seed: int) -> dict[str, float]:
    """A trial like those of chapters 8 and 9."""
    model = random_moe(k=spec.k, d=spec.d, sigma=0.1, generator=stream("truth", seed))
    fit = recover(*model.sample(spec.n, stream("data", seed)), spec.k, seed=seed)
    return {"error": regressor_error(fit.model, model)}


def sweeping(trials: int = 16) -> list[Row]:
    """The same trials in one process and in two; two idle cores."""
    spec = Recovered()
    sweep(recovered, [spec], range(2), workers=2)
    one, two = interleaved(
        *(partial(sweep, recovered, [spec], range(trials), workers=w) for w in (1, 2)), repeats=2
    )
    name = f"sweep of {trials} trials of {one / trials:.2f} s, 1 worker / 2"
    return [Row(name, one / two, ">= 1.7")]


def streamed(n: int, workers: int = 1) -> dict[str, float]:
    """n samples at d = 20, k = 3 through M and T, and L_4's minimum; two passes, nothing kept."""
    model = truth(20)
    source = [partial(chunk, model, index) for index in range(n // CHUNK)]
    start = time.perf_counter()
    found, first = stream_l4_moments(source, 3, method="average", workers=workers)
    seconds = time.perf_counter() - start
    fit = minimise_l4(found, first, stream("starts"))
    return {
        "samples": found.second.count,
        "seconds": seconds,
        "error": regressor_error_of(fit.regressors, model.regressors),
        "peak_mib": peak_mib(),
    }


def memory(n: int = 2_000_000) -> list[Row]:
    """In a process of its own, for its peak memory."""
    command = [sys.executable, "-m", "benchmarks.scale", str(n)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    name = f"{n:,} samples, d = 20, through M and T"
    return [
        Row(f"{name}: peak MiB", found["peak_mib"], "<= 1024"),
        Row(f"{name}: seconds a million", found["seconds"] / n * 1e6, ""),
        Row(f"{name}: E_reg of L_4 alone", found["error"], "< 0.001"),
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(streamed(int(sys.argv[1]))))
