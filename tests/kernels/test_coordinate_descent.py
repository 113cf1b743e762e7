"""Coordinate descent beside the models written out, and their conditions of optimality.

A model of the loss is ``<g, d> + <d, H d> / 2`` with ``H`` as a matrix over (q, R)
coordinates, the penalty is that of the weights ``w + d``.
"""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from skxent.kernels import _coordinate_descent as kernels
from skxent.linear_model import _penalty
from skxent.linear_model._penalty import descend

Q, R, N = 6, 3, 40
PRECISION, SWEEPS = 1e-12, 10**5


def penalty(weights, l1, l2):
    return l1 * np.abs(weights).sum() + l2 / 2 * (weights**2).sum()


def gain_of(hessian, gradient, start, weights, l1, l2, n_free=0):
    d = (weights - start).ravel()
    kept = len(weights) - n_free
    return -(
        gradient.ravel() @ d
        + d @ hessian @ d / 2
        + penalty(weights[:kept], l1, l2)
        - penalty(start[:kept], l1, l2)
    )


def violation(hessian, gradient, start, weights, l1, l2):
    slope = gradient.ravel() + hessian @ (weights - start).ravel()
    w = weights.ravel()
    slope = slope + l2 * w
    return np.where(
        w != 0, np.abs(slope + l1 * np.sign(w)), np.maximum(np.abs(slope) - l1, 0)
    ).max()


def softmax_hessian(X, proba, row_share):
    """``sum_i h_i x_i x_i^T (x) (diag p_i - p_i p_i^T)`` over (q, R) coordinates."""
    size = X.shape[1] * proba.shape[1]
    hessian = np.zeros((size, size))
    for x, p, h in zip(X, proba, row_share, strict=True):
        hessian += h * np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))
    return hessian


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    X = np.where(rng.uniform(size=(N, Q)) < 0.5, rng.normal(size=(N, Q)), 0.0)
    proba = rng.dirichlet(np.ones(R + 1), N)[:, :R]
    row_share = rng.uniform(0.5, 1.5, N)
    residual = rng.normal(size=(R, N))
    start = np.where(rng.uniform(size=(Q, R)) < 0.5, rng.normal(size=(Q, R)), 0.0)
    return X, np.ascontiguousarray(proba.T), row_share, residual, start


def entries_of(X, form):
    if form == "dense":
        starts = np.arange(Q + 1) * N
        return np.ascontiguousarray(X.T).ravel(), np.empty(0, np.int64), starts, True
    X = scipy.sparse.csc_array(X)
    return X.data, X.indices, X.indptr, False


def descend_rows(model, form, l1, l2, precision=PRECISION, sweeps=SWEEPS, limit=1e9):
    X, proba, row_share, residual, start = model
    features = np.tile(np.arange(Q), R)
    classes = np.arange(R + 1) * Q
    share = proba * row_share
    slope, curvature = np.empty((2, Q * R))
    entries = entries_of(X, form)
    kernels.derivatives(
        *entries, features, classes, residual, share, proba, np.empty(N), slope,
        curvature,
    )  # fmt: skip
    weights = start.T.ravel().copy()
    limits = np.full(Q * R, limit)
    moved, mean = np.zeros((R, N)), np.zeros(N)
    gain, n_sweeps = descend(
        kernels.descend_rows,
        *entries, features, classes, slope, curvature, weights.copy(), limits, weights,
        np.empty(0), np.empty(0), share, proba, moved, mean, *np.empty((3, N)), l1, l2,
        precision, sweeps,
    )  # fmt: skip
    assert 1 <= n_sweeps <= sweeps
    return slope, curvature, weights.reshape(R, Q).T, gain, moved, mean


@pytest.mark.parametrize("form", ["sparse", "dense"])
@pytest.mark.parametrize(("l1", "l2"), [(2.0, 0.0), (1.0, 0.5), (0.0, 0.3)])
def test_rows_reach_the_minimum_of_their_model(model, form, l1, l2):
    X, proba, row_share, residual, start = model
    hessian = softmax_hessian(X, proba.T, row_share)
    gradient = X.T @ residual.T
    slope, curvature, weights, gain, moved, mean = descend_rows(model, form, l1, l2)
    np.testing.assert_allclose(slope.reshape(R, Q).T, gradient, atol=1e-12)
    np.testing.assert_allclose(curvature.reshape(R, Q).T.ravel(), hessian.diagonal())
    assert violation(hessian, gradient, start, weights, l1, l2) < 1e-5
    expected = gain_of(hessian, gradient, start, weights, l1, l2)
    assert gain == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(moved, (X @ (weights - start)).T, atol=1e-12)
    np.testing.assert_allclose(mean, (moved * proba).sum(axis=0), atol=1e-12)


