"""SoftmaxRegression with scikit-learn's callbacks."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score

from skxent.linear_model import SoftmaxRegression

callback = pytest.importorskip("sklearn.callback")  # from scikit-learn 1.9 on


class Recorder:
    """Notes what it is told, and stops after some iterations."""

    def __init__(self, n_iter=None):
        self.n_iter = n_iter
        self.events = []
        self.models = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def on_fit_task_begin(self, estimator, context, *, X, y):
        self.events.append(f"begin {context.task_name}")
        self.X, self.y = X, y

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        if context.task_name == "iteration" and fitted_estimator is not None:
            self.models.append(fitted_estimator)
        return len(self.models) == self.n_iter

    def teardown(self, estimator, context):
        self.events.append("teardown")


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 0.5}, {"early_stopping": True}])
def test_every_iteration_is_a_task(iris, options):
    recorder = Recorder()
    model = SoftmaxRegression(random_state=0, **options).set_callbacks(recorder)
    model.fit(*iris)
    assert recorder.events[:3] == ["setup", "begin fit", "begin iteration"]
    assert recorder.events[-3:] == ["end iteration", "end fit", "teardown"]
    assert len(recorder.models) >= model.n_iter_[0] > 1
    np.testing.assert_array_equal(recorder.X, iris[0])
    plain = SoftmaxRegression(random_state=0, **options).fit(*iris)
    np.testing.assert_array_equal(model.coef_, plain.coef_)


def test_iterates_predict(iris):
    recorder = Recorder()
    model = SoftmaxRegression().set_callbacks(recorder).fit(*iris)
    first, last = recorder.models[0], recorder.models[-1]
    np.testing.assert_array_equal(
        last.predict_proba(iris[0]), model.predict_proba(iris[0])
    )
    assert np.abs(first.coef_ - last.coef_).max() > 0.01


def test_a_callback_may_stop_the_fit(iris):
    recorder = Recorder(n_iter=2)
    model = SoftmaxRegression().set_callbacks(recorder).fit(*iris)
    assert model.n_iter_[0] == 2


def test_a_fit_that_fails_is_torn_down(iris):
    X, y = iris
    recorder = Recorder()
    with pytest.raises(ValueError, match="Input X contains NaN"):
        SoftmaxRegression().set_callbacks(recorder).fit(np.full_like(X, np.nan), y)
    assert recorder.events[-1] == "teardown"


def test_scores_of_iterations(iris):
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = SoftmaxRegression(C=100).set_callbacks(monitor)
    assert len(cross_val_score(model, *iris, cv=3)) == 3
    model.fit(*iris)
    log = monitor.get_logs().data_as_pandas
    scores = log.loc[log["task_name"] == "iteration", "neg_log_loss"].to_numpy(float)
    assert len(scores) == model.n_iter_[0]
    assert scores[-1] > scores[0] + 0.1
