"""Settings that every test runs under."""

import os
import shutil
import tempfile

# Before numba is imported: a cache that no earlier run has written to, and two threads
# even where there is one core, since the bits must not depend on their number.
_CACHE = tempfile.mkdtemp(prefix="skxent-numba-")
os.environ["NUMBA_CACHE_DIR"] = _CACHE
os.environ["NUMBA_NUM_THREADS"] = "2"

import pytest  # noqa: E402


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_CACHE, ignore_errors=True)
