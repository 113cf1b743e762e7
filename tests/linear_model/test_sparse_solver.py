"""Optima on sparse data beside those of a plain Newton method on dense data."""

import numpy as np
import pytest
import scipy.sparse
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from skxent.linear_model import _dual_ascent, _sparse_newton, _sparse_solver
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.linear_model._sparse_loss import SparseLinearCrossEntropy
from skxent.linear_model._sparse_solver import minimize_sparse
from skxent.losses._targets import encode_targets
from tests.sparse_data import draw_sparse


def draw(n, p, n_classes, density, signal=3.0):
    rng = np.random.default_rng(0)
    X = draw_sparse(n, p, density, rng)
    truth = rng.normal(0, signal, size=(p, n_classes))
    y = (X @ truth + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X, y


def fit(
    X, y, n_classes, l2, *, tol=1e-5, start=None, max_iter=300, stop=None, **options
):
    fit_intercept = options.pop("fit_intercept", True)
    targets = encode_targets(y, n_classes, dtype=X.dtype, **options)
    objective = SparseLinearCrossEntropy(
        X, targets, n_classes=n_classes, fit_intercept=fit_intercept, l2=l2
    )
    settings = Settings(tol, max_iter, stop)
    if start is None:
        p = X.shape[1] + fit_intercept
        start = np.zeros((1 if n_classes == 2 else n_classes, p))
    return minimize_sparse(objective, start, settings), objective


def optimum(objective):
    """Return the least value, by Newton steps with the whole Hessian."""
    X = objective.X.toarray().astype(float)
    targets, K = objective.targets, objective.n_classes
    t = targets.target
    t = np.eye(K)[t] if t.ndim == 1 else t.astype(float)
    t = t * targets.on_value + targets.off_value
    if targets.row_weight.size:
        t = t * targets.row_weight[:, None]
    mass = t.sum(axis=1)
    X = np.hstack([X, np.ones((len(X), 1))]) if objective.fit_intercept else X
    p = X.shape[1]
    ridge = np.full(p, objective.l2 * targets.denominator)
    if objective.fit_intercept:
        ridge[-1] = 0
    centring = np.eye(K) - 1 / K if K > 2 else 2 * (np.eye(K) - 1 / K)
    penalty = np.kron(centring, np.diag(ridge))
    W = np.zeros((K, p))

    def value(W):
        loss = -(t * log_softmax(X @ W.T, axis=1)).sum()
        return loss + 0.5 * W.ravel() @ penalty @ W.ravel()

    for _ in range(50):
        P = softmax(X @ W.T, axis=1)
        slope = ((mass[:, None] * P - t).T @ X).ravel() + penalty @ W.ravel()
        blocks = np.einsum("ik,kl->ikl", P, np.eye(K)) - P[:, :, None] * P[:, None]
        H = np.einsum("i,ikl,ia,ib->kalb", mass, blocks, X, X, optimize=True)
        H = H.reshape(K * p, K * p) + penalty
        # not lstsq: with OpenBLAS for Haswell its SVD may not converge
        size, axes = np.linalg.eigh(H)
        kept = size > 1e-13 * size[-1]
        step = axes[:, kept] @ ((axes.T @ slope)[kept] / size[kept])
        step = step.reshape(K, p)
        size = 1.0
        while value(W - size * step) > value(W) and size > 1e-6:
            size /= 2
        W = W - size * step
        if slope @ step.ravel() < 1e-14 * value(W):
            break
    return value(W) / targets.denominator


def check(result, objective, tol=1e-5):
    least = optimum(objective)
    value, _ = objective.value_and_gradient(result.coef)
    assert result.status is SolverStatus.CONVERGED
    # float32 logits are enough for larger ones
    rounding = 1e-9 if tol <= 1e-5 else 1e-8
    assert value == pytest.approx(result.value, rel=rounding)
    assert value <= least * (1 + 4 * max(tol**2, 1e-11))
    assert result.history["loss"][-1] == result.value
    assert result.history["suboptimality"][-1] <= tol**2
    assert len(result.history["loss"]) == result.n_iter + 1
    assert len(result.history["suboptimality"]) == result.n_iter + 1


@pytest.fixture(autouse=True)
def dual_first(monkeypatch):
    """Let coordinate ascent take short rows as well."""
    monkeypatch.setattr(_sparse_newton, "SHORT", 0)


SHAPES = {"wide": (80, 150, 0.1), "tall": (600, 20, 0.2)}
RIDGES = {"text": 0.02, "weak": 1e-5}


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("ridge", RIDGES)
def test_the_optimum(shape, n_classes, layout, ridge):
    n, p, density = shape
    X, y = draw(n, p, n_classes, density)
    check(*fit(X.asformat(layout), y, n_classes, RIDGES[ridge]))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_every_option(shape, n_classes, fit_intercept):
    n, p, density = shape
    X, y = draw(n, p, n_classes, density)
    rng = np.random.default_rng(1)
    options = {
        "weight": rng.uniform(0.5, 2, n_classes),
        "label_smoothing": 0.1,
        "sample_weight": np.where(rng.uniform(size=n) < 0.2, 0.0, rng.uniform(size=n)),
        "fit_intercept": fit_intercept,
    }
    for target in (y, rng.dirichlet(np.ones(n_classes), n)):
        check(*fit(X, target, n_classes, 0.01, **options))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_few_columns_that_go_together(n_classes, fit_intercept, monkeypatch):
    # those of a category add up to 1, in every category
    rng = np.random.default_rng(0)
    sizes = [2, 5, 9]
    columns = np.cumsum([0, *sizes[:-1]]) + rng.integers(0, sizes, (3000, 3))
    X = scipy.sparse.csr_array(
        (rng.uniform(0.9, 1.1, 9000), columns.ravel(), np.arange(0, 9001, 3))
    )
    truth = rng.normal(size=(X.shape[1], n_classes))
    y = (X @ truth + rng.gumbel(size=(3000, n_classes))).argmax(axis=1)
    weights = np.where(rng.uniform(size=3000) < 0.3, 0.0, rng.uniform(size=3000))

    def fail(*args):
        raise AssertionError("coordinate ascent is slow here")

    monkeypatch.setattr(_sparse_solver, "ascend_dual", fail)
    monkeypatch.setattr(_sparse_newton, "LEAST_ROWS", 1000)  # every third row
    for l2 in (1e-3, 0.0):
        result, objective = fit(
            X,
            y,
            n_classes,
            l2,
            fit_intercept=fit_intercept,
            sample_weight=weights,
        )
        check(result, objective)
        assert result.n_iter <= 8


@pytest.mark.parametrize("n_classes", [2, 3])
def test_short_rows_of_few_classes(n_classes, monkeypatch):
    def fail(*args):
        raise AssertionError("coordinate ascent is slow here")

    monkeypatch.undo()
    monkeypatch.setattr(_sparse_solver, "ascend_dual", fail)
    X, y = draw(600, 60, n_classes, 0.2)  # 12 entries
    for l2 in RIDGES.values():
        check(*fit(X, y, n_classes, l2))
    with pytest.raises(AssertionError):
        fit(X, np.arange(600) % 4, 4, 0.01)


def test_no_penalty():
    X, y = draw(600, 10, 3, 0.5, signal=1.0)
    check(*fit(X, y, 3, 0.0))


def test_float32_data_and_wide_indices(shape):
    n, p, density = shape
    X, y = draw(n, p, 3, density)
    X = X.astype(np.float32)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    check(*fit(X, y, 3, 0.01))


def test_columns_of_any_scale():
    X, y = draw(500, 30, 3, 0.3)
    scale = 10.0 ** np.linspace(-1, 1, 30)
    X = scipy.sparse.csr_array(X @ scipy.sparse.diags(scale))
    check(*fit(X, y, 3, 1e-6, tol=1e-4), tol=1e-4)


def test_duplicates_and_unsorted_indices_change_nothing():
    X, y = draw(80, 150, 3, 0.1)
    expected, _ = fit(X, y, 3, 0.02)
    indptr = 2 * X.indptr
    data, indices = [], []
    for i in range(80):
        line = slice(X.indptr[i], X.indptr[i + 1])
        for _ in range(2):
            data += (0.5 * X.data[line][::-1]).tolist()
            indices += X.indices[line][::-1].tolist()
    doubled = scipy.sparse.csr_array((data, indices, indptr), X.shape)
    got, _ = fit(doubled, y, 3, 0.02)
    assert got.n_iter <= expected.n_iter + 1
    assert got.value == pytest.approx(expected.value, rel=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_same_as_logistic_regression(n_classes):
    X, y = draw(400, 60, n_classes, 0.1)
    theirs = LogisticRegression(C=2.0, solver="newton-cg", tol=1e-10, max_iter=1000)
    theirs.fit(scipy.sparse.csr_matrix(X), y)
    result, _ = fit(X, y, n_classes, 1 / (2.0 * 400), tol=1e-6)
    coef = np.hstack([theirs.coef_, theirs.intercept_[:, None]])
    np.testing.assert_allclose(result.coef, coef, atol=1e-5 * np.abs(coef).max())


def test_a_warm_start_is_nearly_there(shape):
    n, p, density = shape
    X, y = draw(n, p, 3, density)
    cold, _ = fit(X, y, 3, 0.02, tol=1e-4)
    warm, objective = fit(X, y, 3, 0.02, tol=1e-4, start=cold.coef)
    assert warm.n_iter <= cold.n_iter // 2
    check(warm, objective, tol=1e-4)


def test_the_dual_does_all_the_work_on_text(monkeypatch):
    X, y = draw(300, 2000, 4, 0.02)
    lengths = np.sqrt(np.asarray((X * X).sum(axis=1)).ravel())
    X = scipy.sparse.csr_array(scipy.sparse.diags(1 / lengths) @ X)
    monkeypatch.setattr(_sparse_solver, "descend_newton", None)
    result, _ = fit(X, y, 4, 1 / 300)
    assert result.n_iter < 20
    distance = result.history["loss"] / result.value - 1
    # a bound but for what the intercept still moves
    assert (distance[:-1] <= 1.1 * result.history["suboptimality"][:-1] + 1e-7).all()


def test_newton_goes_on_where_the_dual_is_slow(monkeypatch):
    X, y = draw(400, 20, 3, 0.5)
    calls = []

    def recorded(*args):
        calls.append(args)
        return newton(*args)

    newton = _sparse_solver.descend_newton
    monkeypatch.setattr(_sparse_solver, "descend_newton", recorded)
    result, objective = fit(X, y, 3, 1e-6)
    assert len(calls) == 1
    assert result.n_iter > _dual_ascent.FEWEST_EPOCHS
    check(result, objective)


@pytest.mark.parametrize("l2", [0.02, 0.0])
def test_an_end_for_every_reason(l2):
    X, y = draw(600, 10, 3, 0.5)
    short, _ = fit(X, y, 3, l2, max_iter=2)
    assert short.status is SolverStatus.MAX_ITER
    assert short.n_iter == 2
    seen = []

    def stop(coef):
        seen.append(coef)
        return len(seen) == 2

    stopped, _ = fit(X, y, 3, l2, stop=stop)
    assert stopped.status is SolverStatus.CONVERGED
    assert len(seen) == 2
    assert stopped.n_iter <= 2


def test_the_same_bits_on_every_fit(shape):
    n, p, density = shape
    X, y = draw(n, p, 3, density)
    first, second = (fit(X, y, 3, 0.001)[0].coef for _ in range(2))
    np.testing.assert_array_equal(first, second)
