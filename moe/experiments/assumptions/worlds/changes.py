"""How one thing in a world is broken: each replaces one field, by a degree > 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from moe.experiments.assumptions.worlds.laws import Inputs, Noise, normal
from moe.experiments.assumptions.worlds.world import World
from moe.model.nonlinearity import Nonlinearity

Change = Callable[[World, float, torch.Generator], World]
"""(a world in which all holds, the degree > 0, randomness) -> one in which one thing does not."""


def into_the_span(world: World, degree: float, generator: torch.Generator) -> World:
    """The gates keep their norm and lean into the span of the experts by the sine ``degree``."""
    basis = torch.linalg.qr(world.regressors.T).Q
    inside = normal(len(world.gating), basis.shape[1], generator=generator) @ basis.T
    norms = world.gating.norm(dim=1, keepdim=True)
    inside = norms * inside / inside.norm(dim=1, keepdim=True)
    return replace(world, gating=math.sqrt(1 - degree**2) * world.gating + degree * inside)


def norms(world: World, degree: float, generator: torch.Generator) -> World:
    """Norms in geometric progression, the longest 2^degree times the shortest, mean log zero."""
    powers = torch.linspace(-degree / 2, degree / 2, len(world.regressors), dtype=torch.float64)
    return replace(world, regressors=2.0 ** powers[:, None] * world.regressors)


def opposite_gates(world: World, degree: float, generator: torch.Generator) -> World:
    """All gates on one line, steep: w_1 = -w_2, the others zero share what lies between."""
    gating = torch.zeros_like(world.gating)
    gating[0] = degree * world.gating[0] / world.gating[0].norm()
    gating[1] = -gating[0]
    return replace(world, gating=gating)


def gate_offsets(world: World, degree: float, generator: torch.Generator) -> World:
    """The gates have offsets from ``degree`` to minus it."""
    k = len(world.offsets)
    return replace(world, offsets=degree * torch.linspace(1, -1, k, dtype=torch.float64))


@dataclass(frozen=True)
class Leaky:
    """z for z > 0, slope z below: elementwise."""

    slope: float

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        return torch.where(z > 0, z, self.slope * z)


def bent_experts(world: World, degree: float, generator: torch.Generator) -> World:
    """The experts bend at zero, slope 1 - degree below; the method takes them for linear."""
    bent = Nonlinearity(f"leaky, {degree:g}", Leaky(1 - degree), (0.0,))
    return replace(world, nonlinearity=bent)


def asked_for(extra: int) -> Change:
    """Asked for more or fewer experts than there are."""

    def change(world: World, degree: float, generator: torch.Generator) -> World:
        return replace(world, told=replace(world.told, k=world.told.k + extra * round(degree)))

    return change


def told_sigma(world: World, degree: float, generator: torch.Generator) -> World:
    """Methods are told 2^degree times sigma, which they then hold."""
    return replace(world, told=replace(world.told, sigma=world.sigma * 2.0**degree))


def other_inputs(law: Callable[[float], Inputs]) -> Change:
    """Inputs from the law of that degree."""

    def change(world: World, degree: float, generator: torch.Generator) -> World:
        return replace(world, inputs=law(degree))

    return change


def other_noise(law: Callable[[float], Noise]) -> Change:
    """Noise from the law of that degree."""

    def change(world: World, degree: float, generator: torch.Generator) -> World:
        return replace(world, noise=law(degree))

    return change
