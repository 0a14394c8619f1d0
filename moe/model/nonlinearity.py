"""The experts' nonlinearity g, with its derivatives and the places where it is not smooth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["NONLINEARITIES", "Nonlinearity", "as_nonlinearity"]

ElementwiseFunction = Callable[[Tensor], Tensor]


def linear(z: Tensor) -> Tensor:
    """g(z) = z."""
    return z


def relu(z: Tensor) -> Tensor:
    """g(z) = max(z, 0)."""
    return torch.relu(z)


def leaky_relu(z: Tensor) -> Tensor:
    """g(z) = max(z, 0) + 0.1 min(z, 0)."""
    return functional.leaky_relu(z, negative_slope=0.1)


def sigmoid(z: Tensor) -> Tensor:
    """g(z) = 1 / (1 + exp(-z))."""
    return torch.sigmoid(z)


def tanh(z: Tensor) -> Tensor:
    """g(z) = tanh z."""
    return torch.tanh(z)


def softplus(z: Tensor) -> Tensor:
    """g(z) = log(1 + exp z)."""
    return functional.softplus(z)


def gelu(z: Tensor) -> Tensor:
    """g(z) = z Phi(z), Phi the standard normal distribution function."""
    return functional.gelu(z)


def _derivative(function: ElementwiseFunction, z: Tensor, order: int) -> Tensor:
    keep_graph = torch.is_grad_enabled() and z.requires_grad
    with torch.inference_mode(False), torch.enable_grad():  # where autograd is off, it is needed
        point = z if keep_graph else z.detach().clone().requires_grad_()
        value = function(point)
        for remaining in reversed(range(order)):
            if not value.requires_grad:
                return torch.zeros_like(z)
            (value,) = torch.autograd.grad(
                value.sum(),
                point,
                create_graph=keep_graph or remaining > 0,
                materialize_grads=True,
            )
    return value if keep_graph else value.detach()


def _probe() -> Tensor:
    return torch.linspace(-12.0, 12.0, 98, dtype=torch.float64)


def _check_elementwise(name: str, function: ElementwiseFunction) -> None:
    if not callable(function):
        raise TypeError(
            f"nonlinearity {name!r}: expected a callable, got {type(function).__name__}"
        )
    z = _probe()
    try:
        with torch.enable_grad():
            value = function(z.clone().requires_grad_())
            rearranged = function(z.flip(0)[:49].reshape(7, 7).requires_grad_())
    except Exception as error:
        raise ValueError(
            f"nonlinearity {name!r}: expected an elementwise torch function of a float64 tensor "
            f"that may require gradients, but calling it failed with {error!r}"
        ) from error
    if not isinstance(value, Tensor):
        raise TypeError(
            f"nonlinearity {name!r}: expected a torch tensor back, got {type(value).__name__}"
        )
    if value.shape != z.shape or value.dtype != z.dtype:
        raise ValueError(
            f"nonlinearity {name!r}: expected the shape and dtype of its argument, "
            f"{tuple(z.shape)} {z.dtype}, got {tuple(value.shape)} {value.dtype}"
        )
    if not bool(torch.isfinite(value).all()):
        where = float(z[~torch.isfinite(value)][0])
        raise ValueError(
            f"nonlinearity {name!r}: expected finite values on [-12, 12], "
            f"got {float(function(torch.tensor([where], dtype=z.dtype)))} at z = {where:.4g}"
        )
    expected = value.flip(0)[:49].reshape(7, 7)
    if rearranged.shape != (7, 7) or not torch.allclose(
        rearranged, expected, rtol=1e-10, atol=1e-12
    ):
        raise ValueError(
            f"nonlinearity {name!r}: expected an elementwise function, but the value of an entry "
            "depends on the other entries of its argument"
        )


@dataclass(frozen=True)
class Nonlinearity:
    """An elementwise function g with g(z) of the shape of z.

    Attributes:
        name: what messages and figures call it.
        function: elementwise torch callable; module-level functions keep the object picklable.
        kinks: points where g or a derivative of it jumps. Quadratures split there.

    Raises:
        TypeError: `function` is not callable or does not return a tensor.
        ValueError: `function` does not keep shape and dtype, mixes entries, or gives values that
            are not finite on [-12, 12]; a kink is not finite.
    """

    name: str
    function: ElementwiseFunction = field(repr=False)
    kinks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        kinks = tuple(sorted({float(kink) for kink in self.kinks}))
        if not all(math.isfinite(kink) for kink in kinks):
            raise ValueError(f"kinks of {self.name!r}: expected finite numbers, got {kinks}")
        object.__setattr__(self, "kinks", kinks)
        _check_elementwise(self.name, self.function)

    def __call__(self, z: Tensor) -> Tensor:
        """g(z), elementwise."""
        return self.function(z)

    def derivative(self, z: Tensor) -> Tensor:
        """g'(z), elementwise; differentiable when z requires a gradient and gradients are on."""
        if self.is_linear:
            return torch.ones_like(z)
        return _derivative(self.function, z, order=1)

    def second_derivative(self, z: Tensor) -> Tensor:
        """g''(z), elementwise; zero where g' does not depend on z (kinks included)."""
        if self.is_linear:
            return torch.zeros_like(z)
        return _derivative(self.function, z, order=2)

    @cached_property
    def is_linear(self) -> bool:
        """Whether g(z) = z, whatever it is called."""
        return self._is_at(_probe(), _probe())

    @cached_property
    def is_homogeneous(self) -> bool:
        """Whether g(c z) = c g(z) for c > 0 and g is not zero: two half-lines that meet at 0."""
        z = _probe()
        with torch.no_grad():
            value = self.function(z)
        scales = all(self._is_at(c * z, c * value) for c in (0.125, 2.0))
        return scales and bool(value.any())

    def _is_at(self, z: Tensor, value: Tensor) -> bool:
        with torch.no_grad():
            return bool(torch.allclose(self.function(z), value, rtol=1e-12, atol=1e-14))

    @property
    def is_even(self) -> bool:
        """Whether g(-z) = g(z): such a g cannot tell a from -a."""
        return self._has_parity(1.0)

    @property
    def is_odd(self) -> bool:
        """Whether g(-z) = -g(z)."""
        return self._has_parity(-1.0)

    def _has_parity(self, sign: float) -> bool:
        z = _probe()
        with torch.no_grad():
            value, mirrored = self.function(z), sign * self.function(-z)
        return bool(torch.allclose(value, mirrored, rtol=1e-10, atol=1e-12))


