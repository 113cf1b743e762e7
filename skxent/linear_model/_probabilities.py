"""Probabilities of classes from logits, exact to the last digits, and their logarithms.

With the likeliest class y of a row as its target, the loss is ``-log p_y``, and so
``log p_k = (z_k - z_y) + log p_y`` is exact however far the logits lie apart.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import backend_for
from skxent.losses._targets import encode_targets

__all__ = ["log_softmax", "own_shares", "softmax"]


def softmax(logits: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the probabilities of logits (n, K), float32 or float64.

    ``out`` is what to write them to, C-contiguous, maybe the logits themselves.
    """
    from skxent.backends import _softmax

    return _softmax.softmax(logits, out)


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the logarithms of the probabilities of logits (n, K)."""
    likeliest = logits.argmax(axis=1)
    targets = encode_targets(likeliest, logits.shape[1], dtype=logits.dtype)
    losses = np.empty(len(logits), dtype=logits.dtype)
    backend_for(logits).softmax_loss(logits, targets, losses, logits[:0], 1.0)
    with np.errstate(invalid="ignore"):  # inf - inf is nan, as it should be
        log_proba: NDArray[Any] = logits - logits.max(axis=1, keepdims=True)
    log_proba -= losses[:, np.newaxis]
    return log_proba


def own_shares(
    proba: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``w p (1 - p)`` of all K classes, given the P of all but the first."""
    shares = np.empty((len(proba), proba.shape[1] + 1))
    others = proba.sum(axis=1)
    shares[:, 0] = others * np.maximum(0.0, 1.0 - others)
    np.multiply(proba, 1.0 - proba, out=shares[:, 1:])
    shares *= weight[:, np.newaxis]
    return shares
