"""Names of critical points: which rows of b sit at which experts.

A support is a k x k boolean matrix, row i, expert m: True where b_i has a component along v_m.
"""

from functools import cache
from itertools import permutations

import torch
from torch import Tensor

_LARGEST_K = 5
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")


def describe(support: Tensor) -> str:
    """A name with the rows and experts numbered from 1, for one support (k, k).

    Rows that have an expert to themselves go unmentioned: "rows 1 and 2 share expert 3;
    expert 1 unoccupied".
    """
    experts = [tuple(int(m) for m in row.nonzero().flatten()) for row in support]
    k = len(experts)
    alone = [rows for m in range(k) if (rows := _rows_at(experts, (m,)))]
    if not any(experts):
        return "all rows are zero"
    if len(alone) == k:
        pairs = ", ".join(f"row {i + 1} at expert {m + 1}" for i, (m,) in enumerate(experts))
        return f"the truth: {pairs}" if k > 1 else "the truth"
    parts = []
    for m in range(k):
        rows = _rows_at(experts, (m,))
        if len(rows) > 1:
            parts.append(f"rows {_listed(rows)} share expert {m + 1}")
    for mixed in dict.fromkeys(row for row in experts if len(row) > 1):
        rows = _rows_at(experts, mixed)
        verb = "mixes" if len(rows) == 1 else "mix"
        parts.append(f"{_numbered('row', rows)} {verb} experts {_listed(mixed)}")
    zero = _rows_at(experts, ())
    if zero:
        parts.append(f"{_numbered('row', zero)} {'is' if len(zero) == 1 else 'are'} zero")
    empty = [m for m in range(k) if not bool(support[:, m].any())]
    if empty:
        parts.append(f"{_numbered('expert', empty)} unoccupied")
    return "; ".join(parts)


def patterns(supports: Tensor) -> list[str]:
    """Codes of supports (N, k, k), equal exactly when rows and experts can be relabelled into
    one another: "a|a|b" is two rows at one expert and one at another, "ab|a|0" has a mixed and a
    zero row.
    """
    k = supports.shape[-1]
    if k > _LARGEST_K:
        raise ValueError(f"supports: expected at most {_LARGEST_K} experts (k! orders), got {k}")
    if len(supports) == 0:
        return []
    orders = torch.tensor(list(permutations(range(k))))
    weights = 2 ** torch.arange(k - 1, -1, -1)
    columns = supports[:, :, orders].long()  # (N, row, order, expert)
    rows = (columns @ weights).transpose(1, 2).sort(-1, descending=True).values
    keys = (rows * (2**k) ** torch.arange(k - 1, -1, -1)).sum(-1)
    chosen = rows[torch.arange(len(rows)), keys.argmax(-1)]
    return [_code(tuple(row), k) for row in chosen.tolist()]


@cache
def _code(rows: tuple[int, ...], k: int) -> str:
    letters = (
        "".join(chr(97 + m) for m in range(k) if bits >> (k - 1 - m) & 1) or "0" for bits in rows
    )
    return "|".join(letters)


def describe_pattern(pattern: str) -> str:
    """A pattern's code in words, without numbers: "two rows share an expert; one expert
    unoccupied"."""
    rows = [() if row == "0" else tuple(ord(c) - 97 for c in row) for row in pattern.split("|")]
    k = len(rows)
    if not any(rows):
        return "all rows zero"
    if sorted(rows) == [(m,) for m in range(k)]:
        return "the truth"
    parts = []
    for m in range(k):
        together = len(_rows_at(rows, (m,)))
        if together > 1:
            parts.append(f"{_NUMBERS[together]} rows share an expert")
    mixtures = [row for row in dict.fromkeys(rows) if len(row) > 1]
    for size in range(2, k + 1):
        counts = [len(_rows_at(rows, row)) for row in mixtures if len(row) == size]
        alone = counts.count(1)
        if alone:
            verb, each = ("mixes", "") if alone == 1 else ("mix", " each")
            parts.append(f"{_count(alone, 'row')} {verb} {_NUMBERS[size]} experts{each}")
        for together in counts:
            if together > 1:
                parts.append(f"{_NUMBERS[together]} rows mix the same {_NUMBERS[size]} experts")
    zero = len(_rows_at(rows, ()))
    if zero:
        parts.append(_count(zero, "zero row"))
    empty = k - len({m for row in rows for m in row})
    if empty:
        parts.append(f"{_count(empty, 'expert')} unoccupied")
    return "; ".join(parts)


def _rows_at(experts: list[tuple[int, ...]], which: tuple[int, ...]) -> list[int]:
    return [i for i, row in enumerate(experts) if row == which]


def _numbered(noun: str, indices: list[int]) -> str:
    return f"{noun}{'s' * (len(indices) > 1)} {_listed(indices)}"


def _listed(indices: list[int] | tuple[int, ...]) -> str:
    numbers = [str(i + 1) for i in indices]
    return numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{_NUMBERS[number]} {noun}{'s' * (number > 1)}"
