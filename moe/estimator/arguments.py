"""What users pass in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def refuse_masked(**arrays: Any) -> None:
    """Raise ValueError for a masked array with masked entries: scikit-learn drops the mask."""
    for name, array in arrays.items():
        if np.ma.isMaskedArray(array) and np.ma.is_masked(array):
            count = int(np.ma.getmaskarray(array).sum())
            raise ValueError(
                f"{name}: expected no masked entries, got {count}: leave those samples out, or "
                "fill them (numpy.ma.compress_rows, .filled)"
            )


def columns_named(
    wanted: Iterable[Any] | None, names: list[str], argument: str, some: bool = False
) -> list[int]:
    """Places of columns given by name or place, in their order; all of them for None. With ``some``
    there must be one."""
    if wanted is None:
        return list(range(len(names)))
    found = []
    for each in list(wanted):
        if isinstance(each, str):
            if each not in names:
                raise ValueError(f"{argument}: expected names out of {names}, got {each!r}")
            found.append(names.index(each))
        elif isinstance(each, (int, np.integer)) and not isinstance(each, bool):
            if not -len(names) <= each < len(names):
                raise ValueError(f"{argument}: expected places below {len(names)}, got {int(each)}")
            found.append(int(each) % len(names))
        else:
            raise TypeError(f"{argument}: expected names or places of columns, got {each!r}")
    if some and not found:
        raise ValueError(f"{argument}: expected a column where fit_intercept is False, got none")
    if len(set(found)) < len(found):
        raise ValueError(f"{argument}: expected columns that differ, got {list(wanted)}")
    return found
