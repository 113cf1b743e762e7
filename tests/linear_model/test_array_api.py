"""The estimators with scikit-learn's dispatch on, in a process of their own."""

from tests.metrics.test_array_api import run


def test_arrays_of_other_libraries():
    # without conftest, so that the kernels compiled so far serve again
    options = ["-q", "--noconftest", "-p", "no:cacheprovider"]
    run("-m", "pytest", *options, "tests/linear_model/array_api_cases.py")
