"""Whether a call belongs to a CUDA device, whose modules are imported on first use."""

from functools import cache
from importlib import import_module
from types import ModuleType

from skxent.backends._device_arrays import is_on_device

__all__ = ["is_on_device", "on_device"]


@cache
def on_device(name: str = "_device_call") -> ModuleType:
    """Return a module of this room that computes on the device.

    Raises
    ------
    ImportError
        If numba cannot reach CUDA: a package, or the driver, is missing.
    """
    try:
        from numba import cuda

        if not cuda.is_available():
            raise ImportError("no CUDA driver or no device was found")
        return import_module(f"skxent.losses.{name}")
    except Exception as error:
        raise ImportError(
            "input lives on a CUDA device, which numba must reach. Install skxent with "
            "the extra of your driver, skxent[cuda12] or skxent[cuda13], or move the "
            f"input to the host; importing numba.cuda said: {error}"
        ) from error
