"""Streamed moments: the numbers of one pass in memory, whatever the source, and no memory of n."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask.array as da
import helpers
import numpy as np
import pytest
import torch
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning
from moe.metrics import regressor_error_of
from moe.model.mixture import random_moe
from moe.model.nonlinearity import NONLINEARITIES
from moe.moments.estimate import DIRECT_FEATURES, Method, Moments, score_moment
from moe.moments.passes import _apply_alone, _merged, open_source
from moe.moments.transforms import OutputTransform, output_transform
from moe.randomness import stream
from moe.solvers.l4 import NoMinimumError, l4_moments_of, minimise_l4
from moe.solvers.streaming import _gathered, stream_l4_moments, stream_moments

ROOT = Path(__file__).resolve().parents[2]
CUTS = (0, 1, 40, 500, 1300, 3000)
METHODS: tuple[Method, ...] = ("average", "least_squares")


def samples(n: int, d: int) -> tuple[Tensor, Tensor]:
    return helpers.samples(2, d, n)[1:]


def pieces(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(x[a:b], y[a:b]) for a, b in pairwise(CUTS)]


def functions(x: Tensor, y: Tensor) -> list[Callable[[], Any]]:
    return [partial(tuple, piece) for piece in pieces(x, y)]


def dask_arrays(x: Tensor, y: Tensor) -> tuple[Any, Any]:
    """Uneven chunks, one of them empty, other ones for y, and columns in two parts."""
    columns = (1, x.shape[1] - 1)
    return (
        da.from_array(x.numpy(), chunks=((7, 0, 1500, 1493), columns)),
        da.from_array(y.numpy(), chunks=((2000, 1000),)),
    )


SOURCES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "chunks": pieces,
    "generator": lambda x, y: (piece for piece in pieces(x, y)),
    "functions": functions,
    "lists": lambda x, y: [list(piece) for piece in pieces(x, y)],
    "tensors": lambda x, y: (x, y),
    "arrays": lambda x, y: (x.numpy(), y.numpy()),
    "Dask": dask_arrays,
}


def transform(degree: int) -> OutputTransform:
    return output_transform("linear", 0.1, degree)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degree", [2, 3, 4])
def test_streamed_moments_are_those_in_memory(degree: int, method: Method, source: str) -> None:
    x, y = samples(3000, 4)
    basis = torch.linalg.qr(x[:4, :2]).Q if degree == 4 else None
    streamed = stream_moments(SOURCES[source](x, y), transform(degree), basis=basis, method=method)
    expected = Moments(transform(degree), 4, basis, method).update(x, y).tensor()
    assert streamed.count == 3000
    torch.testing.assert_close(streamed.tensor(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_sums_for_least_squares_hold_the_average_too(degree: int) -> None:
    x, y = samples(3000, 3)
    fit = Moments(transform(degree), 3, method="least_squares").update(x, y)
    plain = Moments(transform(degree), 3).update(x, y)
    torch.testing.assert_close(fit.tensor("average"), plain.tensor(), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="method: these moments accumulate 'average' only"):
        plain.tensor("least_squares")


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_the_quadratic_transform_does_not_depend_on_sigma(name: str) -> None:
    one, other = (output_transform(name, sigma, 2) for sigma in (0.0, 0.7))
    assert one.coefficients == pytest.approx(other.coefficients, abs=1e-12)
    assert one.normaliser == pytest.approx(other.normaliser, rel=1e-12)


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "generator"])
@pytest.mark.parametrize("d", [4, 14])
def test_two_passes_are_the_moments_of_l4_in_memory(d: int, source: str) -> None:
    """By the normal equations at d = 4, by conjugate gradients at d = 14."""
    x, y = samples(3000, d)
    expected = l4_moments_of(x, y, 2, NONLINEARITIES["linear"])
    found, first = stream_l4_moments(SOURCES[source](x, y), 2)
    assert found.second.method == found.fourth.method == "least_squares"
    assert (found.second.features > DIRECT_FEATURES) == (d == 14)
    assert found.sigma == pytest.approx(expected.sigma, rel=1e-12)
    for one, other in ((found.second, expected.second), (found.whitening, expected.whitening)):
        tensors = [getattr(m, "tensor", None) for m in (one, other)]
        if isinstance(tensors[0], Tensor) and isinstance(tensors[1], Tensor):
            torch.testing.assert_close(*tensors, rtol=0, atol=1e-10)
    signs = (found.whitening.basis * expected.whitening.basis).sum(0).sign()
    flips = torch.einsum("a,b,c,d->abcd", *[signs] * 4)
    torch.testing.assert_close(found.tensor * flips, expected.tensor, rtol=0, atol=1e-9)
    torch.testing.assert_close(first, y @ x / 3000, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.5, None])
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_bounded_moments_are_those_in_memory(name: str, sigma: float | None) -> None:
    """For sigmoid experts Q_2 is bounded too; both passes then take the plain average."""
    truth = random_moe(2, 5, sigma=0.5, nonlinearity=name, generator=stream("truth", 1))
    x, y = truth.sample(20_000, stream("data", 1))
    g = NONLINEARITIES[name]
    expected = l4_moments_of(x, y, 2, g, sigma, bounded=True)
    parts = list(zip(x.split(6_000), y.split(6_000), strict=True))
    found, _ = stream_l4_moments(parts, 2, name, sigma, bounded=True)
    assert found.sigma == pytest.approx(expected.sigma, rel=1e-12)
    assert found.second.method == expected.second.method
    assert found.fourth.method == expected.fourth.method == "average"
    torch.testing.assert_close(found.second.tensor, expected.second.tensor, rtol=0, atol=1e-9)
    signs = (found.whitening.basis * expected.whitening.basis).sum(0).sign()
    flips = torch.einsum("a,b,c,d->abcd", *[signs] * 4)
    torch.testing.assert_close(found.tensor * flips, expected.tensor, rtol=0, atol=1e-8)
    plain = stream_l4_moments(parts, 2, name, sigma)[0]
    assert (plain.tensor - found.tensor).abs().max() > 1e-3  # they are other estimates


@pytest.mark.parametrize("method", [*METHODS, "auto"])
@pytest.mark.parametrize("n", [150, 3000])
def test_methods_are_chosen_as_in_memory(n: int, method: Any) -> None:
    x, y = samples(n, 14)
    found = stream_l4_moments([(x, y)], 1, sigma=0.2, method=method)[0]
    expected = score_moment(x, y, output_transform("linear", 0.2, 2), method)
    assert (found.sigma, found.second.method) == (0.2, expected.method)
    torch.testing.assert_close(found.second.tensor, expected.tensor, rtol=0, atol=1e-9)


def test_dependent_inputs_fall_back_on_the_average() -> None:
    x, y = samples(1000, 3)
    doubled = torch.cat([x, x[:, :1]], dim=1)
    assert stream_l4_moments([(doubled, y)], 1)[0].second.method == "centred"
    with pytest.raises(ValueError, match="features of 1000 samples are linearly dependent"):
        stream_l4_moments([(doubled, y)], 1, method="least_squares")


@pytest.mark.parametrize(("g", "sigma"), [("linear", 0.2), ("sigmoid", 0.05)])
def test_regressors_come_from_a_stream(g: str, sigma: float) -> None:
    truth = random_moe(k=3, d=8, sigma=sigma, nonlinearity=g, generator=stream("truth", 0))

    def chunk(seed: int) -> tuple[Tensor, Tensor]:
        return truth.sample(20_000, stream("data", 0, seed))

    moments, first = stream_l4_moments([partial(chunk, seed) for seed in range(10)], 3, g)
    fit = minimise_l4(moments, first, stream("starts", 0))
    assert regressor_error_of(fit.regressors, truth.regressors) < 0.01
    assert moments.sigma == pytest.approx(sigma, rel=0.05)


def test_two_workers_give_the_same_numbers(tmp_path: Path) -> None:
    x, y = samples(3000, 14)
    for name, array in (("x", x), ("y", y)):
        np.save(tmp_path / f"{name}.npy", array.numpy())
    mapped = tuple(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    for source in (functions(x, y), mapped):
        alone, first = stream_l4_moments(source, 2)
        shared, other = stream_l4_moments(source, 2, workers=2)
        # to rounding: a worker has one thread, which adds in another order than two
        torch.testing.assert_close(shared.tensor, alone.tensor, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(other, first, rtol=1e-12, atol=1e-14)


def test_dask_arrays_of_unknown_sizes_are_taken_block_by_block() -> None:
    x, y = samples(3000, 4)
    columns, outputs = dask_arrays(x, y)
    outputs = outputs.rechunk((columns.chunks[0],))
    keep = columns[:, 0] > 0
    found = stream_moments((columns[keep], outputs[keep]), transform(2)).tensor()
    chosen = x[:, 0] > 0
    expected = score_moment(x[chosen], y[chosen], transform(2), "average").tensor
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"the same blocks of rows .* got 4 and 1 blocks; call"):
        stream_moments(
            (columns[keep], da.from_array(y.numpy())),
            transform(2),
        )


def test_a_dask_cluster_gives_the_same_numbers() -> None:
    from dask.distributed import Client, LocalCluster

    x, y = samples(3000, 14)
    expected, _ = stream_l4_moments((x, y), 2)
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        found, _ = stream_l4_moments(dask_arrays(x, y), 2)
    torch.testing.assert_close(found.second.tensor, expected.second.tensor, rtol=0, atol=1e-12)


def test_a_worker_has_one_thread_and_the_process_its_own_number_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = _apply_alone(lambda x, y: torch.get_num_threads(), 0, samples(30, 4))
        assert (seen, torch.get_num_threads()) == (1, 2)
        with pytest.raises(TypeError, match="chunk 0"):
            _apply_alone(None, 0, "no chunk")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_merging_leaves_the_parts_as_they_are() -> None:
    """A cluster that loses a merged part merges the same parts again."""
    parts = [
        _gathered(*piece, transform=transform(2), method="average")
        for piece in pieces(*samples(3000, 4))
    ]
    once, again = (_merged(parts) for _ in range(2))
    assert once is not None and again is not None
    assert once.count == again.count == 3000
    assert isinstance(once.moments, Moments) and isinstance(again.moments, Moments)
    assert once.moments.count == again.moments.count == 3000
    assert once.moments.tensor().equal(again.moments.tensor())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_samples() -> None:
    """Peak memory of 6 times the samples: less than a fifth of what the new ones would take."""
    code = """
