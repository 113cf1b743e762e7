"""Whether an array is on a CUDA device, and which package it comes from."""

from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "is_on_device", "package_of"]

ALIGNMENT = 16  # bytes, of what a kernel reads at a time
_DLPACK_CUDA = (2, 13)  # kDLCUDA and kDLCUDAManaged of the DLPack header
_ON_HOST = (np.ndarray, np.generic, list, tuple, int, float)


def is_on_device(array: Any) -> bool:
    """Return whether an array lives on a CUDA device."""
    if isinstance(array, _ON_HOST):
        return False
    if package_of(array) == "torch":
        return bool(getattr(array, "is_cuda", False))
    if hasattr(array, "__cuda_array_interface__") or hasattr(array, "copy_to_host"):
        return True
    device = getattr(array, "__dlpack_device__", None)
    return device is not None and device()[0] in _DLPACK_CUDA


def package_of(array: Any) -> str:
    """Return the package that an array's type comes from, a base's if it is a library.

    Tensors of torchvision and fastai are subclasses of torch's.
    """
    kind: Any = type(array)
    return _package_of_type(kind)


@lru_cache(maxsize=256)
def _package_of_type(kind: Any) -> str:
    packages = [str(base.__module__).partition(".")[0] for base in kind.__mro__]
    known = (package for package in packages if package in ("torch", "cupy"))
    return next(known, packages[0])
