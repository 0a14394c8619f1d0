"""How much memory a chapter takes: its kernel and the processes that it starts, together."""

from __future__ import annotations

from threading import Event, Thread

import psutil

from builder.execution.forking import parent_of_kernels

EVERY = 0.5
"""Seconds between two looks."""


class Peak:
    """Within ``with Peak() as peak:`` looks at the resident memory of all descendants of this
    process but the one that only forks; ``peak.bytes`` is the largest sum seen."""

    def __init__(self) -> None:
        self.bytes = 0
        self._end = Event()
        self._watch = Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._watch.join()

    def _look(self) -> None:
        while True:
            self.bytes = max(self.bytes, _resident())
            if self._end.wait(EVERY):
                return


def _resident() -> int:
    found = 0
    for process in psutil.Process().children(recursive=True):
        if process.pid == parent_of_kernels():
            continue
        try:
            found += process.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return found
