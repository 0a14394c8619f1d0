"""What libraries do that results must not depend on."""

import re
from pathlib import Path

import torch

from moe.randomness import stream

ROOT = Path(__file__).parents[2]
CALL = re.compile(r"torch\.linalg\.lstsq\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")


def test_least_squares_do_not_depend_on_what_memory_held() -> None:
    """By default torch hands LAPACK's gelsy pivots that nobody has written (pytorch/pytorch#71222):
    last digits, and the rank of singular systems, then change from call to call."""
    generator = stream("data", 0)
    x = torch.randn(750, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(750, generator=generator, dtype=torch.float64)
    solutions = set()
    for round_ in range(2_000):
        held = [torch.full((2,), value, dtype=torch.int32) for value in (0, 1, round_ % 7)]
        del held
        solutions.add(tuple(torch.linalg.lstsq(x, y, driver="gelsd").solution.tolist()))
    assert len(solutions) == 1


def test_nobody_asks_for_that_driver() -> None:
    calls = []
    for folder in ("moe", "book", "tests", "benchmarks"):
        for path in (p for kind in ("*.py", "*.md") for p in (ROOT / folder).rglob(kind)):
            if path == Path(__file__):
                continue
            text = path.read_text(encoding="utf-8")
            found = CALL.findall(text)
            assert len(found) == text.count("torch.linalg.lstsq("), path
            calls += [(path.name, each) for each in found]
    assert len(calls) > 10
    assert [each for each in calls if 'driver="gelsd"' not in each[1]] == []
