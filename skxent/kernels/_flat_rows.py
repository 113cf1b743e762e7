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
    add_smoothing,
    batch_like,
    leave_out,
    mass_of_class,
    rows_per_batch,
    take_soft_sums,
    take_sums,
)
from skxent.kernels._flat_gradients import write_gradient
from skxent.kernels._flat_targets import (
    LEAST_LOSS,
    VALUES_SIZE,
    narrow_values,
    smoothing_of_group,
    terms_of_group,
)
from skxent.kernels._groups import (
    AHEAD,
    is_streamed,
    later_line,
    lines_of_group,
    read_classes,
    read_weights,
)
from skxent.kernels._jit import inner
from skxent.kernels._row_sums import (
    PARTS_SIZE,
    sums_of_columns,
    sums_of_rows,
)
from skxent.kernels._simd import (
    advance,
    all_lanes,
    fence,
    first,
    gather,
    lanes,
    largest,
    load,
    maximum,
    numbers,
    pointer,
    prefetch,
    scratch,
    spread,
    store,
    widened,
)
from skxent.kernels._tile_rows import add_tile_rows
from skxent.kernels._vector import exp_shifted, is_far, level_of, shift_of


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
def take_indices(batch, rows, target, i, end):
    """Read what class indices say; put zeros where their exponentials were."""
    uniform, smooth, _, ignore_index = rows.options
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    p, q = pointer(rows.logits), pointer(target)
    on, off = pointer(rows.on_value), pointer(rows.off_value)
    weights = pointer(rows.row_weight)
    n = lanes(p)
    for r in range(0, end - i, n):
        like = load(batch.m, r)
        weight = read_weights(weights, rows.row_weight.size, i + r, n, like)
        y, weight = read_classes(q, n_classes, ignore_index, weight, i + r, n, like)
        store(weight, batch.weight, r)
        mass = mass_of_class(on, uniform, y, like)
        store(mass, batch.mass, r)
        at = place_in_tile(y, n_classes, n_columns, like)
        store(leave_out(advance(batch.tile, r * n_classes), at), batch.e_y, r)
        if smooth:
            store(gather(advance(p, (i + r) * n_classes), at), batch.z_y, r)
            t_y = mass + mass_of_class(off, uniform, y, like)
            store(t_y, batch.at_target, r)


@inner
def add_up_rows(batch, rows, off, i, width, starts):
    """Find ``d``, ``rest`` and ``others``; mark groups that have to go elsewhere."""
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    p = pointer(rows.logits)
    n = lanes(p)
    parts = scratch(p, PARTS_SIZE)
    is_weighted = rows.row_weight.size > 0 or not rows.options[0]
    for r in range(0, width, n):
        tile = advance(batch.tile, r * n_classes)
        if n_columns == 1:
            rest = sums_of_rows(tile, n_classes)
        else:
            rest = sums_of_columns(tile, n_classes, parts)
        e_y = load(batch.e_y, r)
        is_good = take_sums(batch, r, rest, e_y, rows.scale, is_weighted)
        if rows.options[1]:
            row = advance(p, (i + r) * n_classes)
            linear = smoothing_of_group(batch, r, row, off, n_classes, parts)
            store(linear, batch.linear, r)
            is_good = is_good & add_smoothing(batch, r, rows.options[2])
        if not all_lanes(is_good):
            starts[r // n] = -1


@inner
def add_up_soft_rows(batch, rows, target, on, off, guess, i, width, starts):
    """Do so for rows of probabilities, whose loss is ``linear``."""
    n_classes = rows.logits.shape[1]
    p, q, weights = pointer(rows.logits), pointer(target), pointer(rows.row_weight)
    n = lanes(p)
    parts, mass_parts = scratch(p, PARTS_SIZE), scratch(p, PARTS_SIZE)
    for r in range(0, width, n):
        like = load(batch.m, r)
        weight = read_weights(weights, rows.row_weight.size, i + r, n, like)
        store(weight, batch.weight, r)
        d = sums_of_rows(advance(batch.tile, r * n_classes), n_classes)
        level, above = level_of(like, d, guess)
        at = (i + r) * n_classes
        mass, linear, is_good = terms_of_group(
            advance(p, at), advance(q, at), on, off, n_classes, level, parts, mass_parts
        )
        loss = linear + mass * above
        is_good = is_good & (loss >= LEAST_LOSS * mass)
        is_good = is_good & take_soft_sums(batch, r, d, mass, loss, rows.scale)
        if not all_lanes(is_good):
            starts[r // n] = -1


@inner
def add_flat_rows(rows, target, begin, end, sums, lost):
    """Return the sums over lanes with the losses of rows ``begin:end``, whole groups.

    Write what is asked for.
    """
    n_classes, n_columns = rows.logits.shape[1], rows.logits.shape[2]
    p, losses = pointer(rows.logits), pointer(rows.loss_out)
    batch = batch_like(p, pointer(rows.on_value))
    n = lanes(p)
    starts = scratch(pointer(rows.on_value), MOST_GROUPS)
    on, off = scratch(p, VALUES_SIZE), scratch(p, VALUES_SIZE)
    if target.ndim > 1 or rows.options[1]:
        narrow_values(pointer(rows.on_value), n_classes, on)
        narrow_values(pointer(rows.off_value), n_classes, off)
    nothing = widened(spread(0.0, p))
    for r in range(0, MOST_GROUPS * n, n):
        store(nothing, batch.linear, r)
        store(nothing, batch.mass_low, r)
    nearby, _ = lines_of_group(p, n_classes, n_columns, begin)
    guess = a_near_logit(nearby)
    step = rows_per_batch(n_classes, n)
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
        if target.ndim == 1:
            take_indices(batch, rows, target, i, last)
            add_up_rows(batch, rows, off, i, width, starts)
        else:
            add_up_soft_rows(batch, rows, target, on, off, guess, i, width, starts)
        for r in range(0, width, n):
            if starts[r // n] < 0:
                sums, lost = add_tile_rows(rows, target, i + r, i + r + n, sums, lost)
            else:
                sums, lost = add_group(
                    batch, r, n, sums, lost, i, losses, rows.loss_out.size
                )
        if rows.gradient_out.size:
            write_gradient(batch, rows, target, on, off, i, last, starts)
    if is_streamed(p, rows.gradient_out.size):
        fence()
    return sums, lost
