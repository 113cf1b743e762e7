"""One call of a binary loss on a CUDA device.

Conventions are those of :mod:`skxent.losses._binary_call` and
:mod:`skxent.losses._device_call`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import arrays_like
from skxent.kernels._cuda import real_name
from skxent.losses import _validation as check
from skxent.losses._binary_call import check_unit_interval
from skxent.losses._device import refuse_out_on_device
from skxent.losses._device_call import (
    REDUCTIONS,
    dtype_of_input,
    floats_on_device,
    grad_output_on_device,
    vector_on_device,
)

__all__ = ["DeviceBinaryCall", "prepare_on_device"]


class DeviceBinaryCall(NamedTuple):
    """The checked arguments of one call; its methods are those of `BinaryCall`."""

    call: backend.Call
    scores: Any  # (n,) logits or probabilities
    targets: tuple[Any, Any, Any]  # target (n,), weight and pos_weight, periodic
    shares: tuple[float, float]  # the smoothed target is the first times it, plus both
    reduction: str
    from_logits: bool
    shape: tuple[int, ...]
    dtype: str

    @property
    def options(self) -> Any:
        """What the sum is multiplied with, and the shares, on the device."""
        is_mean = self.reduction == "mean"
        scale = 1.0 / max(1, self.scores.shape[0]) if is_mean else 1.0
        real = real_name(self.dtype)
        return self.call.arrays.constant((scale, *self.shares), real)

    def run(self, gradient: Any, *, want_value: bool) -> Any:
        """Return the reduced loss if it is wanted; fill the gradient if not None."""
        losses, size = None, self.scores.shape[0]
        arrays = self.call.arrays
        if want_value and self.reduction == "none":
            losses = arrays.empty((size,), self.dtype)
        if size:
            backend.sigmoid_loss(
                self.call,
                self.scores,
                self.targets,
                self.dtype,
                self.from_logits,
                self.options,
                losses,
                gradient,
            )
        total = 0.0
        if not self.from_logits or (want_value and losses is None):
            total = self.checked_total()
        if not want_value:
            return None
        if losses is not None:
            return losses.reshape(self.shape)
        if self.reduction == "sum":
            return total
        return total / size if size else math.nan

    def checked_total(self) -> float:
        """Wait for the sum of the losses; raise for a probability that is none."""
        summary = backend.summary_on_host(self.call)
        if summary.n_wrong:
            arrays = self.call.arrays
            scores = arrays.to_host(arrays.cast(self.scores, "float64"))
            check_unit_interval(scores.reshape(self.shape))
        return summary.total

    def gradient_buffer(self, out: Any) -> Any:
        """Return the (n,) array that the kernel writes."""
        refuse_out_on_device(out)
        return self.call.arrays.empty(tuple(self.scores.shape), self.dtype)

    def deliver(self, gradient: Any, out: None) -> Any:
        """Return the gradient in the shape of the input."""
        return gradient.reshape(self.shape)

    def weighted_by_output(self, grad_output: Any) -> "DeviceBinaryCall":
        """Return the call with the gradient of each loss multiplied with a number."""
        arrays, real = self.call.arrays, real_name(self.dtype)
        shape = self.shape if self.reduction == "none" else ()
        inflow = grad_output_on_device(arrays, grad_output, shape, real)
        target, weight, pos_weight = self.targets
        if self.reduction == "none":
            period = weight.shape[0]
            n_periods = self.scores.shape[0] // max(1, period)
            weight = arrays.spread(weight, (n_periods, period)).reshape((-1,))
        inflow = arrays.spread(inflow.reshape((-1,)), tuple(weight.shape))
        weight = arrays.times(weight, inflow)
        return self._replace(targets=(target, weight, pos_weight))

    def curvature(self, vector: Any, out: None) -> Any:
        """Return the Hessian times a vector, both as the input."""
        v = vector_on_device(self.call.arrays, vector, self.shape, self.dtype)
        product = self.gradient_buffer(out)
        if self.scores.shape[0]:
            backend.sigmoid_curvature(
                self.call,
                self.scores,
                self.targets,
                self.dtype,
                v,
                self.options,
                product,
            )
        return self.deliver(product, out)


def prepare_on_device(
    input: Any,
    target: Any,
    weight: Any,
    pos_weight: Any,
    reduction: str,
    label_smoothing: float,
    from_logits: bool,
) -> DeviceBinaryCall:
    """Check and encode the arguments."""
    check.check_option(reduction, "reduction", REDUCTIONS)
    smoothing = check.check_label_smoothing(label_smoothing)
    arrays = arrays_like(input)
    array = arrays.read(input)
    dtype = dtype_of_input(arrays, array)
    real = real_name(dtype)
    shape = tuple(array.shape)
    wanted = floats_on_device(arrays, target, "target", dtype)
    if tuple(wanted.shape) != shape:
        raise ValueError(
            f"target must have the shape of input, {shape}; got shape "
            f"{tuple(wanted.shape)}. Reshape or broadcast one to the other."
        )
    weights = [
        _periodic(arrays, value, name, shape, real)
        for value, name in ((weight, "weight"), (pos_weight, "pos_weight"))
    ]
    return DeviceBinaryCall(
        backend.new_call(arrays),
        array.reshape((-1,)),
        (wanted.reshape((-1,)), *weights),
        (1.0 - smoothing, smoothing / 2),
        reduction,
        from_logits,
        shape,
        dtype,
    )


def _periodic(
    arrays: Any, value: Any, name: str, shape: tuple[int, ...], real: str
) -> Any:
    """Return the shortest (P,) array that holds element ``f``'s value at ``f % P``."""
    if value is None:
        return arrays.constant((1.0,), real)
    array = floats_on_device(arrays, value, name, real)
    came = tuple(array.shape)
    try:
        fits = np.broadcast_shapes(came, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must broadcast to the shape of input, {shape}; got shape {came}. "
            "Give it length 1 on the axes that it is spread over."
        )
    while came and came[0] == 1:
        came = came[1:]
    trailing = shape[len(shape) - len(came) :]
    return arrays.spread(array.reshape(came), trailing).reshape((-1,))
