"""Fixtures of the tests of the book: the real one under the quick profile, and a tiny one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch: each worker has a core, not all of them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from builder.pipeline import Book, build
from hypothesis import settings

settings.register_profile("fixed", derandomize=True)  # every run draws the same examples
settings.load_profile("fixed")

ROOT = Path(__file__).resolve().parents[1]

HEADER = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""

TINY = {
    "moe/__init__.py": "",
    "moe/numbers_a.py": "from moe.shared import ONE\n\nalpha = ONE\n",
    "moe/numbers_b.py": "from .shared import ONE\n\nbeta = ONE + ONE\n",
    "moe/shared.py": "ONE = 1\n",
    "moe/unused.py": "gamma = 3\n",
    "book/index.md": """# Tiny

Nothing to execute: $x^2$. One is **{{ claims["01-one"].verdict }}**: {{ claims["01-one"].value }}.
""",
    "book/ledger.md": """# Ledger

```{include} _generated/counts.txt
```

```{include} _generated/claims.txt
```
""",
    "book/one.md": f"""{HEADER}
# One

```{{code-cell}} ipython3
:tags: [parameters]

profile = "quick"
seed = 0
scale = 1.0
```

```{{code-cell}} ipython3
from moe.numbers_a import alpha

assert alpha
print("one", profile, seed, scale * alpha)
```

```{{code-cell}} ipython3
:tags: [hide-input]

from moe.experiments.common.claims import Finding, claim

claim(
    "01-one", r"One is $\\lvert 1 \\rvert$", Finding(scale > 0, scale, (0.5, 2)),
    source="derived", verdict="measured", finding="as one would hope",
)
claim("01-large", "Many are one", None, source="paper, recalled", verdict="reproduced")
```

## Exercises

::::{{exercise}} Check yourself: a count
:label: ex-01-count

Count the ones.

:::{{hint}}
:class: dropdown
One at a time.
:::
::::

:::{{solution}} ex-01-count
:class: dropdown

There is $1$, and no walrus.
:::

```{{code-cell}} ipython3
marmalade = alpha + 0
assert marmalade == alpha
print("quin" + "ce")
```
""",
    "book/two.md": f"""{HEADER}
# Two

```{{code-cell}} ipython3
from moe.numbers_b import beta

print("two", beta)
```
""",
    "_toc.yml": """format: jb-book
root: book/index
chapters: [file: book/one, file: book/two, file: book/ledger]
""",
}


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What a test sets in the environment ends with it."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def quick_book() -> Book:
    """The real book under the quick profile; only what changed since the last time is executed."""
    return build(ROOT, "quick")


@pytest.fixture(scope="session")
def built_tiny_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    for name, text in TINY.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    common = (f"experiments/common/{name}.py" for name in ("shares", "ledger", "claims"))
    for name in ("randomness.py", *common):
        (root / "moe" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "moe" / name, root / "moe" / name)
    shutil.copytree(ROOT / "book" / "_static", root / "book" / "_static")
    shutil.copy(ROOT / "book" / "references.bib", root / "book")
    shutil.copy(ROOT / "_config.yml", root)
    build(root, "quick")
    return root


@pytest.fixture
def tiny(built_tiny_book: Path, tmp_path: Path) -> Path:
    """A book of two executed chapters and a plain page, already built, free to be broken."""
    root = tmp_path / "book"
    shutil.copytree(built_tiny_book, root)
    return root
