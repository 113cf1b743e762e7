"""SoftmaxRegression beside LogisticRegression, and what only it can do."""

import itertools
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from skxent.linear_model import SoftmaxRegression
from skxent.metrics import cross_entropy_loss, make_cross_entropy_scorer

# scikit-learn's newton-cholesky is the reference: it alone gets to the last digits
TIGHT = {"tol": 1e-9, "max_iter": 10_000}
SETS = {"three": load_iris, "ten": load_digits, "two": load_breast_cancer}


def load(name):
    X, y = SETS[name](return_X_y=True)
    if name == "ten":  # newton-cholesky would take minutes on all of it
        X, y = X[:600, 2::4], y[:600]
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module", params=SETS)
def data(request):
    return load(request.param)


@pytest.fixture(scope="module")
def iris():
    return load("three")


OPTIONS = {
    "default": {},
    "strong penalty": {"C": 1e-3},
    "no intercept": {"fit_intercept": False, "C": 0.1},
    "balanced": {"class_weight": "balanced", "C": 0.1},
    "class weights": {"class_weight": {0: 0.2, 1: 3.0}, "C": 0.1},  # 1 for the others
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_are_those_of_logistic_regression(data, options, weighted):
    X, y = data
    weight = np.random.default_rng(0).uniform(0.1, 2, len(y)) if weighted else None
    ours = SoftmaxRegression(**TIGHT, **options).fit(X, y, sample_weight=weight)
    if weighted and options.get("class_weight") == "balanced":
        # scikit-learn before 1.7 balances the numbers of samples, not their weights
        counts = np.bincount(y, weight)
        balanced = counts.sum() / (len(counts) * counts)
        options = {**options, "class_weight": dict(enumerate(balanced))}
    theirs = LogisticRegression(solver="newton-cholesky", tol=1e-10, **options)
    theirs.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    for name in ("coef_", "intercept_"):
        got, expected = getattr(ours, name), getattr(theirs, name)
        assert got.shape == expected.shape
        scale = np.abs(theirs.coef_).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-5
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_no_penalty(iris):
    X, y = iris
    y = np.where(np.arange(len(y)) % 7 == 0, (y + 1) % 3, y)  # not separable
    theirs = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
    ours = SoftmaxRegression(C=np.inf, **TIGHT).fit(X, y)
    np.testing.assert_allclose(
        ours.coef_, theirs.fit(X, y).coef_, rtol=0, atol=1e-5 * np.abs(ours.coef_).max()
    )


def test_float32_stays_float32(data):
    X, y = data
    exact = SoftmaxRegression(C=0.01, **TIGHT).fit(X, y)
    model = SoftmaxRegression(C=0.01).fit(X.astype(np.float32), y)
    single = X.astype(np.float32)
    for array in (
        model.coef_,
        model.intercept_,
        model.decision_function(single),
        model.predict_proba(single),
        model.predict_log_proba(single),
    ):
        assert array.dtype == np.float32
    assert model.predict_proba(X).dtype == np.float64
    np.testing.assert_allclose(
        model.predict_proba(single), exact.predict_proba(X), atol=2e-2
    )


def test_memory_order_and_read_only_memmap_change_no_digit_that_matters(iris, tmp_path):
    X, y = iris
    expected = SoftmaxRegression(**TIGHT).fit(X, y).coef_
    joblib.dump(X, tmp_path / "X")
    for variant in (
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        joblib.load(tmp_path / "X", mmap_mode="r"),
        X.astype(X.dtype.newbyteorder()),
        pd.DataFrame(X, columns=list("abcd")),
    ):
        got = SoftmaxRegression(**TIGHT).fit(variant, y).coef_
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_same_bits_on_every_fit(data):
    X, y = data
    first, second = (SoftmaxRegression().fit(X, y).coef_ for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_labels_of_any_type(iris):
    X, y = iris
    expected = SoftmaxRegression().fit(X, y).coef_
    for names in (
        np.array(["x", "y", "z"]),
        np.array([-1.0, 0.0, 5.0]),
        np.array([-7, 0, 5], dtype=np.int8),
        np.array([-128, 0, 127], dtype=np.int8),
        np.array([0, 1, 2**63], dtype=np.uint64),
        np.array([2**63 + 5, 2**63 + 7, 2**64 - 1], dtype=np.uint64),
        np.array([-(2**62), 0, 2**62]),
    ):
        labels = names[y]
        model = SoftmaxRegression().fit(X, labels)
        np.testing.assert_array_equal(model.coef_, expected)
        np.testing.assert_array_equal(model.classes_, names)
        assert model.classes_.dtype == names.dtype
        assert set(model.predict(X).tolist()) <= set(names.tolist())


def test_soft_labels_are_rows_weighted_by_class(iris):
    X, y = iris
    soft = np.random.default_rng(0).dirichlet(np.ones(3), size=len(y))
    repeated = SoftmaxRegression(**TIGHT).fit(
        np.repeat(X, 3, axis=0), np.tile(np.arange(3), len(y)), soft.ravel()
    )
    for model in (
        SoftmaxRegression(**TIGHT).fit(X, soft),
        SoftmaxRegression(**TIGHT).fit(X, y, soft_labels=soft),
    ):
        np.testing.assert_allclose(model.coef_, repeated.coef_, atol=1e-7)
        np.testing.assert_array_equal(model.classes_, np.arange(3))


def test_soft_labels_of_two_classes(iris):
    X, y = iris
    soft = np.random.default_rng(0).dirichlet(np.ones(2), size=len(y))
    model = SoftmaxRegression(**TIGHT).fit(X, soft)
    repeated = SoftmaxRegression(**TIGHT).fit(
        np.repeat(X, 2, axis=0), np.tile(np.arange(2), len(y)), soft.ravel()
    )
    assert model.coef_.shape == (1, 4)
    np.testing.assert_allclose(model.coef_, repeated.coef_, atol=1e-7)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 1.0, 2: 0.5}])
