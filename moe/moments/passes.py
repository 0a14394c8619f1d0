"""Passes over data that never fit in memory: chunks, arrays on disk, Dask arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import joblib
import torch
from torch import Tensor

from moe.checks import as_samples

_ROWS = 1 << 16
_FAN_IN = 8


class Mergeable(Protocol):
    """Sums over samples: merged, they are the sums over both sets of samples."""

    def merge(self, other: Self) -> Self: ...


R = TypeVar("R", bound=Mergeable)


@dataclass(frozen=True)
class Passes:
    """Chunks (x, y) to go through once, or again and again where ``again`` says so.

    workers: processes, each with one thread; cluster: the chunks are blocks of Dask arrays.
    """

    chunks: Iterable[Any]
    workers: int
    again: bool
    cluster: bool = False

    def fold(self, function: Callable[[Tensor, Tensor], R]) -> R:
        """The values of ``function`` on all chunks, merged in their order, or in a tree on Dask.

        Raises TypeError, ValueError for chunks that cannot be used, naming them by number.
        """
        if self.cluster:
            return _fold_on_cluster(self.chunks, function)
        jobs = ((function, number, chunk) for number, chunk in enumerate(self.chunks))
        if self.workers == 1:
            return _some(_merged(_apply(*job) for job in jobs))
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            parallel = joblib.Parallel(n_jobs=self.workers, return_as="generator")
            return _some(_merged(parallel(joblib.delayed(_apply_alone)(*job) for job in jobs)))


def open_source(source: Any, workers: int = 1) -> Passes:
    """Passes over ``source``, one of

    - an iterable of chunks (x, y), x (m, d), y (m,), or of functions without arguments that return
      such a chunk: a list, a generator, a DataLoader, ...
    - a pair (x, y) of arrays (n, d), (n,) that can be sliced by rows: numpy, memory-mapped, HDF5;
    - a pair (x, y) of Dask arrays in any chunks, for the active Dask client.

    workers: among how many processes chunks are divided; of use where they are functions or
    memory-mapped, since others are sent to them. For Dask arrays the cluster decides.

    Raises TypeError, ValueError for anything else.
    """
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers: expected an integer >= 1, got {workers!r}")
    if isinstance(source, tuple) and len(source) == 2 and all(hasattr(a, "shape") for a in source):
        return _open_arrays(*source, workers)
    if not isinstance(source, Iterable):
        raise TypeError(
            "source: expected chunks (x, y) or a pair of arrays x (n, d), y (n,), "
            f"got {type(source).__name__}"
        )
    return Passes(source, workers, again=not isinstance(source, Iterator))


def _open_arrays(x: Any, y: Any, workers: int) -> Passes:
    on_dask = hasattr(x, "dask"), hasattr(y, "dask")
    if any(on_dask) and not all(on_dask):
        raise TypeError(
            "source: expected both x and y as Dask arrays, or neither, "
            f"got {type(x).__name__} and {type(y).__name__}"
        )
    shapes = tuple(x.shape), tuple(y.shape)
    unknown = any(math.isnan(size) for shape in shapes for size in shape)
    if len(shapes[0]) != 2 or len(shapes[1]) != 1 or not (unknown or x.shape[0] == y.shape[0]):
        raise ValueError(f"source: expected arrays x (n, d), y (n,), got shapes {shapes}")
    if not any(on_dask):
        return Passes(_Rows(x, y), workers, again=True)
    if workers > 1:
        raise ValueError("workers: expected 1 for Dask arrays, which their cluster divides")
    x = x.rechunk({1: -1})
    y = y if unknown else y.rechunk((x.chunks[0],))
    if len(x.chunks[0]) != len(y.chunks[0]):
        raise ValueError(
            "source: expected the same blocks of rows in x and y where their sizes are unknown, "
            f"got {len(x.chunks[0])} and {len(y.chunks[0])} blocks; call compute_chunk_sizes()"
        )
    blocks = zip(x.to_delayed().ravel(), y.to_delayed().ravel(), strict=True)
    return Passes(list(blocks), 1, again=True, cluster=True)


@dataclass(frozen=True, eq=False)
class _Rows:
    x: Any
    y: Any

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, self.x.shape[0], _ROWS):
            yield self.x[start : start + _ROWS], self.y[start : start + _ROWS]


def _apply(function: Callable[[Tensor, Tensor], R], number: int, chunk: Any) -> R | None:
    """None for a chunk without samples."""
    pair = chunk() if callable(chunk) else chunk
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(
            "source: expected chunks (x, y), or functions without arguments that return one, got "
            f"{type(pair).__name__} as chunk {number}"
        )
    x, y = pair
    if hasattr(x, "shape") and x.shape[0] == 0:
        return None
    try:
        return function(*as_samples(x, y))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"source: chunk {number}: {error}") from error


def _apply_alone(*job: Any) -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _apply(*job)
    finally:
        torch.set_num_threads(threads)


def _merged(parts: Iterable[R | None]) -> R | None:
    """Leaves the parts as they are: a cluster may need them again."""
    total: R | None = None
    for part in parts:
        if part is not None:
            total = copy(part) if total is None else total.merge(part)
    return total


def _some(total: R | None) -> R:
    if total is None:
        raise ValueError("source: expected at least 1 sample, got none")
    return total


def _fold_on_cluster(blocks: Iterable[Any], function: Callable[[Tensor, Tensor], R]) -> R:
    from dask.delayed import delayed

    shared = delayed(function, traverse=False)
    parts = [delayed(_apply)(shared, number, block) for number, block in enumerate(blocks)]
    while len(parts) > 1:
        groups = [parts[i : i + _FAN_IN] for i in range(0, len(parts), _FAN_IN)]
        parts = [delayed(_merged)(group) for group in groups]
    return _some(parts[0].compute())
