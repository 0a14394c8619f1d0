"""Forked kernels are kernels like others, and start with nothing of another chapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import pytest
from builder.execution import forking
from builder.execution.execute import prepare_environment

LOOK = """
import os, signal, sys, threading
import matplotlib, torch
import matplotlib.pyplot as plt
ours = [name for name in sys.modules if name.partition(".")[0] in ("builder", "moe")]
print(os.getcwd(), sys.path, Path(sys.argv[0]).name, __name__, len(sys.argv), ours)
print(os.getpid() == os.getpgid(0) == os.getsid(0), signal.getsignal(signal.SIGCHLD))
print(sys.stdin.read() if sys.stdin is None else "", torch.get_num_threads(), os.environ["MARK"])
print(threading.active_count(), plt.get_backend(), dict(plt.rcParams))
print(get_ipython().history_manager.enabled)
plt.plot([1, 3, 2]);
"""


REPLACED = """
import warnings
warnings.warn("A worker stopped while some jobs were given to the executor. This ...", UserWarning)
"""


def look(folder: Path, code: str = LOOK, **how: Any) -> list[Any]:
    """The outputs of a cell, one that looks around, in a new kernel."""
    cell = nbformat.v4.new_code_cell("from pathlib import Path\n" + code)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    place = str(folder / "look.ipynb")
    done = papermill.execute_notebook(
        notebook, place, kernel_name="python3", cwd=str(folder), progress_bar=False, **how
    )
    return [output.get("text") or output.get("data") for output in done.cells[0].outputs]


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    monkeypatch.setenv("MARK", "first")
    monkeypatch.setenv("PYTHONPATH", "")
    prepare_environment(tmp_path, 1)
    if not (how := forking.manager()):
        pytest.skip("kernels are started here, not forked")
    return how


def test_a_forked_kernel_sees_what_a_started_one_sees(
    forked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = look(tmp_path)
    assert "image/png" in started[1]
    assert look(tmp_path, **forked) == started
    monkeypatch.setenv("MARK", "second")
    assert "second" in look(tmp_path, **forked)[0], "the environment is that of its own start"


def test_a_process_of_a_sweep_that_was_replaced_is_not_told_on_a_page(
    forked: dict[str, Any], tmp_path: Path
) -> None:
    assert look(tmp_path, REPLACED) == look(tmp_path, REPLACED, **forked) == []
    assert len(look(tmp_path, REPLACED.replace("A worker", "Another"), **forked)) == 1


def test_the_process_that_forks_has_one_thread_and_no_figure_backend(
    forked: dict[str, Any],
) -> None:
    """Another thread's locks would stay closed for ever in what is forked; the backend looks for
    its kernel when it is loaded."""
    code = """
import os, sys
from builder.execution import forking
for name in forking.LIBRARIES:
    __import__(name)
assert len(os.listdir("/proc/self/task")) == 1
assert not {"matplotlib_inline.backend_inline", "moe"} & set(sys.modules)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(forking.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_a_process_that_ends_is_forgotten(forked: dict[str, Any], tmp_path: Path) -> None:
    from builder.execution.forked import ForkedProcess

    (tmp_path / "short.py").write_text("import time\ntime.sleep(3)")
    command = [sys.executable, "-m", "short"]
    process = ForkedProcess(forking.fork(command, {"PATH": ""}, str(tmp_path)))
    assert process.poll() is None
    assert process.wait() == process.poll() == 0
    assert not psutil.pid_exists(process.pid)


def test_a_process_that_has_ended_takes_signals_as_a_child_would(
    forked: dict[str, Any], tmp_path: Path
) -> None:
    """A kernel may end between two looks of Jupyter at it; a chapter was lost then."""
    from builder.execution.forked import ForkedProcess

    command = [sys.executable, "-m", "platform"]
    number = forking.fork(command, {"PATH": ""}, str(tmp_path))
    seen = ForkedProcess(number)
    seen.wait()
    for process in (seen, ForkedProcess(number)):
        assert process.poll() == 0
        process.terminate()
        process.kill()


def test_a_process_that_forks_and_has_ended_is_started_again(
    forked: dict[str, Any], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "platform"]
    forking.fork(command, {"PATH": ""}, str(tmp_path))
    number = forking.parent_of_kernels()
    assert number is not None
    psutil.Process(number).kill()
    assert forking.fork(command, {"PATH": ""}, str(tmp_path)) > 0
    assert forking.parent_of_kernels() != number


def test_a_kernel_with_an_interpreter_of_its_own_or_options_is_started(
    forked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "kernels" / "optional"
    place.mkdir(parents=True)
    command = ["-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": [sys.executable, *command], "display_name": "", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)")])
    done = papermill.execute_notebook(
        notebook,
        str(tmp_path / "done.ipynb"),
        kernel_name="optional",
        progress_bar=False,
        **forked,
    )
    assert done.cells[0].outputs[0]["text"] == "42\n"
    assert not forking.forkable(["/elsewhere/python", "-m", "ipykernel_launcher"])


def test_elsewhere_kernels_are_started_as_jupyter_starts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert forking.manager() == {}
