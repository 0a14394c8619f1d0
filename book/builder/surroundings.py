"""The machine around a build, kept out of it: kernels, settings and encodings of its owner."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder import BuildError

_DROPPED = ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR")
_UTF8 = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}


@contextmanager
def settled(root: Path) -> Iterator[None]:
    """Within, processes that are started see no kernel but the environment's, keep their files in
    the build folder, and speak UTF-8.

    A folder of settings that cannot be written (no home) gives way to one in the build folder.
    Raises BuildError where the build folder itself cannot be written, or not even be named.
    """
    build = root.resolve() / "_build"
    _require_usable(build)
    jupyter = build / "jupyter"
    wanted = {**_UTF8, "JUPYTER_DATA_DIR": str(jupyter), "JUPYTER_CONFIG_DIR": str(jupyter)}
    if "MPLCONFIGDIR" not in os.environ and not _home_is_writable():
        wanted["MPLCONFIGDIR"] = str(build / "matplotlib")
    before = {name: os.environ.get(name) for name in (*_DROPPED, *wanted)}
    for name in _DROPPED:
        os.environ.pop(name, None)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _require_usable(build: Path) -> None:
    try:
        str(build).encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(build).decode(errors="replace")
        raise BuildError(
            f"the name of {shown} cannot be read in this locale: set LC_ALL=C.UTF-8"
        ) from error
    try:
        build.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=build):
            pass
    except OSError as error:
        raise BuildError(
            f"{build} cannot be written ({error.strerror}), and the book is built there:"
            " copy the checkout to a folder of yours"
        ) from error


def _home_is_writable() -> bool:
    try:
        home = Path.home()
    except RuntimeError:  # nobody knows where it is
        return False
    return home.is_dir() and os.access(home, os.W_OK)
