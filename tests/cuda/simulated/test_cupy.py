"""Arrays of cupy, which a stub stands in for, beside operands of the host."""

import numpy as np
import pytest

from skxent.linear_model import SoftmaxRegression
from skxent.losses import cross_entropy_value_and_grad, linear_cross_entropy
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated import cupy_stub

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks", "stub")

RNG = np.random.default_rng(0)
Z, Y = RNG.normal(size=(9, 4)), RNG.integers(4, size=9)
Y[4] = -100


@pytest.fixture
def stub(monkeypatch):
    cupy_stub.use_stub(monkeypatch)


@pytest.mark.parametrize("where", [np.asarray, cupy_stub.asarray])
def test_targets_and_weights_may_live_on_the_host(where):
    weight, of_rows = RNG.uniform(0.5, 2, 4), RNG.uniform(0.5, 2, 9)
    expected = cross_entropy_value_and_grad(
        Z, Y, weight=weight, sample_weight=of_rows, label_smoothing=0.1
    )
    loss, gradient = cross_entropy_value_and_grad(
        cupy_stub.asarray(Z),
        where(Y),
        weight=where(weight),
        sample_weight=where(of_rows),
        label_smoothing=0.1,
    )
    assert loss == pytest.approx(float(expected[0]), rel=1e-13)
    assert isinstance(gradient, cupy_stub.Array)
    np.testing.assert_allclose(gradient.get(), expected[1], rtol=1e-12, atol=1e-15)


class Exported:
    """An array of a third library, which names no stream."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape
        self.streams = []

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream):
        self.streams.append(stream)

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_who_writes_a_target_is_waited_for():
    target = Exported(Y)
    loss, _ = cross_entropy_value_and_grad(cupy_stub.asarray(Z), target)
    expected, _ = cross_entropy_value_and_grad(Z, Y)
    assert loss == pytest.approx(float(expected), rel=1e-13)
    assert set(target.streams) == {1}


def test_linear_layer():
    X, W = RNG.normal(size=(9, 3)), RNG.normal(size=(4, 3))
    expected = linear_cross_entropy(X, W, Y)
    got = linear_cross_entropy(cupy_stub.asarray(X), W, Y)
    assert got == pytest.approx(float(expected), rel=1e-13)


def test_softmax_regression():
    X = RNG.normal(size=(12, 2))
    y = (X[:, 0] + RNG.normal(size=12) > 0).astype(int)
    host = SoftmaxRegression(tol=1e-6).fit(X, y)
    model = SoftmaxRegression(tol=1e-6).fit(cupy_stub.asarray(X), y)
    np.testing.assert_allclose(model.coef_.get(), host.coef_, rtol=1e-5, atol=1e-6)
    proba = model.predict_proba(cupy_stub.asarray(X))
    np.testing.assert_allclose(proba.get(), host.predict_proba(X), atol=1e-6)
