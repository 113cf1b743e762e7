"""Sample weights and soft labels on their way to the scorers, beside a loop by hand."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
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
    log_loss,
    make_cross_entropy_scorer,
)

CV = StratifiedKFold(3)
BOTH = {"sample_weight": True, "soft_labels": True}


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, y


@pytest.fixture(scope="module")
def metadata(iris):
    _, y = iris
    rng = np.random.default_rng(0)
    soft = 0.7 * np.eye(3)[y] + 0.3 * rng.dirichlet(np.ones(3), size=len(y))
    return {"sample_weight": rng.uniform(0.1, 3.0, len(y)), "soft_labels": soft}


def pipeline(**options):
    """Return a pipeline whose classifier alone asks for both."""
    return make_pipeline(
        StandardScaler().set_fit_request(sample_weight=False),
        SoftmaxRegression(**options).set_fit_request(**BOTH),
    )


def scores_by_hand(model, metric, X, y, fitted_with, scored_with):
    """Return the scores of the folds, metadata sliced and handed over explicitly."""
    scores = []
    for train, test in CV.split(X, y):
        scaler = StandardScaler().fit(X[train])
        step = clone(model)[-1]
        kept = {key: value[train] for key, value in fitted_with.items()}
        step.fit(scaler.transform(X[train]), y[train], **kept)
        kept = {key: value[test] for key, value in scored_with.items()}
        target = kept.pop("soft_labels", y[test])
        proba = step.predict_proba(scaler.transform(X[test]))
        scores.append(-metric(target, proba, **kept))
    return scores


def test_cross_validation_of_a_pipeline(iris, metadata):
    weight = {"sample_weight": metadata["sample_weight"]}
    requests = {
        "neither": ({"sample_weight": False, "soft_labels": False}, {}),
        "weight": ({"sample_weight": True, "soft_labels": False}, weight),
        "both": (BOTH, metadata),
    }
    scoring = {
        name: make_cross_entropy_scorer().set_score_request(**request)
        for name, (request, _) in requests.items()
    }
    result = cross_validate(
        pipeline(), *iris, cv=CV, scoring=scoring, params=metadata, error_score="raise"
    )
    for name, (_, scored_with) in requests.items():
        expected = scores_by_hand(
            pipeline(), cross_entropy_loss, *iris, metadata, scored_with
        )
        np.testing.assert_allclose(result[f"test_{name}"], expected, rtol=1e-12)


@pytest.mark.parametrize("name", get_scorer_names())
def test_grid_search_over_a_pipeline(iris, metadata, name):
    metric, request, kept = cross_entropy_loss, BOTH, metadata
    if name == "neg_log_loss":  # which knows labels only
        metric, request = log_loss, {"sample_weight": True, "soft_labels": False}
        kept = {"sample_weight": metadata["sample_weight"]}
    grid = {"softmaxregression__C": [1e-3, 1.0]}
    search = GridSearchCV(
        pipeline(),
        grid,
        cv=CV,
        scoring=get_scorer(name).set_score_request(**request),
        error_score="raise",
    ).fit(*iris, **metadata)
    for i, C in enumerate([1e-3, 1.0]):
        expected = scores_by_hand(pipeline(C=C), metric, *iris, metadata, kept)
        got = [search.cv_results_[f"split{fold}_test_score"][i] for fold in range(3)]
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert search.best_params_ == {"softmaxregression__C": 1.0}
    # the best model was fitted again with everything
    X, y = iris
    step = SoftmaxRegression().fit(StandardScaler().fit_transform(X), y, **metadata)
    np.testing.assert_array_equal(search.best_estimator_[-1].coef_, step.coef_)
    # and the score of the search is routed as well
    scored = get_scorer(name)(search.best_estimator_, X, y, **kept)
    assert search.score(X, y, **kept) == scored


def test_a_search_within_cross_validation(iris, metadata):
    scorer = make_cross_entropy_scorer().set_score_request(**BOTH)
    search = GridSearchCV(
        pipeline(), {"softmaxregression__C": [1.0]}, cv=CV, scoring=scorer
    )
    scores = cross_val_score(
        search, *iris, cv=CV, scoring=scorer, params=metadata, error_score="raise"
    )
    expected = scores_by_hand(pipeline(), cross_entropy_loss, *iris, metadata, metadata)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_other_names_for_the_metadata(iris, metadata):
    scorer = make_cross_entropy_scorer().set_score_request(sample_weight="cost")
    model = make_pipeline(StandardScaler(), SoftmaxRegression())
    cost = metadata["sample_weight"]
    scores = cross_val_score(
        model, *iris, cv=CV, scoring=scorer, params={"cost": cost}, error_score="raise"
    )
    weight = {"sample_weight": cost}
    expected = scores_by_hand(model, cross_entropy_loss, *iris, {}, weight)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


@pytest.mark.parametrize("key", ["sample_weight", "soft_labels"])
def test_metadata_that_nobody_asked_for_are_refused(iris, metadata, key):
    with pytest.raises(UnsetMetadataPassedError, match=key):
        cross_val_score(
            SoftmaxRegression().set_fit_request(**BOTH),
            *iris,
            scoring=make_cross_entropy_scorer(),
            params={key: metadata[key]},
            error_score="raise",
        )
