"""The command in hard places, in a process of its own: the book, or one clear sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from builder import BuildError
from builder.surroundings import settled

COMMAND = Path(__file__).resolve().parents[2] / "book" / "build.py"


def start(
    root: Path, *arguments: str, env: dict[str, str], before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """The command under another one that stands `before` it."""
    return subprocess.Popen(
        [*before, sys.executable, str(COMMAND), "--root", str(root), *(arguments or ("quick",))],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


def run(
    root: Path, *arguments: str, env: dict[str, str], before: tuple[str, ...] = ()
) -> tuple[int, str]:
    """The status, and what was said."""
    process = start(root, *arguments, env=env, before=before)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def shows_both_chapters(root: Path) -> bool:
    pages = root / "_build" / "quick" / "html" / "book"
    one, two = ((pages / f"{name}.html").read_text("utf-8") for name in ("one", "two"))
    assert "output stderr" not in one + two
    return "one quick 0 1.0" in one and "two 2" in two


@pytest.fixture
def source(tiny: Path) -> Path:
    """The tiny book as it comes: nothing executed."""
    shutil.rmtree(tiny / "_build")
    return tiny


def draw_in(root: Path) -> None:
    """Let a chapter ask where what draws keeps its files, by default at home."""
    cell = "import matplotlib\nassert '_build' in matplotlib.get_cachedir()"
    with (root / "book" / "two.md").open("a", encoding="utf-8") as chapter:
        chapter.write(f"\n```{{code-cell}} ipython3\n{cell}\n```\n")


def test_no_home_is_needed_and_another_kernel_of_the_same_name_is_not_taken(
    source: Path, tmp_path: Path
) -> None:
    """No page tells that there was no home, either."""
    folder = tmp_path / "other" / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {"argv": ["false", "{connection_file}"], "display_name": "x", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    draw_in(source)
    env = {"JUPYTER_PATH": str(tmp_path / "other"), "HOME": f"{os.devnull}/none"}
    status, said = run(source, env=env)
    assert status == 0, said
    assert shows_both_chapters(source)


FEW_LETTERS = {"LC_ALL": "C", "PYTHONIOENCODING": "cp1252"}
NO_WAY_OUT = {**FEW_LETTERS, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Python then takes ASCII for the encoding of files and of their names."""


def test_a_machine_of_few_letters_in_a_folder_with_spaces_makes_the_same_book(
    source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "a book, (σ = 1)"
    shutil.move(source, root)
    status, said = run(root, env=NO_WAY_OUT)
    assert status == 1
    assert "set LC_ALL=C.UTF-8" in said
    assert "Traceback" not in said
    with (root / "book" / "ledger.md").open("a", encoding="utf-8") as page:
        page.write("\nσ – ∎\n")
    status, said = run(root, env=FEW_LETTERS)
    assert status == 0, said
    assert shows_both_chapters(root)
    assert "σ – ∎" in (root / "_build/quick/html/book/ledger.html").read_text("utf-8")


def test_a_refusal_is_told_in_any_encoding(tiny: Path) -> None:
    with (tiny / "book" / "ledger.md").open("a", encoding="utf-8") as page:
        page.write("\n{ref}`σ-∎`\n")
    status, said = run(tiny, env=NO_WAY_OUT)
    assert status == 1
    assert "Jupyter Book refused the pages" in said
    assert "ledger.md" in said
    assert "Traceback" not in said


def test_where_nothing_can_be_written_one_sentence_says_so(source: Path) -> None:
    (source / "_build").write_text("a file where the folder would be")
    status, said = run(source, env={})
    assert status == 1
    assert "cannot be written" in said
    assert "copy the checkout to a folder of yours" in said
    assert "Traceback" not in said


@pytest.fixture
def read_only(source: Path) -> Iterator[Path]:
    _permit(source, 0o555, 0o444)
    yield source
    _permit(source, 0o755, 0o644)


def _permit(root: Path, folders: int, files: int) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(folders if path.is_dir() else files)


def heeding_permissions() -> tuple[str, ...]:
    """What to put before a command so that permissions of files hold for it: nothing for users,
    and for root a command that takes the right to pass over them."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return ()
    if (setpriv := shutil.which("setpriv")) is None:
        pytest.skip("root passes over permissions")
    return (setpriv, "--bounding-set=-dac_override,-dac_read_search")


def test_a_checkout_that_is_read_only_is_refused_or_only_read(
    read_only: Path, tmp_path: Path
) -> None:
    """Refused without a place to build in; with one, nothing else is written."""
    before = heeding_permissions()
    status, said = run(read_only, env={}, before=before)
    assert status == 1
    assert "cannot be written (Permission denied)" in said
    assert "Traceback" not in said
    (tmp_path / "place").mkdir()
    read_only.chmod(0o755)
    (read_only / "_build").symlink_to(tmp_path / "place")
    read_only.chmod(0o555)
    status, said = run(read_only, env={}, before=before)
    assert status == 0, said
    assert shows_both_chapters(read_only)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of another kind")
@pytest.mark.parametrize(
    ("name", "workers"), [("SIGINT", "2"), ("SIGTERM", "2"), ("SIGHUP", "2"), ("SIGINT", "1")]
)
def test_when_it_is_told_to_end_nothing_goes_on(source: Path, name: str, workers: str) -> None:
    """One process executes both chapters, the kernels forked; or each has its own."""
    cell = "import time; open('begun', 'w').close(); time.sleep(600)"
    with (source / "book" / "two.md").open("a", encoding="utf-8") as chapter:
        chapter.write(f"\n```{{code-cell}} ipython3\n{cell}\n```\n")
    process = start(source, "--workers", workers, "quick", env={})
    started = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while not (source / "book" / "begun").exists():
        assert time.monotonic() < deadline, "no kernel was started"
        time.sleep(0.2)
    everything = descendants(started)
    number = signal.Signals[name]
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in said and "Warning" not in said, said
    _, alive = psutil.wait_procs(everything, timeout=5)
    assert [one.pid for one in alive] == []
    assert not list((source / "_build").glob("scratch-*"))


ENDED = """
import os, signal, threading, time
from builder.ending import ended_together
from builder.parallel import each
threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM)).start()
with ended_together():
    each(time.sleep, [60.0, 60.0])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of another kind")
def test_it_ends_without_a_word_while_pages_are_made_on_all_cores() -> None:
    """The tracker of its semaphores is left to end with it."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDED],
        env={**os.environ, "PYTHONPATH": str(COMMAND.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "")


def descendants(process: psutil.Process) -> list[psutil.Process]:
    found = process.children(recursive=True)
    return [one for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_what_was_set_before_is_set_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", "mine")
    monkeypatch.delenv("PYTHONUTF8", raising=False)
    with settled(tmp_path):
        assert "JUPYTER_PATH" not in os.environ
        assert os.environ["PYTHONUTF8"] == "1"
    assert os.environ["JUPYTER_PATH"] == "mine"
    assert "PYTHONUTF8" not in os.environ
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot be written"), settled(tmp_path / "file"):
        pass
