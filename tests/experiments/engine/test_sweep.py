"""Sweeps: the same table on any number of workers, after any accident, and never another code's."""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import torch

from moe.experiments.engine import sweep as engine
from moe.experiments.engine.code import code_digest, dependencies, source_digest
from moe.experiments.engine.sweep import Trial, TrialError, TrialFunction, sweep
from moe.randomness import stream

if TYPE_CHECKING:
    from dask.distributed import LocalCluster

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Spec:
    """marks: a folder where every execution leaves a file; lethal: the seed whose first execution
    kills its process."""

    n: int = 100
    seconds: float = 0.0
    marks: str = ""
    lethal: int = -1
    sizes: tuple[int, ...] = (1, 2)


def mean(spec: Spec, seed: int) -> dict[str, float]:
    if spec.marks:
        first = not any(Path(spec.marks).glob(f"{spec.n}-{seed}-*"))
        (Path(spec.marks) / f"{spec.n}-{seed}-{uuid4().hex}").touch()
        if first and seed == spec.lethal:
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(spec.seconds)
    sample = torch.randn(spec.n, generator=stream("sample", seed))
    nothing = math.nan if seed == 0 else math.inf
    return {"mean": float(sample.mean()), "nothing": nothing, "threads": torch.get_num_threads()}


def broken(spec: Spec, seed: int) -> Any:
    """Seed 2 raises; where there is a folder of marks, well after seeds 0 and 1 have ended."""
    if seed == 2:
        while spec.marks and len(list(Path(spec.marks).iterdir())) < 2:
            time.sleep(0.01)
        time.sleep(spec.seconds)
        raise ArithmeticError("no such mean")
    if spec.marks:
        (Path(spec.marks) / f"{spec.n}-{seed}-").touch()
    return [1.0] if seed == 3 else {"mean": "large" if seed == 4 else 0.5}


def executions(marks: Path) -> dict[tuple[int, int], int]:
    count: dict[tuple[int, int], int] = {}
    for file in marks.iterdir():
        n, seed, _ = file.name.split("-")
        count[int(n), int(seed)] = count.get((int(n), int(seed)), 0) + 1
    return count


def rows(table: list[Trial]) -> list[str]:
    """Exact, and equal where NaN meets NaN; without the folder of marks."""
    return [repr((replace(t.spec, marks=""), t.seed, t.result)) for t in table]


def stored(store: Path) -> set[tuple[int, int]]:
    found = [json.loads(file.read_text()) for file in store.rglob("*.json")]
    return {(f["spec"]["n"], f["seed"]) for f in found}


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOE_STORE", raising=False)
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)


