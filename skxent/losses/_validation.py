"""Checks of the arguments of every loss: the only raisers of input errors.

Every message names the argument, the rule, what came and the remedy.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST_INT64",
    "as_int64",
    "check_broadcasts",
    "check_class_weight",
    "check_distributions",
    "check_flag",
    "check_floats",
    "check_floats_of_shape",
    "check_grad_output",
    "check_ignore_index",
    "check_index_dtype",
    "check_label_smoothing",
    "check_option",
    "check_out",
    "check_probability_targets",
    "check_same_length",
    "check_weights_of_samples",
    "naming",
    "refuse_first_wrong_index",
    "refuse_ignore_index",
    "refuse_masked",
    "refuse_negative",
    "refuse_out_for_list",
    "refuse_times",
    "to_array",
]

FLOAT_CODES = "efd"  # float16, float32, float64
FLOATS = frozenset(map(np.dtype, FLOAT_CODES))  # in the machine's byte order
FLOAT16, FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)
LARGEST_INT64 = 2**63 - 1
# The types that nearly all callers pass stand before the abstract ones, which are slow.
FLAGS = (bool, np.bool_)
INTEGERS = (int, Integral)
NUMBERS = (float, Real)
ROUNDED = 1e-5  # how far from 1 the sum of numbers of six decimals may be
NO_NUMBERS = (bool, np.timedelta64)  # which Python takes for integers


def to_array(value: Any, name: str) -> NDArray[Any]:
    """Return ``value`` as an array, refusing what numpy would convert wrongly."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must not be a masked array, whose mask would be ignored. "
            "Fill it, or drop the rows with sample_weight=0."
        )
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(
            f"{name} must be dense; got a sparse {type(value).__name__}. "
            "Convert it with .toarray()."
        )
    if isinstance(value, list | tuple) and any(map(_is_masked_array, value)):
        raise TypeError(
            f"{name} must not hold masked arrays, whose masks would be ignored. Fill "
            "them, or drop the rows with sample_weight=0."
        )
    try:
        dtype = _dtype_of_frame(value)
        return np.asarray(value if dtype is None else value.to_numpy(dtype=dtype))
    except MemoryError:
        raise
    except Exception as error:
        remedy = " Convert it with .float()." if "BFloat16" in str(error) else ""
        raise ValueError(
            f"{name} must be convertible to an array with numpy.asarray; got a "
            f"{type(value).__name__}: {error}{remedy}"
        ) from error


def _dtype_of_frame(value: Any) -> Any:
    """Return what holds the numbers of pandas' own that are columns of a frame.

    numpy would make objects of them. None for everything else.
    """
    if not hasattr(value, "iloc") or np.ndim(value) != 2:
        return None
    dtypes = [getattr(dtype, "numpy_dtype", dtype) for dtype in value.dtypes]
    is_plain = all(a is b for a, b in zip(dtypes, value.dtypes, strict=True))
    if is_plain or not all(getattr(dtype, "kind", "O") in "iuf" for dtype in dtypes):
        return None
    return np.result_type(*dtypes)


def _is_masked_array(value: Any) -> bool:
    return isinstance(value, np.ma.MaskedArray)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let an error of another library name the argument that it read."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        if type(error) is kind and re.search(rf"\b{name}\b", str(error)):
            raise
        raise kind(f"{name} cannot be taken: {error}") from error


def refuse_masked(value: Any, name: str) -> None:
    """Raise if entries are masked, which numpy forgets where it makes an array."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"{name} must not have masked entries, which would be read as the data "
            "below the mask. Fill them, or drop their samples."
        )


def refuse_times(value: Any, name: str) -> None:
    """Raise for dates and durations, which numpy reads as so many seconds."""
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        raise TypeError(
            f"{name} must hold numbers; got dtype {dtype}. Divide durations by one of "
            "them, such as numpy.timedelta64(1, 's')."
        )


def check_same_length(**arguments: Any) -> None:
    """Raise unless all that are not None have as many entries."""
    lengths = {
        name: _length_of(value, name)
        for name, value in arguments.items()
        if value is not None
    }
    if len(set(lengths.values())) > 1:
        came = ", ".join(f"{n} in {name}" for name, n in lengths.items())
        raise ValueError(
            f"{', '.join(lengths)} must have one entry for each sample. Found input "
            f"variables with inconsistent numbers of samples: {came}."
        )


def _length_of(value: Any, name: str) -> int:
    """Return the length of the first axis."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return int(shape[0])
    if shape == ():
        raise ValueError(
            f"{name} must have one entry for each sample; got a single one, "
            f"{value!r}. Pass a vector."
        )
    if hasattr(value, "__len__") and not isinstance(value, str | bytes | dict | set):
        with naming(name):
            return len(value)
    raise TypeError(
        f"{name} must be an array-like with one entry for each sample; got a "
        f"{type(value).__name__}."
    )


