"""Work that is divided among processes: in order, and failures in one sentence."""

from __future__ import annotations

import os
import signal

import pytest
from builder import BuildError
from builder.parallel import each


def square(number: int) -> int:
    return number**2


def fails(number: int) -> int:
    raise BuildError(f"{number} is wrong")


def is_killed(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_values_come_in_order_and_nothing_gives_nothing() -> None:
    assert each(square, list(range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert each(square, []) == []


def test_what_the_function_raises_arrives() -> None:
    with pytest.raises(BuildError, match="1 is wrong"):
        each(fails, [1])


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_process_that_was_ended_is_told_in_a_sentence() -> None:
    with pytest.raises(BuildError, match="a process of is_killed was ended from outside"):
        each(is_killed, [1, 2])
