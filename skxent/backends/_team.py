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
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np

from skxent.backends import _blas, _threads

__all__ = ["team"]

# Multiplications that are worth threads: 0.4 ms of them, where starting two takes 0.3.
LEAST_WORK = 1 << 24

Run = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]
Jobs = SimpleQueue[tuple[Future[Any], Callable[[Any], Any], Any] | None]

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
            with _threads_at_work(n_threads) as jobs:
                if jobs is None:
                    yield _run_alone
                else:
                    yield functools.partial(_run_together, jobs)
        finally:
            _team_at_work.release()


@contextmanager
def _threads_at_work(n_threads: int) -> Iterator[Jobs | None]:
    """Yield the queue of what threads do, None if no thread can be started.

    None can once the main thread has ended, while other threads may still compute. A
    `ThreadPoolExecutor` takes no more work then, not even for threads that it has.
    """
    jobs: Jobs = SimpleQueue()
    threads = [threading.Thread(target=_work, args=(jobs,)) for _ in range(n_threads)]
    started = []
    try:
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
        except RuntimeError:
            yield None
        else:
            yield jobs
    finally:
        # first, for all: Ctrl-C in `start` leaves a thread that is not in the list
        jobs.put(None)
        for thread in started:
            thread.join()


def _work(jobs: Jobs) -> None:
    """Do what is in the queue until None is, which is left to the other threads."""
    is_prepared = False
    while (job := jobs.get()) is not None:
        future, function, task = job
        try:
            if not is_prepared:
                _prepare_thread()
                is_prepared = True
            future.set_result(function(task))
        except BaseException as error:  # for the thread that waits for it
            future.set_exception(error)
    jobs.put(None)


def _run_together(
    jobs: Jobs, function: Callable[[Any], Any], tasks: Iterable[Any]
) -> list[Any]:
    """Let the threads call a function with each task."""
    futures = []
    for task in tasks:
        future: Future[Any] = Future()
        jobs.put((future, function, task))
        futures.append(future)
    return [future.result() for future in futures]


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
