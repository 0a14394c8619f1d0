"""Where the book is built and run by others: what their files name exists, and agrees."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from builder.pages.hosts import PUBLISHED
from builder.pipeline import html_folder
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "book.yml"
TARGETS = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert read["permissions"] == {"contents": "read"}
    found: dict[str, Any] = read["jobs"]
    return found


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_workflow_makes_what_the_makefile_has(jobs: dict[str, Any]) -> None:
    named = re.findall(r"make (\w+)", " ".join(c for job in jobs.values() for c in commands(job)))
    assert named == ["lint", "test", "book"] and set(named) <= TARGETS


def test_the_site_goes_to_the_branch_that_colab_reads(jobs: dict[str, Any]) -> None:
    """Only the job that pushes may write; a pull request does not get there."""
    book = jobs["book"]
    assert book["permissions"] == {"contents": "write"} and "permissions" not in jobs["test"]
    assert book["if"] == "github.ref == 'refs/heads/main'" and book["needs"] == "test"
    (publish,) = (step for step in book["steps"] if step.get("name") == "publish")
    assert publish["working-directory"] == str(html_folder(ROOT, "full").relative_to(ROOT))
    assert f"--initial-branch {PUBLISHED}" in publish["run"]
    assert publish["run"].rstrip().endswith(f" {PUBLISHED}")


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_what_is_published_is_the_site_as_one_commit(jobs: dict[str, Any], tmp_path: Path) -> None:
    """The step itself, pushed to a repository on this machine, twice."""
    (step,) = (step["run"] for step in jobs["book"]["steps"] if step.get("name") == "publish")
    remote, site = tmp_path / "remote.git", tmp_path / "site"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    address = '"https://x-access-token:$TOKEN@github.com/$GITHUB_REPOSITORY"'
    assert address in step
    step = step.replace(address, f"'{remote}'")
    site.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for text in ("one", "two"):
        shutil.rmtree(site)
        (site / "_downloads").mkdir(parents=True)
        (site / "_downloads" / "05.ipynb").write_text(text)
        env = {**clean, "GITHUB_SHA": "abc", "HOME": str(tmp_path)}
        subprocess.run(["bash", "-eo", "pipefail", "-c", step], cwd=site, env=env, check=True)

    def told(*arguments: str) -> str:
        command = ["git", "-C", str(remote), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert told("rev-list", "--count", PUBLISHED).strip() == "1"
    assert told("ls-tree", "-r", "--name-only", PUBLISHED).split() == [
        ".nojekyll",
        "_downloads/05.ipynb",
    ]
    assert told("show", f"{PUBLISHED}:_downloads/05.ipynb") == "two"


def test_the_environment_of_binder_is_the_locked_one() -> None:
    read = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, _, pip = read["dependencies"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (allowed,) = re.findall(r'requires-python = "(.*)"', project)
    assert f"{python.removeprefix('python=')}.0" in SpecifierSet(allowed)
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_what_binder_runs_afterwards_is_a_script_that_bash_reads() -> None:
    script = ROOT / "postBuild"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "-c requirements.lock" in script.read_text(encoding="utf-8")


def test_the_dev_container_makes_what_the_makefile_has() -> None:
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    read = json.loads(text)
    assert set(re.findall(r"make (\w+)$", read["postCreateCommand"])) == {"setup"} <= TARGETS
    path = read["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"BIN := {Path(path).parent.as_posix()}\n" in makefile