import re, torch
from pathlib import Path
from moe.randomness import stream
from moe.solvers.streaming import stream_l4_moments

class Chunks:
    def __init__(self, count):
        self.count = count
    def __iter__(self):
        for seed in range(self.count):
            x = torch.randn(20_000, 30, generator=stream("inputs", seed)).double()
            yield x, x[:, seed % 2]

for count in (3, 18):
    moments, _ = stream_l4_moments(Chunks(count), 2, sigma=0.1)
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, run.stdout.split())
    assert after - before < 15 * 20_000 * 30 * 8 / 1024 / 5


def test_a_source_that_cannot_be_read_twice_is_refused() -> None:
    x, y = samples(3000, 4)
    with pytest.raises(TypeError, match=r"iterated over again .* got a generator; pass a list of"):
        stream_l4_moments((piece for piece in pieces(x, y)), 2)

    class Shrinking:
        chunks = pieces(x, y)

        def __iter__(self) -> Iterator[Any]:
            self.chunks = self.chunks[:-1]
            return iter(self.chunks)

    with pytest.raises(ValueError, match="same samples in every pass, got 1300 in the first and 5"):
        stream_l4_moments(Shrinking(), 2)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "source: expected chunks .* or a pair of arrays .* got int"),
        ([], "source: expected at least 1 sample, got none"),
        ([torch.zeros(3, 2)], "source: expected chunks .* got Tensor as chunk 0"),
        ([(torch.zeros(3, 2), [0.0] * 3), (1, 2, 3)], "got tuple as chunk 1"),
        ([lambda: None], "got NoneType as chunk 0"),
        ([(np.zeros((3, 2)), np.zeros(2))], r"source: chunk 0: y: expected shape \(3,\)"),
        ([(np.full((3, 2), np.nan), np.zeros(3))], "chunk 0: x: expected finite values, got 6"),
        ([(np.zeros((3, 2)), ["a"] * 3)], "chunk 0: y: expected an array or tensor of numbers"),
        ((np.zeros((3, 2)), np.zeros(2)), r"expected arrays x \(n, d\), y \(n,\), got shapes"),
        ((da.zeros((3, 2)), np.zeros(3)), "both x and y as Dask arrays, or neither, got Array and"),
        ([(np.ones((3, 2)), np.ones(3)), (np.ones((3, 4)), np.ones(3))], "source: .*2 and 4"),
    ],
)
def test_bad_sources_speak(source: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        stream_l4_moments(source, 1, sigma=0.1)


def test_an_error_in_a_function_is_its_own() -> None:
    def chunk() -> Any:
        raise KeyError("no such file")

    with pytest.raises(KeyError, match="no such file"):
        stream_moments([chunk], transform(2))


def test_bad_settings_speak() -> None:
    x, y = samples(100, 3)
    with pytest.raises(ValueError, match="workers: expected an integer >= 1, got 0"):
        stream_l4_moments([(x, y)], 2, workers=0)
    with pytest.raises(ValueError, match="workers: expected 1 for Dask arrays"):
        open_source((da.zeros((3, 2)), da.zeros(3)), 2)
    with pytest.raises(ValueError, match=r"method: expected one of .*'auto'"):
        stream_l4_moments([(x, y)], 2, method="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method: expected 'auto' where bounded is True"):
        stream_l4_moments([(x, y)], 2, method="average", bounded=True)
    with pytest.raises(ValueError, match="k: expected at most d = 3 experts"):
        stream_l4_moments([(x, y)], 4)
    with pytest.raises(TypeError, match="k: expected an integer number of experts, got '2'"):
        stream_l4_moments(None, "2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma: expected a positive finite number, got -1"):
        stream_l4_moments([(x, y)], 2, sigma=-1.0)
    with pytest.raises(NoMinimumError, match="positive eigenvalues"):
        stream_l4_moments([(x, 0 * y)], 2, sigma=0.1)


def test_conjugate_gradients_that_stop_early_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.moments.least_squares._MAX_ITERATIONS", 1)
    with pytest.warns(DoubtfulFitWarning, match="stopped before they converged"):
        moments, _ = stream_l4_moments([samples(3000, 14)], 2)
    assert not moments.second.converged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream_l4_moments([samples(3000, 14)], 2, method="average")
