"""Processes that tests start and watch, and some that import little before."""

import multiprocessing
import os
import platform
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

LIMIT = 60  # seconds; a hang is no slowness

HAS_TBB = sys.platform == "linux" and platform.machine() == "x86_64"
every_layer = pytest.mark.parametrize(
    "layer",
    [
        "workqueue",
        "omp",
        pytest.param(
            "tbb",
            marks=pytest.mark.skipif(not HAS_TBB, reason="the registry has no tbb"),
        ),
    ],
)


def run_on(layer, function):
    """Run ``function``, which sees to it that numba's threads are those of a layer."""
    environment = {"NUMBA_THREADING_LAYER": layer}
    if layer == "tbb":  # not on the paths of the linker, so no default changes
        places = [f"{sys.prefix}/lib", os.environ.get("LD_LIBRARY_PATH")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, places))
    return run_child(function, **environment)


def check_layer():
    """Launch a kernel; raise unless the layer is the one that was asked for."""
    import numba

    others_use_threads()
    assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]


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


def others_use_threads():
    """Do what another package does that has kernels of its own."""
    import numba

    @numba.njit(parallel=True)
    def double(x):
        for i in numba.prange(x.size):
            x[i] *= 2

    double(np.ones(100))


def large_loss():
    from skxent.losses import cross_entropy

    x = np.random.default_rng(0).normal(size=(8000, 10))
    return float(cross_entropy(x, np.zeros(8000, int)))


def fork_after_others():
    """Import the losses, which import no numba; the first call is that of the child."""
    import skxent.losses  # noqa: F401

    others_use_threads()
    pid = os.fork()
    value = large_loss()
    if pid == 0:
        os._exit(0 if np.isfinite(value) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def fork_after_the_package():
    """Import nothing of the package that computes before the fork."""
    import skxent  # noqa: F401

    others_use_threads()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if np.isfinite(large_loss()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def threads_after_others():
    """Return how many threads there are for a process that has used numba's."""
    others_use_threads()
    from skxent.backends._threads import threads_to_use

    return threads_to_use()


def import_after_spawn():
    """Use numba's threads in a worker that was not forked, and import then."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        assert pool.submit(threads_after_others).result() == 2


def import_after_fork():
    """Import the package in the worker of a pool alone."""
    others_use_threads()
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert np.isfinite(pool.submit(large_loss).result())
    assert "skxent" not in sys.modules
