"""Threads that share out matrix products, with a BLAS of one thread each.

Why not the threads of BLAS
---------------------------
OpenBLAS's threads wait for one another in a loop many times within a product, and so
do numba's for some time after a kernel. On two cores that other processes used too, a
loss of 4000 rows of 512 features and 32000 classes took 15 to 31 s with the threads of
both and 5 s with these, which share no more than a list of tasks. The tasks do not
depend on the number of threads, so neither do the bits of what is computed.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

__all__ = ["team"]

# Multiplications that are worth threads: 0.4 ms of them, where starting two takes 0.3.
LEAST_WORK = 1 << 24

Run = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]

_team_at_work = threading.Lock()
# Finding the libraries takes 2 ms.
_thread_pools = functools.cache(ThreadpoolController)


@contextmanager
def team(work: int) -> Iterator[Run]:
    """Yield what calls a function with each task, floating-point errors ignored.

    The calling thread does it alone where there is little work, or one thread to use,
    or another team, which has taken the threads.
    """
    if work < LEAST_WORK or not _team_at_work.acquire(blocking=False):
        yield _run_alone
        return
    try:
        n_threads = _threads_of_blas()
        if n_threads == 1:
            yield _run_alone
            return
        with (
            _thread_pools().limit(limits=1, user_api="blas"),
            ThreadPoolExecutor(n_threads, initializer=_prepare_thread) as pool,
        ):
            yield lambda function, tasks: list(pool.map(function, tasks))
    finally:
        _team_at_work.release()


def _run_alone(function: Callable[[Any], Any], tasks: Iterable[Any]) -> list[Any]:
    """Call a function with each task in turn."""
    with np.errstate(all="ignore"):
        return [function(task) for task in tasks]


def _threads_of_blas() -> int:
    """Return how many threads BLAS may use, 1 if it takes no orders."""
    pools = _thread_pools().info()
    return max((p["num_threads"] for p in pools if p["user_api"] == "blas"), default=1)


def _prepare_thread() -> None:
    """Let kernels called from this thread run on it alone, and numpy not warn."""
    import numba  # not before the first call of a kernel

    numba.set_num_threads(1)
    np.seterr(all="ignore")
