"""Backends: who allocates and who launches, chosen by the array alone."""

from functools import cache
from typing import Any, cast

import numpy as np

from skxent.backends._base import NO_INDEX, Backend, BinaryTargets, EncodedTargets

__all__ = ["NO_INDEX", "Backend", "BinaryTargets", "EncodedTargets", "backend_for"]

HOST_TYPES = (np.ndarray, list, tuple)
_DLPACK_CPU = 1  # kDLCPU of the DLPack header


def backend_for(array: Any) -> Backend:
    """Return the backend that computes where ``array`` lives.

    Raises
    ------
    TypeError
        If the array lives on a device that no backend serves.
    """
    if not isinstance(array, HOST_TYPES):
        device = getattr(array, "__dlpack_device__", None)
        on_host = not hasattr(array, "__cuda_array_interface__") and (
            device is None or device()[0] == _DLPACK_CPU
        )
        if not on_host:
            raise TypeError(
                f"input must be an array in host memory; got a {type(array).__name__} "
                "on another device. Move it to the host first."
            )
    return _on_host()


@cache
def _on_host() -> Backend:
    """Return the backend for host memory; numba is imported on first use."""
    from skxent.kernels._collecting import collecting_later

    with collecting_later():
        from skxent.backends import _numpy

    return cast(Backend, _numpy)
