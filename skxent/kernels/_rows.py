"""What the loops over a chunk of rows are given, in one record."""

from typing import Any, NamedTuple


class Rows(NamedTuple):
    """Rows and where results go: see :mod:`skxent.kernels._cpu`.

    The target is handed over beside it: numba leaves out what is for targets of another
    kind only if it can tell by an argument.
    """

    logits: Any
    on_value: Any
    off_value: Any
    row_weight: Any
    options: Any
    scale: Any
    loss_out: Any
    gradient_out: Any
