"""Settings that every test runs under."""

import functools
import os
import shutil
import tempfile
import warnings

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


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("needs a CUDA device, and numba-cuda to see it")


@functools.cache
def _has_gpu() -> bool:
    # asked for by a test that needs one: others do not import numba.cuda
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from numba import cuda

            return bool(cuda.is_available())
        except Exception:  # it is not installed, or without the libraries it needs
            return False
