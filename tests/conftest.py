"""Settings that every test runs under."""

import os
import shutil
import tempfile

# Before numba is imported: a cache that no earlier run has written to, shared by the
# processes of pytest-xdist, and two threads even where there is one core, since the
# bits must not depend on their number.
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not _IS_WORKER:
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="skxent-numba-")
os.environ["NUMBA_NUM_THREADS"] = "2"

import pytest  # noqa: E402


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _IS_WORKER:
        shutil.rmtree(os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)
