"""One call of a loss of scores on a CUDA device: checked there, queued, delivered.

Conventions are those of :mod:`skxent.losses._call`. What comes beside the input moves
to its device; what comes back are arrays of its library, and Python floats.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from skxent.backends import NO_INDEX
from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import arrays_like
from skxent.kernels._cuda import real_name
from skxent.losses import _validation as check
from skxent.losses._call import REDUCTIONS, scale_of_mean
from skxent.losses._device_operands import (
    class_values,
    dtype_of_input,
    grad_output_on_device,
    per_row,
    row_weight_on_device,
    target_on_device,
    times_rows,
    vector_on_device,
    without_least_index,
)
from skxent.losses._device_out import (
    check_out_on_device,
    deliver_on_device,
    gradient_buffer_on_device,
)
from skxent.losses._layout import Layout, layout_of, make_layout

__all__ = [
    "DeviceCall",
    "grad",
    "prepare_on_device",
    "prepare_scores",
    "value",
    "value_and_grad",
]


class DeviceCall(NamedTuple):
    """The checked arguments of one call."""

    call: backend.Call
    logits: Any  # rows or planes
    targets: backend.DeviceTargets
    layout: Layout
    reduction: str
    dtype: str
    scale: Any  # (1,) on the device
    mean_of: float | None  # rows that a mean divides by, None for those surveyed
    loss: Callable[..., None]  # of the backend
    row_weight: Any  # (n,) as in ``targets``, without the shares of samples
    of_samples: Any  # (N,) float64, what the rows of each sample weigh, or None

    def run(self, *, wants_loss: bool, gradient: Any) -> Any:
        """Return the reduced loss if it is wanted; fill the gradient if not None.

        The host asks once whether class indices are wrong: where it waits for a number
        anyway, with that, else before a gradient is written over something.
        """
        losses = self.row_losses() if wants_loss else None
        wants_number = wants_loss and losses is None
        if not wants_number:
            self.check_indices()
        if self.layout.n_rows and self.layout.n_classes:
            common = self.logits, self.targets, self.dtype
            self.loss(self.call, *common, self.scale, losses, gradient)
        if wants_number:
            return self.number(self.checked_summary())
        return self.of_rows(losses) if wants_loss else None

    def reduced(self, losses: Any, summary: backend.Summary) -> Any:
        """Return the loss from those of the rows or, for a number, from their sum."""
        return self.number(summary) if losses is None else self.of_rows(losses)

    def number(self, summary: backend.Summary) -> float:
        """Return the sum of the losses, or their mean."""
        if self.reduction == "sum":
            return summary.total
        weight = summary.weight if self.mean_of is None else self.mean_of
        return summary.total * scale_of_mean(weight)

    def of_rows(self, losses: Any) -> Any:
        """Return the losses of the rows or of the samples."""
        if self.reduction == "sample":
            losses = self.sums_of_samples(losses)
        losses = self.call.arrays.cast(losses, self.dtype)
        return losses.reshape(self.layout.loss_shape(self.reduction))

    def row_losses(self) -> Any:
        """Return an array for the losses of the rows if they are wanted, else None."""
        if self.reduction in ("sum", "mean"):
            return None
        arrays = self.call.arrays
        # no kernel fills those of rows without classes
        new = arrays.empty if self.layout.n_classes else arrays.zeros
        return new((self.layout.n_rows,), real_name(self.dtype))

    def of_log_probabilities(self) -> "DeviceCall":
        """Return the call of the loss of log-probabilities and class indices."""
        return self._replace(loss=partial(backend.picked_loss, is_log=True))

    def sums_of_samples(self, losses: Any) -> Any:
        """Return the sums of the losses of each sample, whose shares the rows have."""
        n_samples = _n_samples(self.layout)
        if not self.layout.n_rows:
            nan = self.call.arrays.constant((math.nan,), "float64")
            return self.call.arrays.spread(nan, (n_samples,))
        real = real_name(self.dtype)
        return backend.sums_of_rows(self.call, losses, n_samples, real, self.of_samples)

    def check_indices(self) -> None:
        """Raise for a class index that is none; without indices nobody waits."""
        if self.targets.has_indices:
            self.checked_summary()

    def checked_summary(self) -> backend.Summary:
        """Wait for what was found out; raise for a class index that is none."""
        summary = backend.summary_on_host(self.call)
        if summary.n_wrong:
            target = self.call.arrays.to_host(self.targets.target)
            ignored = self.targets.ignore_index
            check.refuse_first_wrong_index(
                target,
                self.layout.n_classes,
                None if ignored == NO_INDEX else ignored,
            )
        return summary

    def gradient_buffer(self, out: Any, *others: Any) -> Any:
        """Return the array that the kernel writes, over no others that it reads."""
        arrays = self.call.arrays
        if out is not None:
            check_out_on_device(arrays, out, self.layout.shape, self.dtype)
        weight = self.targets.row_weight
        operands = self.targets.target, *([] if weight is None else [weight]), *others
        if getattr(self.loss, "func", None) is backend.picked_loss:
            operands += (self.logits,)  # which it would clear before it reads them
        return gradient_buffer_on_device(arrays, out, self.logits, self.dtype, operands)

    def delivered(self, gradient: Any, out: Any) -> Any:
        """Return a gradient in the shape of the input."""
        return deliver_on_device(self.call.arrays, gradient, self.layout.shape, out)

    def weighted_by(self, grad_output: Any) -> "DeviceCall":
        """Return the call with the gradient of each loss multiplied with a number."""
        arrays, real = self.call.arrays, real_name(self.dtype)
        shape = self.layout.loss_shape(self.reduction)
        inflow = grad_output_on_device(arrays, grad_output, shape, real)
        inflow = per_row(arrays, inflow, self.layout)
        targets = self.targets._replace(row_weight=self.row_weight)
        targets = times_rows(arrays, targets, inflow, real)
        row_weight = targets.row_weight
        if self.of_samples is not None:
            targets = _shared(self.call, targets, self.of_samples, self.layout, real)
        return self._replace(targets=targets, row_weight=row_weight)

    def curvature(self, vector: Any, out: Any) -> Any:
        """Return the Hessian times a vector, both as the input."""
        arrays = self.call.arrays
        v = vector_on_device(arrays, vector, self.layout.shape, self.dtype)
        product = self.gradient_buffer(out, v)
        self.check_indices()
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
        return self.delivered(product, out)


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
    arrays = arrays_like(input)
    array = arrays.read(input)
    dtype = dtype_of_input(arrays, array)
    layout = layout_of(tuple(array.shape), class_axis)
    layout = make_layout(layout.shape, layout.axis, layout.axis)
    return prepare_scores(
        arrays,
        array.reshape(layout.kernel_shape),
        layout,
        dtype,
        target,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        from_logits,
        sample_weight,
    )


def prepare_scores(
    arrays: Any,
    logits: Any,
    layout: Layout,
    dtype: str,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    from_logits: bool,
    sample_weight: Any,
) -> DeviceCall:
    """Check and encode the arguments beside the scores, which may be yet to come."""
    check.check_option(reduction, "reduction", REDUCTIONS)
    from_logits = check.check_flag(from_logits, "from_logits")
    ignore_index = check.check_ignore_index(ignore_index)
    smoothing = check.check_label_smoothing(label_smoothing)
    call = backend.new_call(arrays)
    real = real_name(dtype)

    wanted, has_indices = target_on_device(arrays, target, layout, dtype)
    if not has_indices:
        check.refuse_ignore_index(ignore_index)
    loss: Callable[..., None] = backend.softmax_loss
    if not from_logits:
        loss = backend.probability_loss
        if has_indices and not smoothing:
            loss = partial(backend.picked_loss, is_log=False)
    class_weight, values = class_values(arrays, weight, smoothing, layout, real)
    row_weight = row_weight_on_device(arrays, sample_weight, layout, real)
    if ignore_index == NO_INDEX and has_indices:
        wanted, row_weight = without_least_index(arrays, wanted, row_weight, real)
    if abs(ignore_index) > check.LARGEST_INT64:
        ignore_index = NO_INDEX
    targets = backend.DeviceTargets(
        wanted,
        *values,
        row_weight,
        ignore_index,
        smoothing > 0,
        has_indices,
    )
    mean_of = inverse = None
    shares = None
    if reduction == "sample" and has_indices:
        shares = arrays.empty((layout.n_rows,), "float64")
    if has_indices and layout.n_rows:
        inverse = backend.survey_indices(
            call, targets, class_weight, layout.n_classes, real, shares
        )
    elif row_weight is not None and layout.n_classes:
        backend.total_of(call, arrays.cast(row_weight, "float64"))
    else:
        # torch divides by the number of probabilities over that of classes: 0 / 0
        mean_of = float(layout.n_rows if layout.n_classes else 0)
    of_samples = None
    if reduction == "sample" and layout.n_rows:
        of_samples = _weights_of_samples(call, targets, shares, layout, real)
        targets = _shared(call, targets, of_samples, layout, real)
    if reduction != "mean":
        scale = arrays.constant((1.0,), real)
    elif inverse is not None:
        scale = inverse
    elif mean_of is None:
        scale = backend.inverse_of_weight(call, real)
    else:
        scale = arrays.constant((scale_of_mean(mean_of),), real)
    return DeviceCall(
        call,
        logits,
        targets,
        layout,
        reduction,
        dtype,
        scale,
        mean_of,
        loss,
        row_weight,
        of_samples,
    )


def _n_samples(layout: Layout) -> int:
    return layout.row_shape[0] if layout.row_shape else 1


def _weights_of_samples(
    call: backend.Call,
    targets: backend.DeviceTargets,
    shares: Any,
    layout: Layout,
    real: str,
) -> Any:
    """Return what the rows of each sample weigh together, (N,) float64.

    ``shares`` (n,), float64, are what class indices weigh, None for probabilities.
    """
    arrays = call.arrays
    if shares is None:
        weight = targets.row_weight
        if weight is None:
            weight = arrays.constant((float(layout.n_classes > 0),), real)
        shares = arrays.cast(arrays.spread(weight, (layout.n_rows,)), "float64")
    return backend.sums_of_rows(call, shares, _n_samples(layout), "float64")


def _shared(
    call: backend.Call,
    targets: backend.DeviceTargets,
    of_samples: Any,
    layout: Layout,
    real: str,
) -> backend.DeviceTargets:
    """Return the targets with the weights of rows as shares of their samples."""
    factors = backend.inverses_of(call, of_samples, _n_samples(layout), real)
    factors = per_row(call.arrays, factors, layout)
    return times_rows(call.arrays, targets, factors, real)


def value(call: DeviceCall) -> Any:
    """Return the reduced loss."""
    return call.run(wants_loss=True, gradient=None)


def value_and_grad(call: DeviceCall, out: Any) -> tuple[Any, Any]:
    """Return the reduced loss and its gradient, from one pass over the logits."""
    gradient = call.gradient_buffer(out)
    return call.run(wants_loss=True, gradient=gradient), call.delivered(gradient, out)


def grad(call: DeviceCall, grad_output: Any, out: Any) -> Any:
    """Return the gradient, times what flows into the loss."""
    if grad_output is not None:
        call = call.weighted_by(grad_output)
    gradient = call.gradient_buffer(out)
    call.run(wants_loss=False, gradient=gradient)
    return call.delivered(gradient, out)
