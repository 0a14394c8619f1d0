"""The whole way from sources to a book that passed the gate; until then the last good one stays."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

from filelock import FileLock

from builder import BuildError, gate, parameters
from builder.contents import Chapter, find_chapter, read_contents
from builder.edition import Edition, edition_of
from builder.execution.again import differences, execute_in
from builder.execution.execute import Failure, Job, Outcome, run_all
from builder.execution.keys import changes, ingredients, versions
from builder.fingerprint import fingerprint
from builder.pages.finish import finish
from builder.record.provenance import commit, duration, machine
from builder.render import render
from builder.stage import stage
from builder.surroundings import settled

Report = Callable[[str], None]
tell: Report = partial(print, flush=True)


@dataclass(frozen=True)
class Book:
    """A book that passed the gate, and the chapters that were executed for it."""

    index: Path
    executed: tuple[str, ...]


def html_folder(root: Path, kind: str) -> Path:
    """Where the HTML of the full book, the quick, the `students` or a `chapter`'s goes."""
    return root / "_build" / "html" if kind == "full" else root / "_build" / kind / "html"


def last_built(root: Path) -> Path:
    """The HTML of the full book, else of the quick one; raises BuildError where there is none."""
    for kind in ("full", "quick"):
        if (html := html_folder(root, kind)).is_dir():
            return html
    raise BuildError("there is no book yet: make quick, or make book")


def notebook_file(root: Path, kind: str, chapter: Chapter) -> Path:
    return root / "_build" / kind / "notebooks" / f"{chapter.name}.ipynb"


def build(
    root: Path,
    profile: str,
    workers: int | None = None,
    report: Report = tell,
    *,
    students: bool = False,
) -> Book:
    """The book under a profile, "quick" or "full"; executes what changed since the last time. For
    students it has no solutions, and a folder of its own."""
    chapters = read_contents(root := root.resolve())
    with _alone(root, profile):
        jobs, executed = _executed(chapters, profile, workers, report)
        index = _publish(root, chapters, executed, edition_of(profile, students=students), report)
    return Book(index, tuple(job.chapter.name for job in jobs))


def _executed(
    chapters: list[Chapter], profile: str, workers: int | None, report: Report
) -> tuple[list[Job], dict[str, Path]]:
    """What was executed because it had changed, and where the notebooks of all chapters are."""
    jobs, unchanged = list[Job](), list[Job]()
    last_seconds = dict[Path, float]()
    for chapter in (c for c in chapters if c.is_notebook):
        job = _job(chapter, profile, profile, {})
        before = _provenance(job.target)
        changed = changes(before.get("inputs", {}), job.provenance["inputs"])
        if not changed:
            unchanged.append(job)
            continue
        jobs.append(job)
        last_seconds[job.target] = before.get("seconds", inf)
        if before:
            report(f"{chapter.name}: changed {', '.join(changed)}")
    if unchanged:
        report(f"unchanged: {', '.join(job.chapter.name for job in unchanged)}")
    jobs.sort(key=lambda job: (last_seconds[job.target], job.chapter.sizes()))
    jobs.reverse()  # the longest first
    _execute(jobs, workers, report)
    return jobs, {j.chapter.name: j.target for j in (*jobs, *unchanged)}


def build_chapter(
    root: Path, name: str, overrides: Mapping[str, Any], report: Report = tell
) -> Book:
    """One chapter with other parameters, beside the other chapters as they were last built.

    It is executed whether something changed or not. The profile is full unless overridden.
    """
    root = root.resolve()
    chapters = read_contents(root)
    chapter = find_chapter(chapters, name)
    profile = str(overrides.get("profile", "full"))
    job = _job(chapter, "chapter", profile, overrides)
    values = escape(", ".join(f"{key} = {value}" for key, value in overrides.items()))
    banner = f"{chapter.name} was executed anew with {values or 'its own values'}."
    with _alone(root, "chapter"):
        _execute([job], 1, report)
        executed = {**_last_executed(root, chapters), chapter.name: job.target}
        index = _publish(root, chapters, executed, Edition("chapter", banner), report)
    return Book(index, (chapter.name,))


