"""One thread for BLAS, whoever else asks for that, and what it was allowed before.

What BLAS computes depends on how many threads it has. So all products of this package
are computed with one; those that are worth several threads are shared out by
:mod:`skxent.backends._team`. The number of threads belongs to the whole process, while
calls overlap in Python threads: the first one to come in takes it down, and the last
one to leave puts it back. If each restored what it had found, the one that leaves last
would leave 1 behind.
"""

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["blas_threads", "one_blas_thread"]

_lock = threading.RLock()  # a signal may arrive while it is held
_n_inside = 0
_before: list[tuple[Any, int]] = []  # shared libraries, their threads before the first


class _Mine(threading.local):
    """How often this thread is inside."""

    n_inside = 0


_mine = _Mine()


def _after_fork_in_child() -> None:
    """Forget the threads that are not there; whoever comes in now puts things back."""
    global _n_inside
    _n_inside = _mine.n_inside
    _lock.release()


if hasattr(os, "register_at_fork"):
    # A thread may hold the lock that the child would wait for.
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )


def _libraries() -> list[Any]:
    """Return the BLAS libraries that are loaded."""
    return _libraries_beside("scipy.linalg" in sys.modules)


@functools.cache
def _libraries_beside(scipy_is_loaded: bool) -> list[Any]:
    """Look for the libraries, which takes 4 ms; scipy brings one of its own."""
    pools = ThreadpoolController().lib_controllers
    return [p for p in pools if p.user_api == "blas" and p.num_threads]


def _is_of_thread(library: Any) -> bool:
    """Return whether each thread has a number of threads of its own."""
    layer = getattr(library, "threading_layer", None)
    return library.internal_api == "mkl" or layer == "openmp"


def _set_threads(library: Any, n_threads: int) -> None:
    """Set a number of threads, from whatever thread.

    Since its version 3.7 threadpoolctl obeys only the first thread that asks.
    """
    if library.num_threads != n_threads:
        own = getattr(library, "_real_set_num_threads", library.set_num_threads)
        own(n_threads)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread."""
    global _n_inside
    libraries = _libraries()
    of_thread = [(p, p.num_threads) for p in libraries if _is_of_thread(p)]
    for library, _ in of_thread:
        _set_threads(library, 1)
    with _lock:
        _n_inside += 1
        _mine.n_inside += 1
        known = [p for p, _ in _before]
        for library in libraries:
            if not _is_of_thread(library) and library not in known:
                _before.append((library, library.num_threads))
                _set_threads(library, 1)
    try:
        yield
    finally:
        for library, n_threads in of_thread:
            _set_threads(library, n_threads)
        with _lock:
            _n_inside -= 1
            _mine.n_inside -= 1
            if not _n_inside:
                for library, n_threads in _before:
                    _set_threads(library, n_threads)
                _before.clear()


def blas_threads() -> int:
    """Return how many threads BLAS may use where it is not held to one.

    It is 1 if BLAS takes no orders.
    """
    with _lock:
        if _n_inside and _before:
            return min(n for _, n in _before)
    return min((p.num_threads for p in _libraries()), default=1)


def stay_on_this_thread() -> None:
    """Let BLAS use the calling thread alone, if its number is that of the thread."""
    for library in _libraries():
        if _is_of_thread(library):
            _set_threads(library, 1)
