"""Threads that share out matrix products, with a BLAS of one thread each.

Why not the threads of BLAS
---------------------------
OpenBLAS's threads wait for one another in a loop many times within a product, and so
do numba's for some time after a kernel. On two cores that other processes used too, a
loss of 4000 rows of 512 features and 32000 classes took 15 to 31 s with the threads of
both and 5 s with these, which share no more than a list of tasks. The tasks do not
depend on the number of threads, so neither do the bits of what is computed.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from skxent.backends import _blas, _threads

__all__ = ["team"]

# Multiplications that are worth threads: 0.4 ms of them, where starting two takes 0.3.
LEAST_WORK = 1 << 24

Run = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]

_team_at_work = threading.Lock()


@contextmanager
def team(work: int) -> Iterator[Run]:
    """Yield what calls a function with each task, floating-point errors ignored.

    The calling thread does it alone where there is little work, or one thread to use,
    or another team, which has taken the threads.
    """
    with _blas.one_blas_thread():
        if work < LEAST_WORK or not _team_at_work.acquire(blocking=False):
            yield _run_alone
            return
        try:
            n_threads = _threads_to_use()
            if n_threads == 1:
                yield _run_alone
                return
            with ThreadPoolExecutor(n_threads, initializer=_prepare_thread) as pool:
                yield lambda function, tasks: list(pool.map(function, tasks))
        finally:
            _team_at_work.release()


def _run_alone(function: Callable[[Any], Any], tasks: Iterable[Any]) -> list[Any]:
    """Call a function with each task in turn."""
    with np.errstate(all="ignore"):
        return [function(task) for task in tasks]


def _threads_to_use() -> int:
    """Return how many threads both BLAS and the kernels may use."""
    return min(_blas.blas_threads(), _threads.threads_to_use())


def _prepare_thread() -> None:
    """Let what is called from this thread run on it alone, and numpy not warn.

    The thread ends with the team.
    """
    _threads.stay_on_this_thread()
    _blas.stay_on_this_thread()
    np.seterr(all="ignore")