def check_floats(value: Any, name: str) -> NDArray[Any]:
    """Return a float16, float32 or float64 array; integers become float64."""
    array = to_array(value, name)
    dtype = array.dtype
    if dtype in FLOATS:
        return array
    if dtype.kind in "iub":
        return array.astype(np.float64)
    if dtype.char not in FLOAT_CODES:
        raise TypeError(
            f"{name} must hold real numbers of dtype float16, float32 or float64; "
            f"got dtype {dtype}. Convert it to float64."
        )
    return array.astype(dtype.newbyteorder("="))


def check_floats_of_shape(
    value: Any, name: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    """Return floats of the shape of the input."""
    array = check_floats(value, name)
    if array.shape != shape:
        raise ValueError(
            f"{name} must have the shape of input, {shape}; got shape {array.shape}."
        )
    return array


def check_broadcasts(came: tuple[int, ...], name: str, shape: tuple[int, ...]) -> None:
    """Raise unless an array broadcasts to the shape of the input."""
    if came == shape[-len(came) :]:  # for numpy to tell takes 2 us
        return
    try:
        fits = np.broadcast_shapes(came, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must broadcast to the shape of input, {shape}; got shape {came}. "
            "Give it length 1 on the axes that it is spread over."
        )


def check_option(value: Any, name: str, options: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of the options."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}; got {value!r}.")


def check_flag(value: Any, name: str) -> bool:
    """Return an option that is True or False."""
    if not isinstance(value, FLAGS):
        raise TypeError(
            f"{name} must be True or False; got {value!r} of type "
            f"{type(value).__name__}."
        )
    return bool(value)


def check_label_smoothing(value: Any) -> float:
    """Return the smoothing as a float in [0, 1]."""
    if isinstance(value, NO_NUMBERS) or not isinstance(value, NUMBERS):
        raise TypeError(
            "label_smoothing must be a number in [0, 1]; got "
            f"{value!r} of type {type(value).__name__}."
        )
    try:
        smoothing = float(value)
    except OverflowError:  # of an integer or a fraction
        smoothing = np.inf
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1]; got {value!r}.")
    return smoothing


def check_ignore_index(value: Any) -> int:
    """Return the class index that marks ignored rows."""
    if isinstance(value, NO_NUMBERS) or not isinstance(value, INTEGERS):
        raise TypeError(
            f"ignore_index must be an integer; got {value!r} of type "
            f"{type(value).__name__}. Use a value no class has, such as -100, "
            "to ignore nothing."
        )
    return int(value)


def refuse_ignore_index(ignore_index: int) -> None:
    """Raise if rows of probability targets shall be ignored by their index."""
    if ignore_index >= 0:
        raise ValueError(
            "ignore_index applies to class indices only and must be negative with "
            f"probability targets; got {ignore_index}. Ignore rows with "
            "sample_weight=0."
        )


def _check_vector(value: Any, name: str, size: int, rule: str) -> NDArray[np.float64]:
    """Return a float64 vector of the given size."""
    array = check_floats(value, name)
    if array.shape != (size,):
        raise ValueError(
            f"{name} must have shape ({size},), {rule}; got shape {array.shape}."
        )
    return array.astype(np.float64, copy=False)


def check_class_weight(
    value: Any, n_classes: int, name: str = "weight"
) -> NDArray[np.float64]:
    """Return one weight per class; ones for None."""
    if value is None:
        return np.ones(n_classes)
    return _check_vector(value, name, n_classes, "one entry per class")


def refuse_negative(
    weights: NDArray[Any], name: str, where: Callable[[int], str]
) -> None:
    """Raise unless weights are finite and not negative.

    ``where(i)`` says where weight i is, and in a second sentence what 0 is there for.
    """
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(
            f"{name} must hold finite numbers, none of them negative; got "
            f"{weights[i]} {where(i)} with a weight of 0."
        )


def check_weights_of_samples(value: Any, n_samples: int) -> NDArray[np.float64] | None:
    """Return one weight per sample, not all 0, or None; a number weighs all alike."""
    if value is None:
        return None
    weights = check_floats(value, "sample_weight").astype(np.float64, copy=False)
    if weights.ndim == 0:
        weights = np.full(n_samples, weights)
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must have shape ({n_samples},), one entry per sample; got "
            f"shape {weights.shape}. Pass a vector."
        )
    refuse_negative(
        weights, "sample_weight", lambda row: f"at row {row}. Drop a sample"
    )
    if not weights.any():
        raise ValueError(
            "sample_weight must be positive for some sample; got zero for all of them. "
            "Pass None to weigh all alike."
        )
    return weights


