"""Random mixtures, one after the other from one stream."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from moe.model.mixture import MoE, random_moe
from moe.randomness import stream


def random_mixtures(count: int, seed: int, **options: Any) -> list[MoE]:
    """``count`` mixtures, one after the other from the stream of true parameters; options: see
    ``random_moe``."""
    generator = stream("truth", seed)
    return [random_moe(**options, generator=generator) for _ in range(count)]


def mixtures_of(spec: Any) -> list[MoE]:
    """The ``spec.seeds`` mixtures that the fields of a dataclass describe: k, d, sigma, gate_norm,
    orthonormal, and nonlinearity where it has one."""
    options = ("k", "d", "sigma", "gate_norm", "orthonormal", "nonlinearity")
    given = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name in options}
    return random_mixtures(spec.seeds, spec.seed, **given)
