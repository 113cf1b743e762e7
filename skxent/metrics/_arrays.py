"""Arrays of other libraries, as scikit-learn 1.9 treats them.

Conventions
-----------
Computation is numpy's, in host memory. scikit-learn's ``array_api_dispatch`` decides
what is taken: with it, arrays of any library, detached from their graph and copied to
the host only from another device; without it, what `numpy.asarray` takes. Arrays go
back to the library and the device of the predictions, with the dispatch only.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config

from skxent.losses._validation import naming, refuse_masked, refuse_times

__all__ = ["like", "on_host"]

LABELS = ("y_true", "labels")  # which may be dates


def _is_foreign(value: Any) -> bool:
    """Return whether the value is an array of another library than numpy."""
    return hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray)


def _dispatches() -> bool:
    """Return whether the user has asked for scikit-learn's dispatch."""
    return bool(get_config()["array_api_dispatch"])


def _torch_of(value: Any) -> Any:
    """Return torch if the value is one of its tensors, else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(value, torch.Tensor) else None


def on_host(**arguments: Any) -> tuple[Any, ...]:
    """Return the arguments, arrays of other libraries as numpy's.

    Raise for what numpy would misread, and name it.
    """
    return tuple(_on_host(name, value) for name, value in arguments.items())


def _on_host(name: str, value: Any) -> Any:
    """Return an argument of that name."""
    refuse_masked(value, name)
    if name not in LABELS:
        refuse_times(value, name)
    if not _is_foreign(value):
        return value
    if not _dispatches():
        with naming(name):
            return np.asarray(value)
    torch = _torch_of(value)
    if torch is not None:
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:  # numpy has none; scikit-learn's choice
            value = value.to(torch.float64)
    try:
        return np.asarray(value)
    except RuntimeError:  # array-api-strict's answer for all devices but the first
        return np.from_dlpack(value)


def like(reference: Any, arrays: tuple[NDArray[Any], ...]) -> tuple[Any, ...]:
    """Return the arrays in the library and on the device of the reference."""
    if not (_is_foreign(reference) and _dispatches()):
        return arrays
    xp = _torch_of(reference) or reference.__array_namespace__()
    return tuple(xp.asarray(array, device=reference.device) for array in arrays)
