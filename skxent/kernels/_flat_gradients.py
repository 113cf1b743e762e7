"""The gradient of rows as they lie, for :mod:`skxent.kernels._flat_rows`.

Of plain class indices it is a multiple of the exponentials, but at the index; of other
targets, a multiple less ``t``. It is written past the caches if it would fill them:
lines that are not read first save a third of what memory has to move. Rows no longer
than two vectors gain nothing by it.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`.
"""

from skxent.kernels._batches import (
    find_smoothed_shares,
    find_soft_shares,
    place_of,
    share_of_indices,
)
from skxent.kernels._flat_targets import residuals_of_group
from skxent.kernels._groups import AHEAD, is_streamed, later_line
from skxent.kernels._jit import inner
from skxent.kernels._row_sums import scale_rows
from skxent.kernels._simd import (
    advance,
    lanes,
    load,
    load_beside,
    load_part,
    numbers,
    pointer,
    prefetch_to_write,
    scatter,
    spread,
    store,
    store_part,
    stream,
    to_next_line,
)


@inner
def find_shares(batch, rows, target, width):
    """Find what the exponentials of each row are multiplied with."""
    for r in range(0, width, lanes(batch.tile)):
        if target.ndim > 1:
            find_soft_shares(batch, r, rows.scale)
        elif rows.options[1]:
            find_smoothed_shares(batch, r, rows.scale)
        else:
            share, at_y = share_of_indices(batch, r, rows.scale)
            store(share, batch.share, r)
            store(at_y, batch.at_y, r)


@inner
def scale_group(batch, n_classes, r, out):
    """Write the gradient of a group of rows, but at their indices."""
    n = lanes(out)
    tile = advance(batch.tile, r * n_classes)
    if n_classes <= n:
        scale_rows(load(batch.share, r), tile, n_classes, out)
    else:
        for j in range(n):
            share = spread(batch.share[r + j], out)
            row = j * n_classes
            scale_row(share, advance(tile, row), n_classes, advance(out, row))


@inner
def write_planes(batch, n_classes, n_columns, starts, width, out):
    """Write the gradient of groups in planes, plane by plane."""
    n = lanes(out)
    for k in range(n_classes):
        later = later_line(k, n_classes, n_columns, width)
        for g in range(width // n):
            if starts[g] >= 0:
                at = starts[g] + k * n_columns
                prefetch_to_write(out, at + later)
                e = load(batch.tile, (g * n_classes + k) * n)
                store(e * load(batch.share, g * n), out, at)


@inner
def write_at_indices(batch, target, n_classes, n_columns, i, r, out):
    """Write the gradient of a group at its class indices."""
    at_y = load(batch.at_y, r)
    y = place_of(load_beside(pointer(target), i + r, at_y), n_classes)
    lane = numbers(load_beside(batch.d, r, at_y))
    row, step = (n_classes, 1) if n_columns == 1 else (1, n_columns)
    scatter(at_y, out, lane * row + y * step)


@inner
def write_group(batch, rows, target, on, off, i, r, out):
    """Write the gradient of a group of rows side by side."""
    n_classes = rows.logits.shape[1]
    if target.ndim > 1 or rows.options[1]:
        q = advance(pointer(target), (i + r) * n_classes) if target.ndim > 1 else out
        residuals_of_group(batch, r, q, on, off, n_classes, target.ndim > 1, out)
    else:
        scale_group(batch, n_classes, r, out)
    if target.ndim == 1:
        write_at_indices(batch, target, n_classes, 1, i, r, out)


@inner
def write_through(batch, rows, target, on, off, i, width, starts):
    """Write the gradient of groups side by side through the caches."""
    n_classes = rows.logits.shape[1]
    n = lanes(batch.tile)
    for r in range(0, width, n):
        if starts[r // n] >= 0:
            out = advance(pointer(rows.gradient_out), starts[r // n])
            for k in range(n_classes):
                prefetch_to_write(out, (AHEAD // 2 + k) * n)
            write_group(batch, rows, target, on, off, i, r, out)


@inner
def write_past(batch, rows, target, on, off, i, width, starts):
    """Do so past the caches.

    Into the other tile first, whose lines are then written whole, as many at once as
    there are groups one behind the other. In the same tile the stores of one row would
    delay the loads of the next.
    """
    n_classes = rows.logits.shape[1]
    gradient = pointer(rows.gradient_out)
    n = lanes(gradient)
    begin = 0
    for r in range(0, width, n):
        if starts[r // n] >= 0:
            near = advance(batch.target_tile, r * n_classes)
            write_group(batch, rows, target, on, off, i, r, near)
        if r + n == width or starts[r // n] < 0 or starts[r // n + 1] < 0:
            end = r if starts[r // n] < 0 else r + n
            if end > begin:
                stream_copy(
                    advance(batch.target_tile, begin * n_classes),
                    (end - begin) * n_classes,
                    advance(gradient, starts[begin // n]),
                )
            begin = r + n


@inner
def stream_copy(p, size, out):
    """Copy numbers, past the caches."""
    n = lanes(p)
    begin = min(to_next_line(out), size)
    end = size - (size - begin) % n
    store_part(load_part(p, 0, begin, 0.0), out, 0, begin)
    for k in range(begin, end, n):
        stream(load(p, k), out, k)
    store_part(load_part(p, end, size - end, 0.0), out, end, size - end)


@inner
def scale_row(share, e, n_classes, out):
    """Write a row of exponentials times its share."""
    n = lanes(out)
    tail = n_classes % n
    for k in range(0, n_classes - tail, n):
        store(load(e, k) * share, out, k)
    if tail:
        k = n_classes - tail
        store_part(load(e, k) * share, out, k, tail)


@inner
def write_gradient(batch, rows, target, on, off, i, end, starts):
    """Write the gradient of a block, but of groups that have gone elsewhere."""
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    gradient = pointer(rows.gradient_out)
    n = lanes(gradient)
    width = end - i
    find_shares(batch, rows, target, width)
    if n_columns == 1:
        if n_classes > 2 * n and is_streamed(gradient, rows.gradient_out.size):
            write_past(batch, rows, target, on, off, i, width, starts)
        else:
            write_through(batch, rows, target, on, off, i, width, starts)
    else:
        write_planes(batch, n_classes, n_columns, starts, width, gradient)
        for r in range(0, width, n):
            if target.ndim == 1:
                if starts[r // n] >= 0:
                    out = advance(gradient, starts[r // n])
                    write_at_indices(batch, target, n_classes, n_columns, i, r, out)
