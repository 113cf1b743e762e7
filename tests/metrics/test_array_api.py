"""The metrics with scikit-learn's dispatch on, each table in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.metrics.sklearn_oracle import OURS_IS_THEIRS

ROOT = Path(__file__).parents[2]


def run(*arguments):
    """Return the last lines of a process that ran with SCIPY_ARRAY_API set."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def test_arrays_of_other_libraries():
    # without conftest, so that the kernels compiled so far serve again
    options = ["-q", "--noconftest", "-p", "no:cacheprovider"]
    run("-m", "pytest", *options, "tests/metrics/array_api_cases.py")


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="older tests know older messages")
def test_their_tests_of_all_metrics():
    run("-m", "tests.metrics.their_common_tests")
