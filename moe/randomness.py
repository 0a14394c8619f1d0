"""Where randomness comes from: the only place of the project that makes generators.

A stream has a purpose ("truth", "data", "starts", ...) and a seed. Streams of different purposes
are independent even where their seeds are equal, so a solver called with the seed of the data
learns nothing of how the data were made.

``torch.Generator.manual_seed`` will not do: it lets streams of one seed coincide whatever they are
for, and keeps only the lowest 32 bits of what it is given, so that among 10^5 streams a collision
is to be expected. Here purpose and seed are hashed (SHA-256) and fill the whole state of the
Mersenne Twister, as NumPy's ``SeedSequence`` does for its own.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_WORDS = 624  # of the Mersenne Twister, after 24 bytes of counters in torch's state
_HEADER = 24


def as_seed(seed: Any, name: str = "seed") -> int:
    """``seed`` as a non-negative integer of any size.

    Taken is what scikit-learn's ``random_state`` takes - an integer, None (fresh entropy, different
    at every call), a ``numpy.random.RandomState`` (which moves on) - and also a
    ``numpy.random.Generator`` or ``torch.Generator``. Raises TypeError or ValueError, with the
    argument's name, for anything else.
    """
    if seed is np.random:
        seed = np.random.mtrand._rand  # numpy's global stream, as scikit-learn takes it
    if seed is None:
        return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    if isinstance(seed, np.random.RandomState):
        return _joined(seed.randint(0, 2**32, size=4, dtype=np.uint64))
    if isinstance(seed, np.random.Generator):
        return _joined(seed.integers(0, 2**32, size=4, dtype=np.uint64))
    if isinstance(seed, torch.Generator):
        return _joined(torch.randint(2**32, (4,), generator=seed).numpy())
    try:
        number = operator.index(seed)
    except TypeError:
        number = None
    if number is None or isinstance(seed, (bool, np.bool_, torch.Tensor)):
        raise TypeError(
            f"{name}: expected a non-negative integer, None, a numpy RandomState or Generator, or "
            f"a torch Generator, got {seed!r}"
        )
    if number < 0:
        raise ValueError(f"{name}: expected a non-negative integer, got {number}")
    return number


def stream(purpose: str, seed: Any = 0, *index: int) -> torch.Generator:
    """A generator (CPU) for one purpose, seed and index (of a trial, say).

    The same arguments give the same stream; streams that differ in any of them are independent.
    seed: see ``as_seed``.
    """
    words = np.random.SeedSequence(_digest(purpose, seed, index)).generate_state(_WORDS)
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    twister = state.numpy()[_HEADER : _HEADER + 8 * _WORDS].view(np.uint64)
    twister[:] = words
    generator.set_state(state)
    return generator


def numpy_stream(purpose: str, seed: Any = 0, *index: int) -> np.random.Generator:
    """The same for NumPy: a generator for one purpose, seed and index."""
    return np.random.Generator(np.random.PCG64(_digest(purpose, seed, index)))


def child_seed(seed: Any, *index: int | str) -> int:
    """A seed of 63 bits for each ``index`` under ``seed``: children of different seeds or indices
    are unrelated, where arithmetic (1000 seed + trial) would sooner or later meet itself."""
    return _digest("child", seed, index) >> 193


@contextmanager
def global_stream(purpose: str, seed: Any = 0, *index: int) -> Iterator[None]:
    """Inside, torch's global generator is ``stream(purpose, seed, *index)``: for what takes no
    generator, such as the initial weights of a ``torch.nn`` module. Restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(stream(purpose, seed, *index).get_state())
        yield


def _digest(purpose: str, seed: Any, index: tuple[int | str, ...]) -> int:
    """256 bits of all of them."""
    if not isinstance(purpose, str) or not purpose:
        raise TypeError(f"purpose: expected a word, got {purpose!r}")
    number = as_seed(seed)
    if number.bit_length() > 1024:  # too long to write down
        number = -int.from_bytes(hashlib.sha256(hex(number).encode()).digest(), "big")
    try:
        places = ["".join(i) if isinstance(i, str) else operator.index(i) for i in index]
    except TypeError as error:
        raise TypeError(f"index: expected integers or words, got {index!r}") from error
    key = ("".join(purpose), number, *places)
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest(), "big")


def _joined(words: Any) -> int:
    return sum(int(word) << (32 * place) for place, word in enumerate(words))
