"""One call of a loss of scores on a CUDA device: checked there, queued, delivered.

Conventions are those of :mod:`skxent.losses._call`. What comes beside the input moves
to its device; what comes back are arrays of its library, and Python floats.
"""

import math
from typing import Any, NamedTuple

from skxent.backends import NO_INDEX
from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import arrays_like, is_on_device
from skxent.kernels._cuda import real_name
from skxent.losses import _validation as check
from skxent.losses._layout import Layout, layout_of, make_layout

__all__ = [
    "REDUCTIONS",
    "DeviceCall",
    "dtype_of_input",
    "floats_on_device",
    "grad",
    "grad_output_on_device",
    "prepare_on_device",
    "value",
    "value_and_grad",
    "vector_on_device",
]

REDUCTIONS = ("none", "sum", "mean")
FLOATS = ("bfloat16", "float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


class DeviceCall(NamedTuple):
    """The checked arguments of one call."""

    call: backend.Call
    logits: Any  # rows or planes
    targets: backend.DeviceTargets
    layout: Layout
    reduction: str
    from_logits: bool
    dtype: str
    scale: Any  # (1,) on the device
    mean_of: float | None  # rows that a mean divides by, None for those surveyed

    def run(self, *, wants_loss: bool, gradient: Any) -> Any:
        """Return the reduced loss if it is wanted; fill the gradient if not None."""
        losses = None
        arrays = self.call.arrays
        if wants_loss and self.reduction == "none":
            losses = arrays.empty((self.layout.n_rows,), self.dtype)
        if self.layout.n_rows and self.layout.n_classes:
            common = self.logits, self.targets, self.dtype
            loss = (
                backend.softmax_loss if self.from_logits else backend.probability_loss
            )
            loss(self.call, *common, self.scale, losses, gradient)
        summary = self.checked_summary()
        if not wants_loss:
            return None
        if losses is not None:
            return losses.reshape(self.layout.row_shape)
        if self.reduction == "sum":
            return summary.total
        weight = summary.weight if self.mean_of is None else self.mean_of
        return summary.total / weight if weight else math.nan

    def checked_summary(self) -> backend.Summary:
        """Return what was found out; raise for a class index that is none."""
        summary = backend.summary_on_host(self.call)
        if summary.n_wrong:
            target = self.call.arrays.to_host(self.targets.target)
            check.refuse_first_wrong_index(
                target, self.layout.n_classes, self.targets.ignore_index
            )
        return summary

    def new_like_logits(self) -> Any:
        """Return an array for a gradient, as the kernels write it."""
        return self.call.arrays.empty(tuple(self.logits.shape), self.dtype)

    def delivered(self, gradient: Any) -> Any:
        """Return a gradient in the shape of the input."""
        return gradient.reshape(self.layout.shape)

    def weighted_by(self, grad_output: Any) -> "DeviceCall":
        """Return the call with the gradient of each loss multiplied with a number."""
        arrays, real = self.call.arrays, real_name(self.dtype)
        shape = self.layout.loss_shape(self.reduction)
        inflow = grad_output_on_device(arrays, grad_output, shape, real)
        n_rows = (self.layout.n_rows,)
        inflow = arrays.spread(inflow.reshape((-1,)), n_rows)
        weight = self.targets.row_weight
        if weight is None:
            weight = arrays.spread(arrays.constant((1.0,), real), n_rows)
        weight = arrays.times(weight, inflow)
        return self._replace(targets=self.targets._replace(row_weight=weight))

    def curvature(self, vector: Any) -> Any:
        """Return the Hessian times a vector, both as the input."""
        arrays = self.call.arrays
        v = vector_on_device(arrays, vector, self.layout.shape, self.dtype)
        product = self.new_like_logits()
        if self.layout.n_rows and self.layout.n_classes:
            backend.softmax_curvature(
                self.call,
                self.logits,
                self.targets,
                self.dtype,
                v,
                self.scale,
                product,
            )
        self.checked_summary()
        return self.delivered(product)


def floats_on_device(arrays: Any, value: Any, name: str, dtype: str) -> Any:
    """Return an array of floats on the device, of a dtype."""
    if not is_on_device(value):
        value = check.check_floats(value, name)
    array = arrays.read(value)
    came = arrays.dtype(array)
    if came not in (*FLOATS, *INTEGERS):
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


def prepare_on_device(
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    from_logits: bool,
    class_axis: int | None,
    sample_weight: Any,
) -> DeviceCall:
    """Check and encode the arguments of a loss of scores."""
    check.check_option(reduction, "reduction", REDUCTIONS)
    from_logits = check.check_flag(from_logits, "from_logits")
    ignore_index = check.check_ignore_index(ignore_index)
    smoothing = check.check_label_smoothing(label_smoothing)
    arrays = arrays_like(input)
    array = arrays.read(input)
    dtype = dtype_of_input(arrays, array)
    layout = layout_of(tuple(array.shape), class_axis)
    layout = make_layout(layout.shape, layout.axis, layout.axis)
    logits = array.reshape(layout.kernel_shape)
    call = backend.new_call(arrays)
    real = real_name(dtype)

    wanted, has_indices = _target(arrays, target, layout, dtype)
    if not has_indices:
        check.refuse_ignore_index(ignore_index)
    if abs(ignore_index) > check.LARGEST_INT64:
        ignore_index = NO_INDEX
    class_weight, values = _class_values(arrays, weight, smoothing, layout, real)
    row_weight = _row_weight(arrays, sample_weight, layout, real)
    targets = backend.DeviceTargets(
        wanted,
        *values,
        row_weight,
        ignore_index,
        smoothing > 0,
        has_indices,
    )
    mean_of = None
    if has_indices and layout.n_rows:
        backend.survey_indices(call, targets, class_weight, layout.n_classes, real)
    elif row_weight is not None:
        backend.total_of(call, arrays.cast(row_weight, "float64"))
    else:
        mean_of = float(layout.n_rows)
    if reduction != "mean":
        scale = arrays.constant((1.0,), real)
    elif mean_of is None:
        scale = backend.inverse_of(call, real)
    else:
        scale = arrays.constant((1 / mean_of if mean_of else math.nan,), real)
    return DeviceCall(
        call,
        logits,
        targets,
        layout,
        reduction,
        from_logits,
        dtype,
        scale,
        mean_of,
    )


def _target(arrays: Any, target: Any, layout: Layout, dtype: str) -> tuple[Any, bool]:
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
            f"target of class indices must have an integer dtype; got dtype {came}. "
            "Convert it to int64, or pass one row of probabilities for each row of "
            "input."
        )
    return arrays.cast(array, "int64").reshape((layout.n_rows,)), True