def check_index_dtype(target: NDArray[Any]) -> NDArray[np.int64]:
    """Return class indices as int64."""
    if target.dtype == INT64:
        return target
    # an empty list comes as float64
    if target.dtype.kind not in "iu" and target.size:
        raise TypeError(
            "target of class indices must have an integer dtype; got dtype "
            f"{target.dtype}. Convert it to int64, or pass one row of "
            "probabilities for each row of input."
        )
    return as_int64(target)


def is_uint64(target: NDArray[Any]) -> bool:
    """Return whether integers are uint64, in any order of bytes."""
    return target.dtype.newbyteorder("=") == UINT64


def as_int64(target: NDArray[Any]) -> NDArray[np.int64]:
    """Return integers as int64, the largest one for what lies beyond."""
    if is_uint64(target):  # no class may come of wrapping around
        target = np.minimum(target, UINT64.type(LARGEST_INT64))
    return target.astype(np.int64)


def refuse_first_wrong_index(
    target: NDArray[Any], n_classes: int, ignore_index: int | None
) -> None:
    """Raise for the first index outside of the classes that is not ignored, if any."""
    bad = ((target < 0) | (target >= n_classes)) & (target != ignore_index)
    row = int(bad.argmax())
    raise ValueError(
        f"target must lie in [0, {n_classes}); got {target[row]} at row {row}. "
        "Mask rows with ignore_index."
    )


def refuse_integers_as_probabilities(dtype: np.dtype[Any]) -> None:
    """Raise for targets of the input's shape that hold integers."""
    if dtype.kind in "iub":
        raise TypeError(
            "target of the input's shape must hold probabilities in a float dtype; "
            f"got dtype {dtype}. Convert it to float64, or pass class "
            "indices of the input's shape without the class axis."
        )


def check_probability_targets(
    target: NDArray[Any], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return probability targets in the dtype and the layout of the kernels."""
    refuse_integers_as_probabilities(target.dtype)
    probabilities = check_floats(target, "target")
    if dtype == FLOAT16 and probabilities.dtype != FLOAT16:
        dtype = FLOAT32  # what float16 logits are computed in
    with np.errstate(over="ignore"):  # what the dtype cannot hold becomes inf
        return np.ascontiguousarray(probabilities, dtype=dtype)


def check_out(
    out: Any,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    name: str = "out",
    of: str = "input",
) -> None:
    """Raise unless ``out`` can receive a gradient of this shape and dtype."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a numpy array; got a {type(out).__name__}.")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"{name} must have the shape {shape} and dtype {dtype} of {of}; got shape "
            f"{out.shape} and dtype {out.dtype}."
        )
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writable; got a read-only array.")


def refuse_out_for_list(out: Any) -> None:
    """Raise if there is an array for the gradients of a list of arrays."""
    if out is not None:
        raise ValueError(
            f"out must be None for a list of arrays; got a {type(out).__name__}. The "
            "gradients come back as a list."
        )


def check_grad_output(value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the gradient that flows into the loss, of the shape of the loss."""
    array = check_floats(value, "grad_output")
    if array.shape != shape:
        raise ValueError(
            f"grad_output must have the shape of the loss, {shape}; got shape "
            f"{array.shape}."
        )
    return array.astype(np.float64, copy=False)


def check_distributions(value: Any, name: str, n_classes: int | None) -> NDArray[Any]:
    """Return soft labels: float rows that are distributions over the classes."""
    array = to_array(value, name)
    if array.dtype.kind != "f":
        raise ValueError(
            f"{name} of two dimensions must hold soft labels in a float dtype; got "
            f"dtype {array.dtype}. Pass labels of shape (n_samples,), or convert rows "
            "that sum to 1 with .astype(float)."
        )
    array = check_floats(array, name)
    if array.ndim != 2 or n_classes not in (None, array.shape[1]):
        raise ValueError(
            f"{name} must have one row per sample and one column per class, "
            f"{'n_classes' if n_classes is None else n_classes} columns; got shape "
            f"{array.shape}."
        )
    tolerance = max(np.finfo(array.dtype).eps ** 0.5, ROUNDED)
    # not <= rather than >, so that nan is refused as well
    off = ~((array >= 0).all(axis=1) & (np.abs(array.sum(axis=1) - 1) <= tolerance))
    if off.any():
        row = int(off.argmax())
        raise ValueError(
            f"{name} must hold non-negative rows that sum to 1; got "
            f"{array[row].tolist()} at row {row}. Divide each row by its sum."
        )
    return array
