"""The gradient of rows as they lie, for :mod:`skxent.kernels._flat_rows`.

Of plain class indices it is a multiple of the exponentials, but at the index; of other
targets, a multiple less ``t``. It is written past the caches if it would fill them:
lines that are not read first save a third of what memory has to move. Rows no longer
than two vectors gain nothing by it. The lines of a whole block are written while the
next one is exponentiated: all at once, they would keep memory from being read.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`.
"""

from skxent.kernels._batches import (
    find_smoothed_shares,
    find_soft_shares,
    place_of,
    share_of_indices,
)
from skxent.kernels._flat_indices import find_shares_of_alike
from skxent.kernels._flat_targets import residuals_of_group
from skxent.kernels._groups import AHEAD, MOST_LANES, is_streamed
from skxent.kernels._jit import inner
from skxent.kernels._rules import residual
from skxent.kernels._simd import (
    advance,
    bits,
    float_of,
    lanes,
    load,
    load_beside,
    load_part,
    numbers,
    permuted,
    prefetch_to_write,
    scatter,
    spread,
    store,
    store_part,
    stream,
    to_next_line,
)

# In rows of less than so many vectors, parts of one at their ends would cost too much.
FEW_VECTORS = 4
OWNERS_SIZE = FEW_VECTORS * MOST_LANES * MOST_LANES


@inner
def find_shares(batch, at, width, alike):
    """Find what the exponentials of each row are multiplied with."""
    if alike and not at.options[1]:
        find_shares_of_alike(batch, at, width)
        return
    for r in range(0, width, lanes(batch.tile)):
        if at.has_q:
            find_soft_shares(batch, r, at.scale)
        elif at.options[1]:
            find_smoothed_shares(batch, r, at.scale)
        else:
            share, at_y = share_of_indices(batch, r, at.scale)
            store(share, batch.share, r)
            store(at_y, batch.at_y, r)


@inner
def find_owners(n_classes, owners):
    """Write which row of a group each of its numbers is of, the bits of an integer.

    Of short rows; vectors overlap, and the last to be written stays.
    """
    n = lanes(owners)
    if n_classes < FEW_VECTORS * n:
        for j in range(n):
            row = float_of(numbers(load(owners, 0)) * 0 + j)
            for k in range(j * n_classes, (j + 1) * n_classes, n):
                store_part(row, owners, k, n * n_classes - k)


@inner
def scale_group(tile, shares, owners, n_classes, out):
    """Write the gradient of a group of rows, but at their indices.

    Short rows vector by vector, wherever they end.
    """
    n = lanes(out)
    if n_classes < FEW_VECTORS * n:
        share = load(shares, 0)
        for k in range(0, n * n_classes, n):
            of_each = permuted(share, bits(load(owners, k)))
            store(load(tile, k) * of_each, out, k)
    else:
        for j in range(n):
            share = spread(shares[j], out)
            row = j * n_classes
            scale_row(share, advance(tile, row), n_classes, advance(out, row))


@inner
def scale_smoothed_group(tile, factors, owners, n_classes, off, out):
    """Do so for short rows with smoothing, ``off`` of all classes.

    ``factors`` are those of :func:`residuals_of_group`.
    """
    slopes, shares, lows = factors
    n = lanes(out)
    high, low, t = load(shares, 0), load(lows, 0), load(slopes, 0) * off
    for k in range(0, n * n_classes, n):
        owner = bits(load(owners, k))
        a, b, c = permuted(high, owner), permuted(low, owner), permuted(t, owner)
        store(residual(a, b, load(tile, k), c), out, k)


@inner
def write_residuals(tile, factors, owners, q, on, off, n_classes, uniform, has_q, out):
    """Write the gradient of a group where other classes than the index have a ``t``."""
    if uniform and not has_q and n_classes < FEW_VECTORS * lanes(out):
        scale_smoothed_group(tile, factors, owners, n_classes, off[0], out)
    else:
        residuals_of_group(tile, factors, q, on, off, n_classes, has_q, out)


