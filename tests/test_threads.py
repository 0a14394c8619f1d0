"""Fits run on one thread, whatever the program around them does."""

from __future__ import annotations

import threading

import torch

from moe.threads import one_thread


def test_one_thread_holds_in_every_thread_and_ends_with_the_block() -> None:
    before, seen = torch.get_num_threads(), list[int]()

    def look() -> None:
        with one_thread():
            seen.append(torch.get_num_threads())

    torch.set_num_threads(2)  # from here on a new thread begins with two
    try:
        look()
        other = threading.Thread(target=look)
        other.start()
        other.join()
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
