"""Moments: streamed = one pass, structured = dense, direct = matrix-free, unbiased, whitening."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest
import torch
from helpers import normal, rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moe.exceptions import DoubtfulFitWarning
from moe.model.nonlinearity import as_nonlinearity
from moe.moments import estimate as moments
from moe.moments import least_squares
from moe.moments.estimate import Moments, ScoreMoment, score_moment
from moe.moments.hermite import hermite_features, index_table, root_factorials, score_tensor
from moe.moments.transforms import OutputTransform, output_transform
from moe.moments.whitening import whiten
from moe.randomness import stream

DEGREES = (2, 3, 4)
METHODS: tuple[moments.Method, ...] = ("average", "least_squares")
SIGMA = 0.1


def mixture(
    n: int, d: int, seed: int = 0, g: str = "linear"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y of two experts in the first two coordinates, gate along the last; A, E[p]."""
    a = torch.zeros(2, d).double()
    a[0, :2], a[1, :2] = torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8])
    x = normal(n, d, seed=seed, purpose="inputs")
    gate = torch.sigmoid(1.5 * x[:, -1])
    first = torch.rand(n, generator=stream("gate", seed)) < gate
    mean = as_nonlinearity(g)(torch.where(first, x @ a[0], x @ a[1]))
    noise = SIGMA * normal(n, seed=seed, purpose="noise")
    return x, mean + noise, a, torch.tensor([0.5, 0.5]).double()


def transform(degree: int) -> OutputTransform:
    return output_transform("linear", SIGMA, degree)


def exact(a: Tensor, p: Tensor, degree: int) -> Tensor:
    """sum_i p_i a_i^(m)."""
    axes = "abcd"[:degree]
    factors = ",".join("k" + axis for axis in axes)
    return torch.einsum(f"k,{factors}->{axes}", p, *[a] * degree)


def dense_average(x: Tensor, y: Tensor, q: OutputTransform) -> Tensor:
    return torch.einsum("n,n...->...", q(y) / q.normaliser, score_tensor(x, q.degree)) / len(y)


def dense_least_squares(x: Tensor, y: Tensor, q: OutputTransform) -> Tensor:
    features = hermite_features(x, q.degree)
    fit: Tensor = torch.linalg.lstsq(
        features, (q(y) / q.normaliser)[:, None], driver="gelsd"
    ).solution[:, 0]
    roots = root_factorials(x.shape[1], q.degree)
    return (fit[-len(roots) :] * roots)[index_table(x.shape[1], q.degree)]


def rotate(tensor: Tensor, matrix: Tensor) -> Tensor:
    for _ in range(tensor.ndim):
        tensor = torch.tensordot(tensor, matrix, dims=([0], [0]))
    return tensor


@pytest.mark.parametrize("degree", DEGREES)
def test_structured_average_is_the_mean_of_dense_score_tensors(degree: int) -> None:
    x, y, _, _ = mixture(700, 4)
    result = score_moment(x, y, transform(degree), "average")
    torch.testing.assert_close(
        result.tensor, dense_average(x, y, transform(degree)), rtol=0, atol=1e-12
    )
    assert (result.method, result.count) == ("average", 700)


