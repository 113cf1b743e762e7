"""The choice of the penalty beside one made by hand."""

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skxent import metrics
from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV
from skxent.metrics import cross_entropy_loss

TIGHT = {"tol": 1e-8, "max_iter": 10_000}
CS = [1.0, 0.01, 0.1]  # in no order


def load(name):
    X, y = {"three": load_iris, "two": load_breast_cancer}[name](return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module", params=["three", "two"])
def data(request):
    return load(request.param)


@pytest.fixture(scope="module")
def iris():
    return load("three")


@pytest.fixture(scope="module")
def soft(iris):
    X, y = iris
    noise = np.random.default_rng(0).dirichlet(np.ones(3), len(y))
    return X, 0.7 * np.eye(3)[y] + 0.3 * noise


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [
        SoftmaxRegressionCV(Cs=2, cv=3),
        SoftmaxRegressionCV([1.0], cv=3, refit=False, class_weight="balanced"),
    ]
)
def test_estimator_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_paths_are_the_fits_of_logistic_regression(data, fit_intercept):
    X, y = data
    model = SoftmaxRegressionCV(CS, fit_intercept=fit_intercept, cv=3, **TIGHT)
    model.fit(X, y)
    folds = list(StratifiedKFold(3).split(X, y))
    n_outputs = 1 if y.max() == 1 else 3
    n_dof = X.shape[1] + fit_intercept
    assert model.coefs_paths_.shape == (3, 1, 3, n_outputs, n_dof)
    assert model.scores_.shape == model.n_iter_.shape == (3, 1, 3)
    np.testing.assert_array_equal(model.Cs_, CS)
    np.testing.assert_array_equal(model.l1_ratios_, [0.0])
    for fold, (train, test) in enumerate(folds):
        for place, C in enumerate(CS):
            theirs = LogisticRegression(
                C=C,
                fit_intercept=fit_intercept,
                solver="newton-cholesky",
                tol=1e-10,
            ).fit(X[train], y[train])
            coef = model.coefs_paths_[fold, 0, place]
            np.testing.assert_allclose(coef[:, : X.shape[1]], theirs.coef_, atol=1e-4)
            if fit_intercept:
                np.testing.assert_allclose(coef[:, -1], theirs.intercept_, atol=1e-4)
            loss = log_loss(y[test], theirs.predict_proba(X[test]))
            assert model.scores_[fold, 0, place] == pytest.approx(-loss, abs=1e-4)
    best = CS[model.scores_.mean(axis=0)[0].argmax()]
    assert (model.C_, model.l1_ratio_) == (best, 0.0)
    whole = SoftmaxRegression(model.C_, fit_intercept=fit_intercept, **TIGHT).fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-4)
    np.testing.assert_allclose(model.intercept_, whole.intercept_, atol=1e-4)
    assert model.score(X, y) == pytest.approx(
        -cross_entropy_loss(y, model.predict_proba(X))
    )


def test_without_a_last_fit_the_folds_are_averaged(data):
    X, y = data
    model = SoftmaxRegressionCV(CS, cv=3, refit=False).fit(X, y)
    best = model.scores_[:, 0].argmax(axis=1)
    coef = np.mean([model.coefs_paths_[i, 0, at] for i, at in enumerate(best)], axis=0)
    np.testing.assert_allclose(model.coef_, coef[:, :-1])
    np.testing.assert_allclose(model.intercept_, coef[:, -1])
    np.testing.assert_allclose(model.C_, np.mean(np.array(CS)[best]))
    assert not hasattr(model, "history_")


def test_a_path_takes_fewer_iterations_than_cold_fits(data):
    X, y = data
    Cs = np.logspace(-3, 1, 8)
    train, test = next(StratifiedKFold(3).split(X, y))
    model = SoftmaxRegressionCV(Cs, cv=[(train, test)], **TIGHT).fit(X, y)
    cold = [
        SoftmaxRegression(C, **TIGHT).fit(X[train], y[train]).n_iter_[0] for C in Cs
    ]
    assert model.n_iter_[0, 0, 0] == cold[0]
    assert model.n_iter_.sum() < sum(cold)


