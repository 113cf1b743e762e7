"""log_loss beside scikit-learn's: numbers, errors, warnings, memory."""

import re
import tracemalloc
import warnings

import numpy as np
import pytest
import sklearn.metrics

from skxent.metrics import log_loss
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


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), size=50)
    return rng.integers(0, 4, 50), proba, rng.uniform(0.1, 2.0, 50)


NAMES = {
    "integers": np.array([3, 5, 8, 11]),
    "strings": np.array(["a", "bb", "c", "dd"]),
    "objects": np.array(["a", "bb", "c", "dd"], dtype=object),
    "floats": np.array([-1.0, 0.0, 1.0, 2.0]),
    "unsigned": np.array([0, 1, 200, 255], dtype=np.uint8),
}
# what float16 and float32 lose in scikit-learn's sums
RTOL = {np.float16: 2e-3, np.float32: 2e-6, np.float64: 1e-12}


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="older tests know older messages")
@pytest.mark.parametrize(("test", "options"), list(their_tests("log_loss")))
def test_their_own_tests(monkeypatch, test, options):
    monkeypatch.setattr(f"{TESTS}.log_loss", log_loss)
    test(**options)


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("dtype", RTOL.keys())
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_number(data, names, dtype, weighted, normalize):
    y, proba, weight = data
    proba = proba.astype(dtype)
    proba[:3] = np.eye(4, dtype=dtype)[[0, 1, 2]]  # clipped rows
    options = {
        "normalize": normalize,
        "sample_weight": weight if weighted else None,
        "labels": names,
    }
    with warnings.catch_warnings():  # rows of float16 sum to 1 roughly
        warnings.simplefilter("ignore", UserWarning)
        expected = sklearn.metrics.log_loss(names[y], proba, **options)
        got = log_loss(names[y], proba, **options)
    assert type(got) is float
    assert got == pytest.approx(expected, rel=RTOL[dtype])


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_the_second_of_two_classes(data, shape):
    y, proba, _ = data
    y, p = y % 2, proba[:, 0]
    expected = sklearn.metrics.log_loss(y, p)
    assert log_loss(y, p.reshape(shape)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("normalize", [False, True])
def test_label_indicators_of_one_or_several_labels(data, normalize):
    y, proba, weight = data
    indicators = np.eye(4, dtype=int)[y]
    indicators[:20, 1] = 1
    indicators[20:25] = 0
    options = {"sample_weight": weight, "normalize": normalize}
    expected = sklearn.metrics.log_loss(indicators, proba, **options)
    assert log_loss(indicators, proba, **options) == pytest.approx(expected, rel=1e-12)


SAME = CALLS | {
    "a word as normalize": (Y, P, {"normalize": "x"}),
    "one as normalize": (Y, P, {"normalize": 1}),
    "numpy's true": (Y, P, {"normalize": np.True_}),
    "objects as weights": (Y, P, {"sample_weight": np.array([1, 2, 2], dtype=object)}),
    "a sum with weights that sum to zero": (
        Y,
        P,
        {"sample_weight": [1, 2, -3], "normalize": False},
    ),
}


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="ours behaves as version 1.9")
@pytest.mark.parametrize(("y", "p", "options"), SAME.values(), ids=SAME.keys())
def test_values_errors_and_warnings_are_theirs(y, p, options):
    assert_same_outcome(log_loss, sklearn.metrics.log_loss, (y, p), options)


# the same messages where an older scikit-learn is installed
REFUSED = {
    "above one": (Y, P + 0.5, {}, ValueError, "values greater than 1: 1.2"),
    "negative": (Y, P - 0.3, {}, ValueError, "values lower than 0: -0."),
    "one label": ([1, 1, 1], P, {}, ValueError, "contains only one label (1)"),
    "classes": ([0, 1, 1], P, {}, ValueError, "number of classes: 2 vs 3."),
    "labels": (Y, P, {"labels": range(4)}, ValueError, "in labels: [0 1 2 3]"),
    "weights": (Y, P, {"sample_weight": EYE}, ValueError, "must be 1D array or"),
    "zeros": (Y, P, {"sample_weight": [0] * 3}, ValueError, "one non-zero number."),
    "a type": (Y, 0.3, {}, TypeError, "'y_proba' parameter of log_loss must be an"),
    "names": (Y, P, {"y_pred": P}, ValueError, "both `y_pred` and `y_proba`"),
}


@pytest.mark.parametrize(
    ("y", "p", "options", "error", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_messages_of_every_version(y, p, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        log_loss(y, p, **options)


def test_warnings_point_at_the_caller():
    for args, options in [
        ((Y, P * 0.9), {}),
        ((Y, P), {"labels": [2, 1, 0]}),
        ((Y,), {"y_pred": P}),
    ]:
        with pytest.warns((UserWarning, FutureWarning)) as caught:
            log_loss(*args, **options)
        assert [warning.filename for warning in caught] == [__file__]


def test_inputs_stay_as_they_are(data):
    y, proba, weight = data
    kept = y.copy(), proba.copy(), weight.copy()
    for array in data:
        array.flags.writeable = False
    log_loss(y, proba, sample_weight=weight)
    for before, after in zip(kept, data, strict=True):
        np.testing.assert_array_equal(before, after)


def test_tensors_in_host_memory(data):
    torch = pytest.importorskip("torch")
    y, proba, weight = map(torch.from_numpy, data)
    options = {"sample_weight": weight, "labels": torch.arange(4)}
    expected = log_loss(data[0], data[1], sample_weight=data[2])
    assert log_loss(y, proba, **options) == expected


def test_memory_is_a_fraction_of_theirs():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(500), size=2000)
    y = np.arange(2000) % 500
    log_loss(y, proba)  # compiled by now

    def peak(metric):
        tracemalloc.start()
        metric(y, proba)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(log_loss) < 0.1 * peak(sklearn.metrics.log_loss)
    assert peak(log_loss) < 0.1 * proba.nbytes


@pytest.mark.parametrize(("n", "n_classes"), [(1000, 10), (100_000, 2)])
@pytest.mark.parametrize(
    "kind", ["integers", "wide", "far apart", "strings", "objects"]
)
def test_memory_is_a_tenth_of_the_probabilities(n, n_classes, kind):
    proba = np.random.default_rng(0).dirichlet(np.ones(n_classes), size=n)
    y = np.random.default_rng(1).integers(0, n_classes, n)
    names = np.array([f"class {k}" for k in range(n_classes)])
    y = {
        "integers": y + 100,
        "wide": y * 5000,
        "far apart": y * 100_000,
        "strings": names[y],
        "objects": names.astype(object)[y],
    }[kind]
    log_loss(y, proba)  # compiled by now
    tracemalloc.start()
    log_loss(y, proba)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * proba.nbytes


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_stays_a_warning():
    with pytest.raises(UserWarning, match="do not sum to one"):
        log_loss([0, 1], [[0.7, 0.2], [0.2, 0.8]])
