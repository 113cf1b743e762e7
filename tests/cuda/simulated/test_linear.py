"""The loss of a linear layer on a device: products by torch, kernels simulated."""

import numpy as np
import pytest
import torch
from numba import cuda

from skxent.losses import (
    _device_linear_call,
    linear_cross_entropy,
    linear_cross_entropy_grad,
    linear_cross_entropy_value_and_grad,
)
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.tensors import on_device, use_host_memory

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks", "tensors_on_device")

RNG = np.random.default_rng(4)
N, D, C = 11, 3, 4
X, W, B = RNG.normal(size=(N, D)), RNG.normal(size=(C, D)), RNG.normal(size=C)
Y = RNG.integers(C, size=N)
Y[[0, 5]] = -100
SOFT = RNG.dirichlet(np.ones(C), N)
PLANES, OF_PLANES = RNG.normal(size=(C, 2, D)), RNG.integers(C, size=(N, 2))
CASES = {
    "mean": (W, Y, {}),
    "bias": (W, Y, {"linear_bias": B, "label_smoothing": 0.1}),
    "rows": (W, Y, {"reduction": "none", "weight": RNG.uniform(size=C)}),
    "a sum, weighted": (W, Y, {"reduction": "sum", "sample_weight": np.arange(N)}),
    "probabilities": (W, SOFT, {"linear_bias": B}),
    "samples of planes": (PLANES, OF_PLANES, {"reduction": "sample"}),
}


@pytest.fixture
def tensors_on_device(monkeypatch):
    use_host_memory(monkeypatch)
    monkeypatch.setattr(_device_linear_call, "BLOCK_SIZE", 8 * C)


def assert_near(got, expected):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_same_as_on_the_host(case):
    weights, target, options = CASES[case]
    args = X, weights, target
    there = on_device(X), on_device(weights), target
    assert_near(
        linear_cross_entropy(*there, **options), linear_cross_entropy(*args, **options)
    )
    loss, slopes = linear_cross_entropy_value_and_grad(*there, **options)
    expected, expected_slopes = linear_cross_entropy_value_and_grad(*args, **options)
    assert_near(loss, expected)
    for got, wanted in zip(slopes, expected_slopes, strict=True):
        assert isinstance(got, torch.Tensor)
        assert_near(got, wanted)
    inflow = RNG.normal(size=np.shape(expected))
    slopes = linear_cross_entropy_grad(*there, grad_output=inflow, **options)
    wanted = linear_cross_entropy_grad(*args, grad_output=inflow, **options)
    for got, expected in zip(slopes, wanted, strict=True):
        assert_near(got, expected)


def test_ignored_rows_may_hold_anything():
    bad = X.copy()
    bad[[0, 5]] = np.nan
    slopes = linear_cross_entropy_grad(on_device(bad), on_device(W), Y)
    for got, wanted in zip(slopes, linear_cross_entropy_grad(X, W, Y), strict=True):
        assert_near(got, wanted)


def test_out_receives_the_gradients():
    out = on_device(np.ones((N, D))), on_device(np.ones((C, D)))
    assert linear_cross_entropy_grad(on_device(X), W, Y, out=out) is out
    for got, wanted in zip(out, linear_cross_entropy_grad(X, W, Y), strict=True):
        assert_near(got, wanted)


def test_a_refusal_leaves_out_as_it_was():
    out = on_device(np.ones((N, D))), on_device(np.ones((C, D)))
    target = np.where(np.arange(N) == N - 1, C, Y)
    for function in (linear_cross_entropy_grad, linear_cross_entropy_value_and_grad):
        with pytest.raises(ValueError, match=f"got {C} at row {N - 1}"):
            function(on_device(X), W, target, out=out)
        for array in out:
            assert (np.asarray(array) == 1).all()


def test_what_is_refused():
    there = on_device(X)
    with pytest.raises(TypeError, match="torch or cupy"):
        linear_cross_entropy(cuda.to_device(X), W, Y)
    with pytest.raises(ValueError, match="linear_weight must have shape"):
        linear_cross_entropy(there, W[:, :2], Y)
    with pytest.raises(ValueError, match="linear_bias must have shape"):
        linear_cross_entropy(there, W, Y, linear_bias=B[:2])
    with pytest.raises(ValueError, match="got 4 at row 2"):
        linear_cross_entropy(there, W, np.where(np.arange(N) == 2, 4, Y))
    with pytest.raises(TypeError, match="out must be a tuple"):
        linear_cross_entropy_grad(there, W, Y, out=there)
    with pytest.raises(ValueError, match="out must have the shape"):
        linear_cross_entropy_grad(there, W, Y, out=(there, there))


def test_no_features_and_a_single_row_of_probabilities():
    for x, w, target in (
        (X[:, :0], W[:, :0], Y),
        (X[0], W, SOFT[0]),
        (X[:1], W, SOFT[:1]),
    ):
        expected = linear_cross_entropy_value_and_grad(x, w, target, linear_bias=B)
        there = on_device(x), on_device(w), target
        loss, slopes = linear_cross_entropy_value_and_grad(*there, linear_bias=B)
        assert_near(loss, expected[0])
        for got, wanted in zip(slopes, expected[1], strict=True):
            assert_near(got, wanted)