def test_a_number_of_values_is_the_grid_of_scikit_learn(iris):
    model = SoftmaxRegressionCV(3, cv=2).fit(*iris)
    np.testing.assert_allclose(model.Cs_, [1e-4, 1.0, 1e4])


def test_both_doors_for_soft_labels(soft):
    X, probabilities = soft
    labels = np.array(["a", "b", "c"])[probabilities.argmax(axis=1)]
    model = SoftmaxRegressionCV(CS, cv=3, **TIGHT)
    rows = clone(model).fit(X, probabilities)
    beside = clone(model).fit(X, labels, soft_labels=probabilities)
    np.testing.assert_allclose(beside.scores_, rows.scores_, rtol=1e-12)
    np.testing.assert_allclose(beside.coef_, rows.coef_, rtol=1e-12)
    assert rows.classes_.tolist() == [0, 1, 2]
    assert beside.classes_.tolist() == ["a", "b", "c"]
    train, test = next(StratifiedKFold(3).split(X, labels))
    by_hand = SoftmaxRegression(CS[0], **TIGHT).fit(X[train], probabilities[train])
    loss = cross_entropy_loss(probabilities[test], by_hand.predict_proba(X[test]))
    assert rows.scores_[0, 0, 0] == pytest.approx(-loss, abs=1e-5)
    expected = -cross_entropy_loss(probabilities, rows.predict_proba(X))
    assert rows.score(X, probabilities) == pytest.approx(expected)
    got = beside.score(X, labels, soft_labels=probabilities)
    assert got == pytest.approx(expected)


def test_weights_count_in_fits_and_scores(iris):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    train, test = next(StratifiedKFold(3).split(X, y))
    model = SoftmaxRegressionCV(CS, cv=[(train, test)], **TIGHT)
    model.fit(X, y, sample_weight=weight)
    by_hand = SoftmaxRegression(CS[0], **TIGHT)
    by_hand.fit(X[train], y[train], sample_weight=weight[train])
    loss = cross_entropy_loss(
        y[test], by_hand.predict_proba(X[test]), sample_weight=weight[test]
    )
    assert model.scores_[0, 0, 0] == pytest.approx(-loss, abs=1e-6)
    expected = -cross_entropy_loss(y, model.predict_proba(X), sample_weight=weight)
    assert model.score(X, y, weight) == pytest.approx(expected)


def test_balanced_weights_are_those_of_all_samples(iris):
    X, y = (array[20:] for array in iris)
    counts = np.bincount(y)
    weights = dict(enumerate(counts.sum() / (3 * counts)))
    cv = KFold(3, shuffle=True, random_state=0)
    got = SoftmaxRegressionCV(CS, cv=cv, class_weight="balanced").fit(X, y)
    expected = SoftmaxRegressionCV(CS, cv=cv, class_weight=weights).fit(X, y)
    np.testing.assert_array_equal(got.coefs_paths_, expected.coefs_paths_)
    np.testing.assert_array_equal(got.coef_, expected.coef_)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_fold_that_lacks_a_class_keeps_its_place(iris, weighted):
    X, y = iris
    y = np.where(y == 2, "c", np.where(np.arange(150) == 60, "b", "a"))
    weight = np.full(150, 2.0) if weighted else None
    folds = [(np.arange(0, 150, 2) + 1, np.arange(0, 150, 2))]  # only row 60 is of "b"
    model = SoftmaxRegressionCV([0.1], cv=folds)
    model.fit(X, y, sample_weight=weight)
    assert model.coefs_paths_.shape == (1, 1, 1, 3, 5)
    # nothing pulls at "b": its intercept falls, and the others are as of two classes,
    # whose ridge is half as strong for the same coefficients
    train = folds[0][0]
    two = SoftmaxRegression(0.2).fit(
        X[train], y[train], None if weight is None else weight[train]
    )
    coef = model.coefs_paths_[0, 0, 0]
    assert coef[1, -1] < coef[[0, 2], -1].min() - 8
    np.testing.assert_allclose(coef[2, :-1] - coef[0, :-1], two.coef_[0], rtol=0.01)
    assert np.isfinite(model.scores_).all()
    assert model.coef_.shape == (3, 4)


