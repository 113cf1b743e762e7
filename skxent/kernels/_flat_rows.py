"""Softmax rows of few classes that lie one behind the other: no transposition.

Class indices without smoothing need only one sum of a row and one exponential. So a
block of rows is exponentiated as it lies, all rows with one power of 2 (``exp_shifted``
is exact in it), which is guessed from the block before: the largest logit is found in
the same pass, and where the guess was wrong, there is another pass. Memory is read
while exponentials are computed. Then the exponentials of the class indices are taken
out, the rows are added up (``_row_sums.py``), and the gradient is a multiple of each.

A group with a row that this does not suit (far below the others of its block, with a
class far less likely than others, without a softmax) goes to :mod:`._tile_rows`, which
adds the same numbers in the same order: the bits do not depend on the neighbours.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`.
"""

import math

from skxent.kernels._batches import (
    MOST_GROUPS,
    add_group,
    batch_like,
    is_likely,
    leave_out,
    mass_of_class,
    place_of,
    rows_per_batch,
    share_of_indices,
    sum_of,
)
from skxent.kernels._groups import (
    AHEAD,
    NEAR_AHEAD,
    lines_of_group,
    read_classes,
    read_weights,
)
from skxent.kernels._jit import by_dtype, inner
from skxent.kernels._row_sums import (
    PARTS_SIZE,
    scale_rows,
    sums_of_columns,
    sums_of_rows,
)
from skxent.kernels._simd import (
    advance,
    all_lanes,
    first,
    lanes,
    largest,
    load,
    load_beside,
    magnitude,
    maximum,
    narrowed,
    numbers,
    pointer,
    prefetch,
    prefetch_to_write,
    scatter,
    scratch,
    select,
    spread,
    store,
    store_part,
    widened,
)
from skxent.kernels._tile_rows import add_tile_rows
from skxent.kernels._vector import exp_shifted, is_far, shift_of

MOST_OFF = 13.0  # how far the guess may be from the largest logit


def _limits_32(like):
    return 2.0**-90, 2.0**-20, 2.0**-60


def _limits_64(like):
    return 2.0**-900, 1.0, 2.0**-800


# The least ``rest`` and the least ``d`` whose terms are no subnormal numbers, and the
# least multiple of a row's gradient whose share is none.
limits_of = by_dtype(_limits_32, _limits_64)


@inner
def a_near_logit(p):
    """Return the largest of some logits, 0 if that is too large for ``shift_of``."""
    some = load(p, 0)
    guess = spread(largest(some), some)
    return first(select(is_far(guess) | (guess != guess), 0.0, guess))


@inner
def lies_whole(i, n, n_columns):
    """Return whether rows ``i`` to ``i + n`` are of one plane."""
    return n_columns == 1 or i % n_columns + n <= n_columns


@inner
def place_in_tile(y, n_classes, n_columns, like):
    """Return where the entries of the classes ``y`` of a group are."""
    if n_columns == 1:
        return numbers(like) * n_classes + y
    return y * lanes(like) + numbers(like)


