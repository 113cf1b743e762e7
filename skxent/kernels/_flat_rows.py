"""Softmax rows of few classes as they lie, side by side.

Class indices need only one sum of a row and one exponential, and smoothing often one
sum of all logits. So a block of rows is exponentiated as it lies, all rows with one
power of 2 (``exp_shifted`` is exact in it), which is guessed from the block before: the
largest logit is found in the same pass, and where the guess was wrong, there is another
pass. Memory is read while exponentials are computed. Then the exponentials of the class
indices are taken out, the rows are added up (``_row_sums.py``), and the gradient is a
multiple of each. Nothing is transposed: a tile holds a group as it came.

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
    add_group,
    add_smoothing,
    batch_like,
    is_measured,
    keeps_parts,
    rows_per_batch,
    take_low_sum,
    take_soft_sums,
    take_sums,
)
from skxent.kernels._block_smoothing import counted, no_counts
from skxent.kernels._flat_gradients import (
    OWNERS_SIZE,
    find_owners,
    find_shares,
    goes_past,
    stream_lines,
    write_gradient,
)
from skxent.kernels._flat_indices import (
    add_plain_rows,
    add_target,
    add_up,
    are_classes,
    classes_of,
    may_be_alike,
    may_suit,
    take_masses,
    take_plain_rows,
    take_smoothing,
)
from skxent.kernels._flat_targets import (
    VALUES_SIZE,
    narrow_values,
    smoothing_of_group,
    terms_of_group,
)
from skxent.kernels._groups import (
    AHEAD,
    a_near_logit,
    leave_out,
    place_in_tile,
    read_weights,
)
from skxent.kernels._jit import inlined, inner
from skxent.kernels._row_sums import PARTS_SIZE, parts_of_rows
from skxent.kernels._rows import pointers_of
from skxent.kernels._simd import (
    advance,
    all_lanes,
    fence,
    first,
    gather,
    lanes,
    largest,
    load,
    load_beside,
    maximum,
    prefetch,
    scratch,
    slots,
    spread,
    store,
    stream,
    widened,
)
from skxent.kernels._tile_rows import add_tile_rows
from skxent.kernels._vector import (
    exp_of_reduced,
    is_far,
    level_of,
    reduced,
    shift_of,
)


@inner
def exponentiate(p, tile, k, offset, lowest, top, counts):
    """Write a vector of exponentials to the tile.

    Return the largest logit by lane; count it, unless ``counts`` is None.
    """
    prefetch(p, k + AHEAD * lanes(p))
    z = load(p, k)
    t, r = reduced(maximum(lowest, z), offset)
    store(exp_of_reduced(t, r, offset), tile, k)
    if counts is not None:
        return maximum(z, top), counted(z, t, r, counts)
    return maximum(z, top), counts


@inner
def exponentiate_rows(p, tile, size, guess, left, counts):
    """Write exponentials to the tile; return the largest logit, nan passed over.

    Write on the way what is ``left`` of the block before, and count logits, unless
    ``counts`` is None.
    """
    near, out, begin, end = left
    n = lanes(p)
    offset, lowest = shift_of(spread(guess, p))
    top = spread(-math.inf, p)
    both = min(size, end - begin)
    for k in range(0, both, n):
        stream(load(near, begin + k), out, begin + k)
        top, counts = exponentiate(p, tile, k, offset, lowest, top, counts)
    for k in range(both, size, n):
        top, counts = exponentiate(p, tile, k, offset, lowest, top, counts)
    stream_lines((near, out, begin + both, end))
    return largest(top), counts


@inner
def exponentiate_near(p, tile, size, guess, left, nothing):
    """Write exponentials to the tile; return the guess that suits, and if there is one.

    Where the largest logit is too far from the guess, it is the next one. Write what is
    ``left`` of the block before. Return counts, from ``nothing`` on, unless it is None.
    """
    near, out, _, end = left
    counts = nothing
    for _ in range(2):
        top, counts = exponentiate_rows(p, tile, size, guess, left, nothing)
        if abs(top - guess) < MOST_OFF:
            return guess, True, counts
        if first(is_far(spread(top, p))):
            break
        guess, left = top, (near, out, end, end)
    return guess, False, counts


@inner
def take_indices(batch, at, i, width):
    """Read what class indices say; put zeros where their exponentials were."""
    take_masses(batch, at, i, width)
    for r in range(0, width, lanes(batch.tile)):
        like = load(batch.m, r)
        y = classes_of(batch, at, i, r)
        places = place_in_tile(y, at.n_classes, at.n_columns, like)
        tile = advance(batch.tile, r * at.n_classes)
        store(leave_out(tile, places), batch.e_y, r)
        if at.options[1]:
            rows = advance(at.logits, (i + r) * at.n_classes)
            store(gather(rows, places), batch.z_y, r)
            add_target(batch, at, r, y)


@inner
def add_up_rows(batch, at, off, i, width, starts):
    """Find ``d``, ``rest`` and ``others``; mark groups that have to go elsewhere."""
    n = lanes(batch.tile)
    parts = scratch(batch.tile, PARTS_SIZE)
    is_weighted = at.n_weights > 0 or not at.options[0]
    add_up(load(batch.m, 0), batch, at, i, width)
    for r in range(0, width, n):
        e_y = load(batch.e_y, r)
        rest, rest_low = load_beside(batch.d, r, e_y), load_beside(batch.d_low, r, e_y)
        is_good = take_sums(batch, r, rest, e_y, at.scale, is_weighted)
        if keeps_parts(at.options[1], e_y):
            take_low_sum(batch, r, rest_low)
        if at.options[1]:
            rows = advance(at.logits, (i + r) * at.n_classes)
            z_ys, uniform = advance(batch.z_y, r), at.options[0]
            linear = smoothing_of_group(rows, z_ys, off, uniform, at.n_classes, parts)
            linear = linear * at.off_value[0] if uniform else linear
            store(linear, batch.linear, r)
            is_good = is_good & add_smoothing(batch, r, at.options[2])
        if not all_lanes(is_good):
            starts[r // n] = -1


@inner
def add_up_soft_rows(batch, at, on, off, guess, i, width, starts):
    """Do so for rows of probabilities, whose loss is ``linear``."""
    n = lanes(batch.tile)
    parts = scratch(batch.tile, PARTS_SIZE)
    mass_parts = scratch(batch.tile, PARTS_SIZE)
    for r in range(0, width, n):
        like = load(batch.m, r)
        weight = read_weights(at.row_weight, at.n_weights, i + r, n, like)
        store(weight, batch.weight, r)
        d, d_low = parts_of_rows(advance(batch.tile, r * at.n_classes), at.n_classes)
        level, above = level_of(spread(guess, like), d)
        begin = (i + r) * at.n_classes
        (mass, mass_low), linear, is_good = terms_of_group(
            advance(at.logits, begin),
            advance(at.q, begin),
            on,
            off,
            at.n_classes,
            level,
            parts,
            mass_parts,
        )
        loss = linear + mass * above
        is_good = is_good & is_measured(loss, mass)
        is_good = is_good & take_soft_sums(
            batch, r, d, d_low, mass, mass_low, loss, at.scale
        )
        if not all_lanes(is_good):
            starts[r // n] = -1


@inner
def open_flat_batch(batch):
    """Fill what is the same for all blocks of a chunk."""
    nothing = widened(spread(0.0, batch.tile))
    for r in range(0, MOST_GROUPS * lanes(batch.tile), lanes(batch.tile)):
        store(nothing, batch.linear, r)
        store(nothing, batch.mass_low, r)


@inlined
def add_groups(batch, at, rows, target, i, width, starts, sums, lost):
    """Return the sums over lanes with the losses of a block; write each if asked.

    What is asked of groups that have to go elsewhere is done there.
    """
    n = lanes(batch.tile)
    for r in range(0, width, n):
        if starts[r // n] < 0:
            sums, lost = add_tile_rows(rows, target, i + r, i + r + n, sums, lost)
        else:
            sums, lost = add_group(batch, r, n, sums, lost, i, at.loss_out, at.n_losses)
    return sums, lost


@inner
def add_flat_rows(rows, target, begin, end, sums, lost):
    """Return the sums over lanes with the losses of rows ``begin:end``, whole groups.

    Write what is asked for.
    """
    starts = slots(MOST_GROUPS)
    at = pointers_of(rows, target, 1, starts)
    p, n_classes = at.logits, at.n_classes
    batch = batch_like(p, at.on_value)
    n = lanes(p)
    on, off = scratch(p, VALUES_SIZE), scratch(p, VALUES_SIZE)
    open_flat_batch(batch)
    if at.has_q or at.options[1]:
        narrow_values(at.on_value, n_classes, on)
        narrow_values(at.off_value, n_classes, off)
    suits, could_be_alike = may_suit(at), may_be_alike(at)
    smooth = at.options[1]
    owners = scratch(p, OWNERS_SIZE)
    if at.n_gradients:
        find_owners(n_classes, owners)
    guess, counts = a_near_logit(advance(p, begin * n_classes)), no_counts(p)
    step = rows_per_batch(n_classes, n)
    left = batch.target_tile, at.gradient_out, 0, 0
    for i in range(begin, end, step):
        width = min(step, end - i)
        block = advance(p, i * n_classes)
        size = width * n_classes
        if suits and smooth:
            guess, is_near, counts = exponentiate_near(
                block, batch.tile, size, guess, left, no_counts(p)
            )
        else:
            guess, is_near, _ = exponentiate_near(
                block, batch.tile, size, guess, left, None
            )
        for g in range(width // n):
            starts[g] = (i + g * n) * n_classes if is_near else -1
        alike = could_be_alike and are_classes(at, i, width)
        plain = suits and is_near and take_plain_rows(batch, at, i, width, alike)
        if plain and smooth:
            plain = take_smoothing(batch, at, i, width, alike, guess, counts)
        if plain:
            sums, lost = add_plain_rows(batch, at, i, width, alike, sums, lost)
        else:
            if at.has_q:
                add_up_soft_rows(batch, at, on, off, guess, i, width, starts)
            else:
                take_indices(batch, at, i, width)
                add_up_rows(batch, at, off, i, width, starts)
            sums, lost = add_groups(
                batch, at, rows, target, i, width, starts, sums, lost
            )
        if at.n_gradients:
            find_shares(batch, at, width, plain and alike)
            left = write_gradient(batch, owners, at, on, off, i, width, starts)
    if goes_past(at):
        stream_lines(left)
        fence()
    return sums, lost
