"""Nonlinearities of a reader's own, and what the library says of them beforehand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.exceptions import NoTransformError, SignsLostWarning
from moe.model.nonlinearity import NONLINEARITIES, Nonlinearity, as_nonlinearity
from moe.moments.transforms import output_transform
from moe.solvers.prediction import samples_for_l4


def sine(z: Tensor) -> Tensor:
    """sin z: neither monotone nor among the seven."""
    return torch.sin(z)


def bump(z: Tensor) -> Tensor:
    """1 / (1 + z^2), the shape of a Student density: even."""
    return 1 / (1 + z.square())


def lopsided_bump(z: Tensor) -> Tensor:
    """1 / (1 + (z - 1)^2): the same, moved, and no longer even."""
    return 1 / (1 + (z - 1).square())


def step(z: Tensor) -> Tensor:
    """1{z > 0}: two values."""
    return (z > 0).to(z.dtype)


OWN: dict[str, Nonlinearity] = {
    g.name: g
    for g in (
        Nonlinearity("sine", sine),
        Nonlinearity("bump", bump),
        Nonlinearity("lopsided bump", lopsided_bump),
        Nonlinearity("step", step, (0.0,)),
    )
}


def named(name: str) -> Nonlinearity:
    """One of the seven, or of ``OWN``. Raises ValueError for another name."""
    return OWN[name] if name in OWN else as_nonlinearity(name)


@dataclass(frozen=True)
class Told:
    """What a user hears about g before fitting: needed, the samples that L_4 is predicted to need
    (infinite where it cannot be used); signs_lost: the warning of an even g; refused: the error."""

    name: str
    sigma: float
    needed: float
    signs_lost: bool
    refused: str


def told(name: str, sigma: float, k: int, d: int, goal: float = 0.1) -> Told:
    """What the library says."""
    g, needed, refused = named(name), float("inf"), ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            output_transform(g, sigma, 4)
            needed = samples_for_l4(g, sigma, k, d, goal)
        except NoTransformError as error:
            refused = str(error)
    lost = any(issubclass(each.category, SignsLostWarning) for each in caught)
    return Told(name, sigma, needed, lost, refused)


ALL = (*NONLINEARITIES, *OWN)
