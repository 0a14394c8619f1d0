"""How a page came to be: values, run time and versions, told on the pages."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import yaml

from builder.keys import PACKAGES

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


def runs_table(made: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of the executed chapters; `made` maps document -> provenance."""
    rows = ["| Chapter | Profile | Seed | Run time |", "|---|---|---|---|"]
    for document, provenance in made.items():
        values, time = provenance["parameters"], duration(provenance["seconds"])
        profile, seed = values.get("profile", ""), values.get("seed", "")
        rows.append(f"| {{doc}}`/{document}` | {profile} | {seed} | {time} |")
    return "\n".join(rows) + "\n" if made else "No chapter has been executed yet.\n"


def versions_table(made: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of the versions that the last of the chapters ran on, and of the machine."""
    versions = [provenance["versions"] for provenance in made.values()][-1:]
    rows = ["| Package | Version |", "|---|---|"]
    rows += [f"| {name} | {found[name]} |" for found in versions for name in ("python", *PACKAGES)]
    system = f"{platform.system()} on {platform.machine()}, {joblib.cpu_count()} cores"
    return "\n".join([*rows, f"| machine | {system} |"]) + "\n"
