"""Settings that every test runs under."""

import os
import shutil
import tempfile

# Before numba is imported: a cache of its own, shared by the processes of pytest-xdist,
# unless the caller has named one, and two threads even where there is one core, since
# the bits must not depend on their number.
_OWNS_CACHE = "NUMBA_CACHE_DIR" not in os.environ
if _OWNS_CACHE:
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="skxent-numba-")
os.environ["NUMBA_NUM_THREADS"] = "2"

import pytest  # noqa: E402


def pytest_unconfigure(config: pytest.Config) -> None:
    if _OWNS_CACHE:
        shutil.rmtree(os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)
