"""Softmax rows of few classes as they lie, side by side or in planes.

Class indices without smoothing need only one sum of a row and one exponential. So a
block of rows is exponentiated as it lies, all rows with one power of 2 (``exp_shifted``
is exact in it), which is guessed from the block before: the largest logit is found in
the same pass, and where the guess was wrong, there is another pass. Memory is read
while exponentials are computed. Then the exponentials of the class indices are taken
out, the rows are added up (``_row_sums.py``), and the gradient is a multiple of each.
Nothing is transposed: a tile holds a group as it came.

A group with a row that this does not suit (far below the others of its block, with a
class far less likely than others, without a softmax) goes to :mod:`._tile_rows`, which
adds the same numbers in the same order: the bits do not depend on the neighbours.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`.
"""

import math

from skxent.kernels._batches import (
    MOST_GROUPS,
    MOST_OFF,
    a_near_logit,
    add_group,
    batch_like,
    leave_out,
    mass_of_class,
    place_of,
    rows_per_batch,
    share_of_indices,
    take_sums,
)
from skxent.kernels._groups import (
    AHEAD,
    is_streamed,
    lines_of_group,
    read_classes,
    read_weights,
)
from skxent.kernels._jit import inner
from skxent.kernels._row_sums import (
    PARTS_SIZE,
    scale_rows,
    sums_of_columns,
    sums_of_rows,
)
from skxent.kernels._simd import (
    advance,
    all_lanes,
    fence,
    first,
    lanes,
    largest,
    load,
    load_beside,
    load_part,
    maximum,
    numbers,
    pointer,
    prefetch,
    prefetch_to_write,
    scatter,
    scratch,
    spread,
    store,
    store_part,
    stream,
    to_next_line,
    widened,
)
from skxent.kernels._tile_rows import add_tile_rows
from skxent.kernels._vector import exp_shifted, is_far, shift_of


