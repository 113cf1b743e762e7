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
from skxent.kernels._groups import AHEAD, read_classes, read_weights
from skxent.kernels._jit import by_dtype, inner
from skxent.kernels._row_sums import scale_rows, sums_of_rows
from skxent.kernels._simd import (
    advance,
    all_lanes,
    first,
    lanes,
    largest,
    load,
    load_beside,
    maximum,
    narrowed,
    numbers,
    pointer,
    prefetch,
    prefetch_to_write,
    scratch,
    select,
    shortened,
    spread,
    store,
    store_part,
    widened,
)
from skxent.kernels._tile_rows import add_tile_rows
from skxent.kernels._vector import exp_shifted, is_far, shift_of

MOST_OFF = 13.0  # how far the guess may be from the largest logit


def _limits_32(like):
    return 2.0**-90, 2.0**-20


def _limits_64(like):
    return 2.0**-900, 1.0


# The least ``rest`` and the least ``d`` whose terms are no subnormal numbers.
limits_of = by_dtype(_limits_32, _limits_64)


@inner
def a_near_logit(p, i):
    """Return the largest of some logits, 0 if that is too large for ``shift_of``."""
    some = load(p, i)
    guess = spread(largest(some), some)
    return first(select(is_far(guess) | (guess != guess), 0.0, guess))


@inner
def exponentiate_block(p, tile, size, guess):
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
def take_targets(batch, q, on, options, row_weight, n_weights, n_classes, i, end):
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
        store(leave_out(tile, numbers(like) * n_classes + y), batch.e_y, r)


@inner
def add_up_rows(batch, n_classes, i, end, is_odd):
    """Find ``d``, ``rest`` and ``others``; mark groups that have to go elsewhere."""
    n = lanes(batch.tile)
    least_rest, least_d = limits_of(load(batch.m, 0))
    for r in range(0, end - i, n):
        rest = sums_of_rows(advance(batch.tile, r * n_classes), n_classes)
        e_y = load(batch.e_y, r)
        d, d_low = sum_of(e_y, rest, widened(e_y))
        is_good = (rest > least_rest) & (d > least_d) & is_likely(rest, e_y)
        is_odd[r // n] = 0 if all_lanes(is_good) else 1
        rest = narrowed(rest, e_y)
        store(rest / e_y, batch.others, r)
        store(rest, batch.rest, r)
        store(d, batch.d, r)
        store(d_low, batch.d_low, r)


@inner
def find_shares(batch, q, scale, n_classes, i, end):
    """Find what the exponentials of each row are multiplied with."""
    n = lanes(batch.tile)
    for r in range(0, end - i, n):
        like = load(batch.m, r)
        y = place_of(shortened(load_beside(q, i + r, like), like), n_classes)
        tile = advance(batch.tile, r * n_classes)
        at = numbers(like) * n_classes + y
        store(share_of_indices(batch, r, scale, tile, at), batch.share, r)


@inner
def write_gradient(batch, n_classes, r, out):
    """Write the gradient of a group from ``out`` on."""
    n = lanes(out)
    tile = advance(batch.tile, r * n_classes)
    for k in range(n_classes):
        prefetch_to_write(out, (AHEAD // 2 + k) * n)
    if n_classes <= n:
        scale_rows(load(batch.share, r), tile, n_classes, out)
    else:
        for j in range(n):
            share = spread(batch.share[r + j], out)
            scale_row(
                share,
                advance(tile, j * n_classes),
                n_classes,
                advance(out, j * n_classes),
            )


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
    n_classes = logits.shape[1]
    p, q, on = pointer(logits), pointer(target), pointer(on_value)
    weights, losses = pointer(row_weight), pointer(loss_out)
    gradient = pointer(gradient_out)
    batch = batch_like(p, on)
    n = lanes(p)
    is_odd = scratch(q, MOST_GROUPS)
    nothing = widened(spread(0.0, p))
    for r in range(0, MOST_GROUPS * n, n):
        store(nothing, batch.linear, r)
        store(nothing, batch.mass_low, r)
    guess = a_near_logit(p, begin * n_classes)
    step = rows_per_batch(n_classes, n)
    for i in range(begin, end, step):
        last = min(i + step, end)
        block = advance(p, i * n_classes)
        size = (last - i) * n_classes
        top = exponentiate_block(block, batch.tile, size, guess)
        if not abs(top - guess) < MOST_OFF and not first(is_far(spread(top, p))):
            guess = top
            exponentiate_block(block, batch.tile, size, guess)
        is_far_block = not abs(top - guess) < MOST_OFF
        take_targets(
            batch, q, on, options, weights, row_weight.size, n_classes, i, last
        )
        add_up_rows(batch, n_classes, i, last, is_odd)
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
            find_shares(batch, q, scale, n_classes, i, last)
            for r in range(0, last - i, n):
                if not (is_far_block or is_odd[r // n]):
                    out = advance(gradient, (i + r) * n_classes)
                    write_gradient(batch, n_classes, r, out)
    return sums, lost