@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_leaving_often_changes_no_bit(model, form, monkeypatch):
    whole = descend_rows(model, form, 1.0, 0.1)
    monkeypatch.setattr(_penalty, "LAUNCH_SIZE", 1)
    for got, expected in zip(descend_rows(model, form, 1.0, 0.1), whole, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_every_sweep_gains(model, form):
    gains = [descend_rows(model, form, 1.0, 0.1, 0.0, n)[3] for n in range(1, 5)]
    assert (np.diff([0.0, *gains]) > 0).all()


def test_weights_stay_within_limits(model):
    start = model[-1]
    free = descend_rows(model, "sparse", 1.0, 0.1)[2]
    kept = descend_rows(model, "sparse", 1.0, 0.1, limit=0.01)[2]
    far = np.abs(kept - start) > 0.01 * (1 + 1e-12)
    assert (np.abs(free - start) > 0.01).any()
    assert not far.any()


def test_dense_columns_that_leave_a_rest(model):
    X, proba, row_share, residual, start = model
    for n in (1, 7, 8, 17, 39):
        part = (
            X[:n],
            np.ascontiguousarray(proba[:, :n]),
            row_share[:n],
            np.ascontiguousarray(residual[:, :n]),
            start,
        )
        hessian = softmax_hessian(part[0], part[1].T, part[2])
        features, classes = np.tile(np.arange(Q), R), np.arange(R + 1) * Q
        data = np.ascontiguousarray(part[0].T).ravel()
        for column in (data, data.astype(np.float32)):
            slope, curvature = np.empty((2, Q * R))
            kernels.derivatives(
                column, np.empty(0, np.int64), np.arange(Q + 1) * n, True, features,
                classes, part[3], part[1] * part[2], part[1], np.empty(n), slope,
                curvature,
            )  # fmt: skip
            tolerance = 1e-6 if column.dtype == np.float32 else 1e-12
            expected = part[0].T @ part[3].T
            got = slope.reshape(R, Q).T
            np.testing.assert_allclose(got, expected, atol=tolerance)
            got = curvature.reshape(R, Q).T.ravel()
            np.testing.assert_allclose(got, hessian.diagonal(), atol=tolerance)


@pytest.mark.parametrize("n_classes", [1, R])
@pytest.mark.parametrize(("l1", "l2"), [(2.0, 0.0), (1.0, 0.5), (0.5, 1e-3)])
@pytest.mark.parametrize("rank", [0, 2])
def test_moments_reach_the_minimum_of_their_model(n_classes, l1, l2, rank):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, Q))
    moments = X.T @ X
    p = rng.dirichlet(np.ones(n_classes))
    classes = np.diag(p) - np.outer(p, p) if n_classes > 1 else np.eye(1)
    low_rank = rng.normal(size=(Q, n_classes, rank))
    if n_classes > 1:
        low_rank -= low_rank.mean(axis=1, keepdims=True)
    flat = low_rank.reshape(Q * n_classes, rank)
    hessian = np.kron(moments, classes) + flat @ flat.T
    gradient = 5 * rng.normal(size=(Q, n_classes))
    if n_classes > 1:
        gradient -= gradient.mean(axis=1, keepdims=True)
    start = rng.normal(size=(Q, n_classes))
    weights = start.copy()
    gain, n_sweeps = descend(
        kernels.descend_moments,
        gradient, classes, moments, low_rank, low_rank, weights,
        np.zeros((n_classes, Q)), np.zeros(rank), np.empty(2 * n_classes + 1), 0, l1,
        l2, PRECISION, SWEEPS,
    )  # fmt: skip
    assert 1 <= n_sweeps < SWEEPS
    assert violation(hessian, gradient, start, weights, l1, l2) < 1e-4
    expected = gain_of(hessian, gradient, start, weights, l1, l2)
    assert gain == pytest.approx(expected, rel=1e-9)


def test_free_features_carry_no_penalty():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, Q))
    moments, gradient = X.T @ X, rng.normal(size=(Q, 1))
    weights = np.ones((Q, 1))
    descend(
        kernels.descend_moments,
        gradient, np.eye(1), moments, np.empty((Q, 1, 0)), np.empty((Q, 1, 0)),
        weights, np.zeros((1, Q)), np.empty(0), np.empty(3), 2, 1e3, 1.0, PRECISION,
        SWEEPS,
    )  # fmt: skip
    assert not weights[:-2].any()
    slope = gradient + moments @ (weights - 1.0)
    np.testing.assert_allclose(slope[-2:], 0, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 6, 7])
@pytest.mark.parametrize(("l1", "l2"), [(1.0, 0.0), (1.0, 0.1), (1.0, 10.0), (0.0, 1)])
def test_shift_makes_the_penalty_least(n_classes, l1, l2):
    rng = np.random.default_rng(n_classes)
    weights = rng.normal(0.5, 1, (50, n_classes))
    weights[rng.uniform(size=weights.shape) < 0.3] = 0.0
    shifted = weights.copy()
    places = np.empty(2 * n_classes + 1)
    gain = kernels.shift_features(shifted, l1, float(l2), places)
    np.testing.assert_allclose(np.ptp(weights - shifted, axis=1), 0, atol=1e-14)
    for before, after in zip(weights, shifted, strict=True):
        best = scipy.optimize.minimize_scalar(
            lambda c, row=before: penalty(row - c, l1, l2), bounds=(-5, 5)
        )
        kinks = min(penalty(before - c, l1, l2) for c in before)
        least = min(best.fun, kinks)
        assert penalty(after, l1, l2) <= least * (1 + 1e-9)
    expected = penalty(weights, l1, l2) - penalty(shifted, l1, l2)
    assert gain == pytest.approx(expected, rel=1e-12)


def test_shift_keeps_zeros_where_it_may():
    weights = np.array([[0.0, 0.0, 0.0, 5.0], [0.0, 0.0, 3.0, -2.0]])
    shifted = weights.copy()
    assert kernels.shift_features(shifted, 1.0, 0.0, np.empty(9)) == 0
    np.testing.assert_array_equal(shifted, weights)
