"""The elastic net beside scikit-learn's saga, and the conditions of optimality."""

import itertools

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from sklearn.linear_model import LogisticRegression

from skxent.linear_model import _elastic_net, _elastic_net_rows
from skxent.linear_model._elastic_net import minimize_elastic_net
from skxent.linear_model._penalty import ElasticNet
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.losses._targets import encode_targets
from tests.linear_model.peers import elastic_net

N, P = 150, 12
TOL = 1e-6


def make_data(n_classes, n=N, p=P):
    rng = np.random.default_rng(0)
    X = np.where(rng.uniform(size=(n, p)) < 0.6, rng.normal(1, 1, (n, p)), 0.0)
    signal = np.zeros((n, n_classes))
    signal[:, : min(n_classes, 4)] = 2 * X[:, : min(n_classes, 4)]
    return X, (signal + rng.gumbel(size=(n, n_classes))).argmax(axis=1)


def minimize(X, target, n_classes, *, C=1.0, l1_ratio=0.5, **options):
    weights = {
        name: options.pop(name)
        for name in ("weight", "label_smoothing", "sample_weight")
        if name in options
    }
    targets = encode_targets(target, n_classes, dtype=X.dtype, **weights)
    strength = 1.0 / (C * targets.denominator)
    names = set(Settings._fields) & set(options)
    settings = {"tol": TOL, "max_iter": 500}
    settings |= {name: options.pop(name) for name in names}
    return minimize_elastic_net(
        X,
        targets,
        n_classes=n_classes,
        l1=l1_ratio * strength,
        l2=(1 - l1_ratio) * strength,
        settings=Settings(**settings),
        **({"fit_intercept": True, "coef": None} | options),
    )


def data_gradient(X, target, coef, weights):
    """Gradient of the sum of weighted losses by (W, b), in plain numpy."""
    z = X @ coef[:, :-1].T + coef[:, -1]
    if len(coef) == 1:
        z = np.column_stack([np.zeros(len(z)), z])
    residual = scipy.special.softmax(z, axis=1) - target
    residual = (residual * weights[:, np.newaxis])[:, -len(coef) :]
    return np.column_stack([residual.T @ X, residual.sum(axis=0)])


def largest_violation(X, target, result, C, l1_ratio, weights=None):
    """How far from optimal, as a share of the L1 strength (or 1 where that is 0)."""
    X = X.toarray() if scipy.sparse.issparse(X) else X
    weights = np.ones(len(X)) if weights is None else weights
    gradient = C * data_gradient(np.float64(X), target, result.coef, weights)
    w, slope = result.coef[:, :-1], gradient[:, :-1]
    smooth = slope + (1 - l1_ratio) * w
    violation = np.where(
        w != 0,
        np.abs(smooth + l1_ratio * np.sign(w)),
        np.maximum(np.abs(smooth) - l1_ratio, 0),
    )
    return max(violation.max(), np.abs(gradient[:, -1]).max())


@pytest.fixture(params=["moments", "rows"])
def solver(request, monkeypatch):
    few = {"moments": 10**6, "rows": 0}[request.param]
    monkeypatch.setattr(_elastic_net, "MOST_FEATURES", few)
    return request.param


CONTAINERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_matrix,
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("C", "l1_ratio"), [(1.0, 0.5), (0.1, 1.0), (1.0, 0.02), (10.0, 0.9)]
)
def test_coefficients_are_those_of_saga(solver, n_classes, C, l1_ratio):
    X, y = make_data(n_classes)
    result = minimize(X, y, n_classes, C=C, l1_ratio=l1_ratio)
    saga = elastic_net(C=C, l1_ratio=l1_ratio, tol=1e-11).fit(X, y)
    assert result.status is SolverStatus.CONVERGED
    np.testing.assert_allclose(result.coef[:, :-1], saga.coef_, atol=1e-5)
    np.testing.assert_array_equal(result.coef[:, :-1] == 0, saga.coef_ == 0)
    intercept, expected = result.coef[:, -1], saga.intercept_
    if n_classes > 2:
        intercept, expected = intercept - intercept[0], expected - expected[0]
    np.testing.assert_allclose(intercept, expected, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("C", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.1, 0.5, 1.0])
