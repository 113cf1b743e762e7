"""How the package compiles: every option and every decorator, in one place.

``rule``
    Scalar algebra. Stays a plain Python function, so tests and the CUDA kernels call
    the same source that the CPU kernels inline.
``contracted_rule``
    A rule whose products and sums may be fused, never reordered.
``inner``
    A loop that other compiled code calls. Its sums may be reordered, which lets LLVM
    vectorise them. Not cached: its machine code travels with the kernel.
``own_function``
    A statement inside an ``inner`` that keeps LLVM from inlining it, so that both twins
    run the same machine code. Inlined into two different callers its sums would be
    reordered in two ways, and the bits would depend on the twin.
``twins``
    A kernel that Python calls, compiled twice from one source: on all threads and on
    the calling thread alone.

The fast-math flags ``nnan`` and ``ninf`` are never set: they make ``isnan`` lie.
"""

import hashlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba
from numba.core import types as numba_types
from numba.extending import intrinsic, register_jitable

__all__ = ["Twins", "contracted_rule", "inner", "own_function", "rule", "twins"]

# Division by zero follows IEEE 754, as in numpy; nogil lets Python threads overlap.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}

rule = register_jitable(**_OPTIONS)
contracted_rule = register_jitable(fastmath={"contract"}, **_OPTIONS)
inner = numba.njit(fastmath={"contract", "nsz", "reassoc"}, **_OPTIONS)


@intrinsic
def _own_function(typing_context):
    """Mark the function that calls this as one that LLVM must not inline."""

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return numba_types.void(), generate


own_function: Any = _own_function


def _sources_digest() -> str:
    """Hash of this folder's sources.

    Numba looks for changes only in the file that defines the cached function, so an
    edited rule in another file would be answered from a stale cache.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


_DIGEST = _sources_digest()


class Twins(NamedTuple):
    """One kernel, compiled for all threads and for the calling thread alone."""

    parallel: Any
    sequential: Any


def _compile(function: Any, name: str, **options: Any) -> Any:
    """Compile a renamed copy: the cache tells kernels apart by qualified name only."""
    copy = types.FunctionType(function.__code__, function.__globals__, name)
    copy.__qualname__ = f"{name}_{_DIGEST}"
    copy.__module__ = function.__module__
    copy.__doc__ = function.__doc__
    try:
        return numba.njit(cache=True, **_OPTIONS, **options)(copy)
    except RuntimeError:  # no folder that the cache could be written to
        return numba.njit(**_OPTIONS, **options)(copy)


def twins(function: Callable[..., Any]) -> Twins:
    """Decorate a kernel whose outer loop is a ``prange`` over chunks."""
    name = function.__name__
    return Twins(
        parallel=_compile(function, f"{name}_parallel", parallel=True),
        sequential=_compile(function, f"{name}_sequential"),
    )