def execute_again(
    root: Path, profile: str, name: str = "", workers: int | None = None
) -> list[str]:
    """What differs where a chapter, or each, is executed once more from nothing.

    Raises BuildError where one has changed since it was executed.
    """
    chapters = [chapter for chapter in read_contents(root.resolve()) if chapter.is_notebook]
    chosen = [find_chapter(chapters, name)] if name else chapters
    jobs = [_job(chapter, profile, profile, {}) for chapter in chosen]
    for job in jobs:
        if changes(_provenance(job.target).get("inputs", {}), job.provenance["inputs"]):
            command = "make book" if profile == "full" else "make quick"
            raise BuildError(f"{job.chapter.name} was not executed as it is now: {command}")
    with settled(root), _scratch(root / "_build") as folder:
        pairs = zip(jobs, execute_in(folder, jobs, workers), strict=True)
        return [f"{a.chapter.name}: {told}" for a, b in pairs for told in differences(a.target, b)]


def _last_executed(root: Path, chapters: list[Chapter]) -> dict[str, Path]:
    """Chapter -> its notebook in the full book, else in the quick one; only those that exist."""
    found = {}
    for kind in ("quick", "full"):
        for chapter in chapters:
            if (notebook := notebook_file(root, kind, chapter)).is_file():
                found[chapter.name] = notebook
    return found


def _job(chapter: Chapter, kind: str, profile: str, overrides: Mapping[str, Any]) -> Job:
    try:
        known = parameters.defaults(chapter.notebook())
    except SyntaxError as error:
        raise BuildError(f"{chapter.document}.md: parameters cell: {error}") from error
    injected = parameters.resolve(known, profile, overrides, chapter.name)
    provenance = {
        "parameters": {**known, **injected},
        "versions": versions(),
        "inputs": ingredients(chapter, injected),
    }
    return Job(chapter, notebook_file(chapter.root, kind, chapter), injected, provenance)


def _provenance(notebook: Path) -> dict[str, Any]:
    if not notebook.is_file():
        return {}
    metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    return dict(metadata.get("provenance", {}))


def _execute(jobs: list[Job], workers: int | None, report: Report) -> None:
    if not jobs:
        return
    counter = count(1)

    def done(job: Job, outcome: Outcome) -> None:
        text = "FAILED" if isinstance(outcome, Failure) else duration(outcome)
        report(f"[{next(counter)}/{len(jobs)}] {job.chapter.name}  {text}")

    report(f"executing: {', '.join(job.chapter.name for job in jobs)}")
    here = {"machine": machine(), "commit": commit(jobs[0].chapter.root)}
    jobs = [replace(job, provenance={**job.provenance, **here}) for job in jobs]
    failures = run_all(jobs, workers, done)
    if failures:
        raise BuildError("\n\n".join(str(failure) for failure in failures))


def _publish(
    root: Path,
    chapters: list[Chapter],
    executed: Mapping[str, Path],
    edition: Edition,
    report: Report,
) -> Path:
    """Stage, render, inspect; the HTML takes its place only when nothing is wrong with it."""
    html = html_folder(root, edition.kind)
    mark = root / "_build" / edition.kind / "html.fingerprint"
    started = time.perf_counter()
    made_of = fingerprint(root, chapters, executed, edition)
    if html.is_dir() and mark.is_file() and mark.read_text() == made_of:
        return html / "index.html"
    with _scratch(root / "_build") as scratch:
        staged = scratch / "stage"
        stage(root, chapters, executed, staged, edition)
        complete = len(executed) == sum(c.is_notebook for c in chapters)
        built = render(staged, scratch, strict=complete)
        finish(built, root, chapters, edition)
        checks = gate.OWN if edition.kind == "chapter" else gate.CHECKS
        complaints = gate.inspect(built, [c.document for c in chapters], checks)
        if complaints:
            raise BuildError("\n".join(["The built pages do not pass:", *complaints]))
        mark.unlink(missing_ok=True)
        _swap(built, html, scratch / "previous")
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(made_of)
    report(f"pages  {duration(time.perf_counter() - started)}")
    return html / "index.html"


def _swap(new: Path, place: Path, previous: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        os.replace(place, previous)
    os.replace(new, place)


@contextmanager
def _alone(root: Path, kind: str) -> Iterator[None]:
    """Two builds of the same book follow each other; the machine's own settings stay outside."""
    place = root / "_build" / kind
    with settled(root):
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            yield


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
