"""Numbers of theorems, figures, equations and exercises, found in the sources."""

from pathlib import Path

from bs4 import BeautifulSoup
from builder.contents import Chapter, read_contents
from builder.pages.downloads import labels
from builder.pipeline import Book
from builder.teaching.numbers import places

ROOT = Path(__file__).parents[3]
TEXT = r"""---
kernelspec:
  display_name: Python 3
  name: python3
---
# Title

(sec-here)=
## Here

:::{prf:theorem} Name
:class: c
:label: thm-a
$$ x $$ (eq-a)
:::

:::{prf:proof}
So.
:::

:::{prf:lemma}
:label: lem-a
:::

:::{prf:theorem}
:label: thm-b
:::

```{code-cell} ipython3
---
mystnb:
  figure: {caption: One., name: fig-a}
---
print(1)
```
"""


def test_each_kind_is_counted_by_itself(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text("# Plain\n", encoding="utf-8")
    (tmp_path / "one.md").write_text(TEXT, encoding="utf-8")
    known = places(tmp_path, [Chapter(tmp_path, "plain"), Chapter(tmp_path, "one")])
    assert known.texts == {
        "thm-a": "Theorem 1.1",
        "equation-eq-a": "(1.1)",
        "lem-a": "Lemma 1.1",
        "thm-b": "Theorem 1.2",
        "fig-a": "Fig. 1.1",
        "sec-here": "Here",
    }
    assert known.chapters == {"plain": "Plain", "one": "chapter 1, Title"}


def test_the_pages_bear_the_same_numbers(quick_book: Book) -> None:
    """All of those that a page shows: figures and equations at their place, the rest in links."""
    pages = quick_book.index.parent / "book"
    soups = [BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in pages.glob("*.html")]
    shown = dict[str, str]()
    for told in map(labels, soups):
        shown |= {**told.links, **shown, **told.own}
    known = places(ROOT, read_contents(ROOT)).texts
    common = {label for label in known if label in shown and not label.startswith("sec-")}
    assert len(common) > 0.9 * len(known)
    assert {label: known[label] for label in common} == {label: shown[label] for label in common}
