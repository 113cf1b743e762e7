"""One call of a binary loss on a CUDA device.

Conventions are those of :mod:`skxent.losses._binary_call` and
:mod:`skxent.losses._device_call`.
"""

import math
from typing import Any, NamedTuple

from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import arrays_like
from skxent.kernels._cuda import real_name
from skxent.losses import _validation as check
from skxent.losses._binary_call import check_unit_interval
from skxent.losses._call import REDUCTIONS
from skxent.losses._device_operands import (
    dtype_of_input,
    floats_on_device,
    grad_output_on_device,
    vector_on_device,
)
from skxent.losses._device_out import (
    check_out_on_device,
    deliver_on_device,
    gradient_buffer_on_device,
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
        scale = 1.0
        if self.reduction in ("mean", "sample"):
            n_means = self.n_samples if self.reduction == "sample" else 1
            scale = max(1, n_means) / max(1, self.scores.shape[0])
        real = real_name(self.dtype)
        return self.call.arrays.constant((scale, *self.shares), real)

    @property
    def n_samples(self) -> int:
        """Length of the first axis; a number is one sample."""
        return self.shape[0] if self.shape else 1

    @property
    def loss_shape(self) -> tuple[int, ...]:
        """Shape of the reduced loss."""
        if self.reduction == "none":
            return self.shape
        return self.shape[:1] if self.reduction == "sample" else ()

    def run(self, gradient: Any, *, want_value: bool) -> Any:
        """Return the reduced loss if it is wanted; fill the gradient if not None."""
        losses, size = None, self.scores.shape[0]
        arrays = self.call.arrays
        if want_value and self.reduction in ("none", "sample"):
            # those of a sample are added up before they are rounded
            in_real = self.reduction == "sample"
            dtype = real_name(self.dtype) if in_real else self.dtype
            losses = arrays.empty((size,), dtype)
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
        if self.reduction == "sample":
            losses = self.means_of_samples(losses)
        if losses is not None:
            return losses.reshape(self.loss_shape)
        if self.reduction == "sum":
            return total
        return total / size if size else math.nan

    def means_of_samples(self, losses: Any) -> Any:
        """Return the mean loss of each sample."""
        arrays, n = self.call.arrays, self.n_samples
        size = self.scores.shape[0]
        share = arrays.constant((n / size if size else math.nan,), "float64")
        means = arrays.spread(share, (n,))
        if size:
            sums = backend.sums_of_rows(self.call, losses, n, real_name(self.dtype))
            means = arrays.product(means, sums)
        return arrays.cast(means, self.dtype)

    def checked_total(self) -> float:
        """Wait for the sum of the losses; raise for a probability that is none."""
        summary = backend.summary_on_host(self.call)
        if summary.n_wrong:
            arrays = self.call.arrays
            scores = arrays.to_host(arrays.cast(self.scores, "float64"))
            check_unit_interval(scores.reshape(self.shape))
        return summary.total

    def gradient_buffer(self, out: Any, *others: Any) -> Any:
        """Return the (n,) array that the kernel writes, and none that it reads."""
        arrays = self.call.arrays
        if out is not None:
            check_out_on_device(arrays, out, self.shape, self.dtype)
        operands = *self.targets, *others
        return gradient_buffer_on_device(arrays, out, self.scores, self.dtype, operands)

    def deliver(self, gradient: Any, out: Any) -> Any:
        """Return the gradient in the shape of the input, in ``out`` if given."""
        return deliver_on_device(self.call.arrays, gradient, self.shape, out)

    def weighted_by_output(self, grad_output: Any) -> "DeviceBinaryCall":
        """Return the call with the gradient of each loss multiplied with a number."""
        arrays, real = self.call.arrays, real_name(self.dtype)
        inflow = grad_output_on_device(arrays, grad_output, self.loss_shape, real)
        target, weight, pos_weight = self.targets
        if self.reduction in ("none", "sample"):
            size, period = self.scores.shape[0], weight.shape[0]
            n_periods = size // max(1, period)
            weight = arrays.spread(weight, (n_periods, period)).reshape((-1,))
            missing = (1,) * (len(self.shape) - len(self.loss_shape))
            inflow = inflow.reshape((*self.loss_shape, *missing))
            inflow = arrays.spread(inflow, self.shape)
        inflow = arrays.spread(inflow.reshape((-1,)), tuple(weight.shape))
        weight = arrays.product(weight, inflow)
        return self._replace(targets=(target, weight, pos_weight))

    def curvature(self, vector: Any, out: Any) -> Any:
        """Return the Hessian times a vector, both as the input."""
        v = vector_on_device(self.call.arrays, vector, self.shape, self.dtype)
        product = self.gradient_buffer(out, v)
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
    check.check_broadcasts(came, name, shape)
    while came and came[0] == 1:
        came = came[1:]
    trailing = shape[len(shape) - len(came) :]
    return arrays.spread(array.reshape(came), trailing).reshape((-1,))