@pytest.mark.parametrize(
    "scoring",
    [
        "accuracy",
        "neg_log_loss",
        get_scorer("balanced_accuracy"),
        metrics.get_scorer("neg_log_loss"),
        metrics.make_cross_entropy_scorer(response_method="decision_function"),
        lambda estimator, X, y: -(estimator.predict(X) != y).mean(),
    ],
)
def test_any_scorer(iris, scoring):
    X, y = iris
    model = SoftmaxRegressionCV(CS, cv=3, scoring=scoring, **TIGHT).fit(X, y)
    train, test = next(StratifiedKFold(3).split(X, y))
    by_hand = SoftmaxRegression(CS[0], **TIGHT).fit(X[train], y[train])
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    expected = scorer(by_hand, X[test], y[test])
    assert model.scores_[0, 0, 0] == pytest.approx(expected, abs=1e-5)
    assert model.score(X, y) == pytest.approx(scorer(model, X, y))


def test_the_default_scorer_by_its_name(iris):
    named = SoftmaxRegressionCV(CS, cv=3, scoring="neg_cross_entropy").fit(*iris)
    default = SoftmaxRegressionCV(CS, cv=3).fit(*iris)
    ours = SoftmaxRegressionCV(
        CS, cv=3, scoring=metrics.get_scorer("neg_cross_entropy")
    )
    np.testing.assert_array_equal(named.scores_, default.scores_)
    np.testing.assert_allclose(ours.fit(*iris).scores_, default.scores_, rtol=1e-9)


def test_metadata_are_routed(iris, soft):
    X, y = iris
    groups = np.arange(len(y)) % 7
    weight = np.random.default_rng(0).uniform(size=len(y))
    folds = list(GroupKFold(3).split(X, y, groups))
    expected = SoftmaxRegressionCV(CS, cv=folds)
    expected.fit(X, y, sample_weight=weight, soft_labels=soft[1])
    with config_context(enable_metadata_routing=True):
        model = SoftmaxRegressionCV(CS, cv=GroupKFold(3))
        model.set_fit_request(sample_weight=True, soft_labels=True)
        given = {"sample_weight": weight, "soft_labels": soft[1]}
        model.fit(X, y, **given, groups=groups)
        np.testing.assert_array_equal(model.scores_, expected.scores_)
        assert model.score(X, y, **given) == expected.score(X, y, **given)
        # their scorers take what they ask for
        scorer = get_scorer("accuracy").set_score_request(sample_weight=False)
        model = SoftmaxRegressionCV(CS, cv=folds, scoring=scorer)
        model.fit(X, y, sample_weight=weight)
        hits = model.scores_[0] * len(folds[0][1])
        np.testing.assert_allclose(hits, hits.round(), atol=1e-9)
    with pytest.raises(ValueError, match=r"got \['groups'\].*enable_metadata_routing"):
        model.fit(X, y, groups=groups)


def test_processes_and_threads_change_nothing(iris):
    X, y = iris
    expected = SoftmaxRegressionCV(CS, cv=3).fit(X, y)
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend=backend):
            model = SoftmaxRegressionCV(CS, cv=3, n_jobs=2).fit(X, y)
        for name in ("scores_", "coefs_paths_", "coef_", "n_iter_"):
            np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))


