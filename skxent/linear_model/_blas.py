"""How many threads BLAS may use.

The products of one block of rows are too small for several threads of BLAS, which would
also fight with those of the kernels: 20 times slower on a busy machine. So a fit allows
one, but for the few products that are large.
"""

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread", "threads_for"]

# Multiplications that are worth starting the other threads for: 5 ms of one.
WORTH_THREADS = 1 << 27

# Finding the libraries takes 4 ms, as long as a small fit. Another one than that of the
# losses: theirs may have been made before scipy loaded its own BLAS.
_controller = functools.cache(ThreadpoolController)
_allowed = ContextVar("_allowed", default=1)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread."""
    pools = [p for p in _controller().lib_controllers if p.user_api == "blas"]
    before = _allowed.set(min((p.num_threads for p in pools), default=1))
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _allowed.reset(before)


@contextlib.contextmanager
def threads_for(n_multiplications: float) -> Iterator[None]:
    """Let BLAS use the threads it had before, for products that are large."""
    if n_multiplications < WORTH_THREADS or _allowed.get() == 1:
        yield
        return
    with _controller().limit(limits=_allowed.get(), user_api="blas"):
        yield
