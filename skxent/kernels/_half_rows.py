"""Softmax rows of float16 logits: made float32 a chunk at a time, near the core.

A chunk of logits is converted to memory that stays in the second cache, where the loops
of :mod:`skxent.kernels._short_rows` and :mod:`skxent.kernels._long_rows` compute it as
any float32 chunk; its gradient is rounded on the way out. Nothing of the input's size
is copied, and main memory carries half the bytes.

Conventions are those of :mod:`skxent.kernels._cpu`, but for the dtypes. ``logits`` and
``gradient_out`` are float16, viewed as int16; so may be probabilities in ``target``,
which are float32 else. ``loss_out`` (n,) receives the losses as float16; with (2 n,)
it is a view of float32 numbers, for losses that are added up before they are rounded.
Arithmetic is that of float32; results are rounded once.

Memory for a chunk comes from ``np.empty``, 0.3 us: that of the last one is still warm.
"""

import numpy as np
from numba import prange

from skxent.kernels._groups import AHEAD
from skxent.kernels._half import read_floats, write_floats
from skxent.kernels._jit import inner, inner_with_memory, twins
from skxent.kernels._long_rows import long_rows_chunk
from skxent.kernels._rows import Rows
from skxent.kernels._short_rows import short_rows_chunk
from skxent.kernels._simd import (
    advance,
    lanes,
    load,
    load_part,
    pointer,
    prefetch,
    prefetch_to_write,
    spread,
)
from skxent.kernels._targets import options_of
from skxent.kernels._two_classes import two_classes_chunk
from skxent.kernels._vector import joined, two_sum


@inner
def widen(p, size, out):
    """Write float16 numbers, or float32 ones, as float32."""
    n = lanes(out)
    like = spread(0.0, out)
    full = size - size % n
    for i in range(0, full, n):
        prefetch(p, i + 2 * AHEAD * n)
        write_floats(read_floats(p, i, n, like), out, i, n)
    if full < size:
        rest = size - full
        write_floats(read_floats(p, full, rest, like), out, full, rest)


@inner
def narrow(p, size, out):
    """Write float32 numbers as float16."""
    n = lanes(p)
    full = size - size % n
    for i in range(0, full, n):
        prefetch_to_write(out, i + 2 * AHEAD * n)
        write_floats(load(p, i), out, i, n)
    if full < size:
        rest = size - full
        write_floats(load_part(p, full, rest, 0.0), out, full, rest)


@inner
def write_losses(losses, n_rows, begin, loss_out):
    """Write losses of rows from ``begin`` on, of ``n_rows`` in all, if asked for."""
    if loss_out.size == n_rows:
        narrow(pointer(losses), losses.size, advance(pointer(loss_out), begin))
    elif loss_out.size:
        parts = losses.view(np.int16)
        for i in range(parts.size):
            loss_out[2 * begin + i] = parts[i]


@inner
def read_columns(planes, o, j, block):
    """Read whole planes from ``o`` on, or columns from ``j`` on of that plane."""
    n_classes, n_columns = planes.shape[1], planes.shape[2]
    width = block.shape[2]
    p = advance(pointer(planes), o * n_classes * n_columns + j)
    if width == n_columns:
        widen(p, block.size, pointer(block))
    else:
        for k in range(n_classes):
            segment = advance(pointer(block), k * width)
            widen(advance(p, k * n_columns), width, segment)


@inner
def write_columns(block, o, j, planes_out):
    """Undo :func:`read_columns`."""
    n_classes, n_columns = planes_out.shape[1], planes_out.shape[2]
    width = block.shape[2]
    p = advance(pointer(planes_out), o * n_classes * n_columns + j)
    if width == n_columns:
        narrow(pointer(block), block.size, p)
    else:
        for k in range(n_classes):
            segment = advance(pointer(block), k * width)
            narrow(segment, width, advance(p, k * n_columns))


@inner_with_memory
def half_short_rows_chunk(rows, target, begin, end):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    n_rows = rows.logits.shape[0] * n_columns
    sums = lost = 0.0
    i = begin
    while i < end:
        o, j = divmod(i, n_columns)
        n_planes, width = 1, min(end - i, n_columns - j)
        if width == n_columns:
            n_planes = (end - i) // n_columns
        last = i + n_planes * width
        block = np.empty((n_planes, n_classes, width), np.float32)
        read_columns(rows.logits, o, j, block)
        if target.ndim == 1:
            q = target[i:last]
        else:
            q = np.empty(block.shape, np.float32)
            read_columns(target, o, j, q)
        losses = np.empty(last - i if rows.loss_out.size else 0, np.float32)
        part = Rows(
            block,
            rows.on_value,
            rows.off_value,
            rows.on_low,
            rows.row_weight[i:last],
            rows.options,
            rows.scale,
            losses,
            block[: n_planes if rows.gradient_out.size else 0],
        )
        if n_classes == 2:
            more = two_classes_chunk(part, q, 0, last - i)
        else:
            more = short_rows_chunk(part, q, 0, last - i)
        sums, error = two_sum(sums, more)
        lost += error
        write_losses(losses, n_rows, i, rows.loss_out)
        if rows.gradient_out.size:
            write_columns(block, o, j, rows.gradient_out)
        i = last
    return joined(sums, lost)


@inner_with_memory
def half_long_rows_chunk(rows, target, begin, end):
    """Return the sum of the losses of rows ``begin:end``; write what is asked for."""
    n_rows, n_classes = end - begin, rows.logits.shape[1]
    first = begin * n_classes
    block = np.empty((n_rows, n_classes), np.float32)
    widen(advance(pointer(rows.logits), first), block.size, pointer(block))
    if target.ndim == 1:
        q = target[begin:end]
    else:
        q = np.empty(block.shape, np.float32)
        widen(advance(pointer(target), first), q.size, pointer(q))
    losses = np.empty(n_rows if rows.loss_out.size else 0, np.float32)
    part = Rows(
        block,
        rows.on_value,
        rows.off_value,
        rows.on_low,
        rows.row_weight[begin:end],
        rows.options,
        rows.scale,
        losses,
        block[: n_rows if rows.gradient_out.size else 0],
    )
    sums = long_rows_chunk(part, q, 0, n_rows)
    write_losses(losses, rows.logits.shape[0], begin, rows.loss_out)
    if rows.gradient_out.size:
        narrow(pointer(block), block.size, advance(pointer(rows.gradient_out), first))
    return sums


@twins
def half_short_rows_loss(
    first_chunk,
    last_chunk,
    logits,
    target,
    on_value,
    off_value,
    on_low,
    row_weight,
    ignore_index,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = logits.size // logits.shape[1]
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        rows = Rows(
            logits,
            on_value,
            off_value,
            on_low,
            row_weight,
            options,
            scale,
            loss_out,
            gradient_out,
        )
        partial_out[chunk] = half_short_rows_chunk(rows, target, begin, end)


@twins
def half_long_rows_loss(
    first_chunk,
    last_chunk,
    logits,
    target,
    on_value,
    off_value,
    on_low,
    row_weight,
    ignore_index,
    scale,
    rows_per_chunk,
    loss_out,
    partial_out,
    gradient_out,
):
    """Write the sum of losses of each chunk; row losses and gradient if asked for."""
    n_rows = logits.size // logits.shape[1]
    options = options_of(on_value, off_value, ignore_index)
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, n_rows)
        rows = Rows(
            logits,
            on_value,
            off_value,
            on_low,
            row_weight,
            options,
            scale,
            loss_out,
            gradient_out,
        )
        partial_out[chunk] = half_long_rows_chunk(rows, target, begin, end)
