"""One call of a loss: its arguments checked, its results in the caller's form.

Conventions
-----------
C classes, n rows, however the input is laid out. float16 is computed in float32,
everything else in its own dtype; results come back in the dtype of ``input``. Values
are in nats. The kernels of logits read and write float16 themselves; what others
compute is copied to float32.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxent.backends import Backend, EncodedTargets, backend_for
from skxent.losses import _validation as check
from skxent.losses._layout import Layout, layout_of
from skxent.losses._ragged import RaggedLayout, ragged_layout, read
from skxent.losses._targets import encode_targets, need_float64, row_shares

__all__ = [
    "REDUCTIONS",
    "Call",
    "cast",
    "deliver",
    "gradient_buffer",
    "is_direct",
    "prepare",
    "prepare_call",
    "scale_of_mean",
    "value",
    "value_and_grad",
    "write_gradient",
]

REDUCTIONS = ("none", "sum", "mean", "sample")
FLOAT16, FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
SMALLEST_MAXIMUM = float(np.finfo(FLOAT16).max)  # what every dtype can hold


class Call(NamedTuple):
    """The checked arguments of one call."""

    backend: Backend
    logits: NDArray[Any]  # rows or planes, in the dtype that the kernels read
    targets: EncodedTargets
    sample_denominator: NDArray[np.float64] | None  # for the mean of each sample
    reduction: str
    from_logits: bool
    layout: Layout | RaggedLayout
    dtype: np.dtype[Any]  # of the results
    scale: float  # what the sum of losses and its gradient are multiplied with
    is_log: bool = False  # log-probabilities, with class indices

    def reduce(self, total: float, losses: NDArray[Any]) -> Any:
        """Return the loss in the shape and dtype that the caller expects."""
        if self.reduction == "none":
            return self.layout.split_losses(cast(losses, self.dtype))
        if self.sample_denominator is None:
            return number(total * self.scale, self.dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            sums = self.layout.sample_sums(losses)
            result = sums / divisors(self.sample_denominator)
        shape = self.layout.loss_shape(self.reduction)
        return cast(result, self.dtype).reshape(shape)[()]

    def row_losses(self) -> NDArray[Any]:
        """Return the array that receives the row losses, empty if nobody asks."""
        dtype = self.logits.dtype
        if self.reduction not in ("none", "sample"):
            return absent(1, dtype)
        if self.reduction == "sample" and dtype == FLOAT16:
            dtype = FLOAT32  # they are rounded when they have been added up
        return np.zeros(self.layout.n_rows, dtype=dtype)

    def of_log_probabilities(self) -> "Call":
        """Return the call for the logarithms of what it was prepared for."""
        return self._replace(is_log=True)

    def widened(self) -> "Call":
        """Return the call for kernels that do not read float16."""
        if self.logits.dtype != FLOAT16:
            return self
        return self._replace(logits=self.logits.astype(FLOAT32))

    def weighted_by(self, inflow: NDArray[np.float64]) -> "Call":
        """Return the call with the gradient of each row multiplied with a number."""
        rows = self.targets.row_weight
        if rows.size:
            with np.errstate(over="ignore", invalid="ignore"):
                rows = np.where(rows == 0, 0.0, rows * inflow)
        else:
            rows = inflow
        return self._replace(targets=self.targets._replace(row_weight=rows))

    def for_gradient(self) -> "Call":
        """Return the call whose sum of losses has the gradient of the reduced loss."""
        if self.sample_denominator is None:
            return self
        with np.errstate(over="ignore"):
            share = 1.0 / divisors(self.sample_denominator)
        share = share.reshape(self.layout.loss_shape(self.reduction))
        return self.weighted_by(self.layout.per_row(share))


def cast(values: Any, dtype: np.dtype[Any]) -> Any:
    """Return the values in the dtype; what it cannot hold becomes inf, as in torch."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype, copy=False)


def number(value: float, dtype: np.dtype[Any]) -> Any:
    """Return the scalar of the dtype, inf where the dtype cannot hold the value."""
    if abs(value) <= SMALLEST_MAXIMUM:  # no need of errstate, which takes 2 us
        return dtype.type(value)
    return cast(np.float64(value), dtype)


def scale_of_mean(denominator: float) -> float:
    """Return what the sum of losses is multiplied with, nan where there is no mean."""
    # Neither by 0 nor by infinite weights: no number may come of inf * 0.
    usable = denominator and math.isfinite(denominator)
    return 1.0 / denominator if usable else math.nan


