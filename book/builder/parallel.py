"""One function on many items, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from builder import BuildError

T = TypeVar("T")
R = TypeVar("R")


def each(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Its values, in order. Raises what the function raises, and BuildError where the system ended
    one of the processes."""
    if not items:
        return []
    try:
        return list(Parallel(min(cpu_count(), len(items)))(delayed(function)(i) for i in items))
    except TerminatedWorkerError as error:
        named = getattr(function, "func", function)  # of a partial
        name = getattr(named, "__name__", type(named).__name__)
        raise BuildError(f"a process of {name} was ended from outside: is memory short?") from error
