"""Fits run on one thread."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch uses no more than one thread for what the calling thread asks for.

    EM's steps are many and small, and their samples come in chunks that fit the cache. Threads that
    meet after every product of such matrices wait longer than they work: on two busy cores a fit
    took twenty times as long with two. Other threads of the program keep their setting.
    """
    torch.get_num_threads()  # a new thread else takes up torch's own setting within
    with _controller().limit(limits=1, user_api="openmp"):
        before = _limit_products()(1)
        try:
            yield
        finally:
            _limit_products()(before)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _limit_products() -> Callable[[int], int]:
    """Sets how many threads the calling thread's products of matrices take, and returns how many it
    was; 0: as many as OpenMP has. The library that is built into torch (MKL) keeps a setting of its
    own, once ``torch.set_num_threads`` was called; where torch has none there is nothing to set."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("*torch_cpu.*")):
        try:
            limit = ctypes.CDLL(str(path)).MKL_Set_Num_Threads_Local
        except (OSError, AttributeError):
            continue
        limit.argtypes, limit.restype = [ctypes.c_int], ctypes.c_int
        return lambda count: int(limit(count))
    return lambda count: 0