@inner
def find_groups(starts, n_classes, n_columns, i, end, n):
    """Find where each group begins; -1 for one that is of two planes."""
    for r in range(0, end - i, n):
        o = (i + r) // n_columns if n_columns > 1 else i + r
        j = i + r - o * n_columns
        is_whole = n_columns == 1 or j + n <= n_columns
        starts[r // n] = o * n_classes * n_columns + j if is_whole else -1


@inner
def place_in_tile(y, n_classes, n_columns, like):
    """Return where the entries of the classes ``y`` of a group are."""
    if n_columns == 1:
        return numbers(like) * n_classes + y
    return y * lanes(like) + numbers(like)


@inner
def exponentiate_rows(p, tile, size, guess):
    """Write exponentials to the tile; return the largest logit, nan passed over."""
    n = lanes(p)
    offset, lowest = shift_of(spread(guess, p))
    top = spread(-math.inf, p)
    for k in range(0, size, n):
        prefetch(p, k + AHEAD * n)
        z = load(p, k)
        top = maximum(z, top)
        store(exp_shifted(z, offset, lowest), tile, k)
    return largest(top)


@inner
def later_line(k, n_classes, n_columns, width):
    """Return how far the line is that is read after as many others as a plane has."""
    return n_columns if k + 1 < n_classes else width - (n_classes - 1) * n_columns


@inner
def exponentiate_planes(p, tile, n_classes, n_columns, starts, width, guess):
    """Do as ``exponentiate_rows`` for groups of ``width`` columns in planes.

    All groups of a plane, then those of the next: lines of many planes that are a power
    of 2 apart would push each other out of the caches.
    """
    n = lanes(p)
    offset, lowest = shift_of(spread(guess, p))
    top = spread(-math.inf, p)
    for k in range(n_classes):
        later = later_line(k, n_classes, n_columns, width)
        for g in range(width // n):
            if starts[g] >= 0:
                at = starts[g] + k * n_columns
                prefetch(p, at + later)
                z = load(p, at)
                top = maximum(z, top)
                e = exp_shifted(z, offset, lowest)
                store(e, tile, (g * n_classes + k) * n)
    return largest(top)


@inner
def exponentiate_block(p, tile, n_classes, n_columns, starts, width, guess):
    """Write exponentials to the tile; return the largest logit."""
    if n_columns == 1:
        return exponentiate_rows(advance(p, starts[0]), tile, width * n_classes, guess)
    return exponentiate_planes(p, tile, n_classes, n_columns, starts, width, guess)


@inner
def exponentiate_near(p, tile, n_classes, n_columns, starts, width, guess):
    """Write exponentials to the tile; return the guess that suits, and if there is one.

    Where the largest logit is too far from the guess, it is the next one.
    """
    for _ in range(2):
        top = exponentiate_block(p, tile, n_classes, n_columns, starts, width, guess)
        if abs(top - guess) < MOST_OFF:
            return guess, True
        if first(is_far(spread(top, p))):
            break
        guess = top
    return guess, False


@inner
def take_targets(
    batch, q, on, options, row_weight, n_weights, n_classes, n_columns, i, end
):
    """Read what class indices say; put zeros where their exponentials were."""
    uniform, _, _, ignore_index = options
    n = lanes(batch.tile)
    for r in range(0, end - i, n):
        like = load(batch.m, r)
        weight = read_weights(row_weight, n_weights, i + r, n, like)
        y, weight = read_classes(q, n_classes, ignore_index, weight, i + r, n, like)
        store(weight, batch.weight, r)
        store(mass_of_class(on, uniform, y, like), batch.mass, r)
        tile = advance(batch.tile, r * n_classes)
        at = place_in_tile(y, n_classes, n_columns, like)
        store(leave_out(tile, at), batch.e_y, r)


@inner
def add_up_rows(batch, scale, is_weighted, n_classes, n_columns, width, starts):
    """Find ``d``, ``rest`` and ``others``; mark groups that have to go elsewhere."""
    n = lanes(batch.tile)
    parts = scratch(batch.tile, PARTS_SIZE)
    for r in range(0, width, n):
        tile = advance(batch.tile, r * n_classes)
        if n_columns == 1:
            rest = sums_of_rows(tile, n_classes)
        else:
            rest = sums_of_columns(tile, n_classes, parts)
        e_y = load(batch.e_y, r)
        if not all_lanes(take_sums(batch, r, rest, e_y, scale, is_weighted)):
            starts[r // n] = -1


@inner
def find_shares(batch, scale, i, end):
    """Find what the exponentials of each row are multiplied with."""
    for r in range(0, end - i, lanes(batch.tile)):
        share, at_y = share_of_indices(batch, r, scale)
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
def write_gradient(batch, q, n_classes, n_columns, starts, i, width, gradient):
    """Write the gradient of a block, but of groups that have gone elsewhere."""
    n = lanes(gradient)
    if n_columns > 1:
        write_planes(batch, n_classes, n_columns, starts, width, gradient)
    for r in range(0, width, n):
        if starts[r // n] >= 0:
            out = advance(gradient, starts[r // n])
            if n_columns == 1:
                for k in range(n_classes):
                    prefetch_to_write(out, (AHEAD // 2 + k) * n)
                scale_group(batch, n_classes, r, out)
            write_at_indices(batch, q, n_classes, n_columns, i, r, out)


@inner
def write_at_indices(batch, q, n_classes, n_columns, i, r, out):
    """Write the gradient of a group at its class indices."""
    at_y = load(batch.at_y, r)
    y = place_of(load_beside(q, i + r, at_y), n_classes)
    lane = numbers(load_beside(batch.d, r, at_y))
    row, step = (n_classes, 1) if n_columns == 1 else (1, n_columns)
    scatter(at_y, out, lane * row + y * step)


@inner
def stream_gradient(batch, q, n_classes, starts, i, width, gradient):
    """Do as ``write_gradient`` for rows side by side, past the caches.

    They are written to the other tile first, whose lines are then written whole, as
    many at once as there are groups one behind the other. In the same tile the stores of
    one row would delay the loads of the next.
    """
    n = lanes(gradient)
    begin = 0
    for r in range(0, width, n):
        if starts[r // n] >= 0:
            near = advance(batch.target_tile, r * n_classes)
            scale_group(batch, n_classes, r, near)
            write_at_indices(batch, q, n_classes, 1, i, r, near)
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
def add_flat_rows(rows, target, begin, end, sums, lost):
    """Return the sums over lanes with the losses of rows ``begin:end``, whole groups.

    Write what is asked for.
    """
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    p, q, on = pointer(rows.logits), pointer(target), pointer(rows.on_value)
    weights, losses = pointer(rows.row_weight), pointer(rows.loss_out)
    gradient = pointer(rows.gradient_out)
    batch = batch_like(p, on)
    n = lanes(p)
    starts = scratch(q, MOST_GROUPS)
    is_weighted = rows.row_weight.size > 0 or not rows.options[0]
    nothing = widened(spread(0.0, p))
    for r in range(0, MOST_GROUPS * n, n):
        store(nothing, batch.linear, r)
        store(nothing, batch.mass_low, r)
    nearby, _ = lines_of_group(p, n_classes, n_columns, begin)
    guess = a_near_logit(nearby)
    step = rows_per_batch(n_classes, n)
    streamed = n_columns == 1 and n_classes > 2 * n
    streamed = streamed and is_streamed(gradient, rows.gradient_out.size)
    for i in range(begin, end, step):
        last = min(i + step, end)
        width = last - i
        find_groups(starts, n_classes, n_columns, i, last, n)
        guess, is_near = exponentiate_near(
            p, batch.tile, n_classes, n_columns, starts, width, guess
        )
        if not is_near:
            for g in range(width // n):
                starts[g] = -1
        take_targets(
            batch,
            q,
            on,
            rows.options,
            weights,
            rows.row_weight.size,
            n_classes,
            n_columns,
            i,
            last,
        )
        add_up_rows(batch, rows.scale, is_weighted, n_classes, n_columns, width, starts)
        for r in range(0, width, n):
            if starts[r // n] < 0:
                sums, lost = add_tile_rows(rows, target, i + r, i + r + n, sums, lost)
            else:
                sums, lost = add_group(
                    batch, r, n, sums, lost, i, losses, rows.loss_out.size
                )
        if rows.gradient_out.size:
            find_shares(batch, rows.scale, i, last)
            if streamed:
                stream_gradient(batch, q, n_classes, starts, i, width, gradient)
            else:
                write_gradient(
                    batch, q, n_classes, n_columns, starts, i, width, gradient
                )
    if streamed:
        fence()
    return sums, lost
