"""Processes that tests start and watch."""

import os
import subprocess
import sys
from pathlib import Path

from threadpoolctl import threadpool_info

LIMIT = 60  # seconds; a hang is no slowness


def run_child(function, **environment):
    """Run ``function`` of a module of this room, by name, in a process of its own.

    Its threads are two unless told otherwise. What it printed is returned.
    """
    module, name = function.split(".")
    code = f"from tests.trust.{module} import {name}; {name}()"
    inherited = {
        key: value for key, value in os.environ.items() if "NUM_THREADS" not in key
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parents[2],
        env=inherited | {"NUMBA_NUM_THREADS": "2"} | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def use_one_thread():
    """Be a child that may use one thread, and has no OpenMP of scikit-learn."""
    from skxent.backends._threads import threads_to_use

    assert "sklearn" not in sys.modules
    assert threads_to_use() == 1


def blas_threads():
    pools = threadpool_info()
    return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
