"""One call of a loss: its arguments checked, its results in the caller's form.

Conventions
-----------
C classes, N rows. ``input`` is (C,) or (N, C); a row stands for (C,) inside. float16 is
computed in float32, everything else in its own dtype; results come back in the dtype
of ``input``. Values are in nats.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxent.backends import Backend, EncodedTargets, backend_for
from skxent.losses import _validation as check
from skxent.losses._targets import encode_targets

__all__ = ["Call", "deliver", "gradient_buffer", "prepare", "value", "value_and_grad"]

REDUCTIONS = ("none", "sum", "mean")


class Call(NamedTuple):
    """The checked arguments of one call."""

    backend: Backend
    logits: NDArray[Any]  # (N, C) in the dtype that is computed with
    targets: EncodedTargets
    reduction: str
    from_logits: bool
    shape: tuple[int, ...]  # of input
    dtype: np.dtype[Any]  # of the results

    @property
    def batched(self) -> bool:
        return len(self.shape) == 2

    @property
    def scale(self) -> float:
        """What the sum of losses and its gradient are multiplied with."""
        if self.reduction != "mean":
            return 1.0
        denominator = self.targets.denominator
        return 1.0 / denominator if denominator else math.nan

    def reduce(self, total: float, losses: NDArray[Any]) -> Any:
        """Return the loss in the shape and dtype that the caller expects."""
        if self.reduction == "none":
            losses = _cast(losses, self.dtype)
            return losses if self.batched else losses[0]
        return _cast(np.float64(total * self.scale), self.dtype)

    def row_losses(self) -> NDArray[Any]:
        """Return the array that receives the row losses, empty if nobody asks."""
        size = len(self.logits) if self.reduction == "none" else 0
        return np.zeros(size, dtype=self.logits.dtype)


def _cast(values: Any, dtype: np.dtype[Any]) -> Any:
    """Return the values in the dtype; what it cannot hold becomes inf, as in torch."""
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def prepare(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    from_logits: bool,
    sample_weight: ArrayLike | None,
) -> Call:
    """Check and encode the arguments that every function of this module shares."""
    backend = backend_for(input)
    logits = check.check_floats(input, "input")
    if logits.ndim not in (1, 2):
        raise ValueError(
            "input must have shape (C,) or (N, C); got shape "
            f"{logits.shape}. Reshape it so that each row holds one prediction."
        )
    check.check_option(reduction, "reduction", REDUCTIONS)
    shape, dtype = logits.shape, logits.dtype
    targets = check.to_array(target, "target")
    if targets.shape not in (shape, shape[:-1]):
        raise ValueError(
            f"target must have shape {shape[:-1]} (class indices) or {shape} "
            f"(probabilities) for input of shape {shape}; got shape {targets.shape}."
        )
    of_probabilities = targets.ndim == logits.ndim
    if logits.ndim == 1:
        logits = logits[np.newaxis]
        targets = targets[np.newaxis]
    if dtype == np.float16:
        logits = logits.astype(np.float32)
    n_rows, n_classes = logits.shape
    if sample_weight is not None:
        sample_weight = check.check_sample_weight(sample_weight, n_rows, len(shape) > 1)
    encoded = encode_targets(
        targets if of_probabilities else targets.reshape(n_rows),
        n_classes,
        dtype=logits.dtype,
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        sample_weight=sample_weight,
    )
    return Call(backend, logits, encoded, reduction, from_logits, shape, dtype)


def gradient_buffer(call: Call, out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the (N, C) array that the kernel writes: ``out`` itself if it can."""
    if out is not None:
        check.check_out(out, call.shape, call.dtype)
        # A kernel may write over the logits, row by row, but not over a shifted view.
        in_place = out.ctypes.data == call.logits.ctypes.data
        if (
            out.dtype == call.logits.dtype
            and out.flags.c_contiguous
            and (in_place or not np.may_share_memory(out, call.logits))
            and not np.may_share_memory(out, call.targets.target)
            and not np.may_share_memory(out, call.targets.row_weight)
        ):
            return out.reshape(call.logits.shape)
    return np.empty(call.logits.shape, dtype=call.logits.dtype)


def deliver(
    call: Call, gradient: NDArray[Any], out: NDArray[Any] | None
) -> NDArray[Any]:
    """Return the gradient in the shape and dtype of the input, in ``out`` if given."""
    gradient = gradient.reshape(call.shape)
    if out is None:
        return np.asarray(_cast(gradient, call.dtype))
    if not np.may_share_memory(gradient, out):
        out[...] = _cast(gradient, call.dtype)
    return out


def value(call: Call, low: float = -np.inf, high: float = np.inf) -> Any:
    """Return the reduced loss; probabilities are limited to ``[low, high]``."""
    losses = call.row_losses()
    if not call.logits.size:
        total = 0.0
    elif call.from_logits:
        no_gradient = np.empty((0, 0), dtype=call.logits.dtype)
        total = call.backend.softmax_loss(
            call.logits, call.targets, losses, no_gradient, call.scale
        )
    else:
        total = call.backend.probability_loss(
            call.logits, call.targets, low, high, losses
        )
    return call.reduce(total, losses)


def value_and_grad(call: Call, out: NDArray[Any] | None) -> tuple[Any, NDArray[Any]]:
    """Return the reduced loss and its gradient, from one pass over logits."""
    gradient = gradient_buffer(call, out)
    if not call.logits.size:
        loss = value(call)
    elif call.from_logits:
        losses = call.row_losses()
        total = call.backend.softmax_loss(
            call.logits, call.targets, losses, gradient, call.scale
        )
        loss = call.reduce(total, losses)
    else:
        loss = value(call)
        call.backend.probability_grad(call.logits, call.targets, call.scale, gradient)
    return loss, deliver(call, gradient, out)
