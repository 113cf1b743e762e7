"""Sparse data, the elastic net and early stopping through the estimator."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel
from sklearn.preprocessing import StandardScaler

from skxent.linear_model import SoftmaxRegression, _training
from skxent.linear_model._checks import _encode_labels
from skxent.metrics import cross_entropy_loss
from tests.linear_model.peers import elastic_net


@pytest.fixture(params=[True, False], ids=["small", "large"])
def size(request, monkeypatch):
    """Sparse data of few numbers are made dense."""
    monkeypatch.setattr(_training, "DENSE_SIZE", 1 << 30 if request.param else 0)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:500] / 16, y[:500]


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def with_long_indices(X):
    X = scipy.sparse.csr_matrix(X)
    X.indices = X.indices.astype(np.int64)
    X.indptr = X.indptr.astype(np.int64)
    return X


FORMS = {
    "csr": scipy.sparse.csr_matrix,
    "csc": scipy.sparse.csc_array,
    "long indices": with_long_indices,
    "coo": scipy.sparse.coo_array,
    "float32": lambda X: scipy.sparse.csr_array(X.astype(np.float32)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("n_classes", [2, 10])
def test_sparse_data_are_fitted_as_dense_ones(digits, form, n_classes, size):
    X, y = digits
    y = y % n_classes
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    options = {"tol": 1e-6, "class_weight": "balanced", "label_smoothing": 0.05}
    dense = SoftmaxRegression(**options).fit(X, y, sample_weight=weight)
    sparse = form(X)
    model = SoftmaxRegression(**options).fit(sparse, y, sample_weight=weight)
    assert model.coef_.dtype == sparse.dtype
    atol = (1e-3 if sparse.dtype == np.float32 else 1e-5) * np.abs(dense.coef_).max()
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=0, atol=atol)
    np.testing.assert_allclose(model.intercept_, dense.intercept_, rtol=0, atol=atol)
    np.testing.assert_allclose(
        model.predict_proba(sparse), dense.predict_proba(X), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky"])
def test_other_solvers_take_sparse_data(digits, solver, form, size):
    X, y = digits
    expected = SoftmaxRegression(C=0.1).fit(X, y).coef_
    model = SoftmaxRegression(C=0.1, solver=solver, tol=1e-5)
    got = model.fit(scipy.sparse.csr_array(X).asformat(form), y).coef_
    np.testing.assert_allclose(got, expected, atol=2e-3 * np.abs(expected).max())


def objective(model, X, y, ratio, C):
    losses = cross_entropy_loss(y, model.predict_proba(X), normalize=False)
    ridge = (1 - ratio) / 2 * (model.coef_**2).sum()
    return C * losses + ridge + ratio * np.abs(model.coef_).sum()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_elastic_net_is_that_of_logistic_regression(iris, n_classes, ratio):
    X, y = iris
    y = np.minimum(y, n_classes - 1)
    ours = SoftmaxRegression(C=0.05, l1_ratio=ratio, tol=1e-6).fit(X, y)
    theirs = elastic_net(C=0.05, l1_ratio=ratio, tol=1e-10)
    theirs.fit(X, y)
    assert ours.coef_.shape == theirs.coef_.shape
    value, least = (objective(model, X, y, ratio, 0.05) for model in (ours, theirs))
    assert value / least - 1 < 1e-9
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    # the fewer coefficients, the sooner they are worth keeping sparse
    assert (ours.sparsify().predict(X) == theirs.predict(X)).all()


def test_elastic_net_starts_from_the_last_fit(digits):
    X, y = digits
    model = SoftmaxRegression(l1_ratio=0.5, warm_start=True).fit(X, y)
    assert model.n_iter_[0] > 1
    assert model.fit(X, y).n_iter_[0] <= 1


def test_early_stopping_keeps_the_best_coefficients(digits):
    X, y = digits
    options = {"C": 1e6, "random_state": 0, "n_iter_no_change": 3}
    model = SoftmaxRegression(early_stopping=True, **options).fit(X, y)
    losses = model.history_["validation_loss"]
    assert len(losses) == model.n_iter_[0] + 1
    assert losses.argmin() == len(losses) - 1 - 3
    again = SoftmaxRegression(early_stopping=True, **options).fit(X, y)
    np.testing.assert_array_equal(again.coef_, model.coef_)


def test_verbose_prints_each_iteration(iris, capsys):
    X, y = iris
    model = SoftmaxRegression(verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_[0] + 1
    assert lines[0].startswith("iteration 0: loss 1.09861229, suboptimality ")
    SoftmaxRegression().fit(X, y)
    assert capsys.readouterr().out == ""


def test_elastic_net_has_a_solver_of_its_own(iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"solver must be 'auto' where l1_ratio is"):
        SoftmaxRegression(l1_ratio=0.5, solver="lbfgs").fit(X, y)


def test_early_stopping_keeps_zeros_of_the_elastic_net(digits):
    X, y = digits
    options = {"C": 1e3, "l1_ratio": 0.9, "random_state": 0}
    model = SoftmaxRegression(early_stopping=True, **options).fit(X, y)
    losses = model.history_["validation_loss"]
    assert losses.argmin() < len(losses) - 1
    assert (model.coef_ == 0).mean() > 0.2


def test_wide_data_start_from_the_last_fit(iris):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 100))
    y = rng.integers(0, 3, 40)
    model = SoftmaxRegression(warm_start=True, tol=1e-6).fit(X, y)
    coef, n_iter = model.coef_.copy(), model.n_iter_[0]
    model.fit(X, y)
    assert model.n_iter_[0] <= 1 < n_iter
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)


@pytest.mark.parametrize("n_features", [3, 100])
@pytest.mark.parametrize("n_classes", [2, 3, 40])
def test_numbers_that_overflow_end_the_search(n_features, n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, n_features)) * 1e200
    y = np.arange(120) % n_classes
    with pytest.warns(ConvergenceWarning):
        model = SoftmaxRegression().fit(X, y)
    assert model.n_iter_[0] <= 1000


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize(("scale", "C"), [(1e21, 1.0), (1e-25, np.inf)])
def test_sparse_numbers_whose_squares_float32_lacks(form, scale, C, monkeypatch):
    monkeypatch.setattr(_training, "DENSE_SIZE", 0)
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(400, 20, 0.3, format=form, random_state=0)
    y = (X @ rng.normal(size=20) + rng.logistic(size=400) > 0).astype(int)
    best = SoftmaxRegression(C=np.inf).fit(X, y).predict_proba(X)
    model = SoftmaxRegression(C=C).fit(X * scale, y)
    loss = cross_entropy_loss(y, model.predict_proba(X * scale))
    assert loss == pytest.approx(cross_entropy_loss(y, best), rel=1e-6)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_sparse_numbers_that_overflow_end_the_search(form, monkeypatch):
    monkeypatch.setattr(_training, "DENSE_SIZE", 0)
    X = scipy.sparse.random(120, 5, 0.5, format=form, random_state=0) * 1e200
    with pytest.warns(ConvergenceWarning):
        SoftmaxRegression().fit(X, np.arange(120) % 2)


@pytest.mark.parametrize("index", [3, 777_777, -1])
def test_entries_outside_of_a_sparse_matrix(index):
    X = scipy.sparse.csr_matrix(np.eye(10)[:, :3])
    y = np.arange(10) % 2
    model = SoftmaxRegression().fit(X, y)
    X.indices[0] = index
    for call in (
        lambda: SoftmaxRegression().fit(X, y),
        lambda: SoftmaxRegression().partial_fit(X, y),
        lambda: model.predict(X),
        lambda: model.sparsify().predict_proba(X),
    ):
        with pytest.raises(ValueError, match=rf"lie in \[0, 3\); got {index}"):
            call()
    X.indices[0], X.indptr[-1] = 0, 4
    with pytest.raises(ValueError, match="must have 4 entries"):
        model.predict(X)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("make", [np.array, scipy.sparse.csr_array])
@pytest.mark.parametrize("shape", [(6, 10), (40, 2)])
def test_empty_columns_have_no_coefficient(shape, make, l1_ratio, size):
    y = np.arange(shape[0]) % 3 % 2
    model = SoftmaxRegression(l1_ratio=l1_ratio, tol=1e-5)
    model.fit(make(np.zeros(shape)), y)
    np.testing.assert_array_equal(model.coef_, 0)
    assert model.intercept_[0] == pytest.approx(np.log(y.mean() / (1 - y.mean())), 1e-4)


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "c", "a", "b"],
        ["", "a", "aa", "\0", "a\0b"],
        ["é", "z", "Z", "é", "10"],
    ],
)
@pytest.mark.parametrize("dtype", [str, object])
def test_labels_are_encoded_as_numpy_sorts_them(labels, dtype):
    y = np.array(labels, dtype)
    classes, indices = _encode_labels(y)
    expected, expected_indices = np.unique(y, return_inverse=True)
    assert classes.dtype == expected.dtype
    assert np.array_equal(classes, expected)
    assert np.array_equal(indices, expected_indices)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_class_weights_are_checked(weight):
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = SoftmaxRegression(class_weight={"b": weight})
    with pytest.raises(ValueError, match=f"class_weight .* got {weight} .* 'b'"):
        model.fit(X, names)
    with pytest.raises(ValueError, match="class_weight must hold finite"):
        model.partial_fit(X, names, classes=np.unique(names))


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"l1_ratio": 0.5}])
@pytest.mark.parametrize("scale", [1e-100, 1e-40, 1e39])
def test_the_scale_of_the_weights_goes_with_c(scale, options):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(3, size=60)
    options = options | {"tol": 1e-5}
    expected = SoftmaxRegression(**options).fit(X, y)
    scaled = SoftmaxRegression(**options, C=1 / scale)
    for model in (
        scaled.fit(X, y, np.full(60, scale)),
        SoftmaxRegression(
            **options, C=1 / scale, class_weight=dict.fromkeys(range(3), scale)
        ).fit(X, y),
    ):
        np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-5)


def test_samples_of_a_fit_count_in_the_batches_after_it():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(3, size=60)
    expected = SoftmaxRegression().fit(X, y).partial_fit(X, y)
    weight = np.full(60, 1e-40)
    model = SoftmaxRegression(C=1e40).fit(X, y, weight)
    model.partial_fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4)


def test_accuracy_is_that_of_labels():
    X, y = load_iris(return_X_y=True)
    soft = np.eye(3)[y]
    model = SoftmaxRegression().fit(X, soft)
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match=r"y must hold labels.*\(150, 3\)"):
        model.score(X, soft)


def test_the_name_of_the_penalty():
    names = [SoftmaxRegression(l1_ratio=r).penalty for r in (0, 0.5, 1)]
    assert names == ["l2", "elasticnet", "l1"]
    assert "penalty" not in SoftmaxRegression().get_params()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 20))
    y = (X[:, 0] + 0.5 * X[:, 1] + rng.logistic(size=300) > 0).astype(int)
    selector = SelectFromModel(SoftmaxRegression(l1_ratio=1.0, C=0.3)).fit(X, y)
    assert selector.get_support().sum() == np.count_nonzero(selector.estimator_.coef_)


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton-cg", "newton-cholesky"])
def test_a_tolerance_below_the_rounding_ends_soon(solver):
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X).astype(np.float32)
    model = SoftmaxRegression(tol=1e-9, solver=solver)
    with pytest.warns(ConvergenceWarning, match="could not be lowered any further"):
        model.fit(X, y)
    assert model.n_iter_[0] < 300


def test_callers_floating_point_settings_are_no_errors_of_a_fit():
    X, y = load_breast_cancer(return_X_y=True)
    with np.errstate(all="raise"):
        strict = SoftmaxRegression(C=1e4).fit(X * 1e3, y)
        SoftmaxRegression().partial_fit(X * 1e-170, y, classes=[0, 1])
    np.testing.assert_array_equal(
        strict.coef_, SoftmaxRegression(C=1e4).fit(X * 1e3, y).coef_
    )
