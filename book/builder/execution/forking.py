"""Kernels forked from one process that holds the libraries loaded: they start at once.

Run as a script this file is that process. Where the system does not fork safely (Linux does)
kernels start as Jupyter starts them.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any

LIBRARIES = (
    *("torch", "scipy.optimize", "scipy.stats", "sklearn.utils", "pandas", "joblib", "tqdm"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell"),
)
"""What is loaded before a kernel is forked: no module of the book, and nothing that starts a thread
or asks for the kernel that it is in."""

_SCRIPT = """
import sys
del sys.path[0]  # the folder it is started in
import runpy
runpy.run_path({!r}, run_name="__main__")
"""


def manager() -> dict[str, Any]:
    """What papermill is told so that its kernels are forked; nothing where they cannot be."""
    if not sys.platform.startswith("linux"):
        return {}
    from builder.execution.forked import ForkedKernel

    return {"kernel_manager_class": ForkedKernel}


def fork(command: list[str], env: dict[str, str], cwd: str) -> int:
    """The number of a new process, in a session of its own, that does what ``python -m ...``
    does."""
    request = json.dumps({"command": command, "env": env, "cwd": cwd})
    for _ in range(2):  # a process that has ended is started once more
        parent = _parent()
        assert parent.stdin is not None and parent.stdout is not None
        with suppress(BrokenPipeError):
            print(request, file=parent.stdin, flush=True)
            if number := parent.stdout.readline():
                return int(number)
        _parent.cache_clear()
    raise RuntimeError("the process that forks kernels does not stay alive")


def forkable(command: list[str]) -> bool:
    """Whether that is ``python -m ...`` with this interpreter and no options."""
    return command[:2] == [sys.executable, "-m"]


def parent_of_kernels() -> int | None:
    """The number of the process that forks; None as long as there is none."""
    return _parent().pid if _parent.cache_info().currsize else None


@lru_cache(1)
def _parent() -> subprocess.Popen[str]:
    """The process that forks; it ends with its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT.format(__file__)],
        env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    atexit.register(process.communicate)
    return process


def serve() -> None:
    """Fork a process for each line of the input and write its number; it runs as the line says."""
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # kernels end when this process has ended
    for name in LIBRARIES:
        import_module(name)
    kept = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets those that end
    while line := sys.stdin.readline():
        if (number := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, kept)
            _run(**json.loads(line))
            return
        print(number, flush=True)


def _run(command: list[str], env: dict[str, str], cwd: str) -> None:
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if threads := env.get("OMP_NUM_THREADS"):  # of which torch asks only when it is loaded
        import_module("torch").set_num_threads(int(threads))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    _, _, module, *arguments = command
    sys.argv = [module, *arguments]
    sys.path.insert(0, "")  # as `python -m` does
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
