"""What the pages tell of their making: commit, machine, memory, versions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builder.execution.keys import PACKAGES
from builder.execution.usage import Usage
from builder.record.provenance import commit, machine, runs_table, versions_table

HOLD = "import time; held = bytearray(200_000_000); time.sleep(1.2)"
WORK = "import time\nwhile time.process_time() < 1.5: pass\ntime.sleep(0.7)"
VERSIONS = dict.fromkeys(("python", *PACKAGES), "1.0")


def test_the_memory_of_processes_below_this_one_is_seen() -> None:
    with Usage() as peak:
        subprocess.run([sys.executable, "-c", HOLD], check=True)
    assert 200_000_000 < peak.bytes < 2_000_000_000
    with Usage() as idle:
        pass
    assert idle.bytes < peak.bytes


def test_the_processor_time_of_processes_below_this_one_is_seen() -> None:
    def taken(program: str) -> float:
        with Usage() as used:
            subprocess.run([sys.executable, "-c", program], check=True)
        return used.processor

    assert 1.4 < taken(WORK) < 2.5
    assert taken(HOLD) < 0.7


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_commit_is_that_of_the_checkout_and_says_where_files_differ(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""
    name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "file").write_text("one")
    for arguments in (["init", "-q"], ["add", "file"], [*name, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    clean = commit(tmp_path)
    assert len(clean) == 10 and int(clean, 16)
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{clean}-dirty"


def made(**changed: Any) -> dict[str, Any]:
    run = {"parameters": {"profile": "full", "seed": 3}, "versions": VERSIONS, "seconds": 61.0}
    taken = {"memory": 300 * 2**20, "processor": 90.0}
    return {**run, **taken, "commit": "abc", "machine": "a machine", **changed}


def test_the_page_has_time_memory_and_commit_of_each_chapter() -> None:
    table = runs_table({"book/one": made(), "book/two": made(commit="", seconds=2.0)})
    assert "| {doc}`/book/one` | full | 3 | 1 min 1 s | 1 min 30 s | 300 MB | abc |" in table
    assert "| {doc}`/book/two` | full | 3 | 2.0 s | 1 min 30 s | 300 MB | none |" in table


def test_chapters_of_other_versions_or_machines_are_told() -> None:
    other = made(versions={**VERSIONS, "numpy": "2.0"}, machine="another")
    table = versions_table({"book/one": made(), "book/two": made(), "book/three": other})
    assert "| numpy | 1.0; 2.0 |" in table
    assert "| torch | 1.0 |" in table
    assert "| machine | a machine; another |" in table
    assert " cores, " in machine()