def test_class_weights_treat_one_hot_rows_as_labels(iris, class_weight):
    X, y = (array[:120] for array in iris)
    model = SoftmaxRegression(class_weight=class_weight, **TIGHT)
    expected = model.fit(X, y).coef_.copy()
    got = model.fit(X, np.eye(3)[y]).coef_
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_label_smoothing_is_training_on_smoothed_labels(data):
    X, y = data
    n_classes = len(set(y.tolist()))
    smoothed = 0.9 * np.eye(n_classes)[y] + 0.1 / n_classes
    got = SoftmaxRegression(label_smoothing=0.1, **TIGHT).fit(X, y)
    expected = SoftmaxRegression(**TIGHT).fit(X, smoothed)
    np.testing.assert_allclose(got.coef_, expected.coef_, atol=1e-6)


def test_soft_labels_are_scored_in_cross_validation(iris):
    X, y = iris
    soft = 0.8 * np.eye(3)[y] + 0.2 / 3
    scores = cross_val_score(
        SoftmaxRegression(), X, soft, scoring=make_cross_entropy_scorer(), cv=3
    )
    entropy = -(soft * np.log(soft)).sum(axis=1).mean()
    assert (scores < -entropy).all()


def test_history_holds_the_objective(data):
    X, y = data
    model = SoftmaxRegression(C=0.1).fit(X, y)
    loss, rest = model.history_["loss"], model.history_["suboptimality"]
    assert len(loss) == len(rest) == model.n_iter_[0] + 1
    penalty = (model.coef_**2).sum() / (2 * 0.1 * len(X))
    final = cross_entropy_loss(y, model.predict_proba(X)) + penalty
    assert loss[-1] == pytest.approx(final, rel=1e-12)
    assert loss[0] <= np.log(len(model.classes_)) * (1 + 1e-12)
    assert (np.diff(loss) <= 0).all()
    assert rest[-1] <= model.tol**2 < rest[0]
    least = SoftmaxRegression(C=0.1, **TIGHT).fit(X, y).history_["loss"][-1]
    assert loss[-1] / least - 1 <= 2 * model.tol**2


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize(
    "solver", ["auto", "lbfgs", "newton-cg", "newton-cholesky", "elastic net", "sparse"]
)
def test_warm_start_from_where_all_rows_are_certain_and_wrong(solver, C):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    separable = X[:, :3].argmax(axis=1)
    y = (X @ rng.normal(size=(5, 3)) + rng.gumbel(size=(300, 3))).argmax(axis=1)
    data, options = X, {"solver": solver}
    if solver == "sparse":
        options = {}
        data = scipy.sparse.csr_array(np.hstack([X, np.zeros((300, 1000))]))
    elif solver == "elastic net":
        options = {"l1_ratio": 0.5}
    cold = SoftmaxRegression(C=C, **options).fit(data, y)
    warm = SoftmaxRegression(C=np.inf, warm_start=True, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warm.fit(data, separable)
    warm.set_params(C=C).fit(data, y)
    assert warm.history_["loss"][-1] / cold.history_["loss"][-1] - 1 < 1e-7
    assert warm.history_["loss"][0] <= np.log(3) * (1 + 1e-12)


def test_warm_start_begins_where_the_last_fit_ended(data):
    X, y = data
    model = SoftmaxRegression(warm_start=True, **TIGHT).fit(X, y)
    cold = int(model.n_iter_[0])
    model.fit(X, y)
    assert model.n_iter_[0] <= 2 < cold
    # a problem of another shape starts cold
    model.fit(X[:, :-1], y)
    assert model.coef_.shape[1] == X.shape[1] - 1


def test_stopping_early_is_warned_about_with_a_remedy(iris):
    with pytest.warns(ConvergenceWarning, match="Increase max_iter") as record:
        model = SoftmaxRegression(max_iter=2).fit(*iris)
    assert record[0].filename == __file__
    assert model.n_iter_ == [2]


def test_log_probabilities_stay_finite_in_the_tails(iris):
    X, y = iris
    for labels in (y, y == 0):
        model = SoftmaxRegression().fit(X, labels)
        model.coef_ *= 1e4
        log_proba = model.predict_log_proba(X)
        assert (model.predict_proba(X) == 0).any()
        assert np.isfinite(log_proba).all()
        np.testing.assert_allclose(np.exp(log_proba).sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_data_stay_as_they_are(data, fit_intercept):
    X, y = (array.copy() for array in data)
    SoftmaxRegression(fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_array_equal(X, data[0])
    np.testing.assert_array_equal(y, data[1])


SOLVERS = ["lbfgs", "newton-cg", "newton-cholesky"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_finds_the_same_coefficients(data, solver):
    X, y = data
    expected = SoftmaxRegression(C=0.1).fit(X, y)
    got = SoftmaxRegression(C=0.1, solver=solver, tol=1e-6).fit(X, y)
    scale = np.abs(expected.coef_).max()
    np.testing.assert_allclose(got.coef_, expected.coef_, atol=2e-3 * scale)


def test_feature_names_are_kept_and_checked(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = SoftmaxRegression().fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "z"}))


def test_pickle_round_trip(iris):
    X, y = iris
    model = SoftmaxRegression().fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_prediction_needs_a_fit(iris):
    with pytest.raises(NotFittedError):
        SoftmaxRegression().predict(iris[0])


BAD = {
    "C": ({"C": 0.0}, {}, "C must be positive"),
    "text C": ({"C": "1"}, {}, "C must be positive and of type Real; got '1'"),
    "nan C": ({"C": np.nan}, {}, "C must be positive"),
    "tol": ({"tol": -1.0}, {}, "tol must be positive"),
    "solver": ({"solver": "saga"}, {}, "solver must be one of .*; got 'saga'"),
    "list": ({"solver": ["auto"]}, {}, "solver must be one of"),
    "l1_ratio": ({"l1_ratio": -0.1}, {}, r"l1_ratio must be in \[0, 1\]"),
    "fraction": (
        {"early_stopping": True, "validation_fraction": 1.0},
        {},
        "validation_fraction must be between 0 and 1",
    ),
    "max_iter": ({"max_iter": 1.5}, {}, "max_iter must be at least 0 and of type Int"),
    "smoothing": ({"label_smoothing": 1.5}, {}, "label_smoothing must lie"),
    "one class": ({}, {"y": np.zeros(150)}, "at least two classes"),
    "integer rows": ({}, {"y": np.eye(3, dtype=int)[[0] * 150]}, "float dtype"),
    "rows off 1": ({}, {"y": np.full((150, 3), 0.5)}, "sum to 1; got .* at row 0"),
    "negative rows": ({}, {"y": np.tile([1.5, -0.5, 0], (150, 1))}, "got .* at row 0"),
    "soft labels off 1": (
        {},
        {"soft_labels": np.full((150, 3), 0.5)},
        "^soft_labels must hold .* sum to 1; got .* at row 0",
    ),
    "negative soft labels": (
        {},
        {"soft_labels": np.tile([1.5, -0.5, 0], (150, 1))},
        "^soft_labels must hold non-negative .* at row 0",
    ),
    "columns": ({}, {"soft_labels": np.full((150, 2), 0.5)}, "3 columns; got shape"),
    "both doors": (
        {},
        {"y": np.full((150, 2), 0.5), "soft_labels": np.full((150, 2), 0.5)},
        "by one of the two only",
    ),
    "negative weight": (
        {},
        {"sample_weight": np.r_[np.ones(149), -1.0]},
        "none of them negative; got -1.0 at row 149",
    ),
    "infinite weight": (
        {},
        {"sample_weight": np.r_[np.inf, np.ones(149)]},
        "finite numbers, .* got inf at row 0",
    ),
    "zero weight": (
        {},
        {"sample_weight": np.zeros(150)},
        "sample_weight must be positive for some sample",
    ),
    "zero product": (
        {"class_weight": dict.fromkeys(range(3), 0.0)},
        {},
        "sample_weight times class_weight must be positive",
    ),
    "weights": ({}, {"sample_weight": np.ones(149)}, r"shape \(150,\)"),
    "empty class": (
        {"class_weight": "balanced"},
        {"sample_weight": np.r_[np.zeros(50), np.ones(100)]},
        r"zero for the classes \[0\]",
    ),
}


@pytest.mark.parametrize(("options", "arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(iris, options, arguments, message):
    X, y = iris
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression(**options).fit(X, **{"y": y, **arguments})


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton-cg", "newton-cholesky"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_classes", [2, 5, 40])
def test_numbers_that_are_not_finite_are_refused(n_classes, value, solver):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 3)), rng.integers(n_classes, size=2000)
    options = {"sample_weight": None}, {"sample_weight": np.append(np.ones(1999), 0.0)}
    for place, option in itertools.product(((0, 0), (1000, 1), (1999, 2)), options):
        spoilt = X.copy()
        spoilt[place] = value
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            SoftmaxRegression(solver=solver).fit(spoilt, y, **option)


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 0.5}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_no_iterations_give_a_model_and_a_warning(options, form):
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="stopped after 0 iterations"):
        model = SoftmaxRegression(max_iter=0, **options).fit(form(X), y)
    assert model.n_iter_.tolist() == [0]
    assert model.predict_proba(X).shape == (150, 3)


def test_an_estimate_that_no_iteration_confirmed_is_not_called_too_large():
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(80, 300)), rng.integers(0, 3, 80)
    model = SoftmaxRegression(l1_ratio=0.5, tol=1e-3)
    model.max_iter = int(model.fit(X, y).n_iter_[0]) - 1
    with pytest.warns(ConvergenceWarning, match="not yet sure to be below tol"):
        model.fit(X, y)
    assert model.history_["suboptimality"][-1] <= 1e-6
