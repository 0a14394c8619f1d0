"""Random mixtures, one after the other from one stream."""

from __future__ import annotations

from typing import Any

from moe.model.mixture import MoE, random_moe
from moe.randomness import stream


def random_mixtures(count: int, seed: int, **options: Any) -> list[MoE]:
    """``count`` mixtures, one after the other from the stream of true parameters; options: see
    ``random_moe``."""
    generator = stream("truth", seed)
    return [random_moe(**options, generator=generator) for _ in range(count)]
