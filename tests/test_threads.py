"""Fits run on one thread, whatever the program around them does."""

from __future__ import annotations

import threading

import torch

from moe.threads import _limit_products, one_thread


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


def test_products_take_one_thread_too_and_their_setting_is_put_back() -> None:
    """torch's library for them keeps what ``torch.set_num_threads`` told it; asked for by setting
    it, which returns what it was."""
    limit, before = _limit_products(), torch.get_num_threads()

    def now() -> int:
        limit(value := limit(0))
        return value

    try:
        for count in (2, 3):
            torch.set_num_threads(count)
            told = now()
            with one_thread():
                inside = now()
                with one_thread():
                    pass
                assert now() == inside
            assert now() == told
            assert (told, inside) in ((count, 1), (0, 0))  # (0, 0): torch has no such library
    finally:
        torch.set_num_threads(before)