def _class_values(
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
    on, off = (
        arrays.times(weight, arrays.spread(arrays.constant((x,), real), weight.shape))
        for x in (1.0 - smoothing, share)
    )
    return weight, (on, off)


def _row_weight(arrays: Any, sample_weight: Any, layout: Layout, real: str) -> Any:
    """Return one weight per row from one per sample or one per row, or None."""
    if sample_weight is None:
        return None
    weight = floats_on_device(arrays, sample_weight, "sample_weight", real)
    shape = tuple(weight.shape)
    if shape not in (layout.row_shape[:1], layout.row_shape):
        raise ValueError(
            f"sample_weight must have shape {layout.row_shape[:1]}, one entry per "
            f"sample, or {layout.row_shape}, one entry per row; got shape {shape}."
        )
    missing = len(layout.row_shape) - len(shape)
    weight = weight.reshape(shape + (1,) * missing)
    return arrays.spread(weight, layout.row_shape).reshape((layout.n_rows,))


def value(call: DeviceCall) -> Any:
    """Return the reduced loss."""
    return call.run(wants_loss=True, gradient=None)


def value_and_grad(call: DeviceCall) -> tuple[Any, Any]:
    """Return the reduced loss and its gradient, from one pass over the logits."""
    gradient = call.new_like_logits()
    return call.run(wants_loss=True, gradient=gradient), call.delivered(gradient)


def grad(call: DeviceCall, grad_output: Any) -> Any:
    """Return the gradient, times what flows into the loss."""
    if grad_output is not None:
        call = call.weighted_by(grad_output)
    gradient = call.new_like_logits()
    call.run(wants_loss=False, gradient=gradient)
    return call.delivered(gradient)
