"""Scorers in cross-validation and search."""

import pickle

import numpy as np
import pytest
import sklearn.metrics
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skxent.linear_model import SoftmaxRegression
from skxent.metrics import (
    cross_entropy_loss,
    get_scorer,
    get_scorer_names,
    make_cross_entropy_scorer,
)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def test_three_ways_to_score_agree(iris):
    scores = cross_validate(
        make_pipeline(StandardScaler(), LogisticRegression()),
        *iris,
        scoring={
            "ours": make_cross_entropy_scorer(),
            "wrapped": sklearn.metrics.make_scorer(
                cross_entropy_loss,
                greater_is_better=False,
                response_method="predict_proba",
            ),
            "by_name": get_scorer("neg_log_loss"),
            "sklearn": "neg_log_loss",
        },
    )
    for name in ("ours", "wrapped", "by_name"):
        np.testing.assert_allclose(
            scores[f"test_{name}"], scores["test_sklearn"], rtol=1e-12
        )


@pytest.mark.parametrize("name", get_scorer_names())
def test_a_test_fold_without_one_of_the_classes_gets_a_finite_score(iris, name):
    X, y = iris
    keep = y < 2
    model = LogisticRegression().fit(X, y)
    score = get_scorer(name)(model, X[keep], y[keep])
    log_proba = model.predict_log_proba(X[keep])
    expected = log_proba[np.arange(keep.sum()), y[keep]].mean()
    assert score == pytest.approx(expected, rel=1e-12)
    # scikit-learn's scorer is not able to
    with pytest.raises(ValueError, match="different number of classes"):
        sklearn.metrics.get_scorer("neg_log_loss")(model, X[keep], y[keep])


def test_ordered_folds_that_miss_classes(iris):
    X, y = iris
    rare = np.r_[np.arange(100), 100:103]  # three samples of the last class
    cv = KFold(5, shuffle=True, random_state=0)
    scores = cross_val_score(
        SoftmaxRegression(),
        X[rare],
        y[rare],
        cv=cv,
        scoring=make_cross_entropy_scorer(),
    )
    assert np.isfinite(scores).all()


def test_cross_validation_with_two_jobs(iris):
    alone, parallel = (
        cross_val_score(
            SoftmaxRegression(), *iris, scoring=make_cross_entropy_scorer(), n_jobs=n
        )
        for n in (1, 2)
    )
    np.testing.assert_array_equal(alone, parallel)


def test_grid_search(iris):
    search = GridSearchCV(
        SoftmaxRegression(), {"C": [1e-4, 1.0]}, scoring=make_cross_entropy_scorer()
    )
    assert clone(search).fit(*iris).best_params_ == {"C": 1.0}


def test_logits_are_opt_in(iris):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    scorer = make_cross_entropy_scorer(response_method="decision_function")
    assert scorer(model, X, y) == pytest.approx(
        make_cross_entropy_scorer()(model, X, y), rel=1e-12
    )
    binary = model.fit(X[:100], y[:100])
    assert scorer(binary, X[:100], y[:100]) == pytest.approx(
        make_cross_entropy_scorer()(binary, X[:100], y[:100]), rel=1e-12
    )


def test_options_reach_the_metric(iris):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    scorer = make_cross_entropy_scorer(label_smoothing=0.1, normalize=False)
    expected = cross_entropy_loss(
        y, model.predict_proba(X), label_smoothing=0.1, normalize=False
    )
    assert scorer(model, X, y) == -expected


def test_weights_and_soft_labels_as_arguments(iris):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    weight = np.linspace(1, 2, len(y))
    scorer = make_cross_entropy_scorer()
    expected = -cross_entropy_loss(y, model.predict_proba(X), sample_weight=weight)
    assert scorer(model, X, y, sample_weight=weight) == expected
    assert scorer(model, X, y, weight) == expected
    soft = scorer(model, X, y, sample_weight=weight, soft_labels=np.eye(3)[y])
    assert soft == pytest.approx(expected, rel=1e-14)


def test_scorers_survive_pickle_and_clone(iris):
    X, y = iris
    model = LogisticRegression().fit(X, y)
    scorer = make_cross_entropy_scorer(label_smoothing=0.1)
    expected = scorer(model, X, y)
    assert pickle.loads(pickle.dumps(scorer))(model, X, y) == expected
    assert clone(scorer)(model, X, y) == expected


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match="name must be one of neg_cross_entropy"):
        get_scorer("accuracy")
    with pytest.raises(ValueError, match="response_method must be one of"):
        make_cross_entropy_scorer(response_method="predict")
    with pytest.raises(TypeError, match=r"options must be among .* got smoothing"):
        make_cross_entropy_scorer(smoothing=0.1)
    with pytest.raises(TypeError, match="response_method='decision_function'"):
        make_cross_entropy_scorer(from_logits=True)


def test_a_label_that_the_model_has_never_seen_is_refused(iris):
    X, y = iris
    model = LogisticRegression().fit(X[:100], y[:100])
    with pytest.raises(ValueError, match="never seen"):
        make_cross_entropy_scorer()(model, X, y)


def test_the_columns_are_those_of_the_estimator():
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = SoftmaxRegression().fit(X, names)
    expected = make_cross_entropy_scorer()(model, X, names)
    scorer = make_cross_entropy_scorer(labels=["c", "b", "a"])
    assert scorer(model, X, names) == expected


def test_log_loss_of_one_hot_rows_is_scikit_learns(iris):
    X, y = iris
    model = LogisticRegression(max_iter=1000).fit(X, y)
    got = get_scorer("neg_log_loss")(model, X, np.eye(3)[y])
    expected = sklearn.metrics.get_scorer("neg_log_loss")(model, X, np.eye(3)[y])
    assert got == pytest.approx(expected, rel=1e-13)


def test_balanced_weights_survive_a_fold_without_a_class(iris):
    X, y = iris
    model = LogisticRegression(max_iter=1000).fit(X, y)
    scorer = make_cross_entropy_scorer(class_weight="balanced")
    plain = make_cross_entropy_scorer()(model, X[:50], y[:50])
    assert scorer(model, X[:50], y[:50]) == pytest.approx(plain, rel=1e-13)


def test_log_loss_takes_no_soft_labels():
    X, y = load_iris(return_X_y=True)
    model = SoftmaxRegression().fit(X, y)
    with pytest.raises(ValueError, match="soft_labels must be None for 'neg_log_loss'"):
        get_scorer("neg_log_loss")(model, X, y, soft_labels=np.eye(3)[y])
