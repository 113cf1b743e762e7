"""SoftmaxRegression of tensors on a device: products by torch, kernels simulated."""

import numpy as np
import pytest
import torch
from numba import cuda
from sklearn.exceptions import NotFittedError

from skxent.backends._device_arrays import arrays_like
from skxent.backends._device_matrix import DeviceMatrix
from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV, _device_loss
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.losses._targets import encode_targets
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.tensors import on_device, use_host_memory

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks", "tensors_on_device")


@pytest.fixture
def tensors_on_device(monkeypatch):
    use_host_memory(monkeypatch)


def drawn(n, p, n_classes, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)).astype(dtype)
    logits = X @ rng.normal(size=(p, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return X, y


def assert_same(model, host, X, rtol=1e-5):
    """Compare a model fitted on the device with one fitted on the host."""
    assert isinstance(model.coef_, torch.Tensor)
    for name in ("coef_", "intercept_"):
        expected = getattr(host, name)
        got = getattr(model, name).numpy()
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        expected = getattr(host, method)(X)
        got = getattr(model, method)(on_device(X))
        assert isinstance(got, torch.Tensor)
        np.testing.assert_allclose(got.numpy(), expected, rtol=10 * rtol, atol=rtol)
    labels = model.predict(on_device(X))
    assert np.array_equal(np.asarray(labels), host.predict(X))


# a penalty and a tolerance with which few evaluations end where rounding does
OPTIONS = {
    "three classes": (3, {}),
    "two classes": (2, {}),
    "no intercept, smoothing": (3, {"fit_intercept": False, "label_smoothing": 0.1}),
    "class weights": (3, {"class_weight": "balanced"}),
    "newton-cholesky": (2, {"solver": "newton-cholesky"}),
    "lbfgs": (2, {"solver": "lbfgs"}),
    "newton-cg": (3, {"solver": "newton-cg"}),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_same_model_as_on_the_host(case):
    n_classes, options = OPTIONS[case]
    X, y = drawn(14, 3, n_classes)
    weights = np.linspace(0.5, 2.0, len(X))
    host = SoftmaxRegression(tol=1e-5, C=0.3, **options).fit(X, y, weights)
    model = SoftmaxRegression(tol=1e-5, C=0.3, **options)
    model.fit(on_device(X), on_device(y), on_device(weights))
    assert_same(model, host, X)
    assert model.score(on_device(X), on_device(y)) == host.score(X, y)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_objective_of_blocks_of_rows(monkeypatch, fit_intercept, soft):
    monkeypatch.setattr(_device_loss, "BLOCK_SIZE", 8 * 3)
    X, y = drawn(19, 2, 3)
    rng = np.random.default_rng(0)
    targets = encode_targets(
        rng.dirichlet(np.ones(3), len(X)) if soft else y,
        3,
        dtype=X.dtype,
        weight=np.array([1.0, 2.0, 0.5]),
        label_smoothing=0.1,
        sample_weight=rng.uniform(size=len(X)),
    )
    options = {"n_classes": 3, "fit_intercept": fit_intercept, "l2": 0.1}
    host = LinearCrossEntropy(X, targets, **options)
    arrays = arrays_like(on_device(X))
    matrix = DeviceMatrix(arrays, arrays.read(X))
    ours = _device_loss.DeviceLinearCrossEntropy(matrix, targets, **options)
    coef, vector = rng.normal(size=(2, *host.shape))
    value, gradient = ours.value_and_gradient(coef)
    expected = host.value_and_gradient(coef)
    np.testing.assert_allclose(value, expected[0], rtol=1e-13)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        ours.curvature_at(coef)(vector), host.curvature_at(coef)(vector), rtol=1e-12
    )


def test_soft_labels_and_strings():
    X, y = drawn(20, 2, 3)
    P = np.random.default_rng(1).dirichlet(np.ones(3), len(X))
    host = SoftmaxRegression(tol=1e-5, C=0.3).fit(X, P)
    assert_same(
        SoftmaxRegression(tol=1e-5, C=0.3).fit(on_device(X), on_device(P)), host, X
    )
    names = np.array(["a", "b", "c"])[y]
    model = SoftmaxRegression().fit(on_device(X), names)
    assert set(model.predict(on_device(X))) <= {"a", "b", "c"}
    assert model.score(on_device(X), names) > 0.5


def test_more_features_than_samples():
    X, y = drawn(9, 14, 3)
    host = SoftmaxRegression(tol=1e-5, C=0.3).fit(X, y)
    assert_same(SoftmaxRegression(tol=1e-5, C=0.3).fit(on_device(X), y), host, X)


def test_samples_of_rows_are_taken_on_the_device(monkeypatch):
    from skxent.linear_model import _sampled

    monkeypatch.setattr(_sampled, "FEWEST_ROWS", 10)
    monkeypatch.setattr(_sampled, "ROWS_PER_UNKNOWN", 2)
    monkeypatch.setattr(_sampled, "ROWS_OF_STAGES", (4,))
    X, y = drawn(60, 1, 2)
    host = SoftmaxRegression(tol=1e-5, C=0.3).fit(X, y)
    assert_same(SoftmaxRegression(tol=1e-5, C=0.3).fit(on_device(X), y), host, X)


@pytest.mark.parametrize("p", [3, 14])
def test_cheap_steps_first(monkeypatch, p):
    from skxent.linear_model import _patient, _ridge_solver

    called = []

    def minimize_patiently(*args, **options):
        called.append(args)
        return _patient.minimize_patiently(*args, **options)

    monkeypatch.setattr(_patient, "LEAST", 0.0)
    monkeypatch.setattr(_ridge_solver, "LEAST_ROWS_OF_WIDE", 0)
    monkeypatch.setattr(_ridge_solver, "minimize_patiently", minimize_patiently)
    for name in ("cost_of_products", "cost_of_curvature"):
        monkeypatch.setattr(_ridge_solver, name, lambda *_: 12.0)
    X, y = drawn(9, p, 2)
    host = SoftmaxRegression(tol=1e-5, C=0.3).fit(X, y)
    assert_same(SoftmaxRegression(tol=1e-5, C=0.3).fit(on_device(X), y), host, X)
    assert len(called) == 2


def test_early_stopping_and_warm_start():
    X, y = drawn(30, 2, 2)
    options = {"early_stopping": True, "random_state": 0}
    host = SoftmaxRegression(**options).fit(X, y)
    model = SoftmaxRegression(**options).fit(on_device(X), y)
    assert_same(model, host, X, rtol=1e-4)
    again = SoftmaxRegression(warm_start=True, tol=1e-6).fit(on_device(X), y)
    n_iter = int(again.n_iter_[0])
    assert int(again.fit(on_device(X), y).n_iter_[0]) < n_iter


def test_float32_stays_float32():
    X, y = drawn(12, 2, 3, "float32")
    host = SoftmaxRegression(C=0.1, tol=1e-3).fit(X, y)
    model = SoftmaxRegression(C=0.1, tol=1e-3).fit(on_device(X), y)
    assert_same(model, host, X, rtol=2e-3)


def test_what_is_refused():
    X, y = drawn(12, 2, 2)
    with pytest.raises(ValueError, match="l1_ratio must be 0"):
        SoftmaxRegression(l1_ratio=0.5).fit(on_device(X), y)
    with pytest.raises(ValueError, match="X must live on the host"):
        SoftmaxRegression().partial_fit(on_device(X), y, classes=[0, 1])
    with pytest.raises(ValueError, match="X must live on the host"):
        SoftmaxRegressionCV().fit(on_device(X), y)
    with pytest.raises(TypeError, match="torch or cupy"):
        SoftmaxRegression().fit(cuda.to_device(X), y)
    with pytest.raises(ValueError, match="two dimensions"):
        SoftmaxRegression().fit(on_device(X[:, 0]), y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SoftmaxRegression().fit(on_device(X), y[1:])
    with pytest.raises(ValueError, match="requires y"):
        SoftmaxRegression().fit(on_device(X), None)
    with pytest.raises(NotFittedError):
        SoftmaxRegression().predict(on_device(X))
    model = SoftmaxRegression().fit(on_device(X), y)
    with pytest.raises(ValueError, match="must use the same namespace"):
        model.predict(X)
    with pytest.raises(ValueError, match="3 features"):
        model.predict(on_device(np.ones((2, 3))))
    with pytest.raises(ValueError, match="must use the same namespace"):
        SoftmaxRegression().fit(X, y).predict_proba(on_device(X))
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="X must be finite"):
        SoftmaxRegression().fit(on_device(X), y)
    with pytest.raises(ValueError, match="X must be finite"):
        model.predict(on_device(X))


def test_integers_are_float64_and_other_dtypes_refused():
    rng = np.random.default_rng(0)
    base = 2**30
    X = base + rng.integers(0, 3, (40, 2))
    y = (X[:, 0] - base > 1).astype(int)
    model = SoftmaxRegression(C=1e3).fit(on_device(X), y)
    host = SoftmaxRegression(C=1e3).fit(X, y)
    assert model.coef_.dtype == torch.float64
    assert model.score(on_device(X), y) == host.score(X, y) == 1.0
    with pytest.raises(TypeError, match="X must hold real numbers; got dtype complex"):
        SoftmaxRegression().fit(on_device(X.astype(complex)), y)