@inner
def write_at_indices(at_y, at, i, row, step, out):
    """Write the gradient of the group from row ``i`` on at its class indices.

    Rows are ``row`` elements apart, classes ``step``.
    """
    y = place_of(load_beside(at.index, i, at_y), at.n_classes)
    scatter(at_y, out, numbers(y) * row + y * step)


@inner
def write_group(batch, owners, at, on, off, i, r, out):
    """Write the gradient of a group of rows side by side."""
    n_classes = at.n_classes
    tile, shares = advance(batch.tile, r * n_classes), advance(batch.share, r)
    if at.has_q or at.options[1]:
        q = advance(at.q, (i + r) * n_classes)
        factors = advance(batch.slope, r), shares, advance(batch.share_low, r)
        write_residuals(
            tile, factors, owners, q, on, off, n_classes, at.options[0], at.has_q, out
        )
    else:
        scale_group(tile, shares, owners, n_classes, out)
    if not at.has_q:
        write_at_indices(load(batch.at_y, r), at, i + r, n_classes, 1, out)


@inner
def write_through(batch, owners, at, on, off, i, width, starts):
    """Write the gradient of groups side by side through the caches."""
    n = lanes(batch.tile)
    for r in range(0, width, n):
        if starts[r // n] >= 0:
            out = advance(at.gradient_out, starts[r // n])
            for k in range(at.n_classes):
                prefetch_to_write(out, (AHEAD // 2 + k) * n)
            write_group(batch, owners, at, on, off, i, r, out)


@inner
def write_past(batch, owners, at, on, off, i, width, starts):
    """Do so past the caches; return what is left to be written of the block.

    Into the other tile first, whose lines are then written whole, as many at once as
    there are groups one behind the other. In the same tile the stores of one row would
    delay the loads of the next. The lines of a whole block are left there.
    """
    n = lanes(batch.tile)
    begin = 0
    for r in range(0, width, n):
        if starts[r // n] >= 0:
            near = advance(batch.target_tile, r * at.n_classes)
            write_group(batch, owners, at, on, off, i, r, near)
        if r + n == width or starts[r // n] < 0 or starts[r // n + 1] < 0:
            end = r if starts[r // n] < 0 else r + n
            if end - begin == width:
                return leave_lines(
                    batch.target_tile,
                    width * at.n_classes,
                    advance(at.gradient_out, starts[0]),
                )
            if end > begin:
                stream_copy(
                    advance(batch.target_tile, begin * at.n_classes),
                    (end - begin) * at.n_classes,
                    advance(at.gradient_out, starts[begin // n]),
                )
            begin = r + n
    return batch.target_tile, at.gradient_out, 0, 0


@inner
def leave_lines(p, size, out):
    """Copy what is not of a whole cache line.

    Return what is left: from where and to where lines are to be copied, and which, the
    first number and the last one, excluded.
    """
    begin = min(to_next_line(out), size)
    end = size - (size - begin) % lanes(p)
    store_part(load_part(p, 0, begin, 0.0), out, 0, begin)
    store_part(load_part(p, end, size - end, 0.0), out, end, size - end)
    return p, out, begin, end


@inner
def stream_lines(left):
    """Copy the lines that are left, past the caches."""
    p, out, begin, end = left
    for k in range(begin, end, lanes(p)):
        stream(load(p, k), out, k)


@inner
def stream_copy(p, size, out):
    """Copy numbers, past the caches."""
    stream_lines(leave_lines(p, size, out))


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
def goes_past(at):
    """Return whether the gradient is written past the caches."""
    is_long = at.n_classes > 2 * lanes(at.gradient_out)
    return is_long and is_streamed(at.gradient_out, at.n_gradients)


@inner
def write_gradient(batch, owners, at, on, off, i, width, starts):
    """Write the gradient of a block, but of groups that have gone elsewhere.

    Return what is left to be written: nothing, or all cache lines of the block.
    """
    if goes_past(at):
        return write_past(batch, owners, at, on, off, i, width, starts)
    write_through(batch, owners, at, on, off, i, width, starts)
    return batch.target_tile, at.gradient_out, 0, 0
