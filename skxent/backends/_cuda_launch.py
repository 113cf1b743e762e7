"""Launching CUDA kernels, whose arguments are integers, on a stream.

Numba looks at every argument of every launch, which takes it longer than most of our
kernels run. The driver is called with the machine code that numba has made. Where numba
has no such code, as in its simulator, or keeps it somewhere else than it did, numba
launches.
"""

import threading
from contextlib import nullcontext
from ctypes import addressof, c_int64, c_void_p
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numba import cuda
from numba.core.types import int64
from numba.cuda.cudadrv.driver import CudaAPIError

__all__ = ["context_of", "device_at", "launch", "n_devices", "stream_at"]


def launch(
    kernel: Any,
    n_blocks: int,
    block: int,
    stream: int,
    device: int,
    arguments: list[Any],
) -> None:
    """Queue a kernel on the stream at an address; the sizes are those of a launch.

    ``arguments`` are integers; in the simulator arrays as well.
    """
    with context_of(device):
        code = _code_of(kernel, len(arguments), device)
        if code is None:
            kernel[n_blocks, block, stream_at(stream)](*arguments)
            return
        if not _THREAD.is_ready:  # a device has to be current in it
            cuda.current_context()
            _THREAD.is_ready = True
        of_values, of_places, size = _holders(len(arguments))
        values = of_values(*arguments)
        begin = addressof(values)
        places = of_places(*range(begin, begin + size, 8))
        (status,) = _driver().cuLaunchKernel(
            code, n_blocks, 1, 1, block, 1, 1, 0, stream, addressof(places), 0
        )
        if status:
            raise RuntimeError(f"CUDA did not launch a kernel: {status!r}")


class _Thread(threading.local):
    """A thread of the host."""

    is_ready = False


_THREAD = _Thread()


def context_of(device: int) -> Any:
    """Return what makes a device numba's own, if there are several."""
    return cuda.gpus[device] if n_devices() > 1 else nullcontext()


@cache
def n_devices() -> int:
    """Return how many devices there are."""
    return len(cuda.gpus)


def device_at(address: int) -> int:
    """Return the number of the device whose memory is at an address, if it is one."""
    current: int = cuda.get_current_device().id
    if not address:  # of no numbers
        return current
    name = _driver().CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    status, device = _driver().cuPointerGetAttribute(name, address)
    return current if status else int(device)


@cache
def _driver() -> Any:
    from cuda.bindings import driver

    return driver


@lru_cache(maxsize=1024)
def _code_of(kernel: Any, n_arguments: int, device: int) -> int | None:
    """Return the handle of a kernel's machine code, None if numba has to launch it.

    Raises
    ------
    ImportError
        If numba-cuda cannot compile it with the packages that are installed.
    CudaAPIError
        If the driver refuses, as it does all once memory was read that is not there.
    """
    if not hasattr(kernel, "compile"):
        return None
    try:
        compiled = kernel.compile((int64,) * n_arguments)
    except CudaAPIError:
        raise
    except Exception as error:
        raise ImportError(
            "numba-cuda must compile kernels, and could not with the packages that are "
            f"installed, numpy {np.__version__} among them. Install skxent with the "
            "extra of your driver, skxent[cuda12] or skxent[cuda13], which asks for "
            f"those that it knows; it said: {error}"
        ) from error
    try:
        _driver()
        compiled.bind()
        return int(compiled.library.get_cufunc().handle)
    except (AttributeError, ImportError, TypeError):
        return None


@cache
def _holders(n: int) -> tuple[Any, Any, int]:
    """Return types for the values of arguments and for where they are, and a size."""
    return c_int64 * n, c_void_p * n, 8 * n


@lru_cache(maxsize=64)
def stream_at(address: int) -> Any:
    """Return the stream at an address, as numba launches on it and waits for it."""
    return cuda.external_stream(address) if address else cuda.default_stream()
