"""scikit-learn's own tests and functions, to hold ours against."""

import importlib
import itertools
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn

TESTS = "sklearn.metrics.tests.test_classification"
# what ours behaves as
OURS_IS_THEIRS = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)


def their_tests(name):
    """Yield the tests of a function, with each set of their parameters."""
    module = importlib.import_module(TESTS)
    for test_name in vars(module):
        if not test_name.startswith(f"test_{name}"):
            continue
        test = getattr(module, test_name)
        tables = []
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "parametrize":
                names = [part.strip() for part in mark.args[0].split(",")]
                rows = mark.args[1]
                rows = [(row,) for row in rows] if len(names) == 1 else rows
                tables.append([dict(zip(names, row, strict=True)) for row in rows])
        for i, parts in enumerate(itertools.product(*tables)):
            options = {key: part[key] for part in parts for key in part}
            yield pytest.param(test, options, id=f"{test_name}-{i}")


def outcome(function, args, options):
    """Return the value, or type and message of the error, and those of warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = function(*args, **options)
        except Exception as error:
            value = (type(error).__name__, str(error))
    return value, [(warning.category, str(warning.message)) for warning in caught]


def assert_same_outcome(ours, theirs, args, options):
    got, got_warnings = outcome(ours, args, options)
    expected, expected_warnings = outcome(theirs, args, options)
    assert got_warnings == expected_warnings
    if isinstance(expected, tuple):
        assert got == expected
    else:
        assert type(got) is type(expected) is float
        assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)


P = np.array([[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3]])
Y = [1, 0, 2]
EYE = np.eye(3, dtype=int)

# calls of a metric, right and wrong: y_true, y_proba, options
CALLS = {
    "lists": (Y, P.tolist(), {}),
    "tuples": (tuple(Y), tuple(map(tuple, P)), {}),
    "a range": (range(3), P, {}),
    "booleans": ([True, False, True], [0.3, 0.4, 0.5], {}),
    "objects": (np.array(["b", "a", "c"], dtype=object), P, {}),
    "a column of labels": (np.array([[1], [0], [2]]), P, {}),
    "a list of columns": ([[1], [0], [2]], P, {}),
    "integers as probabilities": ([0, 1, 2], EYE, {}),
    "float indicators": (np.eye(3), P, {}),
    "a list of indicators": (EYE.tolist(), P, {}),
    "indicators of two classes": ([[0, 1], [1, 1], [1, 0]], [[0.5, 0.5]] * 3, {}),
    "soft labels": (EYE * 0.5, P, {}),
    "several outputs": ([[0, 1, 2], [0, 0, 1], [0, 0, 0]], P, {}),
    "sequences of labels": ([[1, 0], [0, 1, 1], [1]], P, {}),
    "sparse indicators": (scipy.sparse.csr_matrix(EYE), P, {}),
    "sparse probabilities": (Y, scipy.sparse.csr_matrix(P), {}),
    "unsorted labels": ([0, 1, 2], P, {"labels": [2, 1, 0]}),
    "unsorted strings": (list("abc"), P, {"labels": list("cab")}),
    "repeated labels": (Y, P, {"labels": [0, 1, 2, 2]}),
    "no labels": (Y, P, {"labels": []}),
    "one label": ([1, 1, 1], P, {"labels": [1]}),
    "one label in y_true": ([1, 1, 1], P, {}),
    "one label of two": ([1, 1, 1], P[:, :2] / 0.9, {"labels": [0, 1]}),
    "a scalar as labels": (Y, P, {"labels": 3}),
    "a set as labels": (Y, P, {"labels": {0, 1, 2}}),
    "rows of labels": (Y, P, {"labels": [[0, 1, 2]]}),
    "fractions as labels": (Y, P, {"labels": [0.5, 1, 2]}),
    "an unknown label": ([1, 0, 5], P, {"labels": [0, 1, 2]}),
    "an unknown label in arrays": (np.array([1, 0, 5]), P, {"labels": np.arange(3)}),
    "strings for integers": (["0", "1", "1"], P[:, 0], {"labels": [0, 1]}),
    "indicators and labels": (EYE, P, {"labels": [0, 1, 2]}),
    "indicators as labels": (EYE, P, {"labels": EYE}),
    "more labels than columns": ([0, 1, 1], P[:, 0], {"labels": [0, 1, 2]}),
    "fewer labels than columns": ([0, 1, 1], P, {}),
    "more classes than columns": (Y, P[:, 0], {}),
    "indicators with more columns": (EYE, P[:, :2], {}),
    "fractions": ([1, 0.5, 2], P, {}),
    "nan as label": ([1, np.nan, 2], P, {}),
    "none as label": (["a", None, "b"], P, {}),
    "mixed labels": ([1, "a", 2], P, {}),
    "complex labels": ([1 + 2j, 0, 2], P, {}),
    "bytes": ([b"a", b"b", b"c"], P, {}),
    "a scalar as y_true": (3, P, {}),
    "a string as y_true": ("abc", P, {}),
    "no samples": ([], np.empty((0, 3)), {}),
    "lengths": ([0, 1], P, {}),
    "rows off one": (Y, P * 0.9, {}),
    "rows just off one": (Y, P * (1 + 2.6e-8), {}),
    "rows close to one": (Y, P * (1 + 2.4e-8), {}),
    "negative": (Y, P - 0.3, {}),
    "above one": (Y, P + 0.5, {}),
    "nan": (Y, P * np.nan, {}),
    "infinite": (Y, P * np.inf, {}),
    "strings as probabilities": (Y, [["a", "b", "c"]] * 3, {}),
    "complex probabilities": (Y, P.astype(complex), {}),
    "three dimensions": (Y, P[None], {}),
    "a scalar as y_proba": (Y, 0.3, {}),
    "no y_proba": (Y, None, {}),
    "y_pred": (Y, None, {"y_pred": P}),
    "both names": (Y, P, {"y_pred": P}),
    "a word as y_pred": (Y, None, {"y_pred": "word"}),
    "a number as y_pred": (Y, None, {"y_pred": 3}),
    "none as y_pred": (Y, None, {"y_pred": None}),
    "too few weights": (Y, P, {"sample_weight": [1, 2]}),
    "weights in a column": (Y, P, {"sample_weight": [[1], [2], [3]]}),
    "weights of zero": (Y, P, {"sample_weight": [0, 0, 0]}),
    "weights that sum to zero": (Y, P, {"sample_weight": [1, 2, -3]}),
    "a negative weight": (Y, P, {"sample_weight": [1, 2, -2]}),
    "nan as weight": (Y, P, {"sample_weight": [1, np.nan, 0]}),
    "booleans as weights": (Y, P, {"sample_weight": [True, False, True]}),
    "a scalar as weight": (Y, P, {"sample_weight": 2.0}),
}