@inner
def exponentiate_block(p, tile, n_classes, n_columns, i, end, guess):
    """Write exponentials to the tile; return the largest logit, nan passed over."""
    n = lanes(p)
    offset, lowest = shift_of(spread(guess, p))
    top = spread(-math.inf, p)
    if n_columns == 1:
        block = advance(p, i * n_classes)
        for k in range(0, (end - i) * n_classes, n):
            prefetch(block, k + AHEAD * n)
            z = load(block, k)
            top = maximum(z, top)
            store(exp_shifted(z, offset, lowest), tile, k)
        return largest(top)
    for r in range(0, end - i, n):
        if lies_whole(i + r, n, n_columns):
            group, step = lines_of_group(p, n_classes, n_columns, i + r)
            for k in range(n_classes):
                prefetch(group, k * step + NEAR_AHEAD * n)
                z = load(group, k * step)
                top = maximum(z, top)
                e = exp_shifted(z, offset, lowest)
                store(e, tile, (r * n_classes) + k * n)
    return largest(top)


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
def add_up_rows(batch, scale, is_weighted, n_classes, n_columns, i, end, is_odd):
    """Find ``d``, ``rest`` and ``others``; mark groups that have to go elsewhere."""
    n = lanes(batch.tile)
    parts = scratch(batch.tile, PARTS_SIZE)
    least_rest, least_d, least_factor = limits_of(load(batch.m, 0))
    for r in range(0, end - i, n):
        tile = advance(batch.tile, r * n_classes)
        if n_columns == 1:
            rest = sums_of_rows(tile, n_classes)
        else:
            rest = sums_of_columns(tile, n_classes, parts)
        e_y = load(batch.e_y, r)
        d, d_low = sum_of(e_y, rest, widened(e_y))
        is_good = (rest > least_rest) & (d > least_d) & is_likely(rest, e_y)
        if is_weighted:
            mass = load_beside(batch.mass, r, e_y)
            factor = mass * load_beside(batch.weight, r, e_y) * scale
            is_large = (magnitude(factor) > least_factor) | (factor == 0.0)
            is_good = is_good & (is_large | (factor != factor))
        is_whole = lies_whole(i + r, n, n_columns)
        is_odd[r // n] = 0 if is_whole and all_lanes(is_good) else 1
        rest = narrowed(rest, e_y)
        store(rest / e_y, batch.others, r)
        store(rest, batch.rest, r)
        store(d, batch.d, r)
        store(d_low, batch.d_low, r)


@inner
def find_shares(batch, scale, i, end):
    """Find what the exponentials of each row are multiplied with."""
    for r in range(0, end - i, lanes(batch.tile)):
        share, at_y = share_of_indices(batch, r, scale)
        store(share, batch.share, r)
        store(at_y, batch.at_y, r)


@inner
def write_gradient(batch, q, n_classes, n_columns, r, i, gradient):
    """Write the gradient of a group, rows from ``i`` on."""
    n = lanes(gradient)
    tile = advance(batch.tile, r * n_classes)
    out, step = lines_of_group(gradient, n_classes, n_columns, i)
    ahead = (AHEAD // 2 if n_columns == 1 else NEAR_AHEAD) * n
    for k in range(n_classes):
        prefetch_to_write(out, k * step + ahead)
    if n_columns > 1:
        share = load(batch.share, r)
        for k in range(n_classes):
            store(load(tile, k * n) * share, out, k * step)
    elif n_classes <= n:
        scale_rows(load(batch.share, r), tile, n_classes, out)
    else:
        for j in range(n):
            share = spread(batch.share[r + j], out)
            row = j * n_classes
            scale_row(share, advance(tile, row), n_classes, advance(out, row))
    at_y = load(batch.at_y, r)
    y = place_of(load_beside(q, i, at_y), n_classes)
    lane = numbers(load_beside(batch.d, r, at_y))
    scatter(at_y, out, lane * n_classes + y if n_columns == 1 else y * n_columns + lane)


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
def add_flat_rows(
    logits,
    target,
    on_value,
    off_value,
    row_weight,
    options,
    scale,
    begin,
    end,
    loss_out,
    gradient_out,
    sums,
    lost,
):
    """Return the sums over lanes with the losses of rows ``begin:end``, whole groups.

    Write what is asked for.
    """
    n_classes, n_columns = logits.shape[1], logits.shape[2]
    p, q, on = pointer(logits), pointer(target), pointer(on_value)
    weights, losses = pointer(row_weight), pointer(loss_out)
    gradient = pointer(gradient_out)
    batch = batch_like(p, on)
    n = lanes(p)
    is_odd = scratch(q, MOST_GROUPS)
    is_weighted = row_weight.size > 0 or not options[0]
    nothing = widened(spread(0.0, p))
    for r in range(0, MOST_GROUPS * n, n):
        store(nothing, batch.linear, r)
        store(nothing, batch.mass_low, r)
    nearby, _ = lines_of_group(p, n_classes, n_columns, begin)
    guess = a_near_logit(nearby)
    step = rows_per_batch(n_classes, n)
    for i in range(begin, end, step):
        last = min(i + step, end)
        top = exponentiate_block(p, batch.tile, n_classes, n_columns, i, last, guess)
        if not abs(top - guess) < MOST_OFF and not first(is_far(spread(top, p))):
            guess = top
            exponentiate_block(p, batch.tile, n_classes, n_columns, i, last, guess)
        is_far_block = not abs(top - guess) < MOST_OFF
        take_targets(
            batch,
            q,
            on,
            options,
            weights,
            row_weight.size,
            n_classes,
            n_columns,
            i,
            last,
        )
        add_up_rows(batch, scale, is_weighted, n_classes, n_columns, i, last, is_odd)
        for r in range(0, last - i, n):
            if is_far_block or is_odd[r // n]:
                sums, lost = add_tile_rows(
                    logits,
                    target,
                    on_value,
                    off_value,
                    row_weight,
                    options,
                    scale,
                    i + r,
                    i + r + n,
                    loss_out,
                    gradient_out,
                    sums,
                    lost,
                )
            else:
                sums, lost = add_group(
                    batch, r, n, sums, lost, i, losses, loss_out.size
                )
        if gradient_out.size:
            find_shares(batch, scale, i, last)
            for r in range(0, last - i, n):
                if not (is_far_block or is_odd[r // n]):
                    write_gradient(batch, q, n_classes, n_columns, r, i + r, gradient)
    return sums, lost
