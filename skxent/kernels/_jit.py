"""How the package compiles: every option and every decorator, in one place.

``rule``
    Scalar algebra. Stays a plain Python function, so tests and the CUDA kernels call
    the same source that the CPU kernels inline.
``by_dtype``
    A function of vectors that is one of several, after the dtype of the first.
``inner``
    A loop that other compiled code calls. Python must not (it would crash; tests call
    ``py_func``): without the wrappers for it, and without machine code that is not a
    kernel's, kernels compile in a quarter of the time. Not cached: its machine code
    travels with the kernel that it is linked into.
``inner_with_memory``
    Such a loop that takes memory. In all others numba does not count the references to
    arrays, which are their caller's: counting took 6 to 14 % of a kernel, more where
    two threads do it. So they return no array, and call no function of numba that makes
    one: numba would keep that, compiled without counts, for the code of others too.
``merged``
    An ``inner`` loop whose machine code becomes part of its caller's: for steps of a
    row that return several vectors. A call hands those back through memory, in halves
    that no load of a whole one can follow at once: a tenth of the losses of
    probabilities.
``inlined``
    Code that becomes part of its caller before it is compiled: what it takes from the
    stack is its caller's, and lasts as long.
``twins``
    A kernel that Python calls, compiled twice from one source: on all threads and on
    the calling thread alone.
``alone``
    A kernel that Python calls, whose steps follow one another: on the calling thread.

No fast-math flag is set. ``nnan`` and ``ninf`` would make ``isnan`` lie; ``reassoc``
would let LLVM order a sum in another way in each place that it is inlined into, and
the twins would differ in the last bits; ``contract`` would leave open which product is
fused where two could be. Products that shall be are written ``fma`` or ``muladd``.
"""

import contextlib
import os
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import overload, register_jitable

from skxent.kernels._linked import LinkedCompiler, is_known
from skxent.kernels._sources import DIGEST

__all__ = [
    "KERNELS",
    "Twins",
    "alone",
    "by_dtype",
    "inlined",
    "inner",
    "inner_with_memory",
    "merged",
    "rule",
    "twins",
]

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise RuntimeError(
        "skxent computes with code that numba compiles, which NUMBA_DISABLE_JIT "
        "forbids. Unset it."
    )

if hasattr(os, "register_at_fork"):
    # A thread that compiles may hold the lock that the child would wait for.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )

# Division by zero follows IEEE 754, as in numpy; nogil lets Python threads overlap.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}

_LINKED: dict[str, Any] = {
    **{"no_cpython_wrapper": True, "no_cfunc_wrapper": True},
    **({"pipeline_class": LinkedCompiler} if is_known() else {}),
}
# Whether numba counts the references to arrays.
_COUNTED: dict[str, Any] = {**_LINKED, "_nrt": True}
_UNCOUNTED: dict[str, Any] = {**_LINKED, "_nrt": False}
rule = register_jitable(**_UNCOUNTED, **_OPTIONS)
inner = numba.njit(**_UNCOUNTED, **_OPTIONS)
merged = numba.njit(**_UNCOUNTED, **_OPTIONS, forceinline=True)
inner_with_memory = numba.njit(**_COUNTED, **_OPTIONS)
inlined = numba.njit(inline="always", **_OPTIONS)


def by_dtype(
    narrow: Callable[..., Any],
    wide: Callable[..., Any],
    half: Callable[..., Any] | None = None,
) -> Any:
    """Return a function of vectors: ``narrow`` where the first is float32.

    And ``half`` where it is int16, if there is one.
    """
    half = half or wide

    def either(*args):
        dtype = args[0].dtype
        chosen = {np.dtype("f4"): narrow, np.dtype("i2"): half}.get(dtype, wide)
        return chosen(*args)

    options: Any = _UNCOUNTED | _OPTIONS

    @overload(either, strict=False, jit_options=options)
    def _choose(*args):
        scalar = args[0].scalar
        return {numba.float32: narrow, numba.int16: half}.get(scalar, wide)

    return either


class Twins(NamedTuple):
    """One kernel, compiled for all threads and for the calling thread alone."""

    parallel: Any
    sequential: Any


def _compile(function: Any, name: str, **options: Any) -> Any:
    """Compile a renamed copy, which is kept on disk."""
    copy = types.FunctionType(function.__code__, function.__globals__, name)
    copy.__qualname__ = f"{name}_{DIGEST}"  # what numba's own cache tells kernels by
    copy.__module__ = function.__module__
    copy.__doc__ = function.__doc__
    kernel = numba.njit(**_OPTIONS, **options)(copy)
    _keep(kernel)
    return kernel


def _keep(kernel: Any) -> None:
    """Give a kernel the cache of this package, numba's if numba is not as known."""
    try:
        from skxent.kernels._cache import KernelCache, NullCache

        if not isinstance(kernel._cache, NullCache):
            raise TypeError("a dispatcher without a cache has another attribute for it")
        kernel._cache = KernelCache(kernel.py_func)
    except (ImportError, AttributeError, TypeError):
        with contextlib.suppress(RuntimeError):  # no folder that can be written to
            kernel.enable_caching()


KERNELS: dict[str, Twins | Any] = {}  # that Python calls, by name


def twins(function: Callable[..., Any]) -> Twins:
    """Decorate a kernel whose outer loop is a ``prange`` over chunks."""
    name = function.__name__
    pair = Twins(
        parallel=_compile(function, f"{name}_parallel", parallel=True),
        sequential=_compile(function, f"{name}_sequential"),
    )
    KERNELS[name] = pair
    return pair


def alone(function: Callable[..., Any]) -> Any:
    """Decorate a kernel that has nothing to share out."""
    KERNELS[function.__name__] = kernel = _compile(function, function.__name__)
    return kernel
