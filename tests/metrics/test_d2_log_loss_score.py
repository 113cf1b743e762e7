"""d2_log_loss_score beside scikit-learn's: numbers, errors, warnings."""

import warnings

import numpy as np
import pytest
import sklearn.metrics

from skxent.metrics import d2_log_loss_score, log_loss
from tests.metrics.sklearn_oracle import (
    CALLS,
    EYE,
    OURS_IS_THEIRS,
    TESTS,
    P,
    Y,
    assert_same_outcome,
    their_tests,
)

SAME = CALLS | {
    "one sample": ([1], P[:1], {}),
    "one sample as y_pred": ([1], None, {"y_pred": P[:1]}),
    "one of two labels": ([1, 1, 1], P, {"labels": [0, 1, 2]}),
    "no labels in the indicators": (EYE * 0, P, {}),
    "exact": (Y, EYE[Y], {}),
}


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="older tests know older messages")
@pytest.mark.parametrize(("test", "options"), list(their_tests("d2_log_loss_score")))
def test_their_own_tests(monkeypatch, test, options):
    monkeypatch.setattr(f"{TESTS}.d2_log_loss_score", d2_log_loss_score)
    monkeypatch.setattr(f"{TESTS}.log_loss", log_loss)
    with warnings.catch_warnings():  # one test passes labels that are not sorted
        warnings.filterwarnings("ignore", "Labels passed were", UserWarning)
        test(**options)


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="ours behaves as version 1.9")
@pytest.mark.parametrize(("y", "p", "options"), SAME.values(), ids=SAME.keys())
def test_values_errors_and_warnings_are_theirs(y, p, options):
    theirs = sklearn.metrics.d2_log_loss_score
    assert_same_outcome(d2_log_loss_score, theirs, (y, p), options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("indicators", [False, True])
def test_the_number(dtype, weighted, indicators):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), size=50).astype(dtype)
    y = rng.integers(0, 4, 50)
    options = {"sample_weight": rng.uniform(0.1, 2.0, 50) if weighted else None}
    if indicators and not OURS_IS_THEIRS:
        pytest.skip("older versions fail on indicators")
    if indicators:
        y = np.eye(4, dtype=int)[y]
        y[:20, 1] = 1
    expected = sklearn.metrics.d2_log_loss_score(y, proba, **options)
    got = d2_log_loss_score(y, proba, **options)
    assert type(got) is float
    assert got == pytest.approx(expected, rel=1e-12 if dtype == np.float64 else 2e-6)


def test_the_warning_points_at_the_caller():
    with pytest.warns(UserWarning, match="less than two samples") as caught:
        assert np.isnan(d2_log_loss_score([1], [0.5]))
    assert caught[0].filename == __file__
