"""The same bits of a whole fit, whatever lies around it."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from skxent.linear_model import (
    SoftmaxRegression,
    SoftmaxRegressionCV,
    _products,
)
from skxent.losses import linear_cross_entropy_value_and_grad
from tests.trust.calls import agree, calls

KINDS = {
    "few classes": ((400, 30), 5, {}),
    "several blocks": ((3001, 100), 3, {"C": 0.1}),
    "two classes": ((400, 30), 2, {}),
    "many classes": ((300, 30), 40, {"C": 0.01}),
    "more rows of many": ((1400, 100), 60, {"C": 0.01}),
    "wide": ((90, 300), 4, {}),
    "wide, many classes": ((90, 1100), 40, {}),
    "lasso": ((300, 30), 5, {"C": 0.1, "l1_ratio": 0.5}),
    "wide lasso": ((90, 300), 4, {"C": 0.1, "l1_ratio": 0.5}),
    "lbfgs": ((300, 20), 4, {"solver": "lbfgs"}),
    "newton-cg": ((300, 20), 4, {"solver": "newton-cg"}),
    "newton-cholesky": ((300, 20), 4, {"solver": "newton-cholesky"}),
    "early stopping": ((300, 20), 4, {"early_stopping": True, "random_state": 0}),
    "one column": ((300, 1), 3, {}),
    "two rows": ((2, 30), 2, {}),
}


def layouts(X, folder):
    """Yield the numbers of C-ordered X as they may lie in memory."""
    twice = np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)
    for order in "CF":
        whole = np.asarray(twice, order=order)
        yield np.array(X, order=order)
        yield np.asarray(np.repeat(X, 2, axis=0), order=order)[::2]
        yield np.asarray(np.repeat(X, 2, axis=1), order=order)[:, ::2]
        yield whole[::2, ::2]
        yield np.array(X[::-1], order=order)[::-1]
        yield np.asarray(np.hstack([X, X]), order=order)[:, : X.shape[1]]
        yield np.asarray(np.vstack([X, X]), order=order)[len(X) :]
        np.save(folder / "X.npy", np.asarray(X, order=order))
        yield np.load(folder / "X.npy", mmap_mode="r")
    memory = np.empty(X.nbytes + 3 * X.itemsize, np.uint8)[3 * X.itemsize :]
    memory.view(X.dtype)[...] = X.ravel()
    yield memory.view(X.dtype).reshape(X.shape)


def all_of(model, X):
    """Return what a fit has found, and all that it predicts, of single rows too."""
    found = [model.coef_, model.intercept_]
    history = getattr(model, "history_", {})
    found += [history[name] for name in sorted(history)]
    found += [getattr(model, "n_iter_", 0), getattr(model, "scores_", 0.0)]
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        found += [getattr(model, method)(rows) for rows in (X, X[:1], X[-1:])]
    return found


def fit(kind, X, y, **arguments):
    model = SoftmaxRegression(tol=1e-3, **KINDS[kind][2]).fit(X, y, **arguments)
    return all_of(model, X)


def sample(kind, dtype="float64"):
    shape, n_classes, _ = KINDS[kind]
    rng = np.random.default_rng(0)
    return rng.normal(size=shape).astype(dtype), np.arange(shape[0]) % n_classes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_layout_of_the_data(kind, dtype, tmp_path):
    X, y = sample(kind, dtype)
    expected = fit(kind, X, y)
    for other in layouts(X, tmp_path):
        assert agree(fit(kind, other, y), expected)


@pytest.mark.parametrize("kind", ["few classes", "many classes"])
def test_rows_that_overlap_in_memory(kind):
    X = np.lib.stride_tricks.sliding_window_view(sample(kind)[0].ravel(), 30)[:300]
    y = np.arange(300) % KINDS[kind][1]
    assert agree(fit(kind, X, y), fit(kind, X.copy(), y))


@pytest.mark.parametrize("kind", ["few classes", "many classes", "wide", "lasso"])
def test_layout_of_soft_labels(kind, tmp_path):
    X, y = sample(kind)
    soft = np.random.default_rng(1).dirichlet(np.ones(y.max() + 1), len(y))
    model = SoftmaxRegression(tol=1e-3, class_weight="balanced")
    model.set_params(**KINDS[kind][2])
    expected = all_of(model.fit(X, y, soft_labels=soft), X)
    for other in layouts(soft, tmp_path):
        in_columns = np.asfortranarray(X)
        again = all_of(model.fit(in_columns, y, soft_labels=other), in_columns)
        assert agree(again, expected)
        assert agree(all_of(model.fit(X, other), X), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["few classes", "many classes", "wide", "lasso"])
def test_layout_of_the_data_of_other_fits(kind, dtype, tmp_path):
    X, y = sample(kind, dtype)
    options = KINDS[kind][2]

    def all_fits(X):
        found = []
        model = SoftmaxRegression(**options)
        if hasattr(model, "partial_fit"):
            model.partial_fit(X, y, classes=np.unique(y))
            found += all_of(model.partial_fit(X[:50], y[:50]), X)
        warm = SoftmaxRegression(tol=1e-3, **options, warm_start=True).fit(X, y)
        found += all_of(warm.set_params(C=0.03).fit(X, y), X)
        if options.keys() <= {"C"}:
            model = SoftmaxRegressionCV([0.01, 1.0], tol=1e-3, cv=2).fit(X, y)
            found += [model.coefs_paths_, *all_of(model, X)]
        return found

    expected = all_fits(X)
    for other in layouts(X, tmp_path):
        assert agree(all_fits(other), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_layout_of_the_operands_of_a_linear_layer(shape, dtype, tmp_path):
    rng = np.random.default_rng(0)
    X, W = rng.normal(size=(150, 20)), rng.normal(size=(40, *shape, 20))
    X, W = X.astype(dtype), W.astype(dtype)
    y = rng.integers(40, size=(150, *shape))
    expected = linear_cross_entropy_value_and_grad(X, W, y)
    of_W = [np.asfortranarray(W), np.repeat(W, 2, axis=0)[::2], W[..., ::-1].copy()]
    of_W[-1] = of_W[-1][..., ::-1]
    for other in layouts(X, tmp_path):
        assert agree(linear_cross_entropy_value_and_grad(other, W, y), expected)
    for other in of_W:
        in_columns = np.asfortranarray(X), other, np.asfortranarray(y)
        assert agree(linear_cross_entropy_value_and_grad(*in_columns), expected)


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
    factor = gram.copy()
    _products.cho_factor(factor)
    L = np.tril(factor)
    np.testing.assert_allclose(L @ L.T, gram, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(np.triu(factor, 1), np.triu(gram, 1))
    scale = np.arange(1.0, 151.0)
    _products.mirror(factor, scale)
    above = np.triu(gram * np.outer(scale, scale), 1)
    np.testing.assert_allclose(np.tril(factor, -1), above.T, rtol=1e-14)
    products = _products.multiply(X, W.T), _products.multiply(W, X.T)
    np.testing.assert_allclose(products[0], X @ W.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(products[1], W @ X.T, rtol=1e-12, atol=1e-12)
    of_rows = _products.gram_of_rows(X, np.ones(200), X.dtype)
    np.testing.assert_allclose(np.triu(of_rows), np.triu(X @ X.T), atol=1e-12)
    images = _products.multiply_by_gram(X, X[:, :3])
    np.testing.assert_allclose(images, X @ (X.T @ X[:, :3]), rtol=1e-12)
    found = gram, L, np.triu(of_rows), images, *products
    monkeypatch.setattr("skxent.backends._team._threads_to_use", lambda: 2)
    again = np.eye(150)
    _products.add_gram(X, again)
    again_factor = again.copy()
    _products.cho_factor(again_factor)
    assert agree(
        found,
        (
            again,
            np.tril(again_factor),
            np.triu(_products.gram_of_rows(X, np.ones(200), X.dtype)),
            _products.multiply_by_gram(X, X[:, :3]),
            _products.multiply(X, W.T),
            _products.multiply(W, X.T),
        ),
    )
    gram[3, 3] = -1.0
    with pytest.raises(np.linalg.LinAlgError):
        _products.cho_factor(gram)
