"""scikit-learn's own tests and functions, to hold ours against."""

import importlib
import itertools
import warnings

import pytest
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
