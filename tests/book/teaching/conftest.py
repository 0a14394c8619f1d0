"""A small chapter with exercises of every kind."""

from pathlib import Path

import pytest
from builder.contents import Chapter

HEADER = "---\nkernelspec:\n  display_name: Python 3\n  name: python3\n---\n"
SMALL = (
    HEADER
    + """
# Sums

```{code-cell} ipython3
:tags: [parameters]

profile = "quick"
```

```{code-cell} ipython3
import math
import os

numbers = [1, 2]
numbers.append(3)
unused = 1 / 0 if False else os.getcwd()
print("never seen", unused)
```

## Exercises

::::{exercise} The sum
:label: ex-sum

Add `numbers`. See {prf:ref}`thm-sum`.

:::{hint}
:class: dropdown
One after the other.
:::
::::

:::{solution} ex-sum
:class: dropdown

It is $6$.
:::

```{code-cell} ipython3
total = sum(numbers)
assert total == 6
assert all(total > number for number in numbers)
```

:::{exercise}
:label: ex-words

Why?
:::

:::{solution} ex-words
:class: dropdown

Because.
:::

:::{exercise}
:label: ex-single

The largest?
:::

```{code-cell} ipython3
largest = max(numbers)
assert largest == 3
```

:::{exercise}
:label: ex-demo

How many?
:::

```{code-cell} ipython3
assert len(numbers) == 3
```

:::{exercise}
:label: ex-unchecked

Sort them.
:::

```{code-cell} ipython3
print(sorted(numbers))
```
"""
)


@pytest.fixture
def chapter(tmp_path: Path) -> Chapter:
    (tmp_path / "small.md").write_text(SMALL, encoding="utf-8")
    return Chapter(tmp_path, "small")
