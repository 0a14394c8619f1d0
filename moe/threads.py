"""Fits run on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

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
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