def start(code: str, *paths: Path) -> subprocess.Popen[str]:
    """Another Python, the leader of a group of processes of its own."""
    path = os.pathsep.join(str(p) for p in (*paths, ROOT, ROOT / "tests", Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_rows_come_specs_outer_seeds_inner_on_any_number_of_workers() -> None:
    specs, seeds = [Spec(50, 0.02), Spec(20)], (3, 0, 1)
    alone = sweep(mean, specs, seeds, workers=1)
    assert [(t.spec, t.seed) for t in alone] == [(spec, seed) for spec in specs for seed in seeds]
    assert alone[0].result["mean"] == mean(specs[0], 3)["mean"]
    assert rows(sweep(mean, specs, seeds, workers=2)) == rows(alone)


def test_every_trial_has_one_thread_and_the_caller_keeps_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for workers in (1, 2):
            table = sweep(mean, [Spec()], range(2), workers=workers)
            assert [t.result["threads"] for t in table] == [1.0, 1.0]
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_finished_trial_is_read_and_not_executed_again(marks: Path, tmp_path: Path) -> None:
    spec = Spec(marks=str(marks))
    first = sweep(mean, [spec], range(3), store=tmp_path / "store", workers=1)
    more = sweep(mean, [spec], range(5), store=tmp_path / "store", workers=1)
    assert rows(more[:3]) == rows(first)
    assert [t.seconds for t in more[:3]] == [t.seconds for t in first]
    assert executions(marks) == {(100, seed): 1 for seed in range(5)}


def test_equal_trials_are_executed_once_and_unequal_ones_apart(marks: Path, tmp_path: Path) -> None:
    specs = [Spec(marks=str(marks)), Spec(marks=str(marks)), Spec(marks=str(marks), seconds=0)]
    table = sweep(mean, specs, [1, 1], store=tmp_path / "store", workers=1)
    assert len(table) == 6
    assert executions(marks) == {(100, 1): 2}, "seconds=0.0 and seconds=0 are different specs"


def test_the_environment_names_the_store(
    marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOE_STORE", str(tmp_path / "deep" / "store"))
    for _ in range(2):
        sweep(mean, [Spec(marks=str(marks))], [1], workers=1)
    assert executions(marks) == {(100, 1): 1}
    assert stored(tmp_path / "deep" / "store") == {(100, 1)}


def test_after_kill_9_a_sweep_resumes_and_ends_with_the_same_table(
    marks: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    specs = [Spec(n, 0.15, str(marks)) for n in (10, 20)]
    code = f"""
        from test_sweep import Spec, mean, sweep
        specs = [Spec(n, 0.15, {str(marks)!r}) for n in (10, 20)]
        sweep(mean, specs, range(10), store={str(store)!r}, workers=2)
    """
    with start(code) as process:
        deadline = time.monotonic() + 60
        while len(list(store.rglob("*.json"))) < 4:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before, count = stored(store), executions(marks)
    assert 4 <= len(before) < 20

    table = sweep(mean, specs, range(10), store=store, workers=2)
    fresh = sweep(mean, [replace(spec, marks="") for spec in specs], range(10), workers=2)
    assert rows(table) == rows(fresh)
    after = executions(marks)
    assert {job: after[job] for job in before} == dict.fromkeys(before, 1)
    assert {job: after[job] - count.get(job, 0) for job in after.keys() - before} == {
        (n, seed): 1 for n in (10, 20) for seed in range(10) if (n, seed) not in before
    }


def test_two_processes_on_one_store_do_not_corrupt_it(marks: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    code = f"""
        from test_sweep import Spec, mean, rows, sweep
        specs = [Spec(n, 0.01, {str(marks)!r}) for n in (10, 20)]
        print(*rows(sweep(mean, specs, range(20), store={str(store)!r}, workers=1)), sep="\\n")
    """
    processes = [start(code), start(code)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    fresh = sweep(mean, [Spec(n, 0.01) for n in (10, 20)], range(20), workers=1)
    assert outputs == ["\n".join(rows(fresh)) + "\n"] * 2
    assert len(stored(store)) == len(list(store.rglob("*.*"))) - 1 == 40
    before = executions(marks)
    sweep(mean, [Spec(n, 0.01, str(marks)) for n in (10, 20)], range(20), store=store, workers=1)
    assert executions(marks) == before


@pytest.mark.parametrize("damage", ["", '{"result"', "[]", '{"result": {"mean": "x"}}', "swap"])
def test_a_broken_file_draws_a_warning_and_is_computed_again(damage: str, tmp_path: Path) -> None:
    table = sweep(mean, [Spec()], range(2), store=tmp_path, workers=1)
    file, other = sorted(tmp_path.rglob("*.json"))
    file.write_text(other.read_text() if damage == "swap" else damage)
    with pytest.warns(UserWarning, match=f"{file.name} is broken and is computed again"):
        again = sweep(mean, [Spec()], range(2), store=tmp_path, workers=1)
    assert rows(again) == rows(table)
    assert rows(sweep(mean, [Spec()], range(2), store=tmp_path, workers=1)) == rows(table)


def test_a_store_written_by_other_code_is_not_reused(tmp_path: Path) -> None:
    package = tmp_path / "study"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").write_text("FACTOR = 2\n")
    (package / "trials.py").write_text(
        "from dataclasses import dataclass\nfrom study import helper\n\n\n"
        "@dataclass(frozen=True)\nclass Spec:\n    a: int = 1\n\n\n"
        "def times(spec, seed):\n    print('executed', end=' ')\n"
        "    return {'product': helper.FACTOR * seed}\n"
    )
    code = f"""
        from study.trials import Spec, times
        from moe.experiments.engine.sweep import sweep
        for _ in range(2):
            print(sweep(times, [Spec()], [7], store={str(tmp_path / "store")!r})[0].result)
    """
    outputs = []
    for factor in (2, 3):
        (package / "helper.py").write_text(f"FACTOR = {factor}\n")
        outputs.append(start(code, tmp_path).communicate(timeout=60)[0].splitlines())
    for product, output in zip((14.0, 21.0), outputs, strict=True):
        assert output == [f"executed {{'product': {product}}}", f"{{'product': {product}}}"]


def test_the_digest_follows_imports_and_nothing_else(tmp_path: Path) -> None:
    sources = {
        "tiny/__init__.py": "",
        "tiny/trial.py": "import tiny.direct\nfrom .sub import one\nfrom tiny.sub.two import x\n",
        "tiny/direct.py": "def f():\n    from . import inner\n",
        "tiny/inner.py": "",
        "tiny/unused.py": "",
        "tiny/sub/__init__.py": "",
        "tiny/sub/one.py": "import numpy, moe.checks\n",
        "tiny/sub/two.py": "x = 1\n",
        "moe/__init__.py": "",
        "moe/checks.py": "",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    roots = {"tiny": tmp_path, "moe": tmp_path}
    expected = {"tiny", "tiny.trial", "tiny.direct", "tiny.inner"}
    expected |= {"tiny.sub", "tiny.sub.one", "tiny.sub.two", "moe", "moe.checks"}
    found = dependencies("from tiny.trial import f", roots)
    assert set(found) == expected

    before = code_digest("tiny.trial", roots)
    (tmp_path / "tiny/unused.py").write_text("y = 2\n")
    assert code_digest("tiny.trial", roots) == before
    for path in found.values():
        text = path.read_text()
        path.write_text(text + "z = 3\n")
        assert code_digest("tiny.trial", roots) != before, path
        path.write_text(f'"""What it is for."""\n\n{text}# a comment\n')
        assert code_digest("tiny.trial", roots) == before, f"{path}: words do not count"
        path.write_text(text)
    assert code_digest("tiny.trial", roots) == before


def test_the_digest_of_a_file_knows_a_docstring_from_a_string(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        (tmp_path / "a.py").write_text(text)
        return source_digest(tmp_path / "a.py")

    assert digest('def f():\n    """One."""\n    return 1\n') == digest("def f(): return 1 # x")
    assert digest('x = "one"\n') != digest('x = "two"\n')
    assert digest("def f(): return 1") != digest("def f(): return 2")
    assert digest("x = (1") != digest("x = (2"), "a file that does not parse counts as it stands"


@pytest.mark.parametrize("name", ["alone", "space.inside", "whole.inside"])
def test_the_digest_finds_modules_where_they_were_imported_from(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module, one in a folder without __init__.py, one in a package."""
    monkeypatch.syspath_prepend(tmp_path)
    for file in ("alone.py", "space/inside.py", "whole/__init__.py", "whole/inside.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("x = 1\n")
    importlib.import_module(name)
    before = code_digest(name)
    (tmp_path / f"{name.replace('.', '/')}.py").write_text("x = 2\n")
    assert code_digest(name) != before


def test_the_digest_knows_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("moe.experiments.recovery.stages")
    monkeypatch.setattr("moe.experiments.engine.code.version", lambda name: "0.1")
    assert code_digest("moe.experiments.recovery.stages") != before


def test_a_sweep_writes_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_PROGRESS", str(tmp_path / "trials"))
    sweep(mean, [Spec()], [1, 2, 3], workers=1)
    assert (tmp_path / "trials").read_text() == "3 3"


def test_a_process_that_holds_other_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(mean, [Spec()], [1], workers=1)
    monkeypatch.setattr(engine, "code_digest", lambda module: "of an edited file")
    with pytest.raises(TrialError, match=r"still holds other code, .* than the sweep that asks"):
        sweep(mean, [Spec()], [1], workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_that_fails_is_named_and_the_finished_ones_stay(
    workers: int, marks: Path, tmp_path: Path
) -> None:
    message = r"broken failed at spec=Spec\(n=7, .*\), seed=2: ArithmeticError: no such mean"
    with pytest.raises(TrialError, match=message):
        sweep(broken, [Spec(7, 0.5, str(marks))], range(3), store=tmp_path, workers=workers)
    assert stored(tmp_path) == {(7, 0), (7, 1)}


def test_results_other_than_numbers_are_refused() -> None:
    with pytest.raises(TrialError, match=r"seed=3: .*expected a mapping of names .* got \[1.0\]"):
        sweep(broken, [Spec()], [3], workers=1)
    with pytest.raises(TrialError, match=r"seed=4: .*expected names and numbers.* 'large' \(str\)"):
        sweep(broken, [Spec()], [4], workers=1)


def test_bad_arguments_speak(tmp_path: Path) -> None:
    @dataclass
    class Loose:
        n: int = 1

    @dataclass(frozen=True)
    class Heavy:
        data: tuple[Any, ...] = (1, torch.zeros(2))

    functions: list[TrialFunction] = [lambda spec, seed: {}, partial(mean)]
    for function in functions:
        with pytest.raises(TypeError, match=r"trial: expected a (module-level )?function"):
            sweep(function, [Spec()], [0])
    for specs in (Spec(), [Loose()], [Spec], [{"n": 1}]):
        with pytest.raises(TypeError, match=r"specs: expected .*frozen dataclasses, got"):
            sweep(mean, specs, [0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"spec.data\[1\]: expected a plain number.* got Tensor"):
        sweep(mean, [Heavy()], [0])
    with pytest.raises(TypeError, match="seeds: expected integers, got"):
        sweep(mean, [Spec()], [0.5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="workers: expected None or an integer >= 1, got 0"):
        sweep(mean, [Spec()], [0], workers=0)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="store: expected a directory, got the file"):
        sweep(mean, [Spec()], [0], store=tmp_path / "file")


def test_progress_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(mean, [Spec()], range(3), workers=1)
    assert capsys.readouterr().err == ""
    sweep(mean, [Spec()], range(3), workers=1, progress=True)
    assert "3/3" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    from dask.distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
        yield found


def test_a_dask_cluster_gives_the_same_table(
    cluster: LocalCluster, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [Spec(n, 0.05, str(marks)) for n in (30, 40)]
    alone = rows(sweep(mean, [Spec(n, 0.05) for n in (30, 40)], range(4), workers=1))
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    assert rows(sweep(mean, specs, range(4))) == alone
    assert executions(marks) == {(n, seed): 1 for n in (30, 40) for seed in range(4)}


def test_a_dask_worker_killed_in_the_middle_loses_nothing(
    cluster: LocalCluster, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec(seconds=0.05, marks=str(marks), lethal=4)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    table = sweep(mean, [spec], range(12), store=tmp_path / "store")
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    alone = sweep(mean, [replace(spec, marks="")], range(12), workers=1)
    assert rows(table) == rows(alone)
    count = executions(marks)
    assert count[100, 4] >= 2
    assert len(count) == len(stored(tmp_path / "store")) == 12


def test_a_trial_that_fails_on_the_cluster_is_named(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    with pytest.raises(TrialError, match=r"broken failed at spec=Spec\(n=7.*seed=2: Arithmetic"):
        sweep(broken, [Spec(7)], range(3))
