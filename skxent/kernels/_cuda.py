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
  ``partial_out`` float64 the sum of the losses of each block, ``gradient_out``, another
  array of the logits' shape, ``scale`` times the gradient of the sum.
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
from skxent.kernels._cuda_probabilities import doubtful_rows, probability_rows_loss
from skxent.kernels._cuda_rows import Schedule, rows_loss
from skxent.kernels._cuda_short_rows import short_rows_loss, staged_step
from skxent.kernels._cuda_sums import (
    N_COUNTS,
    inverse,
    sum_columns,
    sum_rows,
    survey,
)

__all__ = [
    "BLOCK",
    "CURVATURE",
    "LOGITS",
    "MOST_STAGED_CLASSES",
    "N_COUNTS",
    "PARTS",
    "PROBABILITIES",
    "WARP",
    "compiled",
    "doubtful_rows",
    "elements_loss",
    "elements_per_block",
    "inverse",
    "picked_loss",
    "probability_rows_loss",
    "real_name",
    "real_of",
    "rows_curvature",
    "rows_loss",
    "schedule_of",
    "short_rows_loss",
    "staged_block",
    "staged_bytes",
    "sum_columns",
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
MOST_STAGED_CLASSES = 32
BLOCK = 128  # threads, where nothing asks for more
LARGEST_GROUP = 512
# Bytes of a row that a thread keeps in registers, its logits and its probabilities.
# More than 128 registers a thread are too few threads, or memory in their place.
MOST_OWN_BYTES = 128
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
    # told of a large block, the assembler takes no more registers than it may have
    blocks = [arg.block for arg in args if isinstance(arg, Schedule)]
    large = [block for block in blocks if block >= LARGEST_GROUP]
    bounds = {"launch_bounds": large[0]} if large else {}
    return cuda.jit(**bounds)(factory(*args))


def schedule_of(n_classes: int, dtype: str, has_indices: bool) -> Schedule:
    """Return how groups of threads share rows of more than a few classes.

    As few threads as have room for a row: what a row costs beside its entries, every
    thread of the group pays.
    """
    size = MEMORY[dtype].bitwidth // 8
    lanes = WIDTH // size
    own_bytes = lanes * real_of(dtype).bitwidth // 8 * (1 if has_indices else 2)
    most_parts = MOST_OWN_BYTES // own_bytes
    n_parts_of_row = -(-n_classes // lanes)
    group = max(8, 2 * lanes)  # as many as there may be numbers beside the parts
    while n_parts_of_row > group * most_parts and group < LARGEST_GROUP:
        group *= 2
    n_parts = 1
    while n_parts < most_parts and group * n_parts < n_parts_of_row:
        n_parts *= 2
    if group * n_parts < n_parts_of_row:
        return Schedule(2 * BLOCK, max(1, most_parts // 4), 2 * BLOCK, False)
    return Schedule(group, n_parts, max(group, BLOCK) if group <= WARP else group, True)


def staged_block(dtype: str, has_indices: bool) -> int:
    """Return how many rows a block stages: what they need fits beside other blocks."""
    return BLOCK if has_indices or dtype != "float64" else BLOCK // 2


def elements_per_block(dtype: str) -> int:
    """Return how many elements a block of an elementwise kernel has."""
    lanes: int = WIDTH * 8 // MEMORY[dtype].bitwidth
    return BLOCK * PARTS * lanes


def staged_bytes(n_classes: int, dtype: str, has_indices: bool, block: int) -> int:
    """Return the bytes of shared memory that staged rows need."""
    size: int = real_of(dtype).bitwidth // 8
    step: int = staged_step(n_classes)
    return block * step * size * (1 if has_indices else 2)