def test_conditions_of_optimality(solver, n_classes, C, l1_ratio):
    X, y = make_data(n_classes)
    result = minimize(X, y, n_classes, C=C, l1_ratio=l1_ratio, tol=1e-7)
    violation = largest_violation(X, np.eye(n_classes)[y], result, C, l1_ratio)
    assert violation < 1e-3 * max(C, 1)


def test_soft_targets_and_weights(solver):
    X, _ = make_data(3)
    rng = np.random.default_rng(1)
    target = rng.dirichlet(np.ones(3), N)
    weights = rng.uniform(0, 2, N) * (rng.uniform(size=N) < 0.9)
    result = minimize(X, target, 3, sample_weight=weights)
    assert largest_violation(X, target, result, 1.0, 0.5, weights) < 1e-3
    smooth = minimize(
        X, target, 3, sample_weight=weights, weight=np.full(3, 2.0), label_smoothing=0.3
    )
    smoothed = 0.7 * target + 0.1
    assert largest_violation(X, smoothed, smooth, 2.0, 0.5, weights) < 1e-3


def test_weights_are_repetitions(solver):
    X, y = make_data(3)
    counts = np.arange(N) % 3
    weighted = minimize(X, y, 3, sample_weight=counts.astype(float))
    repeated = minimize(np.repeat(X, counts, axis=0), np.repeat(y, counts), 3)
    np.testing.assert_allclose(weighted.coef[:, :-1], repeated.coef[:, :-1], atol=1e-5)
    assert weighted.value == pytest.approx(repeated.value, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_containers_and_dtypes_agree(container, dtype, n_classes):
    X, y = make_data(n_classes)
    expected = minimize(X, y, n_classes)
    X = CONTAINERS[container](X.astype(dtype))
    result = minimize(X, y, n_classes, tol=1e-4 if dtype == np.float32 else TOL)
    assert result.status is SolverStatus.CONVERGED
    atol = 1e-3 if dtype == np.float32 else 1e-5
    np.testing.assert_allclose(result.coef[:, :-1], expected.coef[:, :-1], atol=atol)
    assert result.value == pytest.approx(expected.value, rel=1e-6)


def test_indices_of_64_bits():
    X, y = make_data(3)
    X = scipy.sparse.csr_array(X)
    expected = minimize(X, y, 3)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    np.testing.assert_array_equal(minimize(X, y, 3).coef, expected.coef)


@pytest.mark.parametrize("container", ["csr_array", "csc_array"])
def test_duplicates_and_unsorted_indices_change_nothing(container):
    X, y = make_data(3)
    sorted_ = getattr(scipy.sparse, container)(X)
    data, indices = [], []
    for begin, end in itertools.pairwise(sorted_.indptr):
        for share in (0.3, 0.7):  # of each entry
            data += (share * sorted_.data[begin:end][::-1]).tolist()
            indices += sorted_.indices[begin:end][::-1].tolist()
    doubled = type(sorted_)((data, indices, 2 * sorted_.indptr), X.shape)
    before = doubled.copy()
    expected = minimize(sorted_, y, 3)
    got = minimize(doubled, y, 3)
    np.testing.assert_allclose(got.coef, expected.coef, atol=1e-12)
    assert got.n_iter == expected.n_iter
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(doubled, name), getattr(before, name))


