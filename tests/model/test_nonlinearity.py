"""Nonlinearities: derivatives, parity, names, and callables that are refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from moe.model.nonlinearity import NONLINEARITIES, Nonlinearity, as_nonlinearity

NAMED = list(NONLINEARITIES.values())
AWAY_FROM_KINKS = torch.tensor([-2.3, -0.7, 0.4, 1.9], dtype=torch.float64)


def steep(z: Tensor) -> Tensor:
    return torch.sin(3 * z)


@pytest.mark.parametrize("g", [*NAMED, as_nonlinearity(steep)], ids=lambda g: g.name)
def test_derivatives_agree_with_finite_differences(g: Nonlinearity) -> None:
    z, h = AWAY_FROM_KINKS, 1e-4
    first = (g(z + h) - g(z - h)) / (2 * h)
    second = (g(z + h) - 2 * g(z) + g(z - h)) / h**2
    torch.testing.assert_close(g.derivative(z), first, rtol=0, atol=1e-7)
    torch.testing.assert_close(g.second_derivative(z), second, rtol=0, atol=1e-6)


@pytest.mark.parametrize("g", NAMED, ids=lambda g: g.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_keep_shape_and_dtype_and_work_without_gradients(
    g: Nonlinearity, dtype: torch.dtype
) -> None:
    z = torch.linspace(-3, 3, 12, dtype=dtype).reshape(3, 4)
    with torch.no_grad():
        inside = g.derivative(z), g.second_derivative(z)
    for value, outside in zip(inside, (g.derivative(z), g.second_derivative(z)), strict=True):
        assert value.shape == z.shape
        assert value.dtype == dtype
        assert not value.requires_grad
        assert value.equal(outside)


def test_derivative_can_be_differentiated_again() -> None:
    g = NONLINEARITIES["tanh"]
    z = AWAY_FROM_KINKS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(g.derivative(z).sum(), z)
    torch.testing.assert_close(gradient, g.second_derivative(AWAY_FROM_KINKS))


def test_derivatives_of_what_does_not_depend_on_z_are_zero() -> None:
    z = AWAY_FROM_KINKS
    constant = Nonlinearity("constant", torch.zeros_like)
    zero = torch.zeros_like(z)
    assert constant.derivative(z).equal(zero)
    assert constant.second_derivative(z).equal(zero)
    assert NONLINEARITIES["linear"].second_derivative(z).equal(zero)
    assert NONLINEARITIES["relu"].second_derivative(z).equal(zero)


def test_parity() -> None:
    assert {g.name for g in NAMED if g.is_odd} == {"linear", "tanh"}
    assert not any(g.is_even for g in NAMED)
    assert as_nonlinearity(torch.square).is_even
    assert not as_nonlinearity(torch.square).is_odd


@pytest.mark.parametrize("g", NAMED, ids=lambda g: g.name)
def test_named_ones_are_hashable_and_survive_pickling(g: Nonlinearity) -> None:
    copy = pickle.loads(pickle.dumps(g))
    assert copy == g
    assert hash(copy) == hash(g)


def test_every_spelling_gives_the_same_object() -> None:
    relu = NONLINEARITIES["relu"]
    assert as_nonlinearity("relu") is relu
    assert as_nonlinearity(relu) is relu
    assert as_nonlinearity(relu.function) is relu
    assert as_nonlinearity(torch.sin).name == "sin"
    assert as_nonlinearity(torch.nn.SiLU()).name == "SiLU"


def test_kinks_are_sorted_and_unique() -> None:
    g = Nonlinearity("hat", lambda z: (z - 1).abs() - (z + 1).abs(), kinks=(1, -1, 1.0))
    assert g.kinks == (-1.0, 1.0)


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown name 'swish'; known names are linear, relu"):
        as_nonlinearity("swish")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: z.sum(), r"shape and dtype of its argument, \(98,\) torch.float64, got \(\)"),
        (lambda z: z.float(), "got .* torch.float32"),
        (lambda z: torch.softmax(z, -1), "depends on the other entries"),
        (lambda z: z - z.mean(), "depends on the other entries"),
        (torch.log, r"finite values on \[-12, 12\], got nan at z = -12"),
        (lambda z: torch.from_numpy(z.numpy()), "calling it failed with RuntimeError"),
    ],
    ids=["sum", "float32", "softmax", "centred", "log", "numpy"],
)
def test_callables_that_are_not_elementwise_and_finite_are_refused(
    function: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        as_nonlinearity(function)  # type: ignore[arg-type]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a name, an elementwise torch callable .* got int"):
        as_nonlinearity(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a callable, got float"):
        Nonlinearity("number", 0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a torch tensor back, got float"):
        as_nonlinearity(lambda z: 1.0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="expected finite numbers"):
        Nonlinearity("kinked", torch.relu, kinks=(float("nan"),))
