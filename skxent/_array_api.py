"""Arrays of other libraries, as scikit-learn 1.9 treats them.

Conventions
-----------
Computation is numpy's, in host memory, but for arrays on a CUDA device, where what can
be computed there is. For the others scikit-learn's ``array_api_dispatch`` decides what
is taken: with it, arrays of any library, detached from their graph and copied to the
host only from another device; without it, what `numpy.asarray` takes. Results go home,
to the library and the device of the data: with the dispatch, and from CUDA always.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config

from skxent.backends._device_arrays import (
    arrays_like,
    copy_to_host,
    is_on_device,
    package_of,
)
from skxent.losses._validation import naming, refuse_masked, refuse_times

__all__ = ["Home", "dispatches", "home_of", "like", "on_host", "to_host"]

LABELS = ("y", "y_true", "labels")  # which may be dates
ROWS_OF_NUMBERS = ("y", "y_true", "y_score", "y_proba", "soft_labels")


def _is_foreign(value: Any) -> bool:
    """Return whether the value is an array of another library than numpy."""
    return hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray)


def dispatches() -> bool:
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
    return tuple(to_host(name, value) for name, value in arguments.items())


def _plain_floats(value: Any) -> Any:
    """Return a frame of pandas' nullable floats as an array of the dtype they hold.

    `numpy.asarray` makes objects or float64 of it, which asks for more digits.
    """
    if not hasattr(value, "dtypes") or np.ndim(value) != 2:
        return value
    kinds = [getattr(dtype, "numpy_dtype", None) for dtype in value.dtypes]
    if kinds and all(getattr(kind, "kind", None) == "f" for kind in kinds):
        return value.to_numpy(dtype=np.result_type(*kinds), na_value=np.nan)
    return value


def to_host(name: str, value: Any) -> Any:
    """Return an argument of that name, an array of another library as numpy's."""
    refuse_masked(value, name)
    if name not in LABELS:
        refuse_times(value, name)
    if is_on_device(value):
        return copy_to_host(value)
    if not _is_foreign(value):
        return _plain_floats(value) if name in ROWS_OF_NUMBERS else value
    if not dispatches():
        with naming(name):
            return np.asarray(value)
    torch = _torch_of(value)
    if torch is not None:
        value = value.detach().cpu().resolve_neg()  # DLPack exports what is stored
        if value.dtype == torch.bfloat16:  # numpy has none; scikit-learn's choice
            value = value.to(torch.float64)
    try:
        return np.asarray(value)
    except RuntimeError:  # array-api-strict's answer for all devices but the first
        return np.from_dlpack(value)


class Home(NamedTuple):
    """Where results go back to."""

    place: tuple[str, str]  # library and device
    bring: Callable[[NDArray[Any]], Any]


def home_of(value: Any) -> Home:
    """Return where results that belong to an array go back to."""
    if is_on_device(value):
        library = package_of(value)
        device = str(getattr(value, "device", ""))
        return Home((library, device), arrays_like(value).read)
    if not (_is_foreign(value) and dispatches()):
        return Home(("numpy", "cpu"), lambda array: array)
    xp = _torch_of(value) or value.__array_namespace__()

    def bring(array: NDArray[Any]) -> Any:
        return xp.asarray(array, device=value.device)

    return Home((xp.__name__, str(value.device)), bring)


def like(reference: Any, arrays: tuple[NDArray[Any], ...]) -> tuple[Any, ...]:
    """Return the arrays in the library and on the device of the reference."""
    return tuple(map(home_of(reference).bring, arrays))
