"""Softmax of logits in host memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends._numpy import _operand, _partition
from skxent.backends._threads import launch
from skxent.kernels._softmax import softmax_rows

__all__ = ["softmax"]


def softmax(logits: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the probabilities of logits (n, K), float32 or float64, C-contiguous.

    ``out`` is what to write them to, C-contiguous, maybe the logits themselves.
    """
    rows = _operand(logits)
    proba = np.empty_like(rows) if out is None else out
    rows_per_chunk, n_chunks = _partition(rows)
    launch(softmax_rows, rows.size, n_chunks, rows, rows_per_chunk, proba)
    return proba
