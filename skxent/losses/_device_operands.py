"""What comes beside an input on a CUDA device: moved there, checked, and encoded."""

from typing import Any

import numpy as np

from skxent.backends import NO_INDEX
from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import is_on_device
from skxent.losses import _validation as check
from skxent.losses._layout import Layout

__all__ = [
    "class_values",
    "dtype_of_input",
    "floats_on_device",
    "grad_output_on_device",
    "per_row",
    "row_weight_on_device",
    "target_on_device",
    "times_rows",
    "vector_on_device",
    "without_least_index",
]

FLOATS = ("bfloat16", "float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


def floats_on_device(arrays: Any, value: Any, name: str, dtype: str) -> Any:
    """Return an array of floats on the device, of a dtype."""
    if not is_on_device(value):
        value = check.check_floats(value, name)
    array = arrays.read(value)
    came = arrays.dtype(array)
    if came not in (*FLOATS, *INTEGERS, "bool"):
        raise TypeError(
            f"{name} must hold real numbers of dtype float16, bfloat16, float32 or "
            f"float64; got dtype {came}. Convert it to float32."
        )
    return arrays.cast(array, dtype)


def grad_output_on_device(
    arrays: Any, value: Any, shape: tuple[int, ...], dtype: str
) -> Any:
    """Return what flows into the loss, of the shape of the loss."""
    return _of_shape(arrays, value, "grad_output", shape, "the loss", dtype)


def vector_on_device(
    arrays: Any, value: Any, shape: tuple[int, ...], dtype: str
) -> Any:
    """Return what the Hessian is multiplied with, of the shape of the input."""
    return _of_shape(arrays, value, "vector", shape, "input", dtype)


def _of_shape(
    arrays: Any, value: Any, name: str, shape: tuple[int, ...], of: str, dtype: str
) -> Any:
    array = floats_on_device(arrays, value, name, dtype)
    came = tuple(array.shape)
    if came != shape:
        raise ValueError(
            f"{name} must have the shape of {of}, {shape}; got shape {came}."
        )
    return array


def dtype_of_input(arrays: Any, array: Any) -> str:
    """Return the dtype of the results."""
    dtype = str(arrays.dtype(array))
    if dtype not in FLOATS:
        raise TypeError(
            "input must hold real numbers of dtype float16, bfloat16, float32 or "
            f"float64 on a device; got dtype {dtype}. Convert it to float32."
        )
    return dtype


def target_on_device(
    arrays: Any, target: Any, layout: Layout, dtype: str
) -> tuple[Any, bool]:
    """Return class indices (n,) int64 and True, or probabilities and False."""
    if not is_on_device(target):
        target = check.to_array(target, "target")
    shape = tuple(target.shape)
    if shape not in (layout.shape, layout.row_shape):
        raise ValueError(
            f"target must have shape {layout.row_shape} (class indices) or "
            f"{layout.shape} (probabilities) for scores of shape {layout.shape} with "
            f"classes on axis {layout.axis}; got shape {shape}."
        )
    array = arrays.read(target)
    came = arrays.dtype(array)
    if shape == layout.shape:
        if came not in FLOATS:
            raise TypeError(
                "target of the input's shape must hold probabilities in a float "
                f"dtype; got dtype {came}. Convert it to float32, or pass class "
                "indices of the input's shape without the class axis."
            )
        return arrays.cast(array, dtype), False
    if came not in INTEGERS and layout.n_rows:
        raise TypeError(
            "target of class indices must have an integer dtype, but not uint64 on a "
            f"device; got dtype {came}. Convert it to int64, or pass one row of "
            "probabilities for each row of input."
        )
    return arrays.cast(array, "int64").reshape((layout.n_rows,)), True


def class_values(
    arrays: Any, weight: Any, smoothing: float, layout: Layout, real: str
) -> tuple[Any, tuple[Any, Any]]:
    """Return the weight of each class, ``on_value`` and ``off_value``."""
    share = smoothing / max(1, layout.n_classes)
    if weight is None:
        one, on, off = (
            arrays.constant((x,), real) for x in (1.0, 1.0 - smoothing, share)
        )
        return one, (on, off)
    weight = floats_on_device(arrays, weight, "weight", real)
    if tuple(weight.shape) != (layout.n_classes,):
        raise ValueError(
            f"weight must have shape ({layout.n_classes},), one entry per class; got "
            f"shape {tuple(weight.shape)}."
        )
    # a share of 0 is no part of an infinite weight either
    on, off = (
        arrays.times(arrays.spread(arrays.constant((x,), real), weight.shape), weight)
        for x in (1.0 - smoothing, share)
    )
    return weight, (on, off)


def row_weight_on_device(
    arrays: Any, sample_weight: Any, layout: Layout, real: str
) -> Any:
    """Return one weight per row from one per sample or one per row, or None."""
    if sample_weight is None:
        return None
    weight = floats_on_device(arrays, sample_weight, "sample_weight", real)
    shape = tuple(weight.shape)
    is_single = not layout.row_shape and shape == (1,)
    if shape not in (layout.row_shape[:1], layout.row_shape) and not is_single:
        raise ValueError(
            f"sample_weight must have shape {layout.row_shape[:1]}, one entry per "
            f"sample, or {layout.row_shape}, one entry per row; got shape {shape}."
        )
    return per_row(arrays, weight, layout)


def per_row(arrays: Any, values: Any, layout: Layout) -> Any:
    """Return numbers per row, per sample, or one for all, as one per row, (n,)."""
    row_shape = layout.row_shape or (1,)
    missing = (1,) * (len(row_shape) - len(values.shape))
    values = values.reshape((*values.shape, *missing))
    return arrays.spread(values, row_shape).reshape((layout.n_rows,))


def times_rows(
    arrays: Any, targets: backend.DeviceTargets, factors: Any, real: str
) -> backend.DeviceTargets:
    """Return the targets with the weight of each row multiplied with a number."""
    weight = _product(arrays, targets.row_weight, factors, real)
    return targets._replace(row_weight=weight)


def _product(arrays: Any, weight: Any, factors: Any, real: str) -> Any:
    """Return weights of rows, None for ones, times factors."""
    if weight is None:
        weight = arrays.spread(arrays.constant((1.0,), real), tuple(factors.shape))
    return arrays.times(weight, factors)


def without_least_index(
    arrays: Any, indices: Any, weight: Any, real: str
) -> tuple[Any, Any]:
    """Return class indices and weights of rows, 0 where the index is `NO_INDEX`.

    To ignore that index means to the kernels that none is. It is nobody's habit: that
    the host looks for it costs a wait.
    """
    came = arrays.to_host(indices)
    ignored = came == NO_INDEX
    kept = arrays.read((~ignored).astype(real))
    indices = arrays.read(np.where(ignored, 0, came))
    return indices, _product(arrays, weight, kept, real)
