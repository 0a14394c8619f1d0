"""A build that is told to end ends whole: chapters run in processes of their own."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

import psutil
from joblib.externals.loky.backend import resource_tracker as loky_tracker

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


@contextmanager
def ended_together() -> Iterator[None]:
    """Within, SIGINT (Ctrl-C), SIGTERM and SIGHUP end all that was started, then this process.

    It then exits with 128 plus the number of the signal, after its folders are cleared away.
    Does nothing in other threads than the main one, which alone may listen to signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    for ignored in _SIGNALS:
        signal.signal(ignored, signal.SIG_IGN)
    end_children()
    raise SystemExit(128 + number)


def end_children() -> None:
    """Kill all descendants of this process, those too that they start meanwhile.

    None is waited for, which would take its end from the pool that owns it: that then takes it for
    alive, and asks for ever.
    """
    while children := _running():
        for child in children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)


def _running() -> list[psutil.Process]:
    """All but the trackers of this process's own semaphores, which end with it: without one it
    would start another, which knows none of them and says so, name by name."""
    found = psutil.Process().children(recursive=True)
    spared = {tracker._resource_tracker._pid for tracker in (loky_tracker, resource_tracker)}
    return [
        child
        for child in found
        if child.pid not in spared and child.is_running() and _status(child) != "zombie"
    ]


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "zombie"