def test_without_intercept(solver):
    X, y = make_data(3)
    with_ones = np.column_stack([X, np.ones(N)])
    result = minimize(with_ones, y, 3, fit_intercept=False, l1_ratio=0.3)
    assert result.coef.shape == (3, P + 1)
    padded = result._replace(coef=np.column_stack([result.coef, np.zeros(3)]))
    gradient = data_gradient(with_ones, np.eye(3)[y], padded.coef, np.ones(N))
    w, slope = result.coef, gradient[:, :-1]
    slope = slope + 0.7 * w
    violation = np.where(
        w != 0, np.abs(slope + 0.3 * np.sign(w)), np.maximum(np.abs(slope) - 0.3, 0)
    )
    assert violation.max() < 1e-3


@pytest.mark.parametrize("n_classes", [2, 3])
def test_strong_penalty_leaves_the_shares_of_the_classes(solver, n_classes):
    X, y = make_data(n_classes)
    result = minimize(X, y, n_classes, C=1e-4)
    assert not result.coef[:, :-1].any()
    logits = np.zeros(n_classes)
    logits[-len(result.coef) :] = result.coef[:, -1]
    np.testing.assert_allclose(
        scipy.special.softmax(logits), np.bincount(y) / N, atol=1e-5
    )


def test_no_penalty_is_the_plain_model(solver):
    X, y = make_data(3)
    result = minimize(X, y, 3, C=np.inf)
    plain = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10**4).fit(X, y)
    proba = scipy.special.softmax(
        X @ result.coef[:, :-1].T + result.coef[:, -1], axis=1
    )
    np.testing.assert_allclose(proba, plain.predict_proba(X), atol=1e-4)


def test_columns_of_zeros_and_of_one_number(solver):
    X, y = make_data(3)
    X[:, 3], X[:, 5] = 0.0, 4.0
    result = minimize(X, y, 3)
    assert result.status is SolverStatus.CONVERGED
    assert not result.coef[:, [3, 5]].any()
    assert largest_violation(X, np.eye(3)[y], result, 1.0, 0.5) < 1e-3


def test_weights_of_a_column_of_zeros_vanish(solver):
    X, y = make_data(3)
    X[:, 3] = 0.0
    result = minimize(X, y, 3, coef=np.ones((3, P + 1)) * [[1], [0], [2]])
    assert not result.coef[:, 3].any()


@pytest.mark.parametrize("C", [10.0, 1000.0])
def test_lasso_of_separable_rows(C):
    X, y = make_data(4, n=60, p=300)
    result = minimize(scipy.sparse.csr_array(X), y, 4, C=C, l1_ratio=1.0)
    assert result.status is SolverStatus.CONVERGED
    assert largest_violation(X, np.eye(4)[y], result, C, 1.0) < 1e-2


def test_more_features_than_rows():
    X, y = make_data(4, n=60, p=300)
    for data in (X, scipy.sparse.csr_array(X)):
        result = minimize(data, y, 4, C=10.0)
        assert result.status is SolverStatus.CONVERGED
        assert largest_violation(X, np.eye(4)[y], result, 10.0, 0.5) < 1e-3


def test_working_sets_grow_to_what_is_needed(monkeypatch):
    X, y = make_data(4, n=60, p=300)
    X = scipy.sparse.csr_array(X)
    whole = minimize(X, y, 4, C=10.0)
    sizes = []

    class Recorded(_elastic_net_rows.WorkingSet):
        def __init__(self, point, chosen):
            sizes.append(int(chosen.sum()))
            super().__init__(point, chosen)

    monkeypatch.setattr(_elastic_net_rows, "WorkingSet", Recorded)
    monkeypatch.setattr(_elastic_net_rows, "FEWEST_COORDINATES", 3)
    grown = minimize(X, y, 4, C=10.0)
    assert sizes[0] == 3
    assert max(sizes) > np.count_nonzero(grown.coef[:, :-1]) > 10
    assert grown.value == pytest.approx(whole.value, rel=1e-10)


