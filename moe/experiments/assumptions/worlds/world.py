"""A world that draws samples, and what a method is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from moe.experiments.assumptions.worlds.laws import Inputs, Noise, gaussian_inputs, gaussian_noise
from moe.metrics import regressor_error_of
from moe.model.mixture import random_moe
from moe.model.nonlinearity import Nonlinearity, as_nonlinearity
from moe.randomness import stream


@dataclass(frozen=True)
class Told:
    """What a method is told: how many experts, their nonlinearity, and sigma (None: nothing)."""

    k: int
    nonlinearity: Nonlinearity
    sigma: float | None = None


@dataclass(frozen=True, eq=False)
class World:
    """x ~ inputs, expert i with probability softmax(W x + offsets)_i, y = g(<a_i, x>) + sigma xi.

    regressors, gating (k, d); offsets (k,). A violation replaces one of the fields.
    """

    regressors: Tensor
    gating: Tensor
    offsets: Tensor
    sigma: float
    nonlinearity: Nonlinearity
    told: Told
    inputs: Inputs = gaussian_inputs
    noise: Noise = gaussian_noise

    def gate(self, x: Tensor) -> Tensor:
        """p_i(x), (n, d) -> (n, k)."""
        return torch.softmax(x @ self.gating.T + self.offsets, 1)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n independent pairs x (n, d), y (n,)."""
        x = self.inputs(n, self.regressors.shape[1], generator)
        expert = torch.multinomial(self.gate(x), 1, generator=generator)
        mean = self.nonlinearity(x @ self.regressors.T).gather(1, expert)[:, 0]
        return x, mean + self.sigma * self.noise(n, generator)


def world_that_holds(
    k: int, d: int, sigma: float, gate_norm: float, seed: int, nonlinearity: str = "linear"
) -> World:
    """A random world in which every assumption holds. Methods are told k and g, not sigma."""
    model = random_moe(k, d, sigma=sigma, gate_norm=gate_norm, generator=stream("truth", seed))
    g = as_nonlinearity(nonlinearity)
    zero = torch.zeros(k, dtype=torch.float64)
    return World(model.regressors, model.gating, zero, sigma, g, Told(k, g))


def error(estimate: Tensor, truth: Tensor) -> float:
    """E_reg of directions; with unequal numbers of rows that of the best choice of as many from
    the longer list: spare rows cost nothing, missing ones neither."""
    few, many = sorted((estimate, truth), key=len)
    found = (
        regressor_error_of(few, many[list(rows)])
        for rows in combinations(range(len(many)), len(few))
    )
    return min(found)
