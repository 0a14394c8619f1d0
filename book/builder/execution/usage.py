"""What a chapter takes: memory and processor time of its kernel and of what it starts, together."""

from __future__ import annotations

from threading import Event, Thread

import psutil

from builder.execution.forking import parent_of_kernels

EVERY = 0.5
"""Seconds between two looks."""


class Usage:
    """Within ``with Usage() as used:`` looks at all descendants of this process but the one that
    only forks. ``used.bytes`` is the largest sum of their resident memory, ``used.processor`` the
    seconds of processor time of all of them; what one did after the last look at it is missed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._spent: dict[tuple[int, float], float] = {}
        self._before: dict[tuple[int, float], float] = {}
        self._end = Event()
        self._watch = Thread(target=self._look, daemon=True)

    @property
    def processor(self) -> float:
        return sum(spent - self._before.get(key, 0.0) for key, spent in self._spent.items())

    def __enter__(self) -> Usage:
        self._see()
        self._before = dict(self._spent)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._watch.join()

    def _look(self) -> None:
        while True:
            self._see()
            if self._end.wait(EVERY):
                return

    def _see(self) -> None:
        resident = 0
        for process in psutil.Process().children(recursive=True):
            if process.pid == parent_of_kernels():
                continue
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    key = process.pid, process.create_time()
                    resident += process.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
            self._spent[key] = times.user + times.system
        self.bytes = max(self.bytes, resident)