def divisors(denominators: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what means are divided by, nan where `scale_of_mean` is."""
    is_none = (denominators == 0) | np.isinf(denominators)
    return np.where(is_none, math.nan, denominators)


@lru_cache(maxsize=16)
def absent(n_axes: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array without entries that stands for an output nobody asks for."""
    return np.empty((0,) * n_axes, dtype=dtype)


def prepare(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    from_logits: bool,
    class_axis: int | None,
    sample_weight: ArrayLike | None,
) -> Call:
    """Check and encode the arguments of a loss of scores."""
    backend = backend_for(input)
    layout, logits = _read_input(input, class_axis)
    dtype = logits.dtype
    if dtype == FLOAT16 and not check.check_flag(from_logits, "from_logits"):
        logits = logits.astype(FLOAT32)
    return prepare_call(
        backend,
        logits,
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


def prepare_call(
    backend: Backend,
    logits: NDArray[Any],
    layout: Layout | RaggedLayout,
    dtype: np.dtype[Any],
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    from_logits: bool,
    sample_weight: ArrayLike | None,
) -> Call:
    """Check and encode the arguments that every function of this room shares."""
    check.check_option(reduction, "reduction", REDUCTIONS)
    check.check_flag(from_logits, "from_logits")
    row_weight = None
    if sample_weight is not None:
        row_weight = layout.read_sample_weight(sample_weight)
    encoded = encode_targets(
        layout.read_target(target),
        layout.n_classes,
        dtype=logits.dtype,
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        sample_weight=row_weight,
    )
    sample_denominator, scale = None, 1.0
    if reduction == "mean":
        scale = scale_of_mean(encoded.denominator)
    elif reduction == "sample":
        shares = row_shares(encoded, weight)
        sample_denominator = layout.sample_sums(shares)
    if need_float64(logits.dtype, encoded.denominator, weight, sample_denominator):
        logits = logits.astype(FLOAT64)
        if encoded.target.ndim > 1:
            encoded = encoded._replace(target=encoded.target.astype(FLOAT64))
    return Call(
        backend,
        logits,
        encoded,
        sample_denominator,
        reduction,
        from_logits,
        layout,
        dtype,
        scale,
    )


def _read_input(
    input: Any, class_axis: int | None
) -> tuple[Layout | RaggedLayout, NDArray[Any]]:
    """Return the layout of the input, and its numbers as the kernels read them."""
    came = read(input, "input")
    if isinstance(came, list):
        ragged = ragged_layout(came, class_axis)
        return ragged, ragged.read(came, "input")
    array = check.check_floats(came, "input")
    layout = layout_of(array.shape, class_axis).without_copy(array)
    return layout, layout.to_kernel(array)


def is_direct(
    out: NDArray[Any],
    view: NDArray[Any],
    scores: NDArray[Any],
    operands: tuple[NDArray[Any], ...],
) -> bool:
    """Return whether a kernel may write to ``view``, that of ``out``, at once.

    It may write over the scores that it has read, not over a shifted view of them.
    """
    if out.dtype != scores.dtype or not view.flags.carray:
        return False
    if view is not out and not np.may_share_memory(view, out):
        return False
    if any(array.size and np.may_share_memory(out, array) for array in operands):
        return False
    if not np.may_share_memory(out, scores):
        return True
    if not scores.flags.c_contiguous:
        return False
    # asked last, since numpy takes long to tell an address
    return bool(out.ctypes.data == scores.ctypes.data)


def gradient_buffer(call: Call, out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the array that the kernel writes: ``out`` itself if it can."""
    if isinstance(call.layout, RaggedLayout):
        check.refuse_out_for_list(out)
    elif out is not None:
        check.check_out(out, call.layout.shape, call.dtype)
        view = call.layout.to_kernel(out)
        operands = (call.targets.target, call.targets.row_weight)
        if is_direct(out, view, call.logits, operands):
            return view
    return np.empty(call.logits.shape, dtype=call.logits.dtype)


def deliver(call: Call, gradient: NDArray[Any], out: NDArray[Any] | None) -> Any:
    """Return the gradient in the shape and dtype of the input, in ``out`` if given."""
    if isinstance(call.layout, RaggedLayout):
        return call.layout.from_kernel(cast(gradient, call.dtype))
    gradient = call.layout.from_kernel(gradient)
    if out is None:
        return cast(gradient, call.dtype)
    if gradient is not out and not np.may_share_memory(gradient, out):
        out[...] = cast(gradient, call.dtype)
    return out


def value(call: Call, low: float = -np.inf, high: float = np.inf) -> Any:
    """Return the reduced loss; probabilities are limited to ``[low, high]``."""
    losses = call.row_losses()
    no_gradient = absent(call.logits.ndim, call.logits.dtype)
    return call.reduce(_compute(call, losses, no_gradient, low, high), losses)


def value_and_grad(call: Call, out: NDArray[Any] | None) -> tuple[Any, Any]:
    """Return the reduced loss and its gradient, from one pass over logits if it can."""
    gradient = gradient_buffer(call, out)
    if call.reduction == "sample":
        loss = value(call)
        write_gradient(call.for_gradient(), gradient)
    else:
        losses = call.row_losses()
        loss = call.reduce(_compute(call, losses, gradient), losses)
    return loss, deliver(call, gradient, out)


def write_gradient(call: Call, gradient: NDArray[Any]) -> None:
    """Write ``scale`` times the gradient of the sum of the losses."""
    _compute(call, absent(1, call.logits.dtype), gradient)


def _compute(
    call: Call,
    losses: NDArray[Any],
    gradient: NDArray[Any],
    low: float = -np.inf,
    high: float = np.inf,
) -> float:
    """Return the sum of the losses; fill the arrays that are not empty."""
    if not call.logits.size:
        return 0.0
    backend = call.backend
    if call.from_logits or call.is_log:
        loss = backend.picked_loss if call.is_log else backend.softmax_loss
        return loss(call.logits, call.targets, losses, gradient, call.scale)
    return backend.probability_loss(
        call.logits, call.targets, low, high, losses, gradient, call.scale
    )
