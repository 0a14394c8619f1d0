"""How a page came to be: values, run time and versions, told on the pages."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import joblib
import psutil
import yaml

from builder.execution.keys import PACKAGES

NOT_EXECUTED = """```{admonition} Not executed yet
:class: warning provenance
`make book` executes every chapter.
```"""


def foot(name: str, provenance: Mapping[str, Any]) -> str:
    """How a page came to be, as a Markdown admonition."""
    values, versions = provenance["parameters"], provenance["versions"]
    names = sorted(values, key=lambda name: (name != "profile", name != "seed", name))
    given = ", ".join(f"`{name} = {values[name]!r}`" for name in names)
    packages = ", ".join(f"{package} {versions[package]}" for package in PACKAGES)
    example = ' ARGS="seed=1"' if "seed" in values else ""
    return f"""```{{admonition}} How this page was made
:class: provenance
Executed in {duration(provenance["seconds"])} with {given or "no parameters"}; Python
{versions["python"]}, {packages}.

To run it with other values: `make chapter NAME={name}{example}`.
```"""


def citation(root: Path) -> str:
    """CITATION.cff as BibTeX, the book first and then what it refers to; nothing without one."""
    file = root / "CITATION.cff"
    if not file.is_file():
        return ""
    book = yaml.safe_load(file.read_text(encoding="utf-8"))
    works = [_bibtex("software", book), *(_bibtex("inproceedings", w) for w in book["references"])]
    return "\n".join(["```bibtex", *works, "```", ""])


def _bibtex(kind: str, work: Mapping[str, Any]) -> str:
    people = [_person(who) for who in work["authors"]]
    fields = {
        "author": " and ".join(people),
        "title": f"{{{work['title']}}}",
        "booktitle": work.get("collection-title"),
        "volume": work.get("volume"),
        "year": work.get("year"),
        "version": work.get("version"),
        "note": "; ".join(each["value"] for each in work.get("identifiers", [])),
    }
    name = re.sub(r"[^a-z]", "", people[0].split(",")[0].lower())
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{name}{work.get('year', '')},", *lines, "}"])


def _person(who: Mapping[str, str]) -> str:
    if "family-names" in who:
        return f"{who['family-names']}, {who['given-names']}"
    return f"{{{who['name']}}}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def commit(root: Path) -> str:
    """The commit of the checkout, with "-dirty" where files differ from it; nothing where the root
    is no checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.stdout.strip()


def machine() -> str:
    """Kind of system, its cores and memory."""
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} on {platform.machine()}"
    return f"{system}, {joblib.cpu_count()} cores, {memory:.0f} GB"


def runs_table(made: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of the executed chapters; `made` maps document -> provenance."""
    rows = [
        "| Chapter | Profile | Seed | Run time | Processor | Memory | Commit |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for document, provenance in made.items():
        values, time = provenance["parameters"], duration(provenance["seconds"])
        told = [f"{{doc}}`/{document}`", values.get("profile", ""), values.get("seed", ""), time]
        told += [
            duration(provenance.get("processor", 0)),
            f"{provenance.get('memory', 0) / 2**20:.0f} MB",
            provenance.get("commit") or "none",
        ]
        rows.append(f"| {' | '.join(map(str, told))} |")
    return "\n".join(rows) + "\n" if made else "No chapter has been executed yet.\n"


def versions_table(made: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of the versions and of the machine that the chapters ran on; where some ran
    on others, all of them."""

    def seen(values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    runs = made.values()
    rows = ["| Package | Version |", "|---|---|"]
    for name in ("python", *PACKAGES):
        rows.append(f"| {name} | {seen(run['versions'][name] for run in runs)} |")
    return (
        "\n".join([*rows, f"| machine | {seen(run.get('machine', '') for run in runs)} |"]) + "\n"
    )
