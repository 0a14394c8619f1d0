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


def is_killed(parent: int) -> int:
    assert os.getpid() != parent, "with one core the items stay in this process"
    os.kill(os.getpid(), signal.SIGKILL)
    return parent


def test_values_come_in_order_and_nothing_gives_nothing() -> None:
    assert each(square, list(range(7))) == [0, 1, 4, 9, 16, 25, 36]
    assert each(square, []) == []


def test_what_the_function_raises_arrives() -> None:
    with pytest.raises(BuildError, match="1 is wrong"):
        each(fails, [1])


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_process_that_was_ended_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.parallel.cpu_count", lambda: 2)
    with pytest.raises(BuildError, match="a process of is_killed was ended from outside"):
        each(is_killed, [os.getpid(), os.getpid()])
