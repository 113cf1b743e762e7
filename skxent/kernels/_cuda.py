"""CUDA kernels: which one runs, compiled on first use.

Conventions
-----------
- Arguments are addresses of contiguous arrays, then integers: lengths and flags. The
  arrays begin at multiples of 16 bytes.
- ``logits`` are rows (n, K) or planes ``(outer, K, inner)``, as in
  :mod:`skxent.kernels._cpu`, of dtype float64, float32, float16 or bfloat16. What is
  computed with, ``real``, is float64 for the first and float32 for the others.
- ``target`` (n,) int64 class indices, or probabilities of the logits' shape and dtype.
- ``on_value``, ``off_value`` of dtype ``real``: (K,), or one number for all classes,
  with ``class_step`` 0. ``row_weight`` (n,) of dtype ``real``. ``scale`` is one number.
- What a row of weight 0 is, an index that is ignored or does not exist, and a row
  whose maximum is not finite, is as on the CPU.
- ``loss_out`` (n,) of the logits' dtype receives the row losses if ``is_per_row``,
  ``partial_out`` (n_blocks, 2) float64 how many rows of each block count and the sum of
  their losses, ``gradient_out``, the logits themselves or another array of their
  shape, ``scale`` times the gradient of the sum.
"""

from functools import lru_cache
from typing import Any

from numba import cuda
from numba.core.types import float16, float32, float64, uint16

from skxent.kernels._cuda_curvature import rows_curvature
from skxent.kernels._cuda_elements import (
    CURVATURE,
    LOGITS,
    PROBABILITIES,
    elements_loss,
)
from skxent.kernels._cuda_groups import WARP
from skxent.kernels._cuda_memory import WIDTH
from skxent.kernels._cuda_picked import picked_loss
from skxent.kernels._cuda_planes import planes_loss
from skxent.kernels._cuda_probabilities import doubtful_rows, probability_rows_loss
from skxent.kernels._cuda_rows import Schedule, rows_loss
from skxent.kernels._cuda_short_rows import short_rows_loss
from skxent.kernels._cuda_sums import (
    N_COUNTS,
    N_PARTIAL,
    inverse,
    sum_columns,
    sum_counts,
    sum_rows,
    survey,
)

__all__ = [
    "BLOCK",
    "CURVATURE",
    "LOGITS",
    "N_COUNTS",
    "N_PARTIAL",
    "PARTS",
    "PROBABILITIES",
    "WARP",
    "compiled",
    "doubtful_rows",
    "elements_loss",
    "elements_per_block",
    "inverse",
    "is_of_thread",
    "picked_loss",
    "planes_loss",
    "probability_rows_loss",
    "real_name",
    "real_of",
    "rows_curvature",
    "rows_loss",
    "schedule_of",
    "short_rows_loss",
    "sum_columns",
    "sum_counts",
    "sum_rows",
    "survey",
    "types_of",
]

MEMORY: dict[str, Any] = {
    "bfloat16": uint16,
    "float16": float16,
    "float32": float32,
    "float64": float64,
}
BLOCK = 128  # threads, where nothing asks for more
# Bytes of a row that a thread keeps in registers: all of it, or a share of it beside
# others. As much again goes to what a target needs that is no class index alone.
MOST_BYTES_OF_ROW = 256
MOST_BYTES_OF_SHARE = 128
LARGEST_GROUP = 256  # that has whole rows
PARTS = 4  # of 16 bytes for each thread of an elementwise kernel


def real_name(dtype: str) -> str:
    """Return the dtype that numbers of a dtype are computed with."""
    return "float64" if dtype == "float64" else "float32"


def real_of(dtype: str) -> Any:
    """Return its numba type."""
    return MEMORY[real_name(dtype)]


def types_of(dtype: str) -> tuple[Any, Any]:
    """Return ``memory`` and ``real``, the numba types that most factories take."""
    return MEMORY[dtype], real_of(dtype)


@lru_cache(maxsize=256)
def compiled(factory: Any, *args: Any) -> Any:
    """Return the kernel that a factory makes, the same for the same arguments."""
    bounds = {}
    for arg in args:
        if isinstance(arg, Schedule) and arg.n_resident:
            # told of it, the assembler takes no more registers than there are
            bounds["launch_bounds"] = arg.block, arg.n_resident
    return cuda.jit(**bounds)(factory(*args))


def is_of_thread(n_classes: int, dtype: str) -> bool:
    """Return whether a thread has room for a row of so many classes."""
    size: int = real_of(dtype).bitwidth // 8
    return n_classes * size <= MOST_BYTES_OF_ROW


def schedule_of(
    n_classes: int, dtype: str, has_indices: bool, is_smooth: bool
) -> Schedule:
    """Return how groups of threads share rows of more than a few classes.

    As few threads as have room for a row: what a row costs beside its entries, every
    thread of the group pays.
    """
    lanes = WIDTH * 8 // MEMORY[dtype].bitwidth
    is_plain = has_indices and not is_smooth
    own_bytes = lanes * real_of(dtype).bitwidth // 8 * (1 if is_plain else 2)
    most_parts = MOST_BYTES_OF_SHARE // own_bytes
    n_parts_of_row = n_classes // lanes
    is_aligned = n_classes % lanes == 0
    # as many threads as there may be numbers beside the parts
    group = 8 if is_aligned else max(8, 2 * lanes)
    while n_parts_of_row > group * most_parts and group < LARGEST_GROUP:
        group *= 2
    if n_parts_of_row <= group * most_parts:
        n_parts = max(1, -(-n_parts_of_row // group))
        block = max(group, BLOCK) if group <= WARP else group
        return Schedule(group, n_parts, block, True, is_aligned)
    # a few blocks hide each other's pauses, and share the registers
    is_half = real_of(dtype) != MEMORY[dtype]
    is_narrow = not is_aligned and is_plain and not is_half
    n_parts = max(1, most_parts * 3 // 8 if is_narrow else most_parts // 2)
    if not is_plain or dtype == "float64":
        block, n_resident = 512, 1
    else:
        block, n_resident = (256, 3) if is_half else (512, 2)
    return Schedule(block, n_parts, block, False, is_aligned, n_resident)


def elements_per_block(dtype: str) -> int:
    """Return how many elements a block of an elementwise kernel has."""
    lanes: int = WIDTH * 8 // MEMORY[dtype].bitwidth
    return BLOCK * PARTS * lanes
