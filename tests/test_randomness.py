"""moe.randomness: one place makes generators, and no two of them share a stream."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from moe.randomness import as_seed, child_seed, global_stream, numpy_stream, stream

ROOT = Path(__file__).parent.parent
MAKES = re.compile(
    r"manual_seed|torch\.seed\(|default_rng|RandomState\(|SeedSequence|np\.random\.\w"
)


def numbers(generator: torch.Generator, count: int = 1000) -> Tensor:
    return torch.randn(count, generator=generator, dtype=torch.float64)


def test_only_one_module_makes_generators() -> None:
    here = {ROOT / "moe" / "randomness.py", Path(__file__)}
    sources = [ROOT / "README.md"]
    for folder in ("moe", "book", "benchmarks", "tests"):
        sources += [p for kind in ("*.py", "*.md") for p in (ROOT / folder).rglob(kind)]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources
        if path not in here
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MAKES.search(line)
    ]
    assert not found, "\n".join(found)


def test_numpys_streams_differ_by_purpose_seed_and_index() -> None:
    keys: list[tuple[Any, ...]] = [("data",), ("data", 1), ("data", 0, 1), ("truth",)]
    drawn = {tuple(numpy_stream(*key).random(4)) for key in keys}
    assert len(drawn) == len(keys)
    assert tuple(numpy_stream("data", 1).random(4)) in drawn


def test_the_same_key_gives_the_same_stream_and_any_other_key_another() -> None:
    keys: list[tuple[Any, ...]] = [
        ("truth", 0), ("data", 0), ("truth", 1), ("truth", 0, 0), ("truth", 0, 1), ("truth", 1, 0),
        ("truth", 10), ("truth", 2**32), ("truth", 2**70), ("truth", 0, 0, 0), ("truth 0", 0),
    ]  # fmt: skip
    drawn = torch.stack([numbers(stream(*key)) for key in keys])
    assert torch.equal(drawn, torch.stack([numbers(stream(*key)) for key in keys]))
    correlations = torch.corrcoef(drawn).fill_diagonal_(0).abs()
    assert float(correlations.max()) < 5 / 1000**0.5
    assert len(drawn.unique()) == drawn.numel(), "no number comes twice"


def test_a_hundred_thousand_streams_do_not_collide() -> None:
    """32 bits of seed, which is all that torch keeps, would collide once among so many."""
    firsts = {
        tuple(torch.randint(2**62, (2,), generator=stream("trial", 0, i)).tolist())
        for i in range(20_000)
    }
    assert len(firsts) == 20_000
    assert len({child_seed(0, i) for i in range(100_000)}) == 100_000


def test_a_stream_is_the_mersenne_twister_in_the_state_that_was_asked_for() -> None:
    """NumPy's own Mersenne Twister, put into the same state, gives the same words."""
    generator = stream("truth", 3)
    words = generator.get_state().numpy()[24 : 24 + 8 * 624].view(np.uint64)
    twin = np.random.MT19937()
    twin.state = {
        "bit_generator": "MT19937",
        "state": {"key": words.astype(np.uint32), "pos": 624},
    }
    drawn = torch.randint(2**20, (2_000,), generator=generator)
    assert drawn.tolist() == [int(w) & (2**20 - 1) for w in twin.random_raw(2_000)]


@pytest.mark.parametrize("purpose", ["truth", "data", "solver"])
def test_a_stream_is_standard_normal(purpose: str) -> None:
    z = numbers(stream(purpose, 0), 100_000)
    assert abs(float(z.mean())) < 5 / 100_000**0.5
    assert abs(float(z.square().mean()) - 1) < 5 * (2 / 100_000) ** 0.5


def test_seeds_are_what_scikit_learn_takes_and_more() -> None:
    assert as_seed(7) == as_seed(np.int64(7)) == as_seed(np.uint8(7)) == 7
    assert as_seed(2**70) == 2**70
    assert as_seed(None) != as_seed(None)
    for make in (
        np.random.RandomState,
        np.random.default_rng,
        lambda s: torch.Generator().manual_seed(s),
    ):
        first, second = make(5), make(5)
        assert as_seed(first) == as_seed(second) != as_seed(first), "it moves on"


def test_a_seed_may_be_as_long_as_it_likes_and_words_are_words() -> None:
    long = 10**5_000
    assert not torch.equal(numbers(stream("truth", long)), numbers(stream("truth", long + 1)))
    assert torch.equal(numbers(stream(np.str_("truth"), 0)), numbers(stream("truth", 0)))
    assert as_seed(np.random) != as_seed(np.random), "numpy's own stream moves on"
    with pytest.raises(TypeError, match=r"^index: expected integers or words"):
        stream("truth", 0, 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "seed", ["a", 1.5, True, np.bool_(True), [1], torch.tensor(True), object()]
)
def test_a_seed_of_another_kind_is_refused_by_name(seed: object) -> None:
    with pytest.raises(TypeError, match=r"^random_state: expected a non-negative integer, None"):
        as_seed(seed, "random_state")


def test_a_negative_seed_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^seed: expected a non-negative integer, got -1"):
        stream("truth", -1)


def test_a_purpose_is_a_word() -> None:
    for purpose in ("", 3):
        with pytest.raises(TypeError, match="purpose: expected a word"):
            stream(purpose)  # type: ignore[arg-type]


def test_the_global_stream_ends_where_it_began() -> None:
    before = torch.get_rng_state()
    with global_stream("weights", 0):
        inside = torch.randn(1000, dtype=torch.float64)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(inside, numbers(stream("weights", 0)))
