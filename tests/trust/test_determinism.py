"""The same bits of a whole fit, whatever lies around it."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from skxent.linear_model import SoftmaxRegression, _products
from tests.trust.calls import agree, calls

KINDS = {
    "few classes": ((400, 30), 5, {}),
    "two classes": ((400, 30), 2, {}),
    "many classes": ((300, 30), 40, {"C": 0.01}),
    "wide": ((90, 300), 4, {}),
    "lasso": ((300, 30), 5, {"C": 0.1, "l1_ratio": 0.5}),
    "newton-cholesky": ((300, 20), 4, {"solver": "newton-cholesky"}),
    "early stopping": ((300, 20), 4, {"early_stopping": True, "random_state": 0}),
}


def layouts(X, folder):
    """Yield the numbers of C-ordered X as they may lie in memory."""
    yield X.copy()
    yield np.repeat(X, 2, axis=0)[::2]
    yield np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2]
    yield X[::-1].copy()[::-1]
    yield np.hstack([X, X])[:, : X.shape[1]]
    memory = np.empty(X.nbytes + 3 * X.itemsize, np.uint8)[3 * X.itemsize :]
    memory.view(X.dtype)[...] = X.ravel()
    yield memory.view(X.dtype).reshape(X.shape)
    np.save(folder / "X.npy", X)
    yield np.load(folder / "X.npy", mmap_mode="r")


def fit(kind, X, y):
    model = SoftmaxRegression(tol=1e-3, **KINDS[kind][2]).fit(X, y)
    return model.coef_, model.intercept_, model.history_["loss"]


def sample(kind):
    shape, n_classes, _ = KINDS[kind]
    rng = np.random.default_rng(0)
    return rng.normal(size=shape), np.arange(shape[0]) % n_classes


@pytest.mark.parametrize("kind", KINDS)
def test_layout_of_the_data(kind, tmp_path):
    X, y = sample(kind)
    expected = fit(kind, X, y)
    for other in layouts(X, tmp_path):
        assert agree(fit(kind, other, y), expected)
    in_columns = np.asfortranarray(X)
    of_columns = fit(kind, in_columns, y)
    assert agree(fit(kind, in_columns.copy(order="F"), y), of_columns)
    in_columns.flags.writeable = False
    assert agree(fit(kind, in_columns, y), of_columns)


@pytest.mark.parametrize("kind", ["two classes", "wide"])
def test_predictions_do_not_depend_on_the_layout(kind, tmp_path):
    X, y = sample(kind)
    model = SoftmaxRegression().fit(X, y)
    expected = model.predict_proba(X)
    for other in (*layouts(X, tmp_path), np.asfortranarray(X)):
        assert agree(model.predict_proba(other), expected)


def test_threads_of_blas_change_no_bit(monkeypatch):
    functions = calls()
    results = []
    for n_threads in (1, 2, 3):
        with threadpool_limits(n_threads, user_api="blas"):
            results.append({name: call() for name, call in functions.items()})
    for others in results[1:]:
        for name, result in others.items():
            assert agree(result, results[0][name]), name


@pytest.mark.parametrize("n_threads", [1, 3])
def test_large_products_are_cut_by_their_shapes_alone(n_threads, monkeypatch):
    monkeypatch.setattr(_products, "WORTH_THREADS", 0)
    monkeypatch.setattr(_products, "PANEL", 32)
    monkeypatch.setattr(_products, "LEAST_LINES", 8)
    monkeypatch.setattr("skxent.backends._team._threads_to_use", lambda: n_threads)
    rng = np.random.default_rng(0)
    X, W = rng.normal(size=(200, 150)), rng.normal(size=(40, 150))
    gram = np.eye(150)
    _products.add_gram(X, gram)
    np.testing.assert_allclose(gram, X.T @ X + np.eye(150), rtol=1e-12, atol=1e-12)
    factor, lower = _products.cho_factor(gram)
    L = np.tril(factor.T)
    assert not lower
    np.testing.assert_allclose(L @ L.T, gram, rtol=1e-12, atol=1e-12)
    products = _products.multiply(X, W.T), _products.multiply(W, X.T)
    np.testing.assert_allclose(products[0], X @ W.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(products[1], W @ X.T, rtol=1e-12, atol=1e-12)
    found = gram, factor, *products
    monkeypatch.setattr("skxent.backends._team._threads_to_use", lambda: 2)
    again = np.eye(150)
    _products.add_gram(X, again)
    again_factor = _products.cho_factor(again)[0]
    assert agree(
        found,
        (again, again_factor, _products.multiply(X, W.T), _products.multiply(W, X.T)),
    )
    gram[3, 3] = -1.0
    with pytest.raises(np.linalg.LinAlgError):
        _products.cho_factor(gram)
