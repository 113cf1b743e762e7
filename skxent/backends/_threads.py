"""Which threads a kernel runs on: the one place that launches kernels of two twins.

Which twin runs
---------------
Small inputs run on the calling thread: two threads gain nothing there. So does every
call that finds another one of ours in the parallel section: the threads are taken then,
and numba's workqueue layer aborts the process when two threads launch at once. Both
twins give the same bits.

A forked child stays sequential for good. OpenMP's threads do not survive the fork:
GNU's library ends a child that launches after its parent did, whoever launched there.
So the package looks out for forks from its import on. Nor do pools of forked processes
say how many threads a child may have.

How many threads
----------------
At most numba's number, which `NUMBA_NUM_THREADS` and `numba.set_num_threads` set; and
at most that of each OpenMP library that is loaded, which `OMP_NUM_THREADS` and
`threadpoolctl.threadpool_limits` set. If none is loaded, as before the first launch
without scikit-learn, threadpoolctl can set no other number than that of BLAS.

How long
--------
Ctrl-C waits for the kernel to return, so each thread is given at most `LAUNCH_SIZE`
elements in one launch: 20 to 100 ms.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from threadpoolctl import ThreadpoolController

from skxent._forks import is_forked
from skxent.backends import _blas

if TYPE_CHECKING:
    from skxent.kernels._jit import Twins

__all__ = [
    "LAUNCH_SIZE",
    "PARALLEL_MIN_LINEAR",
    "launch",
    "launcher",
    "stay_on_this_thread",
    "threads_to_use",
]

# Two chunks of `CHUNK_SIZE` are the least that two threads can share. Measured there,
# sequential and parallel: 52 and 44 us for rows of 10 classes, 81 and 73 us for rows of
# 100.
PARALLEL_MIN_SIZE = 1 << 16
# Of a linear model, whose loss a fit takes again and again. Below 0.1 ms two threads
# spare a quarter; but where threads of BLAS still wait in a loop for the next product,
# as after a fit of scikit-learn's, one of 1800 x 64 numbers in 10 classes took 43 to
# 124 ms in two threads and 25 in one (22 and 24 where nobody waits).
PARALLEL_MIN_LINEAR = 1 << 18
LAUNCH_SIZE = 1 << 24

LOADERS_OF_OPENMP = "sklearn.utils._openmp_helpers", "numba.np.ufunc.omppool", "torch"
# Who sets one of these wants few threads of BLAS, not of kernels.
SETTINGS_OF_BLAS = {"OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"}

_parallel_section = threading.Lock()


def _has_lost_threads() -> bool:
    """Return whether this is a child that may lack threads which numba counts on.

    It is if it was forked by multiprocessing, imports this module only now, and its
    parent had used numba's threads.
    """
    numba_threads = sys.modules.get("numba.np.ufunc.parallel")
    processes = sys.modules.get("multiprocessing.process")
    if not getattr(numba_threads, "_is_initialized", False) or processes is None:
        return False
    if processes.parent_process() is None:
        return False
    import multiprocessing

    # None for a Process of the default context
    own = getattr(processes.current_process(), "_start_method", None)
    return (own or multiprocessing.get_start_method(allow_none=True)) in ("fork", None)


_has_lost = _has_lost_threads()


def _is_forked() -> bool:
    """Return whether numba's threads may be those of another process."""
    return _has_lost or is_forked()


def launcher(kernel: "Twins", size: int, n: int) -> Callable[..., None]:
    """Return what takes the other arguments of `launch`: to be kept for small calls."""
    if size < PARALLEL_MIN_SIZE:  # 0.2 us less than by `launch`
        return functools.partial(kernel.sequential, 0, n)
    return functools.partial(launch, kernel, size, n)


def launch(kernel: "Twins", size: int, n: int, *args: Any) -> None:
    """Let a kernel do ``range(n)``, by the twin that fits, in as many launches as fit.

    Its first arguments are where to begin and where to end. ``size`` is the work, in
    elements of a loss.
    """
    if size < PARALLEL_MIN_SIZE:
        kernel.sequential(0, n, *args)
    elif _is_forked() or not _parallel_section.acquire(blocking=False):
        _run(kernel.sequential, 1, size, n, args)
    else:
        try:
            n_threads, n_set = _threads_to_use_and_set()
            if n_threads == 1:
                _run(kernel.sequential, 1, size, n, args)
            elif n_threads == n_set:
                _run(kernel.parallel, n_threads, size, n, args)
            else:
                with _numba_threads(n_threads, n_set):
                    _run(kernel.parallel, n_threads, size, n, args)
        finally:
            _parallel_section.release()


def _run(twin: Any, n_threads: int, size: int, n: int, args: tuple[Any, ...]) -> None:
    """Launch as often as it takes for each launch to be short."""
    step = max(n_threads, n * n_threads * LAUNCH_SIZE // size)
    for begin in range(0, n, step):
        twin(begin, min(begin + step, n), *args)


@contextmanager
def _numba_threads(n_threads: int, n_after: int) -> Iterator[None]:
    """Let kernels that this thread launches use so many threads, and others after."""
    import numba

    numba.set_num_threads(n_threads)
    try:
        yield
    finally:
        numba.set_num_threads(n_after)


def threads_to_use() -> int:
    """Return how many threads a call may use."""
    return _threads_to_use_and_set()[0]


def _threads_to_use_and_set() -> tuple[int, int]:
    """Return that and numba's number; both 1 where numba is not to be asked."""
    # even to ask numba would wait for a lock that the parent may have held
    if _is_forked():
        return 1, 1
    # asked first, since numba gives GNU's OpenMP its own number when it begins
    allowed = _allowed_by_others()
    if allowed == 1:
        return 1, 1
    import numba

    n_set = int(numba.get_num_threads())
    return min(allowed, n_set), n_set


def _allowed_by_others() -> int:
    """Return what OpenMP may use, or what else threadpoolctl has set."""
    loaded = [name in sys.modules for name in LOADERS_OF_OPENMP]
    numbers = [library.num_threads for library in _openmp_beside(*loaded)]
    if not numbers and not SETTINGS_OF_BLAS & os.environ.keys():
        numbers = [_blas.blas_threads()]
    most: int = min([_of_environment(), *numbers])
    return most


@functools.cache
def _of_environment() -> int:
    """Return the number in OMP_NUM_THREADS, or a very large one."""
    number = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(number) if number.isdecimal() and int(number) else sys.maxsize


@functools.cache
def _openmp_beside(*loaded: bool) -> list[Any]:
    """Look for OpenMP libraries, which takes 4 ms, anew when more may be loaded."""
    pools = ThreadpoolController().lib_controllers
    return [p for p in pools if p.user_api == "openmp" and p.num_threads]


def stay_on_this_thread() -> None:
    """Let what is launched from the calling thread run on it alone."""
    if not _is_forked():
        import numba

        numba.set_num_threads(1)
