"""What a long fit shows while it runs: one bar, or a line a stage in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from moe.estimator.fit.search import Report

LOGGER = logging.getLogger("moe")


@contextmanager
def progress(verbose: int | bool) -> Iterator[Report]:
    """A report for ``searched`` that moves a bar where tqdm can be had; else the logger "moe" is
    heard, which has a line a stage (``moe.recovery.plan``). Nothing unless ``verbose``."""
    if not verbose:
        yield lambda stage, done, of: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        with _heard():
            yield lambda stage, done, of: None
        return
    with tqdm(unit="stage", leave=False) as bar:

        def show(stage: str, done: int, of: int) -> None:
            bar.total = of
            bar.n = done
            bar.set_description(stage)

        yield show


@contextmanager
def _heard() -> Iterator[None]:
    """The logger speaks, to stderr if nobody has told it where."""
    level, handler = LOGGER.level, None if _told() else logging.StreamHandler()
    LOGGER.setLevel(min(level or logging.INFO, logging.INFO))
    if handler:
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        if handler:
            LOGGER.removeHandler(handler)


def _told() -> bool:
    """Whether a handler that does something hears the logger."""
    logger: logging.Logger | None = LOGGER
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False
