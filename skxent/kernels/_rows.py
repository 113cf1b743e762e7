"""What the loops over a chunk of rows are given, in one record."""

from typing import Any, NamedTuple

from skxent.kernels._jit import inner
from skxent.kernels._simd import pointer


class Rows(NamedTuple):
    """Rows and where results go: see :mod:`skxent.kernels._cpu`.

    The target is handed over beside it: numba leaves out what is for targets of another
    kind only if it can tell by an argument.
    """

    logits: Any
    on_value: Any
    off_value: Any
    on_low: Any
    row_weight: Any
    options: Any
    scale: Any
    loss_out: Any
    gradient_out: Any


class Pointers(NamedTuple):
    """The same without arrays: handing those over counts references, 5 ns for each.

    ``q`` points to probabilities if there are any, ``index`` to class indices else.
    """

    logits: Any
    index: Any
    q: Any
    has_q: Any
    on_value: Any
    off_value: Any
    on_low: Any
    n_low: Any
    row_weight: Any
    n_weights: Any
    loss_out: Any
    n_losses: Any
    gradient_out: Any
    n_gradients: Any
    n_classes: Any
    n_columns: Any
    options: Any
    scale: Any


@inner
def pointers_of(rows, target, n_columns, no_index):
    """Return where everything is; ``no_index`` is where indices would be."""
    p = pointer(rows.logits)
    if target.ndim == 1:
        index, q = pointer(target), p
    else:
        index, q = no_index, pointer(target)
    return Pointers(
        p,
        index,
        q,
        target.ndim > 1,
        pointer(rows.on_value),
        pointer(rows.off_value),
        pointer(rows.on_low),
        rows.on_low.size,
        pointer(rows.row_weight),
        rows.row_weight.size,
        pointer(rows.loss_out),
        rows.loss_out.size,
        pointer(rows.gradient_out),
        rows.gradient_out.size,
        rows.logits.shape[1],
        n_columns,
        rows.options,
        rows.scale,
    )