def test_fits_that_stopped_early_are_counted_in_one_warning(iris):
    message = r"\d of 9 fits stopped before they reached tol=.*Increase max_iter"
    with pytest.warns(ConvergenceWarning) as record:
        SoftmaxRegressionCV(CS, cv=3, max_iter=2, refit=False, tol=1e-9).fit(*iris)
    (warning,) = record
    assert warning.filename == __file__
    with pytest.raises(ConvergenceWarning, match=message):
        raise warning.message


def test_names_dtype_and_no_partial_fit(iris):
    X, y = iris
    frame = pd.DataFrame(X.astype(np.float32), columns=list("abcd"))
    model = SoftmaxRegressionCV([0.1], cv=2).fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert not hasattr(model, "partial_fit")
    assert set(model.get_params()) == {
        *("Cs", "l1_ratios", "fit_intercept", "cv", "scoring", "class_weight"),
        *("label_smoothing", "solver", "tol", "max_iter", "n_jobs", "refit"),
        *("random_state", "verbose"),
    }


BAD = {
    "no Cs": ({"Cs": []}, {}, "Cs must be a number of values"),
    "zero Cs": ({"Cs": 0}, {}, "Cs must be at least 1"),
    "negative C": ({"Cs": [1.0, -1.0]}, {}, r"positive ones; got \[1.0, -1.0\]"),
    "nan C": ({"Cs": [np.nan]}, {}, "Cs must be"),
    "matrix of Cs": ({"Cs": [[1.0]]}, {}, "Cs must be"),
    "ratio": ({"l1_ratios": [0.0, 1.5]}, {}, "l1_ratios must be None or a vector"),
    "no ratio": ({"l1_ratios": []}, {}, "l1_ratios must be None or a vector"),
    "tol": ({"tol": 0.0}, {}, "tol must be positive"),
    "scoring": ({"scoring": "nonsense"}, {}, "nonsense"),
    "nan score": ({"scoring": lambda *_: np.nan}, {}, "got nan in fold 0"),
    "one class": ({}, {"y": np.zeros(150)}, "one class"),
    "both doors": (
        {},
        {"y": np.full((150, 2), 0.5), "soft_labels": np.full((150, 2), 0.5)},
        "one of the two only",
    ),
    "weights": ({}, {"sample_weight": np.ones(3)}, "sample_weight must have shape"),
}


