"""Functions that are only linked into kernels: numba hands them on, and no more.

A kernel consists of some eighty functions. Left alone, numba optimises each of them
together with all that it calls, so again at every level, and makes machine code of it
that nobody runs: a kernel contains its own copies. Here their LLVM instructions are
linked as they were written down, and optimised in the kernel alone. The first
``cross_entropy`` of a process takes 3.5 s of a core instead of 8.5 s, the first fit of
``SoftmaxRegression`` 6.3 s instead of 12.4 s; results have the same bits.

This goes by the inside of numba. Versions that were not tried compile as they like.
"""

from typing import Any

import numba
from numba._dynfunc import make_function
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

__all__ = ["LinkedCompiler", "is_known"]

FIRST_KNOWN, LAST_KNOWN = (0, 61), (0, 68)


def is_known(version: tuple[int, int] = numba.version_info.short) -> bool:
    """Return whether this was tried with a version of numba."""
    return FIRST_KNOWN <= version <= LAST_KNOWN


def _holds_arrays(kind: Any) -> bool:
    """Return whether a type is an array, or a tuple that has one."""
    parts = getattr(kind, "types", ()) if isinstance(kind, types.BaseTuple) else ()
    return isinstance(kind, types.Array) or any(_holds_arrays(each) for each in parts)


class _LinkedLibrary(JITCodeLibrary):
    """The functions of one compilation, which never become machine code."""

    def _optimize_final_module(self) -> None:
        """Leave it to the kernel."""

    def _finalize_final_module(self) -> None:
        """Give the execution engine nothing."""
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LinkedLowering(NativeLowering):
    """The pass that writes LLVM instructions, into such a library."""

    _name = "skxent_linked_lowering"

    def run_pass(self, state: Any) -> bool:
        """Do what numba does, but for the machine code."""
        if not state.flags.nrt and _holds_arrays(state.return_type):
            raise TypeError(  # its caller would give back a reference too many
                f"{state.func_id.func_name} returns an array, whose references it "
                "does not count: make it an inner_with_memory"
            )
        codegen = state.targetctx.codegen()
        state.library = _LinkedLibrary(codegen, state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state.cr
        # numba knows a compiled function by the object that Python would call
        description, kept = lowered.fndesc, (state.library,)
        key = make_function(
            description.lookup_module(), description.qualname, "", 0, lowered.env, kept
        )
        state.targetctx.insert_user_function(key, description, [state.library])
        state.cr = lowered._replace(cfunc=key)
        return True


class LinkedCompiler(Compiler):
    """The compiler of functions that are only called by compiled code."""

    def define_pipelines(self) -> list[Any]:
        """Return numba's, with the other pass."""
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [
                (_LinkedLowering if each is NativeLowering else each, description)
                for each, description in pipeline.passes
            ]
            pipeline.finalize()
        return pipelines
