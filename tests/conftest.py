"""Settings that every test runs under."""

import os
import shutil
import tempfile

# Before numba is imported: a cache that no earlier run has written to.
_CACHE = tempfile.mkdtemp(prefix="skxent-numba-")
os.environ["NUMBA_CACHE_DIR"] = _CACHE

import pytest  # noqa: E402


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_CACHE, ignore_errors=True)