@pytest.mark.parametrize("degree", DEGREES)
def test_least_squares_direct_and_matrix_free_agree_with_lstsq(
    degree: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, _, _ = mixture(1500, 4)
    expected = dense_least_squares(x, y, transform(degree))
    direct = score_moment(x, y, transform(degree), "least_squares")
    monkeypatch.setattr(moments, "DIRECT_FEATURES", 0)
    matrix_free = score_moment(x, y, transform(degree), "least_squares", tolerance=1e-6)
    torch.testing.assert_close(direct.tensor, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(matrix_free.tensor, expected, rtol=0, atol=1e-6)
    assert matrix_free.converged
    assert direct.features == math.comb(4 + degree, degree)


@pytest.mark.parametrize("tolerance", [moments.TOLERANCE, 1e-1, 1e-5])
@pytest.mark.parametrize("degree", DEGREES)
def test_conjugate_gradients_stop_at_a_fraction_of_the_sampling_error(
    degree: int, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """|beta_m - exact fit| <= tolerance s sqrt(F/n) / least eigenvalue of the Gram matrix."""
    x, y, _, _ = mixture(1500, 4)
    q = transform(degree)
    features, target = hermite_features(x, degree), q(y) / q.normaliser
    left = (
        target
        - features @ torch.linalg.lstsq(features, target[:, None], driver="gelsd").solution[:, 0]
    )
    least = torch.linalg.eigvalsh(features.T @ features / 1500)[0]
    sampling_error = left.square().mean().sqrt() * math.sqrt(features.shape[1] / 1500)
    monkeypatch.setattr(moments, "DIRECT_FEATURES", 0)
    fit = score_moment(x, y, q, "least_squares", tolerance=tolerance)
    distance = (fit.tensor - dense_least_squares(x, y, q)).norm() / math.sqrt(
        math.factorial(degree)
    )
    assert fit.converged
    assert distance < tolerance * sampling_error / least


@pytest.mark.parametrize("direct", [0, 200])
@pytest.mark.parametrize("degree", DEGREES)
def test_least_squares_is_exact_on_polynomials(
    degree: int, direct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """y = <a, x> without noise: Q_m(y) is a polynomial of x, whose top tensor is a^(m)."""
    monkeypatch.setattr(moments, "DIRECT_FEATURES", direct)
    a = torch.tensor([[0.6, -0.8, 0.0]]).double()
    x = normal(400, 3)
    q = output_transform("linear", 0.0, degree)
    fit = score_moment(x, x @ a[0], q, "least_squares").tensor
    torch.testing.assert_close(fit, exact(a, torch.ones(1).double(), degree), rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 600), max_size=4), shuffle=st.randoms(use_true_random=False))
def test_merged_batches_in_any_order_are_one_pass(
    method: moments.Method, cuts: list[int], shuffle: Random
) -> None:
    x, y, _, _ = mixture(600, 3)
    edges = sorted({0, 600, *cuts})
    pieces = list(pairwise(edges))
    shuffle.shuffle(pieces)
    for degree in DEGREES:
        whole = Moments(transform(degree), 3, method=method).update(x, y)
        merged = Moments(transform(degree), 3, method=method)
        for start, stop in pieces:
            part = Moments(transform(degree), 3, method=method).update(x[start:stop], y[start:stop])
            merged.merge(part)
        assert merged.count == 600
        torch.testing.assert_close(merged.tensor(), whole.tensor(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("degree", DEGREES)
def test_small_chunks_change_nothing(degree: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _, _ = mixture(900, 4)
    monkeypatch.setattr(moments, "DIRECT_FEATURES", 20)
    whole = [score_moment(x, y, transform(degree), method).tensor for method in METHODS]
    monkeypatch.setattr(least_squares, "_CHUNK_ENTRIES", 64)
    pieces = [score_moment(x, y, transform(degree), method).tensor for method in METHODS]
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degree", DEGREES)
def test_rotating_the_inputs_rotates_the_moment(degree: int, method: moments.Method) -> None:
    x, y, _, _ = mixture(800, 3)
    turn = rotation(3)
    plain = score_moment(x, y, transform(degree), method).tensor
    rotated = score_moment(x @ turn, y, transform(degree), method).tensor
    torch.testing.assert_close(rotated, rotate(plain, turn), rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degree", DEGREES)
def test_a_basis_gives_the_moment_of_the_projected_inputs(
    degree: int, method: moments.Method
) -> None:
    x, y, _, _ = mixture(800, 6)
    basis = torch.linalg.qr(normal(6, 2))[0]
    inside = score_moment(x, y, transform(degree), method, basis=basis).tensor
    expected = score_moment(x @ basis, y, transform(degree), method).tensor
    torch.testing.assert_close(inside, expected, rtol=0, atol=1e-12)
    streamed = Moments(transform(degree), 6, basis, method).update(x, y)
    torch.testing.assert_close(streamed.tensor(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degree", DEGREES)
def test_estimates_are_unbiased(degree: int, method: moments.Method) -> None:
    """Mean of 60 independent estimates within 4.5 standard errors of sum_i E[p_i] a_i^(m)."""
    runs = []
    for seed in range(60):
        x, y, a, p = mixture(2000, 3, seed)
        runs.append(score_moment(x, y, transform(degree), method).tensor)
    estimates = torch.stack(runs)
    error = estimates.std(0) / math.sqrt(len(runs))
    deviation = (estimates.mean(0) - exact(a, p, degree)).abs() / error
    assert deviation.max() < 4.5
    assert (exact(a, p, degree) / error).max() > 10


@pytest.mark.parametrize(
    ("name", "degree"),
    [("linear", 2), ("linear", 3), ("linear", 4), ("sigmoid", 2), ("sigmoid", 3)],
)
def test_least_squares_is_less_noisy_than_the_average(name: str, degree: int) -> None:
    """Root mean squared error over 60 data sets, the same ones for both, falls by 30 % or more."""
    q = output_transform(name, SIGMA, degree)
    squares = torch.zeros(2).double()
    for seed in range(60):
        x, y, a, p = mixture(4000, 3, seed, name)
        for i, method in enumerate(METHODS):
            deviation = score_moment(x, y, q, method).tensor - exact(a, p, degree)
            squares[i] += deviation.square().sum()
    assert (squares[1] / squares[0]).sqrt() < 0.7


@pytest.mark.parametrize("degree", DEGREES)
def test_auto_takes_least_squares_from_a_few_samples_per_feature(degree: int) -> None:
    x, y, _, _ = mixture(2000, 3)
    least = moments.SAMPLES_PER_FEATURE[degree] * math.comb(3 + degree, degree)
    assert score_moment(x[:least], y[:least], transform(degree)).method == "least_squares"
    assert score_moment(x[: least - 1], y[: least - 1], transform(degree)).method == "centred"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("direct", [0, 200])
def test_float32_stays_float32_and_close(
    degree: int, method: moments.Method, direct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "DIRECT_FEATURES", direct)
    x, y, _, _ = mixture(3000, 3)
    double = score_moment(x, y, transform(degree), method).tensor
    single = score_moment(x.float(), y.float(), transform(degree), method).tensor
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-4)
    streamed = Moments(transform(degree), 3, method=method).update(x.float(), y.float()).tensor()
    assert streamed.dtype == torch.float32


def test_numpy_arrays_are_accepted() -> None:
    x, y, _, _ = mixture(300, 3)
    from_numpy = score_moment(x.numpy(), y.numpy(), transform(2))
    assert isinstance(from_numpy, ScoreMoment)
    assert from_numpy.tensor.equal(score_moment(x, y, transform(2)).tensor)


def test_conjugate_gradients_that_stop_early_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _, _ = mixture(500, 4)
    monkeypatch.setattr(moments, "DIRECT_FEATURES", 0)
    monkeypatch.setattr(least_squares, "_MAX_ITERATIONS", 2)
    with pytest.warns(DoubtfulFitWarning, match="stopped before they converged"):
        result = score_moment(x, y, transform(4), "least_squares")
    assert not result.converged


def test_whitening_makes_the_second_moment_the_identity() -> None:
    a, p = normal(3, 5), torch.tensor([0.2, 0.3, 0.5]).double()
    second = exact(a, p, 2)
    w = whiten(second, 3)
    eye = torch.eye(3).double()
    torch.testing.assert_close(w.basis.T @ w.basis, eye)
    torch.testing.assert_close(w.whitener.T @ second @ w.whitener, eye)
    torch.testing.assert_close(w.dewhitener.T @ w.whitener, eye)
    torch.testing.assert_close(w.dewhitener @ w.dewhitener.T, second)
    assert w.eigenvalues.equal(w.all_eigenvalues[:3])
    assert (w.all_eigenvalues.diff() <= 0).all()
    assert w.all_eigenvalues[3:].abs().max() < 1e-12


@pytest.mark.parametrize("degree", DEGREES)
def test_whitened_moments_are_orthogonally_decomposed(degree: int) -> None:
    """T[V, ..., V] = sum_i p_i^(1 - m/2) v_i^(m) with orthonormal v_i = sqrt(p_i) V' a_i."""
    a, p = normal(3, 5), torch.tensor([0.2, 0.3, 0.5]).double()
    w = whiten(exact(a, p, 2), 3)
    v = p.sqrt()[:, None] * (a @ w.whitener)
    torch.testing.assert_close(v @ v.T, torch.eye(3).double())
    whitened = w.apply(exact(a @ w.basis, p, degree))
    torch.testing.assert_close(whitened, exact(v, p ** (1 - degree / 2), degree))


def test_eigenvalues_are_taken_by_value_not_by_size() -> None:
    w = whiten(torch.diag(torch.tensor([-9.0, 1.0, 2.0]).double()), 2)
    assert w.eigenvalues.tolist() == [2.0, 1.0]


def test_too_few_positive_eigenvalues_are_refused() -> None:
    message = r"at least k = 2 positive eigenvalues, got 1 of 3: .* too few samples, or k is too"
    with pytest.raises(ValueError, match=message):
        whiten(torch.diag(torch.tensor([-1.0, 0.0, 2.0]).double()), 2)
    with pytest.raises(ValueError, match="at most d = 3 experts"):
        whiten(torch.eye(3), 4)
    with pytest.raises(ValueError, match=r"expected shape \(d, d\), got \(2, 3\)"):
        whiten(torch.ones(2, 3), 1)
    with pytest.raises(ValueError, match=r"expected shape \(2, ..., 2\) .* got \(3, 3\)"):
        whiten(torch.eye(3), 2).apply(torch.eye(3))


def test_bad_samples_are_refused() -> None:
    x, y, _, _ = mixture(50, 3)
    broken = x.clone()
    broken[3, 1] = float("nan")
    for add in (
        lambda x, y: score_moment(x, y, transform(2)),
        lambda x, y: Moments(transform(2), 3).update(x, y),
    ):
        with pytest.raises(ValueError, match="x: expected finite values, got 1 NaN"):
            add(broken, y)
        with pytest.raises(ValueError, match=r"y: expected shape \(50,\)"):
            add(x, y[:-1])
        with pytest.raises(TypeError, match="x: expected an array or tensor of numbers"):
            add([["a", "b", "c"]], y)
    with pytest.raises(ValueError, match=r"x: expected 3 columns, got shape \(50, 2\)"):
        Moments(transform(2), 3).update(x[:, :2], y)


def test_bad_settings_are_refused() -> None:
    x, y, _, _ = mixture(50, 3)
    with pytest.raises(ValueError, match=r"method: expected one of .*'auto'"):
        score_moment(x, y, transform(2), "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method: expected one of"):
        Moments(transform(2), 3, method="auto")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="basis: expected orthonormal columns"):
        score_moment(x, y, transform(2), basis=torch.ones(3, 2))
    with pytest.raises(ValueError, match="tolerance: expected a positive finite number, got 0"):
        score_moment(x, y, transform(2), tolerance=0)
    with pytest.raises(ValueError, match=r"basis: expected shape \(3, k\)"):
        Moments(transform(2), 3, torch.eye(4))
    with pytest.raises(ValueError, match=r"Gram matrix of 10626 features .*; use 'average'"):
        Moments(transform(4), 20, method="least_squares")


@pytest.mark.parametrize("direct", [0, 200])
def test_too_few_samples_for_least_squares_are_refused(
    direct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "DIRECT_FEATURES", direct)
    x, y, _, _ = mixture(9, 3)
    with pytest.raises(ValueError, match=r"fits 10 features and needs at least as many .* got 9"):
        score_moment(x, y, transform(2), "least_squares")
    with pytest.raises(ValueError, match="expected at least 1 sample, got 0"):
        Moments(transform(2), 3).tensor()


def test_dependent_inputs_are_refused_by_least_squares() -> None:
    x, y, _, _ = mixture(500, 2)
    doubled = torch.cat([x, x[:, :1]], dim=1)
    for inputs in (doubled, doubled.float()):
        with pytest.raises(ValueError, match="Hermite features of 500 samples are linearly depend"):
            score_moment(inputs, y.to(inputs), transform(2), "least_squares")


def test_moments_of_different_things_do_not_merge() -> None:
    one = Moments(transform(2), 3)
    basis = torch.eye(3).double()[:, :2]
    others = [
        Moments(transform(3), 3),
        Moments(transform(2), 4),
        Moments(transform(2), 3, basis),
        Moments(transform(2), 3, method="least_squares"),
        Moments(output_transform("linear", 0.3, 2), 3, method="least_squares"),
    ]
    for other in others:
        with pytest.raises(ValueError, match="other: expected the same transform, dim, basis"):
            one.merge(other)