def test_warm_start_takes_fewer_steps(solver):
    X, y = make_data(3)
    cold = minimize(X, y, 3, C=1.0)
    near = minimize(X, y, 3, C=1.1)
    warm = minimize(X, y, 3, C=1.1, coef=cold.coef)
    assert warm.n_iter < near.n_iter
    np.testing.assert_allclose(warm.coef[:, :-1], near.coef[:, :-1], atol=1e-5)
    again = minimize(X, y, 3, C=1.0, coef=cold.coef)
    assert again.n_iter <= 2


def test_shift_of_all_classes_costs_no_steps(solver):
    X, y = make_data(3)
    start = minimize(X, y, 3).coef
    start[:, :-1] += np.arange(P)
    assert minimize(X, y, 3, coef=start).n_iter <= 2


def test_scale_of_the_weights_costs_no_steps(solver):
    X, y = make_data(3)
    expected = minimize(X, y, 3)
    heavy = minimize(X, y, 3, C=1e-3, sample_weight=np.full(N, 1e3))
    assert abs(heavy.n_iter - expected.n_iter) <= 1
    np.testing.assert_allclose(heavy.coef, expected.coef, atol=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_start_is_not_written_to(solver, n_classes, order):
    X, y = make_data(n_classes)
    rows = 1 if n_classes == 2 else n_classes
    for extra in (0, 1):
        start = np.ones((rows, P + extra), order=order)
        minimize(X, y, n_classes, coef=start, fit_intercept=bool(extra))
        np.testing.assert_array_equal(start, np.ones_like(start))


def test_history_and_the_end_of_iterations(solver):
    X, y = make_data(3)
    result = minimize(X, y, 3, max_iter=2)
    assert result.status is SolverStatus.MAX_ITER
    assert result.n_iter == 2
    full = minimize(X, y, 3)
    for each in (result, full):
        loss, suboptimality = each.history["loss"], each.history["suboptimality"]
        assert len(loss) == len(suboptimality) == each.n_iter + 1
        assert (np.diff(loss) <= 0).all()
        assert loss[-1] == each.value
    assert loss[0] == pytest.approx(np.log(3))
    assert suboptimality[-1] <= TOL**2
    # an estimate of the distance, within a factor, while that is no rounding
    true = loss / loss[-1] - 1
    known = (true > 1e-9) & (true < 1e-2)
    assert (suboptimality[known] < 10 * true[known]).all()
    assert (suboptimality[known] > 0.1 * true[known]).all()


def test_caller_may_stop(solver):
    X, y = make_data(3)
    seen = []

    def stop(coef):
        seen.append(coef)
        return len(seen) == 3

    result = minimize(X, y, 3, stop=stop)
    assert result.n_iter == 3
    assert result.status is SolverStatus.CONVERGED
    np.testing.assert_array_equal(seen[-1], result.coef)
    assert np.ptp(seen[0] - seen[1]) > 0


def test_numbers_that_are_not_finite_end_the_search(solver):
    X, y = make_data(3)
    X[4, 2] = np.nan
    result = minimize(X, y, 3)
    assert result.status is SolverStatus.LINE_SEARCH
    assert result.n_iter == 0


def test_separable_rows_without_penalty_end(solver):
    X, y = make_data(2)
    X[:, 0] = 2 * y - 1
    result = minimize(X, y, 2, C=np.inf, max_iter=60)
    assert result.value < 1e-6


def test_a_shift_of_classes_that_gains_is_no_end(monkeypatch):
    gains = []

    def shift(penalty, weights):
        gains.append(shift_as_is(penalty, weights))
        return gains[-1]

    shift_as_is = ElasticNet.shift
    monkeypatch.setattr(ElasticNet, "shift", shift)
    rng = np.random.default_rng(1)  # two directions, and hardly a penalty
    X = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 40))
    X += 1e-3 * rng.normal(size=X.shape)
    options = {"C": 1e4, "label_smoothing": 0.1, "fit_intercept": False}
    result = minimize(X, np.arange(20) % 3, 3, tol=1e-3, **options)
    assert result.status is SolverStatus.CONVERGED
    assert gains[-1] <= 1e-6 * result.value
