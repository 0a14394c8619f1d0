"""Chapters to executed notebooks, several at a time, each in a fresh kernel."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import joblib

from builder.contents import Chapter
from builder.execution.forking import manager
from builder.execution.progress import Progress, cells_file, trials_file
from builder.execution.usage import Usage
from builder.record.claims import collect

_KERNEL_SETTINGS = """\
c.HistoryManager.enabled = False
c.InlineBackend.figure_formats = {"retina"}
c.IPKernelApp.log_level = 50
"""
_REPLACED = "ignore:A worker stopped while some jobs were given to the executor:UserWarning"
"""loky's warning that a process of a sweep has grown and is replaced: nothing for a page."""
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Job:
    """Execute `chapter` with `parameters` into `target`; `provenance` goes into its metadata."""

    chapter: Chapter
    target: Path
    parameters: dict[str, Any]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """Where a chapter failed: `cell` counts code cells from 1, `line` lines of the source."""

    chapter: Chapter
    error: str
    cell: int | None = None
    line: int | None = None
    code: str = ""
    traceback: str = ""

    def __str__(self) -> str:
        source = f"{self.chapter.document}.md"
        where = source if self.line is None else f"{source}:{self.line}"
        cell = "" if self.cell is None else f" in cell {self.cell}"
        parts = [f"{self.chapter.name} failed{cell}: {where}", f"    {self.code}", self.error]
        return "\n".join([*(p for p in parts if p.strip()), *filter(None, [self.traceback])])


Outcome = float | Failure


def run_all(
    jobs: list[Job], workers: int | None, done: Callable[[Job, Outcome], None]
) -> list[Failure]:
    """Run every job in the order given, up to the number of cores at once; `done` hears of each as
    it ends.

    In the full profile each may use twice its share of the cores, since the one that ends last
    would leave most of them idle.
    """
    if not jobs:
        return []
    cores = joblib.cpu_count()
    workers = min(workers or cores, len(jobs))
    failures = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        forked = len(jobs) > workers  # else each process has one kernel to start, and no gain
        futures = {pool.submit(run, job, _cores(job, cores, workers), forked): job for job in jobs}
        waiting = set(futures)
        with Progress(
            [(job.target, len(job.chapter.notebook().cells)) for job in jobs]
        ) as progress:
            while waiting:
                finished, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                progress.look()
                for future in finished:
                    job, problem = futures[future], future.exception()
                    outcome = Failure(job.chapter, f"{problem!r}") if problem else future.result()
                    progress.ended(job.target)
                    done(job, outcome)
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
    return failures


def _cores(job: Job, cores: int, workers: int) -> int:
    share = max(1, cores // workers)
    return min(cores, 2 * share) if job.parameters.get("profile") == "full" else share


def run(job: Job, cores: int, forked: bool = False) -> Outcome:
    """Seconds it took, or where it failed; the target is replaced on success only.

    forked: the kernel may come from a process that has the libraries loaded.
    """
    import nbformat
    import papermill

    prepare_environment(job.chapter.root, cores)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    part = job.target.with_name(f"{job.target.stem}.part.ipynb")
    cells, trials = cells_file(job.target), trials_file(job.target)
    os.environ["MOE_PROGRESS"] = str(trials)
    started = time.perf_counter()
    try:
        with Usage() as used:
            notebook = _executed(job, cells, manager() if forked else {})
        seconds = time.perf_counter() - started
        notebook.metadata["provenance"] = {
            **job.provenance,
            "seconds": seconds,
            "processor": used.processor,
            "memory": used.bytes,
        }
        notebook.metadata["claims"] = collect(notebook)
        nbformat.write(notebook, part)
        os.replace(part, job.target)
    except papermill.PapermillExecutionError as error:
        return _locate(job, error)
    except Exception as error:  # a kernel that died or never started: still one chapter's failure
        return Failure(job.chapter, f"{type(error).__name__}: {error}")
    finally:
        for file in (part, cells, trials):
            file.unlink(missing_ok=True)
    return seconds


def _executed(job: Job, cells: Path, kernels: dict[str, Any]) -> Any:
    """The notebook of a job's chapter after papermill; `cells` tells the cell it is at.

    A kernel that dies before the first cell is started once more: its ports are chosen before it
    takes them, and another program may be quicker.
    """
    import papermill

    begun = []

    def begin(cell_index: int, **_: Any) -> None:
        begun.append(cell_index)
        cells.write_text(str(cell_index), encoding="utf-8")

    def execute() -> Any:
        return papermill.execute_notebook(
            job.chapter.notebook(),
            None,  # to save it at every cell takes a second or two a chapter
            parameters=job.parameters,
            kernel_name="python3",
            cwd=str(job.chapter.source.parent),
            progress_bar=False,
            on_cell_start=begin,
            **kernels,
        )

    try:
        return execute()
    except RuntimeError:
        if begun:
            raise
    return execute()


def prepare_environment(root: Path, cores: int) -> None:
    """One thread a kernel: the same sums in the same order everywhere. No personal IPython profile.

    joblib, which the sweeps use, may start `cores` processes; finished trials are kept in the build
    folder, so that an interrupted chapter takes up where it stopped.
    """
    profile = root / "_build" / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    settings = profile / "ipython_kernel_config.py"
    part = settings.with_suffix(f".{os.getpid()}")
    part.write_text(_KERNEL_SETTINGS)
    os.replace(part, settings)
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
    os.environ.setdefault("MOE_STORE", str(root / "_build" / "sweeps"))
    os.environ.update(
        LOKY_MAX_CPU_COUNT=str(cores),
        PYTHONPATH=os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
        IPYTHONDIR=str(profile.parent),
        PYTHONWARNINGS=",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), _REPLACED])),
        JUPYTER_PREFER_ENV_PATH="1",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
    )


def _locate(job: Job, error: Any) -> Failure:
    """Turn papermill's error into chapter, cell and line of the source file."""
    traceback = _ANSI.sub("", "\n".join(error.traceback))
    frames = re.findall(rf"Cell In\[{error.exec_count}\], line (\d+)", traceback)
    offset = int(frames[0]) - 1 if frames else 0
    cells = job.chapter.notebook().cells
    tagged = [i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", [])]
    injected = bool(job.parameters and tagged and error.cell_index > tagged[0])
    before = [c.source for c in cells[: error.cell_index - injected] if c.cell_type == "code"]
    position = 0
    for source in before:
        position = job.chapter.text.index(source, position) + len(source)
    position = job.chapter.text.index(error.source, position)
    lines = error.source.splitlines()
    return Failure(
        job.chapter,
        f"{error.ename}: {error.evalue}",
        len(before) + 1,
        job.chapter.text.count("\n", 0, position) + 1 + offset,
        lines[min(offset, len(lines) - 1)].strip(),
        traceback,
    )
