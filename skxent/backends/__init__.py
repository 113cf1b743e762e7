"""Backends: who allocates and who launches, chosen by the array alone."""

from typing import Any, cast

from skxent.backends._base import Backend, BinaryTargets, EncodedTargets

__all__ = ["Backend", "BinaryTargets", "EncodedTargets", "backend_for"]

_DLPACK_CPU = 1  # kDLCPU of the DLPack header


def backend_for(array: Any) -> Backend:
    """Return the backend that computes where ``array`` lives.

    Raises
    ------
    TypeError
        If the array lives on a device that no backend serves.
    """
    device = getattr(array, "__dlpack_device__", None)
    on_host = isinstance(array, list | tuple) or (
        not hasattr(array, "__cuda_array_interface__")
        and (device is None or device()[0] == _DLPACK_CPU)
    )
    if not on_host:
        raise TypeError(
            f"input must be an array in host memory; got a {type(array).__name__} on "
            "another device. Move it to the host first."
        )
    from skxent.backends import _numpy  # numba is imported on first use

    return cast(Backend, _numpy)