NONLINEARITIES: dict[str, Nonlinearity] = {
    g.name: g
    for g in (
        Nonlinearity("linear", linear),
        Nonlinearity("relu", relu, kinks=(0.0,)),
        Nonlinearity("leaky_relu", leaky_relu, kinks=(0.0,)),
        Nonlinearity("sigmoid", sigmoid),
        Nonlinearity("tanh", tanh),
        Nonlinearity("softplus", softplus),
        Nonlinearity("gelu", gelu),
    )
}


def as_nonlinearity(
    nonlinearity: str | ElementwiseFunction | Nonlinearity,
) -> Nonlinearity:
    """The `Nonlinearity` meant by a name, an elementwise torch callable, or itself.

    A bare callable is taken to be smooth; declare its kinks with `Nonlinearity(name, f, kinks)`.

    Raises:
        TypeError: neither a name, nor a callable, nor a `Nonlinearity`.
        ValueError: an unknown name, or a callable that is not elementwise and finite.
    """
    if isinstance(nonlinearity, Nonlinearity):
        return nonlinearity
    if isinstance(nonlinearity, str):
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"nonlinearity: unknown name {nonlinearity!r}; known names are "
                f"{', '.join(NONLINEARITIES)}, and any elementwise torch callable is accepted"
            )
        return NONLINEARITIES[nonlinearity]
    if callable(nonlinearity):
        known = [g for g in NONLINEARITIES.values() if g.function is nonlinearity]
        if known:
            return known[0]
        name = getattr(nonlinearity, "__name__", type(nonlinearity).__name__)
        return Nonlinearity(name, nonlinearity)
    raise TypeError(
        "nonlinearity: expected a name, an elementwise torch callable or a Nonlinearity, "
        f"got {type(nonlinearity).__name__}"
    )
