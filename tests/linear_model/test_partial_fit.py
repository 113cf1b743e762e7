"""Learning batch by batch beside SGDClassifier and the fit of the whole."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skxent.linear_model import SoftmaxRegression, _minibatch
from skxent.linear_model._partial_fit import PartialFitMixin
from skxent.metrics import cross_entropy_loss, log_loss


class Learner(SoftmaxRegression, PartialFitMixin):
    pass


def mixed_scales():
    """Five classes, thirty correlated columns of scales from 1e-3 to 1e3."""
    rng = np.random.default_rng(0)
    n, p, n_classes = 3000, 30, 5
    X = rng.normal(size=(n, p)) @ (rng.normal(size=(p, p)) / p**0.5 + np.eye(p))
    logits = X @ rng.normal(size=(p, n_classes)) + rng.gumbel(size=(n, n_classes))
    X = X * 10 ** rng.uniform(-3, 3, p) + 10 ** rng.uniform(-2, 2, p)
    return X, logits.argmax(axis=1)


SETS = {
    "iris": lambda: load_iris(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "cancer": lambda: load_breast_cancer(return_X_y=True),
    "mixed": mixed_scales,
}


def split(name, *, standardised):
    X, y = SETS[name]()
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=0
    )
    if standardised:
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
    return X, X_test, y, y_test


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture
def diagonal(monkeypatch):
    monkeypatch.setattr(_minibatch, "MOST_COLUMNS", 0)


def learn_in(batches, X, y, **options):
    model = Learner(**options)
    for rows in batches:
        model.partial_fit(X[rows], y[rows], classes=np.unique(y))
    return model


def coefficients(model):
    return np.hstack([model.coef_, model.intercept_[:, np.newaxis]])


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_better_than_one_versus_rest_after_the_same_passes(name, standardised):
    X, X_test, y, y_test = split(name, standardised=standardised)
    rng = np.random.default_rng(0)
    ours, theirs = Learner(), SGDClassifier(loss="log_loss", random_state=0)
    for passes in range(1, 6):
        order = rng.permutation(len(y))
        for model in (ours, theirs):
            model.partial_fit(X[order], y[order], classes=np.unique(y))
        if passes in (1, 5):
            got = cross_entropy_loss(y_test, ours.predict_proba(X_test))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # overflow in their exp
                proba = theirs.predict_proba(X_test)
            # theirs is 0 / 0 before 1.7 where no class is likely
            proba[np.isnan(proba)] = 1 / proba.shape[1]
            assert got < 0.8 * log_loss(y_test, proba)


def test_one_pass_comes_close_to_the_fit():
    X, X_test, y, y_test = split("mixed", standardised=True)
    fitted = SoftmaxRegression().fit(X, y).predict_proba(X_test)
    best = cross_entropy_loss(y_test, fitted)
    for size in (1, 64, len(y)):
        rows = np.arange(len(y) if size > 1 else 600)
        batches = np.split(rows, np.arange(size, len(rows), size))
        model = learn_in(batches, X, y)
        got = cross_entropy_loss(y_test, model.predict_proba(X_test))
        assert got < best + (0.1 if size > 1 else 0.3)


@pytest.mark.parametrize("passes", [20, 100])
def test_passes_converge_to_the_fit(iris, passes):
    X, y = iris
    rng = np.random.default_rng(0)
    y = np.where(rng.uniform(size=150) < 0.3, rng.integers(0, 3, 150), y)
    model = learn_in([slice(None)] * passes, X, y, C=1.0 / passes)
    expected = SoftmaxRegression(tol=1e-9, max_iter=10_000).fit(X, y)
    gap = np.abs(model.predict_proba(X) - expected.predict_proba(X)).max()
    assert gap < 2.0 / passes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_first_step_is_a_newton_step(iris, n_classes):
    X, y = iris
    rows = np.arange(0, 150, 10) if n_classes == 3 else np.arange(0, 100, 7)
    X, y = X[rows], y[rows]
    C = 0.01  # so small that no logit reaches the largest move
    model = Learner(C=C).partial_fit(X, y, classes=range(n_classes))
    ones = np.column_stack([X, np.ones(len(X))])
    curvature = 0.25 if n_classes == 2 else 2 / 9  # p (1 - p) of equal shares
    ridge = np.r_[np.ones(4), 0.0] / (C * len(X))
    mean = ones.T @ ones / len(X) * curvature
    mean += np.diag(np.r_[X.var(axis=0), 0.0]) * curvature / len(X)
    residual = np.eye(n_classes)[y] - 1 / n_classes
    gradient = (residual.T @ ones) / len(X)
    step = np.linalg.solve(mean + np.diag(ridge), gradient.T).T
    expected = step[1:] if n_classes == 2 else step - step.mean(axis=0)
    np.testing.assert_allclose(coefficients(model), expected, rtol=0.02, atol=1e-3)


def test_columns_in_other_units_give_the_same_probabilities(iris):
    X, y = iris
    scale = 10.0 ** np.arange(-3, 5, 2)
    batches = np.split(np.random.default_rng(0).permutation(150), 10)
    plain = learn_in(batches, X, y, C=1e12)
    scaled = learn_in(batches, X * scale, y, C=1e12)
    moved = learn_in(batches, X + 100.0, y, C=1e12)
    expected = plain.predict_proba(X)
    np.testing.assert_allclose(scaled.predict_proba(X * scale), expected, atol=1e-6)
    np.testing.assert_allclose(moved.predict_proba(X + 100.0), expected, atol=1e-3)


@pytest.mark.usefixtures("diagonal")
def test_units_do_not_matter_to_diagonal_curvature_either(iris):
    X, y = iris
    scale = 10.0 ** np.arange(-3, 5, 2)
    batches = np.split(np.random.default_rng(0).permutation(150), 10)
    expected = learn_in(batches, X, y, C=1e12).predict_proba(X)
    for data in (X * scale, scipy.sparse.csr_array(X * scale)):
        got = learn_in(batches, data, y, C=1e12).predict_proba(X * scale)
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_classes_sum_to_zero(iris):
    X, y = iris
    batches = np.split(np.arange(150), 10)  # sorted by class: curvatures differ
    model = learn_in(batches, X, y)
    np.testing.assert_allclose(coefficients(model).sum(axis=0), 0, atol=1e-12)


def test_a_weight_is_a_number_of_copies(iris):
    X, y = iris
    for C in (1.0, 0.01):
        single = Learner(C=C).partial_fit(X[:9:3], y[:9:3], classes=[0, 1, 2])
        double = Learner(C=C / 2).partial_fit(
            X[:9:3], y[:9:3], classes=[0, 1, 2], sample_weight=np.full(3, 2.0)
        )
        np.testing.assert_allclose(double.coef_, single.coef_, rtol=1e-10)
    with_zero = Learner().partial_fit(
        X[:12], y[:12], classes=[0, 1, 2], sample_weight=np.r_[np.ones(10), 0, 0]
    )
    without = Learner().partial_fit(X[:10], y[:10], classes=[0, 1, 2])
    np.testing.assert_allclose(with_zero.coef_, without.coef_, rtol=0.1)


def test_a_batch_without_weight_changes_nothing(iris):
    X, y = iris
    model = Learner(class_weight={0: 0.0})
    model.partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    np.testing.assert_array_equal(coefficients(model), np.zeros((3, 5)))
    model.partial_fit(X, y)
    before = coefficients(model)
    model.partial_fit(X[:50], y[:50])
    np.testing.assert_array_equal(coefficients(model), before)
    assert (before != 0).all()


def test_soft_labels_by_both_doors_and_smoothing(iris):
    X, y = iris
    one_hot = np.eye(3)[y]
    expected = Learner(label_smoothing=0.1).partial_fit(X, y, classes=[0, 1, 2])
    smooth = 0.9 * one_hot + 0.1 / 3
    for model in (
        Learner().partial_fit(X, smooth),
        Learner().partial_fit(X, y, [0, 1, 2], soft_labels=smooth),
    ):
        assert model.classes_.tolist() == [0, 1, 2]
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-10)


def test_class_weights_are_weights_of_samples(iris):
    X, y = iris
    weight = np.array([1.0, 3.0, 0.5])
    got = Learner(class_weight=dict(enumerate(weight)))
    got.partial_fit(X, y, classes=[0, 1, 2])
    expected = Learner().partial_fit(X, y, [0, 1, 2], sample_weight=weight[y])
    np.testing.assert_allclose(got.coef_, expected.coef_, rtol=1e-10)


def test_classes_that_the_first_batch_lacks(iris):
    X, y = iris
    names = np.array(["x", "y", "z"])
    model = Learner()
    for rows in np.split(np.tile(np.arange(150), 3), 45):  # sorted by class
        model.partial_fit(X[rows], names[y[rows]], classes=names[::-1])
    assert model.classes_.tolist() == names.tolist()
    assert model.coef_.shape == (3, 4)
    assert model.score(X, names[y]) > 0.9
    model.partial_fit(X[:1], names[:1])
    model.partial_fit(X[:1], names[:1], classes=list(names))


@pytest.mark.parametrize("size", [7, 200])
@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "csc_array"])
def test_sparse_batches_with_full_curvature_are_dense_ones(form, size):
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], y[:600]
    batches = [slice(at, at + size) for at in range(0, 600, size)]
    expected = coefficients(learn_in(batches, X, y))
    # rows are cut from CSR; each batch has the wanted form
    model = Learner()
    for rows in batches:
        part = getattr(scipy.sparse, form)(X[rows])
        model.partial_fit(part, y[rows], classes=range(10))
    np.testing.assert_allclose(coefficients(model), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("diagonal")
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_sparse_batches_with_diagonal_curvature(fit_intercept):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(400, 12))
    y = (dense @ rng.normal(size=(12, 3)) + rng.gumbel(size=(400, 3))).argmax(axis=1)
    options = {"C": np.inf, "fit_intercept": fit_intercept}
    dense[rng.uniform(size=dense.shape) < 0.5] = 0.0
    batches = np.split(np.arange(400), 8)
    expected = learn_in(batches, dense, y, **options)
    got = learn_in(batches, scipy.sparse.csr_array(dense), y, **options)
    np.testing.assert_allclose(
        coefficients(got), coefficients(expected), rtol=1e-8, atol=1e-10
    )
    # a ridge is made up for when a column occurs: nearly the same
    expected = learn_in(batches, dense, y, fit_intercept=fit_intercept, C=0.1)
    sparse = scipy.sparse.csr_array(dense)
    got = learn_in(batches, sparse, y, fit_intercept=fit_intercept, C=0.1)
    np.testing.assert_allclose(got.coef_, expected.coef_, atol=1e-3)
    assert cross_entropy_loss(y, got.predict_proba(dense)) < 0.95 * np.log(3)


@pytest.mark.usefixtures("diagonal")
def test_a_column_that_is_absent_for_long_is_shrunk_once_it_occurs():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3)), rng.integers(0, 2, 400)
    X[10:390, 2] = 0.0
    X = scipy.sparse.csr_array(X)
    batches = np.split(np.arange(400), 40)
    model = learn_in(batches[:1], X, y)
    begun = abs(model.coef_[0, 2])
    for rows in batches[1:]:
        X.eliminate_zeros()
        model.partial_fit(X[rows], y[rows])
    assert abs(model.coef_[0, 2]) < 2 * begun
    assert np.isfinite(model.coef_).all()


@pytest.mark.usefixtures("diagonal")
def test_diagonal_curvature_learns():
    X, X_test, y, y_test = split("digits", standardised=True)
    model = learn_in([slice(None)] * 5, X, y)
    assert cross_entropy_loss(y_test, model.predict_proba(X_test)) < 0.25


def test_goes_on_from_a_fit():
    X, X_test, y, y_test = split("digits", standardised=True)
    half = len(y) // 2
    model = Learner().fit(X[:half], y[:half])
    losses = [cross_entropy_loss(y_test, model.predict_proba(X_test))]
    model._forget_batches(float(half))
    for rows in np.split(np.arange(half, len(y)), np.arange(5, len(y) - half, 5)):
        model.partial_fit(X[rows], y[rows])
        losses.append(cross_entropy_loss(y_test, model.predict_proba(X_test)))
    assert max(losses) < 1.3 * losses[0]
    assert losses[-1] < losses[0]
    assert model.n_samples_seen_ == len(y) - half
    model._forget_batches(float(half))
    assert not hasattr(model, "n_samples_seen_")


def test_the_same_bits_on_every_run_and_after_pickling(iris):
    X, y = iris
    batches = np.split(np.arange(150), 3)
    whole = learn_in(batches, X, y)
    begun = learn_in(batches[:1], X, y)
    copy = pickle.loads(pickle.dumps(begun))
    for rows in batches[1:]:
        copy.partial_fit(X[rows], y[rows])
    np.testing.assert_array_equal(coefficients(copy), coefficients(whole))
    assert copy.n_samples_seen_ == 150
    assert not hasattr(clone(copy), "coef_")


def test_float32_stays_float32_and_features_are_checked(iris):
    X, y = iris
    model = Learner().partial_fit(X.astype(np.float32), y, classes=[0, 1, 2])
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    exact = Learner().partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :3], y)


def test_no_intercept(iris):
    X, y = iris
    model = Learner(fit_intercept=False).partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(model.intercept_, np.zeros(3))
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_constant_duplicate_and_new_columns(iris, C):
    X, y = iris
    rng = np.random.default_rng(0)
    late = np.r_[np.zeros(100), 1e4 * rng.normal(size=50)]
    order = rng.permutation(150)
    wide = np.column_stack([X, X, np.zeros(150), np.full(150, 7.0), late])
    batches = np.split(np.arange(150), 150)
    model = learn_in(batches, wide[order], y[order], C=C)
    assert np.isfinite(model.coef_).all()
    assert model.score(wide, y) > 0.8


X3 = np.arange(6.0).reshape(3, 2)
BAD = {
    "no classes": ({}, {"y": [0, 1, 1]}, "classes must be passed on the first call"),
    "one class": ({}, {"classes": [1], "y": [1, 1, 1]}, "at least two labels"),
    "unknown label": (
        {},
        {"y": [0, 5, 7], "classes": [0, 1]},
        r"labels among the classes \[0, 1\]; got \[5, 7\]",
    ),
    "C": ({"C": -1.0}, {"y": [0, 1, 1], "classes": [0, 1]}, "C must be positive"),
    "both doors": (
        {},
        {"y": np.full((3, 2), 0.5), "soft_labels": np.full((3, 2), 0.5)},
        "one of the two only",
    ),
    "soft columns": (
        {},
        {"y": [0, 1, 1], "classes": [0, 1], "soft_labels": np.full((3, 3), 1 / 3)},
        "one column per class, 2 columns",
    ),
    "soft rows": ({}, {"y": np.full((3, 2), 0.6)}, "sum to 1"),
    "integer rows": ({}, {"y": np.eye(3, dtype=int)}, "float dtype"),
    "weights": (
        {},
        {"y": [0, 1, 1], "classes": [0, 1], "sample_weight": [1.0, -1.0, 1.0]},
        "sample_weight",
    ),
}


@pytest.mark.parametrize(("options", "arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_and_leaves_no_trace(options, arguments, message):
    model = Learner(**options)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X3, **arguments)
    assert not hasattr(model, "classes_")
    assert not hasattr(model, "coef_")


def test_balanced_weights_need_all_samples():
    model = Learner(class_weight="balanced")
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(X3, [0, 1, 1], classes=[0, 1])
    assert "class_weight must be a dict" in str(error.value.__cause__)
    assert "compute_class_weight" in str(error.value.__cause__)


def test_changed_classes_are_refused(iris):
    X, y = iris
    model = Learner().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1, 3])
    with pytest.raises(ValueError, match="sum to 1"):
        model.partial_fit(X, np.full((150, 3), 0.5))
    with pytest.raises(ValueError, match="3 columns"):
        model.partial_fit(X, np.full((150, 2), 0.5))


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_soft_labels_of_float32_samples(iris, form, n_classes):
    X, y = iris
    X, y = X[y < n_classes], y[y < n_classes]
    soft = 0.7 * np.eye(n_classes)[y] + 0.3 / n_classes
    model = SoftmaxRegression().partial_fit(form(X.astype(np.float32)), soft)
    expected = SoftmaxRegression().partial_fit(X, soft)
    assert model.coef_.dtype == np.float32
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parameter", [{"l1_ratio": 0.5}, {"early_stopping": True}])
def test_what_batches_cannot_do_is_absent(iris, parameter):
    X, y = iris
    model = SoftmaxRegression(**parameter)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as caught:
        model.partial_fit(X, y, classes=[0, 1, 2])
    (name,) = parameter
    assert f"{name} must be" in str(caught.value.__cause__)
    assert hasattr(model.fit(X, y).set_params(l1_ratio=0, early_stopping=False), "fit")


def test_the_intercept_stays_what_it_was(iris):
    X, y = iris
    model = SoftmaxRegression().partial_fit(X, y, classes=[0, 1, 2])
    model.set_params(fit_intercept=False)
    with pytest.raises(ValueError, match=r"fit_intercept must stay .* True; got False"):
        model.partial_fit(X, y)
    model.fit(X, y).partial_fit(X, y)  # a fit begins anew
