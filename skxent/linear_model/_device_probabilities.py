"""Probabilities of classes from logits on a CUDA device, by the kernel of the loss.

As :mod:`skxent.linear_model._probabilities` says of their logarithms. The gradient of
the loss of the likeliest class is the probability of every other one.
"""

from typing import Any

from skxent.backends import NO_INDEX
from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import arrays_like

__all__ = ["log_softmax", "softmax"]


def softmax(logits: Any) -> Any:
    """Return the probabilities of logits (n, K)."""
    arrays: Any = arrays_like(logits)
    likeliest = logits.argmax(1)
    proba = arrays.empty(tuple(logits.shape), arrays.dtype(logits))
    losses = _losses(arrays, logits, likeliest, proba)
    arrays.put(proba, likeliest, arrays.exp(0 - losses))
    return proba


def log_softmax(logits: Any) -> Any:
    """Return the logarithms of the probabilities of logits (n, K)."""
    arrays: Any = arrays_like(logits)
    losses = _losses(arrays, logits, logits.argmax(1), None)
    return (logits - arrays.largest(logits)) - losses[:, None]


def _losses(arrays: Any, logits: Any, likeliest: Any, proba: Any) -> Any:
    """Return the losses of the likeliest classes; fill the probabilities of others."""
    name = arrays.dtype(logits)
    losses = arrays.empty((len(logits),), name)
    one = arrays.constant((1.0,), name)
    targets = backend.DeviceTargets(
        arrays.cast(likeliest, "int64"),
        one,
        arrays.constant((0.0,), name),
        None,
        NO_INDEX,
        is_smooth=False,
        has_indices=True,
    )
    call = backend.new_call(arrays)
    backend.softmax_loss(call, arrays.read(logits), targets, name, one, losses, proba)
    return losses
