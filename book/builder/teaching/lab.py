"""The chapters to run and to change: the notebooks of the site, copied to a folder of one's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from builder import BuildError
from builder.pages.hosts import FOLDER


def fill(site: Path, folder: Path) -> list[Path]:
    """Copy the site's notebooks that the folder has not yet, and return them; what is there, as a
    reader has changed it, stays.

    Raises BuildError where the site has none.
    """
    notebooks = sorted((site / FOLDER).glob("*.ipynb"))
    if not notebooks:
        raise BuildError(f"{site} has no notebooks: make quick, or make book")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in notebooks if not (folder / one.name).exists()]
    for notebook in missing:
        part = folder / f".{notebook.name}.{os.getpid()}"
        shutil.copyfile(notebook, part)
        os.replace(part, folder / notebook.name)
    return [folder / one.name for one in missing]
