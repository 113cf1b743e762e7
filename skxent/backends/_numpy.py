"""The backend for arrays in host memory: launches the CPU kernels."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import _dense
from skxent.backends._base import BinaryTargets, EncodedTargets
from skxent.backends._threads import (
    LAUNCH_SIZE,
    PARALLEL_MIN_LINEAR,
    launch,
    launcher,
)
from skxent.kernels import (
    _class_values,
    _cpu,
    _gram_columns,
    _half_rows,
    _linear_rows,
    _log_loss,
    _row_checks,
    _sigmoid,
    _survey,
    _words,
)
from skxent.kernels._long_planes import GROUP
from skxent.kernels._short_rows import MOST_CLASSES

if TYPE_CHECKING:
    from skxent.kernels._jit import Twins

__all__ = [
    "MOST_LINEAR_CLASSES",
    "add_gram_of_columns",
    "bernoulli_loss",
    "bound_loss",
    "checked_log_loss",
    "class_values",
    "linear_softmax_loss",
    "match_words",
    "picked_loss",
    "probability_loss",
    "sigmoid_curvature",
    "sigmoid_loss",
    "softmax_curvature",
    "softmax_loss",
    "survey_indices",
    "worst_row_sum",
]

# The most elements of one chunk, the unit of scheduling and of partial sums, and what
# the number of chunks is a multiple of, for threads to end together. Two threads took
# an eighth longer for 7 chunks than for 8 that are smaller.
CHUNK_SIZE = 1 << 15
SHARED_CHUNKS = 4

# Up to so many classes `linear_softmax_loss` is faster than products by BLAS on blocks
# of rows, one thread each, for 20 to 784 features: 1.5 to 5 times at 5 and 10 classes,
# 1.0 to 2.5 at 32; at 64 only with less than 200 features.
MOST_LINEAR_CLASSES = 32

# Classes that a number of X is multiplied with in the time of an element of a loss.
CLASSES_OF_ELEMENT = 4

# To read one number of a row takes the time of so many elements of a loss.
PICKED_SIZE = 4

HALF = np.dtype(np.float16)
Array = NDArray[Any]  # to make it in an inner function takes 5 us in every call


class _Rewritable:
    """Export an array's memory as writable, to view it and never to write to it."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # keeps the memory alive
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def _operand(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in the one layout that the kernels are compiled for.

    Numba gives read-only arrays a type of their own, which would compile every kernel
    a second time; the kernels never write to an operand.
    """
    if array.flags.carray:  # contiguous and writable: nothing to do
        return array
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else np.asarray(_Rewritable(array))


def _partition(logits: NDArray[Any]) -> tuple[int, int]:
    """Return rows per chunk and number of chunks; depends on the shape alone."""
    return _partition_of(logits.shape)


@lru_cache(maxsize=64)
def _partition_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return `_partition` for arrays of a shape."""
    outer, n_classes, *inner = shape
    # as many neighbours as a vector has lanes are computed together
    fewest = GROUP if inner or n_classes <= MOST_CLASSES else 1
    most = max(fewest, CHUNK_SIZE // n_classes // fewest * fewest)
    n_rows = outer * math.prod(inner)
    n_chunks = -(-n_rows // most)
    if n_chunks > 1:  # as many, and as large, for each of 2 or 4 threads
        n_chunks = -(-n_chunks // SHARED_CHUNKS) * SHARED_CHUNKS
    rows_per_chunk = -(-n_rows // max(1, n_chunks))
    rows_per_chunk = max(1, -(-rows_per_chunk // fewest)) * fewest
    return rows_per_chunk, -(-n_rows // rows_per_chunk)


def _as_planes(array: NDArray[Any]) -> NDArray[Any]:
    """Return rows as planes one column wide."""
    return array[..., None] if array.ndim == 2 else array


def _operands(targets: EncodedTargets, *, as_planes: bool = False) -> tuple[Any, ...]:
    """Return the targets as kernels take them; probabilities as planes if need be."""
    target, on_value, off_value, row_weight, ignore_index, *_ = targets
    if as_planes:
        target = _as_planes(target)
    return _operand(target), on_value, off_value, _operand(row_weight), ignore_index


def _total(partial: NDArray[np.float64]) -> float:
    """Return the sum over the chunks; numpy takes 2 us to add up a single one."""
    # 3 us less than `partial.sum()` after a large call
    return partial.item() if partial.size == 1 else float(np.add.reduce(partial, None))


def softmax_loss(
    logits: NDArray[Any],
    targets: EncodedTargets,
    loss_out: NDArray[Any],
    gradient_out: NDArray[Any],
    scale: float,
) -> float:
    """Return the sum of the row losses; fill the outputs that are not empty."""
    loss = bound_loss(logits.shape, logits.dtype)
    if loss is None:
        return _loss_of_copy(logits, targets, loss_out, gradient_out, scale)
    target, on_value, off_value, row_weight, ignore_index, _, on_low = targets
    values = on_value, off_value, on_low, _operand(row_weight), ignore_index
    return loss(logits, target, loss_out, gradient_out, scale, values)


@lru_cache(maxsize=64)
def bound_loss(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[..., float] | None:
    """Return `softmax_loss` for logits of a shape; None where no kernel reads them.

    What is done here takes a fifth of the time of 32 rows.
    """
    halves, is_short, in_rows = dtype == HALF, shape[1] <= MOST_CLASSES, len(shape) == 2
    if is_short:
        floats = _cpu.two_classes_loss if shape[1] == 2 else _cpu.short_rows_loss
        kernel = _half_rows.half_short_rows_loss if halves else floats
    elif in_rows:
        kernel = _half_rows.half_long_rows_loss if halves else _cpu.long_rows_loss
    elif halves:
        return None
    else:
        kernel = _cpu.long_planes_loss
    as_planes = is_short and in_rows
    rows_per_chunk, n_chunks = _partition_of(shape)
    run = launcher(kernel, math.prod(shape), n_chunks)

    def loss(
        logits: Array,
        target: Array,
        loss_out: Array,
        gradient_out: Array,
        scale: float,
        values: tuple[Array, Array, Array, Array, int],
    ) -> float:
        if as_planes:
            logits, gradient_out = logits[..., None], gradient_out[..., None]
            if target.ndim == 2:
                target = target[..., None]
        if halves:
            logits, target, gradient_out = map(
                _as_integers, (logits, target, gradient_out)
            )
            loss_out = loss_out.view(np.int16)
        partial = np.empty(n_chunks)
        run(
            _operand(logits),
            _operand(target),
            *values,
            scale,
            rows_per_chunk,
            loss_out,
            partial,
            gradient_out,
        )
        return partial.item() if n_chunks == 1 else float(np.add.reduce(partial))

    return loss


def _as_integers(array: NDArray[Any]) -> NDArray[Any]:
    """Return float16 numbers as the kernels take them, other arrays as they are."""
    return array.view(np.int16) if array.itemsize == HALF.itemsize else array


def _loss_of_copy(
    logits: NDArray[Any],
    targets: EncodedTargets,
    loss_out: NDArray[Any],
    gradient_out: NDArray[Any],
    scale: float,
) -> float:
    """Do as :func:`softmax_loss` for float16 in a layout that no kernel reads."""
    target = targets.target
    if target.dtype == HALF:
        targets = targets._replace(target=target.astype(np.float32))
    losses = np.empty(loss_out.shape, np.float32)
    gradient = np.empty(gradient_out.shape, np.float32)
    logits = logits.astype(np.float32)
    total = softmax_loss(logits, targets, losses, gradient, scale)
    with np.errstate(over="ignore"):  # inf, as in the kernels
        loss_out[...] = losses
        gradient_out[...] = gradient
    return total


def add_gram_of_columns(
    block: NDArray[Any], weights: NDArray[Any], sums: NDArray[Any], out: NDArray[Any]
) -> None:
    """Add ``weights X X^T`` to ``out`` for a block of columns of X, in rows.

    ``sums`` is memory; it and ``out`` have whole vectors in a row.
    """
    rows, stride, _ = _dense.lines_of(block)
    _gram_columns.add_gram_of_columns(
        _operand(rows), stride, block.shape[1], weights, sums, out
    )


def softmax_curvature(
    logits: NDArray[Any],
    mass: NDArray[Any],
    row_weight: NDArray[Any],
    vector: NDArray[Any],
    scale: float,
    product_out: NDArray[Any],
) -> None:
    """Write ``scale`` times the Hessian of the sum times ``vector``."""
    rows_per_chunk, n_chunks = _partition(logits)
    if logits.shape[1] <= MOST_CLASSES:
        kernel = _cpu.short_rows_curvature
        logits, vector = _as_planes(logits), _as_planes(vector)
        product_out = _as_planes(product_out)
    elif logits.ndim == 2:
        kernel = _cpu.long_rows_curvature
    else:
        kernel = _cpu.long_planes_curvature
    launch(
        kernel,
        logits.size,
        n_chunks,
        _operand(logits),
        _operand(mass),
        _operand(row_weight),
        _operand(vector),
        scale,
        rows_per_chunk,
        product_out,
    )


def linear_softmax_loss(
    X: NDArray[Any],
    coef: NDArray[np.float64],
    targets: EncodedTargets,
    scale: float,
    gradient_out: NDArray[np.float64],
) -> float:
    """Return the sum of the losses of a linear model; fill the gradient."""
    n_rows, n_features = X.shape
    n_others = len(coef)
    data, stride, in_columns = _dense.lines_of(X)
    blocks = _dense.blocks_of(X.shape, n_others, X.itemsize)
    width = _dense.padded(n_features, X.itemsize)
    weights = _dense.aligned((n_others, width), X.dtype)
    weights[:, :n_features] = coef[:, :n_features]
    weights[:, n_features:] = 0.0
    intercept = np.zeros(n_others)
    has_intercept = coef.shape[1] > n_features
    if has_intercept:
        intercept[:] = coef[:, n_features]
    work = X.size * max(1, n_others // CLASSES_OF_ELEMENT)
    rows_per_segment = _dense.rows_of_share(blocks, work // LAUNCH_SIZE)
    n_segments = -(-blocks.rows_per_chunk // rows_per_segment)
    tiles_shape = blocks.n_chunks, blocks.block_rows * (n_others + 1)
    partial = np.empty((blocks.n_chunks, n_segments))
    slopes = _dense.aligned((blocks.n_chunks, n_others, width), intercept.dtype)
    slopes.fill(0.0)
    of_intercept = np.zeros((blocks.n_chunks, n_others))
    launch(
        _linear_rows.linear_rows_loss,
        work if work >= PARALLEL_MIN_LINEAR else 0,
        n_segments,
        _operand(data),
        stride,
        in_columns,
        n_rows,
        n_features,
        weights,
        intercept,
        *_operands(targets),
        *blocks,
        rows_per_segment,
        _dense.aligned(tiles_shape, X.dtype),
        partial,
        slopes,
        of_intercept,
    )
    total = slopes.sum(axis=0)[:, :n_features]
    np.multiply(total, scale, out=gradient_out[:, :n_features])
    if has_intercept:
        gradient_out[:, n_features] = scale * of_intercept.sum(axis=0)
    return _total(partial)


def probability_loss(
    probabilities: NDArray[Any],
    targets: EncodedTargets,
    low: float,
    high: float,
    loss_out: NDArray[Any],
    gradient_out: NDArray[Any],
    scale: float,
) -> float:
    """Return the sum of ``-t log p``; fill the outputs that are not empty."""
    rows_per_chunk, n_chunks = _partition(probabilities)
    partial = np.empty(n_chunks)
    launch(
        _cpu.probability_loss,
        probabilities.size,
        n_chunks,
        _operand(_as_planes(probabilities)),
        *_operands(targets, as_planes=True),
        low,
        high,
        scale,
        rows_per_chunk,
        loss_out,
        partial,
        _as_planes(gradient_out),
    )
    return _total(partial)


def picked_loss(
    log_probabilities: NDArray[Any],
    targets: EncodedTargets,
    loss_out: NDArray[Any],
    gradient_out: NDArray[Any],
    scale: float,
) -> float:
    """Return the sum of ``-t log p`` of class indices; fill outputs not empty."""
    rows_per_chunk, n_chunks = _partition(log_probabilities)
    partial = np.empty(n_chunks)
    n_rows = targets.target.size
    launch(
        _cpu.picked_loss,
        log_probabilities.size if gradient_out.size else n_rows * PICKED_SIZE,
        n_chunks,
        _operand(_as_planes(log_probabilities)),
        *_operands(targets),
        scale,
        rows_per_chunk,
        loss_out,
        partial,
        _as_planes(gradient_out),
    )
    return _total(partial)


def sigmoid_loss(
    logits: NDArray[Any],
    targets: BinaryTargets,
    loss_out: NDArray[Any],
    gradient_out: NDArray[Any],
    scale: float,
) -> float:
    """Return the sum of the losses of two-class rows; fill outputs not empty."""
    run, chunk_size, n_chunks = _flat_schedule(_sigmoid.sigmoid_losses, logits.size)
    target, weight, pos_weight, on_share, off_share = targets
    if logits.itemsize == HALF.itemsize:
        logits, target, loss_out, gradient_out = map(
            _as_integers, (logits, target, loss_out, gradient_out)
        )
    partial = np.empty(n_chunks)
    run(
        _operand(logits),
        _operand(target),
        _operand(weight),
        _operand(pos_weight),
        on_share,
        off_share,
        scale,
        chunk_size,
        loss_out,
        partial,
        gradient_out,
    )
    return _total(partial)


@lru_cache(maxsize=128)
def _flat_schedule(kernel: "Twins", size: int) -> tuple[Callable[..., None], int, int]:
    """Return what runs a kernel over so many numbers, and in which chunks."""
    chunk_size, n_chunks = _partition_of((size, 1))
    return launcher(kernel, size, n_chunks), chunk_size, n_chunks


def sigmoid_curvature(
    logits: NDArray[Any],
    targets: BinaryTargets,
    vector: NDArray[Any],
    scale: float,
    product_out: NDArray[Any],
) -> None:
    """Write ``scale`` times the Hessian of the sum times ``vector``."""
    chunk_size, n_chunks = _partition_of((logits.size, 1))
    launch(
        _sigmoid.sigmoid_curvatures,
        logits.size,
        n_chunks,
        _operand(logits),
        _operand(targets.target),
        _operand(targets.weight),
        _operand(targets.pos_weight),
        targets.on_share,
        targets.off_share,
        _operand(vector),
        scale,
        chunk_size,
        product_out,
    )


def bernoulli_loss(
    probabilities: NDArray[Any],
    targets: BinaryTargets,
    loss_out: NDArray[Any],
    gradient_out: NDArray[Any],
    scale: float,
) -> float:
    """Return the sum of the losses of probabilities; fill outputs not empty."""
    chunk_size, n_chunks = _partition_of((probabilities.size, 1))
    partial = np.empty(n_chunks)
    launch(
        _sigmoid.bernoulli_losses,
        probabilities.size,
        n_chunks,
        _operand(probabilities),
        _operand(targets.target),
        _operand(targets.weight),
        targets.on_share,
        targets.off_share,
        scale,
        chunk_size,
        loss_out,
        partial,
        gradient_out,
    )
    return _total(partial)


def worst_row_sum(rows: NDArray[Any], most: float) -> float:
    """Return how far the sum of a row is from 1, inf for values not in [0, most]."""
    rows_per_chunk, n_chunks = _partition(rows)
    worst = np.empty(n_chunks)
    launch(
        _row_checks.check_rows,
        rows.size,
        n_chunks,
        _operand(rows),
        _largest_below(most, rows.dtype),
        rows_per_chunk,
        worst,
    )
    return float(worst.item() if worst.size == 1 else worst.max())


def checked_log_loss(
    rows: NDArray[Any],
    labels: NDArray[Any],
    least: int,
    columns: NDArray[np.int64],
    row_weight: NDArray[np.float64],
    most: float,
    low: float,
    high: float,
) -> tuple[float, float]:
    """Return the sum of the losses, and what ``worst_row_sum`` returns."""
    rows_per_chunk, n_chunks = _partition(rows)
    partial, worst = np.empty((2, n_chunks))
    launch(
        _log_loss.log_losses,
        rows.size,
        n_chunks,
        _operand(rows),
        _operand(labels),
        least,
        columns,
        _operand(row_weight),
        _largest_below(most, rows.dtype),
        low,
        high,
        rows_per_chunk,
        worst,
        partial,
    )
    return _total(partial), float(worst.max())


@lru_cache(maxsize=16)
def _largest_below(most: float, dtype: np.dtype[Any]) -> float:
    """Return the largest number of a dtype that is not above ``most``."""
    nearest = dtype.type(most)
    below = np.nextafter(nearest, dtype.type(0))
    return float(nearest if float(nearest) <= most else below)


def survey_indices(
    target: NDArray[np.int64],
    n_classes: int,
    ignore_index: int,
    class_weight: NDArray[np.float64],
    row_weight: NDArray[np.float64],
) -> tuple[int, int, float]:
    """Return how many indices are wrong, how many ignored, what the others weigh."""
    run, chunk_size, n_chunks = _flat_schedule(_survey.survey_indices, target.size)
    counts = np.empty((n_chunks, _survey.N_COUNTS))
    run(
        _operand(target),
        n_classes,
        ignore_index,
        _operand(class_weight),
        _operand(row_weight),
        chunk_size,
        counts,
    )
    # numpy takes 1 us to add up a single row
    total = counts[0] if n_chunks == 1 else counts.sum(axis=0)
    wrong, ignored, weight = total.tolist()
    return int(wrong), int(ignored), weight


def class_values(
    class_weight: NDArray[np.float64],
    on_share: tuple[float, float],
    off_share: tuple[float, float],
) -> NDArray[np.float64]:
    """Return ``on_value``, ``off_value`` and ``on_low``, (3, K), of shares in parts."""
    values = np.empty((3, len(class_weight)))
    _class_values.class_values(_operand(class_weight), *on_share, *off_share, values)
    return values


def match_words(
    words: NDArray[np.uint32],
    columns: NDArray[np.int64],
    factors: NDArray[np.uint32],
    shift: int,
    table: NDArray[np.uint8],
    class_words: NDArray[np.uint32],
    codes_out: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Write the class of each label; return some rows of no class, if any."""
    rows_per_chunk = max(1, CHUNK_SIZE // words.shape[1])
    n_chunks = -(-len(words) // rows_per_chunk)
    missed = np.empty(n_chunks, np.int64)
    launch(
        _words.match_words,
        words.size,
        n_chunks,
        _operand(words),
        _operand(columns),
        _operand(factors),
        shift,
        table,
        _operand(class_words),
        rows_per_chunk,
        codes_out,
        missed,
    )
    return missed[missed >= 0]
