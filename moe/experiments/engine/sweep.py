"""Many trials, each a pure function of (spec, seed): on all cores or a cluster, resumable."""

from __future__ import annotations

import json
import operator
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any

import joblib
import torch
from tqdm import tqdm

from moe.experiments.engine.code import code_digest
from moe.experiments.engine.store import Store, plain

TrialFunction = Callable[[Any, int], Mapping[str, float]]
Job = tuple[Any, int]


class TrialError(RuntimeError):
    """A trial raised, or returned something else than numbers; the message names spec and seed."""


@dataclass(frozen=True)
class Trial:
    """One finished trial: the spec and seed it was run with, its result, its wall time.

    Equality disregards ``seconds``.
    """

    spec: Any
    seed: int
    result: dict[str, float]
    seconds: float = field(compare=False)


def sweep(
    trial: TrialFunction,
    specs: Sequence[Any],
    seeds: Iterable[int],
    *,
    store: Path | str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> list[Trial]:
    """Every (spec, seed), in that order: specs outer, seeds inner.

    ``trial(spec, seed)`` is a module-level function of an importable module, pure; spec a frozen
    dataclass of plain numbers, strings and tuples; its result a flat mapping of names to numbers.

    store: a directory where every trial is written as soon as it is finished, and from where it is
    read when the same code is asked for it again (see ``store.Store``); None: the environment
    variable MOE_STORE, else nothing is kept. An interrupted sweep called again resumes.
    workers: processes, each with one thread; None: as many as cores; 1: this process itself, one
    thread too, so that the numbers agree. With DASK_SCHEDULER_ADDRESS set the trials go to that
    cluster instead (unless workers is 1), ``workers`` of them at a time if that is given.
    progress: a bar on stderr.

    Raises TypeError or ValueError for arguments that cannot be used, and TrialError where a trial
    fails, which leaves the trials that were finished before in the store.
    """
    name = _importable(trial)
    specs, numbers = _check_specs(specs), _check_seeds(seeds)
    jobs = {_key(spec, seed): (spec, seed) for spec in specs for seed in numbers}
    workers = _check_workers(workers)
    code = code_digest(trial.__module__)
    where = store if store is not None else os.environ.get("MOE_STORE") or None
    kept = None if where is None else Store(_directory(where), name, code)

    done: dict[str, Trial] = {}
    for key, job in jobs.items():
        if kept and (found := kept.read(*job)):
            done[key] = Trial(*job, *found)
    waiting = [job for key, job in jobs.items() if key not in done]
    bar = tqdm(total=len(jobs), initial=len(done), disable=not progress)
    with bar, closing(_execute(trial, code, waiting, workers)) as finished:
        for one in finished:
            if isinstance(one, TrialError):
                raise one
            if kept:
                kept.write(one.spec, one.seed, one.result, one.seconds)
            done[_key(one.spec, one.seed)] = one
            bar.update()
            _note(len(done), len(jobs))
    return [done[_key(spec, seed)] for spec in specs for seed in numbers]


def _note(done: int, total: int) -> None:
    """Where the environment names a file in MOE_PROGRESS, how far the sweep is."""
    if place := os.environ.get("MOE_PROGRESS"):
        Path(place).write_text(f"{done} {total}", encoding="utf-8")


def by_spec(trials: Sequence[Trial], runs: int) -> list[Sequence[Trial]]:
    """What ``sweep`` returned, cut into the ``runs`` trials of each spec, in the specs' order."""
    return [trials[start : start + runs] for start in range(0, len(trials), runs)]


def _execute(
    trial: TrialFunction, code: str, jobs: list[Job], workers: int | None
) -> Generator[Trial | TrialError]:
    """The trials, and failures among them, in the order in which they come to an end."""
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    count = min(workers or joblib.cpu_count(), len(jobs))
    if workers == 1 or (count <= 1 and not address):
        yield from (_run(trial, code, *job) for job in jobs)
        return
    with ExitStack() as stack:
        if address:
            from dask.distributed import Client

            stack.enter_context(Client(address))
            count = workers or -1
            stack.enter_context(joblib.parallel_config(backend="dask"))
        else:
            stack.enter_context(joblib.parallel_config(backend="loky", inner_max_num_threads=1))
        parallel = joblib.Parallel(
            n_jobs=count, batch_size=1, return_as="generator_unordered", pre_dispatch="all"
        )
        results = parallel(joblib.delayed(_run)(trial, code, *job) for job in jobs)
        try:
            for result in results:  # noqa: UP028 - closed below, where the warning is caught
                yield result
        finally:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*adjusting the input task iterator")
                results.close()


def _run(trial: TrialFunction, code: str, spec: Any, seed: int) -> Trial | TrialError:
    """A failure is returned: raised, it would overtake finished trials on the way to the store.

    With one thread, whoever's process it is; the process has its own number back afterwards.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.perf_counter()
    try:
        if _loaded_code(trial.__module__) != code:
            raise RuntimeError(
                "this process still holds other code, or other versions of Python, torch, numpy or "
                "scipy, than the sweep that asks; restart Python and the workers"
            )
        result = _check_result(trial(spec, seed))
    except Exception as error:
        name = f"{trial.__qualname__} failed at spec={spec!r}, seed={seed}"
        failure = TrialError(f"{name}: {type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())
        return failure
    finally:
        torch.set_num_threads(threads)
    return Trial(spec, seed, result, time.perf_counter() - start)


_loaded_code = lru_cache(code_digest)


def _check_result(result: Any) -> dict[str, float]:
    if not isinstance(result, Mapping):
        raise TypeError(f"result: expected a mapping of names to numbers, got {result!r}")
    for name, value in result.items():
        if not isinstance(name, str) or not isinstance(value, Real):
            raise TypeError(
                f"result: expected names and numbers, got {name!r}: {value!r} "
                f"({type(value).__name__})"
            )
    return {name: float(value) for name, value in result.items()}


def _importable(trial: Any) -> str:
    """The qualified name of a module-level function. Raises TypeError for anything else."""
    module, name = getattr(trial, "__module__", None), getattr(trial, "__qualname__", None)
    if callable(trial) and module and name and module != "__main__":
        try:
            found = operator.attrgetter(name)(sys.modules.get(module))
        except AttributeError:
            found = None
        if found is trial:
            return f"{module}.{name}"
    raise TypeError(
        "trial: expected a module-level function of an importable module, since workers load it by "
        f"name, got {module}.{name}"
        if name
        else f"trial: expected a function, got {trial!r}"
    )


def _key(spec: Any, seed: int) -> str:
    """Equal for equal trials; unlike ==, tells 1 from 1.0."""
    return json.dumps([plain(spec), seed])


def _check_specs(specs: Iterable[Any]) -> list[Any]:
    if not isinstance(specs, Iterable):
        raise TypeError(f"specs: expected a sequence of frozen dataclasses, got {specs!r}")
    checked = list(specs)
    for spec in checked:
        parameters = getattr(spec, "__dataclass_params__", None)
        if isinstance(spec, type) or parameters is None or not parameters.frozen:
            raise TypeError(f"specs: expected frozen dataclasses, got {spec!r}")
    return checked


def _check_seeds(seeds: Iterable[int]) -> list[int]:
    try:
        return [operator.index(seed) for seed in seeds]
    except TypeError as error:
        raise TypeError(f"seeds: expected integers, got {seeds!r}") from error


def _check_workers(workers: int | None) -> int | None:
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers: expected None or an integer >= 1, got {workers!r}")
    return workers


def _directory(store: Path | str) -> Path:
    path = Path(store)
    if path.exists() and not path.is_dir():
        raise ValueError(f"store: expected a directory, got the file {path}")
    return path