@pytest.mark.parametrize(("options", "arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(iris, options, arguments, message):
    X, y = iris
    model = SoftmaxRegressionCV(**{"Cs": [1.0], "cv": 2, **options})
    with pytest.raises(ValueError, match=message):
        model.fit(X, **{"y": y, **arguments})


def test_sparse_data_and_shares_of_the_lasso(iris):
    X, y = iris
    options = {"Cs": [0.01, 1.0], "l1_ratios": [0.0, 1.0], "cv": 3}
    dense = SoftmaxRegressionCV(**options).fit(X, y)
    sparse = SoftmaxRegressionCV(**options).fit(scipy.sparse.csc_array(X), y)
    assert dense.scores_.shape == (3, 2, 2)
    assert (sparse.C_, sparse.l1_ratio_) == (dense.C_, dense.l1_ratio_)
    np.testing.assert_allclose(sparse.scores_, dense.scores_, atol=1e-4)
    # so strong a lasso leaves the intercepts alone
    assert (dense.coefs_paths_[:, 1, 0, :, :-1] == 0).all()
    assert (dense.coefs_paths_[:, 0, 0, :, :-1] != 0).all()


@pytest.mark.parametrize("form", [np.asarray, list])
def test_folds_may_be_masks(iris, form):
    X, y = iris
    order = np.random.default_rng(0).permutation(len(y))
    train = np.zeros(len(y), bool)
    train[order[:100]] = True
    by_mask = SoftmaxRegressionCV(CS, cv=[(form(train), form(~train))]).fit(X, y)
    numbers = np.flatnonzero(train), np.flatnonzero(~train)
    by_number = SoftmaxRegressionCV(CS, cv=[numbers]).fit(X, y)
    np.testing.assert_array_equal(by_mask.scores_, by_number.scores_)
    np.testing.assert_array_equal(by_mask.coef_, by_number.coef_)


ROWS = np.arange(150)
FOLDS = {
    "a short mask": (np.ones(7, bool), ROWS),
    "no rows to train on": (ROWS[:0], ROWS),
    "no rows to score": (ROWS, ROWS[:0]),
    "a row that is not there": (ROWS, ROWS + 1),
    "fractions": (ROWS / 2, ROWS),
}


@pytest.mark.parametrize("fold", FOLDS.values(), ids=FOLDS)
def test_folds_that_are_no_rows_are_refused(iris, fold):
    with pytest.raises(ValueError, match=r"^cv must give"):
        SoftmaxRegressionCV([1.0], cv=[fold]).fit(*iris)


def test_a_fold_without_weight_is_refused(iris):
    X, y = iris
    weight = np.zeros(150)
    weight[:50] = 1.0
    folds = [(ROWS[50:], ROWS[:50])]
    with pytest.raises(ValueError, match=r"sample_weight must .* of every part of cv"):
        SoftmaxRegressionCV([1.0], cv=folds).fit(X, y, sample_weight=weight)


def test_a_scorer_of_any_keywords_gets_the_weights(iris):
    X, y = iris

    def score(estimator, X, y, **given):
        return float("sample_weight" in given)

    model = SoftmaxRegressionCV([1.0], cv=2, scoring=score)
    assert model.fit(X, y, sample_weight=np.ones(150)).scores_.all()
    assert not model.fit(X, y).scores_.any()


def test_no_history_of_an_earlier_fit(iris):
    model = SoftmaxRegressionCV([1.0]).fit(*iris)
    assert "loss" in model.history_
    assert not hasattr(model.set_params(refit=False).fit(*iris), "history_")


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss"])
def test_soft_labels_beside_a_scorer_that_does_not_take_them(iris, soft, scoring):
    X, y = iris
    _, q = soft
    model = SoftmaxRegressionCV(Cs=[0.1, 10.0], cv=3, scoring=scoring)
    model.fit(X, y, soft_labels=q)
    for C, scores in zip(model.Cs_, model.scores_[0, 0], strict=True):
        train, test = next(StratifiedKFold(3).split(X, y))
        fold = SoftmaxRegression(C).fit(X[train], y[train], soft_labels=q[train])
        expected = get_scorer(scoring)(fold, X[test], y[test])
        assert scores == pytest.approx(expected, rel=1e-3)
    assert model.score(X, y, soft_labels=q) == get_scorer(scoring)(model, X, y)


def test_a_generator_of_folds_is_used_once(iris):
    X, y = iris
    model = SoftmaxRegressionCV(Cs=[1.0], cv=KFold(3, shuffle=True).split(X))
    with config_context(enable_metadata_routing=True):
        model.get_metadata_routing()
        model.fit(X, y, sample_weight=np.ones(len(y)))
    assert model.scores_.shape == (3, 1, 1)
    assert model.n_iter_.dtype == np.int32


def test_a_scorer_returns_one_number(iris):
    model = SoftmaxRegressionCV(Cs=[1.0], cv=3, scoring=lambda *_: np.ones(1))
    assert (model.fit(*iris).scores_ == 1).all()
    model.scoring = lambda *_: np.ones(2)
    with pytest.raises(ValueError, match="scoring cannot be taken"):
        model.fit(*iris)


def test_a_fold_without_weight_to_test_on_is_refused(iris):
    X, y = iris
    even = np.arange(len(y)) % 2
    model = SoftmaxRegressionCV(Cs=[1.0], cv=[(even == 0, even == 1)])
    with pytest.raises(ValueError, match=r"part of cv; .* a part to test on"):
        model.fit(X, y, sample_weight=1.0 - even)
