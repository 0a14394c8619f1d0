"""The chapters that _toc.yml names."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import jupytext
import yaml
from nbformat import NotebookNode
from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml

from builder import BuildError


@dataclass(frozen=True)
class Chapter:
    """One entry of the contents: `document` is its path from the root without suffix."""

    root: Path
    document: str

    @property
    def name(self) -> str:
        return Path(self.document).name

    @property
    def source(self) -> Path:
        return self.root / f"{self.document}.md"

    @cached_property
    def text(self) -> str:
        return self.source.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """The first heading, else the file's name."""
        found = re.search(r"(?m)^# (.+)$", self.text)
        return found[1].strip() if found else self.name

    @cached_property
    def is_notebook(self) -> bool:
        """True when the file begins with a jupytext or kernelspec header: it holds cells to run."""
        if not self.text.startswith("---"):
            return False
        header = yaml.safe_load(self.text.split("\n---", 1)[0].removeprefix("---"))
        return isinstance(header, dict) and bool({"jupytext", "kernelspec"} & set(header))

    def notebook(self) -> NotebookNode:
        """The cells of the source, without outputs; their ids count cells of their kind."""
        return deepcopy(_parsed(self.text))

    def code_cells(self) -> list[str]:
        return [c.source for c in self.notebook().cells if c.cell_type == "code"]

    def sizes(self) -> int:
        """In how many places the profile chooses a size: what a chapter never executed may cost."""
        return sum(code.count("quick=") for code in self.code_cells())

    def with_outputs(self, executed: NotebookNode) -> NotebookNode:
        """The text as it stands, with the outputs of an execution of the same code cells.

        Where the code has changed since, the execution as it was.
        """
        notebook = self.notebook()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        ran = [cell for cell in executed.cells if cell.cell_type == "code" and not injected(cell)]
        if [cell.source for cell in cells] != [cell.source for cell in ran]:
            return executed
        for cell, before in zip(cells, ran, strict=True):
            cell.update(outputs=before.outputs, execution_count=before.execution_count)
        notebook.metadata = executed.metadata
        return notebook


@lru_cache(64)
def _parsed(text: str) -> NotebookNode:
    notebook: NotebookNode = jupytext.reads(text, fmt="md:myst")
    for kind in ("code", "markdown"):
        for number, cell in enumerate(c for c in notebook.cells if c.cell_type == kind):
            cell["id"] = f"{kind}-{number}"
    return notebook


def injected(cell: NotebookNode) -> bool:
    """True of the cell in which papermill puts the values of the parameters."""
    return "injected-parameters" in cell.metadata.get("tags", [])


def read_contents(root: Path) -> list[Chapter]:
    """The chapters of _toc.yml in reading order; raises BuildError for a file that is missing."""
    toc = root / "_toc.yml"
    if not toc.is_file():
        raise BuildError(f"{toc}: there is no table of contents")
    try:
        documents = parse_toc_yaml(toc)
    except (MalformedError, yaml.YAMLError) as error:
        raise BuildError(f"{toc}: {error}") from error
    chapters = [Chapter(root, document.removesuffix(".md")) for document in documents]
    missing = [f"{c.document}.md" for c in chapters if not c.source.is_file()]
    if missing:
        raise BuildError(f"_toc.yml names {', '.join(missing)}: no such file")
    return chapters


def find_chapter(chapters: list[Chapter], name: str) -> Chapter:
    """The notebook called `name` (with or without folder and suffix), or with that number."""
    wanted = Path(name).name.removesuffix(".md")
    notebooks = {c.name: c for c in chapters if c.is_notebook}
    if wanted.isdecimal():
        wanted = dict(enumerate(notebooks, 1)).get(int(wanted), wanted)
    if wanted not in notebooks:
        known = ", ".join(notebooks) or "none yet"
        raise BuildError(
            f"NAME={name!r}: no such chapter with code; by name or number there are: {known}"
        )
    return notebooks[wanted]
