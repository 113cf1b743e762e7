"""Rows of probabilities: the loss ``-sum_k t_k log p_k`` and its gradient.

Conventions are those of :mod:`skxent.kernels._cpu`, with probabilities, target
probabilities and gradients of shape ``(outer, K, inner)``; ``inner`` is 1 where the
classes of a row lie side by side. Row ``i`` is column ``j`` of plane ``o``.
"""

from numba import float64

from skxent.kernels._jit import inner
from skxent.kernels._rules import blend, clip, reciprocal, surprise, weighted
from skxent.kernels._targets import any_nonzero, class_and_weight


@inner
def clipped_surprise(probabilities, o, k, j, low, high):
    """Return ``-log p`` with ``p`` limited to ``[low, high]``."""
    return surprise(clip(float64(probabilities[o, k, j]), low, high))


@inner
def log_loss_of_row(
    probabilities, target, on_value, off_value, smooth, i, y, low, high
):
    """Return ``sum_k -t_k log p_k`` of row ``i``; ``y`` is the class of an index."""
    o, j = divmod(i, probabilities.shape[2])
    loss = 0.0
    if target.ndim == 1:
        at_target = clipped_surprise(probabilities, o, y, j, low, high)
        loss = weighted(on_value[y], at_target)
        if smooth:
            for k in range(probabilities.shape[1]):
                of_class = clipped_surprise(probabilities, o, k, j, low, high)
                loss += weighted(off_value[k], of_class)
    else:
        for k in range(probabilities.shape[1]):
            t = blend(on_value[k], target[o, k, j], off_value[k])
            loss += weighted(t, clipped_surprise(probabilities, o, k, j, low, high))
    return loss


@inner
def probability_loss_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    ignore_index,
    low,
    high,
    begin,
    end,
    loss_out,
):
    """Return the sum of the losses of rows ``begin:end`` of probabilities."""
    smooth = any_nonzero(off_value)
    total = 0.0
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        loss = 0.0
        y = 0
        if target.ndim == 1:
            n_classes = probabilities.shape[1]
            y, weight = class_and_weight(target[i], weight, n_classes, ignore_index)
        if weight != 0:
            loss = weight * log_loss_of_row(
                probabilities, target, on_value, off_value, smooth, i, y, low, high
            )
        if loss_out.size:
            loss_out[i] = loss
        total += loss
    return total


@inner
def class_share(target, i, o, k, j):
    """Return ``q_k`` of row ``i``."""
    return float64(target[i] == k) if target.ndim == 1 else float64(target[o, k, j])


@inner
def probability_grad_chunk(
    probabilities,
    target,
    on_value,
    off_value,
    row_weight,
    ignore_index,
    scale,
    begin,
    end,
    gradient_out,
):
    """Write ``-t / p`` of rows ``begin:end``, times scale and row weight."""
    for i in range(begin, end):
        weight = row_weight[i] if row_weight.size else 1.0
        if target.ndim == 1:
            n_classes = probabilities.shape[1]
            _, weight = class_and_weight(target[i], weight, n_classes, ignore_index)
        factor = -scale * weight
        o, j = divmod(i, probabilities.shape[2])
        for k in range(gradient_out.shape[1]):
            slope = 0.0
            if weight != 0:
                q = class_share(target, i, o, k, j)
                t = factor * blend(on_value[k], q, off_value[k])
                slope = weighted(t, reciprocal(float64(probabilities[o, k, j])))
            gradient_out[o, k, j] = slope
