"""Class indices of rows as they lie, a block at a time.

Without smoothing, or with one that is added up for the block
(``_block_smoothing.py``). A block is asked only once whether it suits; one that does
not is left as it was. Rows are *alike* that differ in their logits and indices alone:
without weights, none of them ignored.

Where only the sum of losses of such rows is wanted, the logarithms of a lane are one:
``sum log(1 + others) = log(1 + s)`` for ``1 + s``, the product of all ``1 + others``.
Kept less 1 it loses no digit of rows whose ``others`` is tiny. Of a block it is at most
``MOST_RATIO ** MOST_GROUPS``, about 2**480.

Conventions are those of :mod:`skxent.kernels._cpu`; names are those of
:mod:`skxent.kernels._batches`.
"""

from skxent.kernels._batches import (
    MOST_RATIO,
    add_group,
    add_smoothing,
    has_share,
    index_shares,
    keeps_parts,
    limits_of,
    low_of_class,
    mass_of_class,
    place_of,
    sum_of,
)
from skxent.kernels._block_smoothing import (
    add_smoothing_of_block,
    is_added_at_once,
)
from skxent.kernels._groups import (
    leave_out,
    place_in_tile,
    read_classes,
    read_weights,
    write,
)
from skxent.kernels._jit import by_dtype, inner, rule
from skxent.kernels._row_sums import (
    PARTS_SIZE,
    parts_of_columns,
    parts_of_rows,
    sums_of_columns,
    sums_of_others,
    sums_of_rows,
)
from skxent.kernels._simd import (
    advance,
    all_lanes,
    any_lane,
    bits,
    gather,
    lanes,
    load,
    load_beside,
    narrowed,
    numbers,
    scatter,
    scratch,
    shortened,
    spread,
    store,
    widened,
)
from skxent.kernels._targets import sign_outside
from skxent.kernels._vector import add_to_total, grown, log1p


@inner
def may_suit(at):
    """Return whether blocks of rows may be added up at once."""
    if at.has_q or not at.options[1]:
        return not at.has_q
    return is_added_at_once(at.options, at.on_value[0], at.n_weights, at.n_losses)


@inner
def may_be_alike(at):
    """Return whether rows are alike whose indices all are classes."""
    uniform, _, _, ignore_index = at.options
    ignores = 0 <= ignore_index < at.n_classes
    differ = ignores or at.n_weights > 0 or not uniform
    return may_suit(at) and not differ and at.scale != 0.0


@inner
def are_classes(at, i, width):
    """Return whether all indices of a block are classes."""
    like = widened(spread(0.0, at.logits))
    seen = bits(like)
    for r in range(0, width, lanes(like)):
        seen = seen | sign_outside(load_beside(at.index, i + r, like), at.n_classes)
    return not any_lane(seen < 0)


@inner
def is_left_out(at, like):
    """Return whether sums leave out the entries of indices by themselves.

    Else there have to be zeros in their place.
    """
    is_short = at.n_columns == 1 and at.n_classes <= lanes(like)
    return is_short and not keeps_parts(at.options[1], like)


@inner
def classes_of(batch, at, i, r):
    """Return the class of each row of a group, 0 for one that does not exist."""
    like = load(batch.m, r)
    y = shortened(load_beside(at.index, i + r, like), like)
    return place_of(y, at.n_classes)


@inner
def places_of(batch, at, i, r):
    """Return where the exponentials of the class indices of a group are in its tile."""
    y = classes_of(batch, at, i, r)
    return place_in_tile(y, at.n_classes, at.n_columns, load(batch.m, r))


@inner
def take_masses(batch, at, i, width):
    """Find the weights of rows, 0 of those that are ignored, and their ``mass``."""
    uniform, _, _, ignore_index = at.options
    n = lanes(batch.tile)
    for r in range(0, width, n):
        like = load(batch.m, r)
        weight = read_weights(at.row_weight, at.n_weights, i + r, n, like)
        y, weight = read_classes(
            at.index, at.n_classes, ignore_index, weight, i + r, n, like
        )
        store(weight, batch.weight, r)
        store(mass_of_class(at.on_value, uniform, y, like), batch.mass, r)


@inner
def take_at_indices(batch, at, i, width):
    """Find ``e_y``; put zeros there if need be."""
    n = lanes(batch.tile)
    stays = is_left_out(at, load(batch.m, 0))
    for r in range(0, width, n):
        tile = advance(batch.tile, r * at.n_classes)
        places = places_of(batch, at, i, r)
        store(gather(tile, places) if stays else leave_out(tile, places), batch.e_y, r)


@inner
def put_back(batch, at, i, width):
    """Undo that."""
    if not is_left_out(at, load(batch.m, 0)):
        for r in range(0, width, lanes(batch.tile)):
            tile = advance(batch.tile, r * at.n_classes)
            scatter(load(batch.e_y, r), tile, places_of(batch, at, i, r))


@inner
def add_up_in_parts(tile, n_classes, n_columns, width, sums, lows):
    """Write the sums of all exponentials of rows, in two parts."""
    parts, lost = scratch(sums, PARTS_SIZE), scratch(sums, PARTS_SIZE)
    for r in range(0, width, lanes(tile)):
        group = advance(tile, r * n_classes)
        if n_columns == 1:
            rest, low = parts_of_rows(group, n_classes)
        else:
            rest, low = parts_of_columns(group, n_classes, parts, lost)
        store(rest, sums, r)
        store(low, lows, r)


@rule
def _add_up_64(like, batch, at, i, width):
    d, d_low = batch.d, batch.d_low
    add_up_in_parts(batch.tile, at.n_classes, at.n_columns, width, d, d_low)


def _add_up_32(like, batch, at, i, width):
    if keeps_parts(at.options[1], like):
        _add_up_64(like, batch, at, i, width)
        return
    nothing = widened(spread(0.0, like))
    for r in range(0, width, lanes(like)):
        tile = advance(batch.tile, r * at.n_classes)
        if is_left_out(at, like):
            rest = sums_of_others(tile, at.n_classes, advance(at.index, i + r))
        elif at.n_columns == 1:
            rest = sums_of_rows(tile, at.n_classes)
        else:
            rest = sums_of_columns(tile, at.n_classes)
        store(rest, batch.d, r)
        store(nothing, batch.d_low, r)


# Write the sums of all exponentials but the index's to ``d`` and ``d_low``, in two
# parts where :func:`keeps_parts` says so.
add_up = by_dtype(_add_up_32, _add_up_64)


@inner
def take_plain_sums(batch, at, width, alike):
    """Find what follows from these; return whether all rows suit.

    Asked of numbers rounded to the logits' dtype, which no row passes by that.
    """
    n = lanes(batch.tile)
    like = load(batch.m, 0)
    least_rest, least_d, _, _ = limits_of(like)  # no sum of a block is too large
    weighs = at.n_gradients > 0 and (at.options[1] or not alike)
    is_good = numbers(like) >= 0
    for r in range(0, width, n):
        wide, e_y = load_beside(batch.d, r, like), load(batch.e_y, r)
        rest = narrowed(wide, like)
        is_good = is_good & (rest > least_rest) & (e_y + rest > least_d)
        is_good = is_good & (rest < e_y * MOST_RATIO)
        if weighs:
            is_good = is_good & has_share(batch, r, at.scale)
        store(rest / e_y, batch.others, r)
        if at.n_gradients:
            d, d_low = sum_of(e_y, wide, widened(e_y))
            store(rest, batch.rest, r)
            store(d, batch.d, r)
            store(d_low + load_beside(batch.d_low, r, like), batch.d_low, r)
    return all_lanes(is_good)


@inner
def take_smoothing(batch, at, i, width, alike, guess, counts):
    """Find what smoothing adds to plain rows, and return True; False if none suits.

    ``guess`` and ``counts``: see :func:`add_smoothing_of_block`.
    """
    if at.n_gradients or not alike:
        nothing = widened(spread(0.0, batch.tile))
        for r in range(0, width, lanes(batch.tile)):
            store(nothing, batch.linear, r)
            add_target(batch, at, r, classes_of(batch, at, i, r))
            add_smoothing(batch, r, at.options[2])
    if add_smoothing_of_block(batch, at, i, width, alike, guess, counts):
        return True
    put_back(batch, at, i, width)
    return False


@inner
def add_target(batch, at, r, y):
    """Find what smoothing makes of the target at the class indices of a group."""
    uniform, like = at.options[0], load(batch.m, r)
    mass = load_beside(batch.mass, r, like)
    store(mass + mass_of_class(at.off_value, uniform, y, like), batch.at_target, r)
    store(low_of_class(at.on_low, at.n_low, uniform, y, like), batch.mass_low, r)


@inner
def take_plain_rows(batch, at, i, width, alike):
    """Find what losses and gradient come of, and return True; False if none suits."""
    if not alike or (at.options[1] and at.n_gradients):
        take_masses(batch, at, i, width)
    take_at_indices(batch, at, i, width)
    add_up(load(batch.m, 0), batch, at, i, width)
    if take_plain_sums(batch, at, width, alike):
        return True
    put_back(batch, at, i, width)
    return False


@inner
def add_plain_rows(batch, at, i, width, alike, sums, lost):
    """Return the sums over lanes with the losses of a block; write each if asked."""
    n = lanes(batch.tile)
    like = spread(0.0, batch.tile)
    if at.options[1]:
        of_block = load_beside(batch.of_block, 0, like)
        sums, lost = add_to_total(like, of_block, sums, lost)
        lost = lost + load_beside(batch.of_block, n, like)
    if not alike:
        for r in range(0, width, n):
            sums, lost = add_group(batch, r, n, sums, lost, i, at.loss_out, at.n_losses)
        return sums, lost
    mass = at.on_value[0] + at.options[2]
    if at.n_losses:
        for r in range(0, width, n):
            loss = mass * widened(log1p(load(batch.others, r)))
            write(narrowed(loss, like), at.loss_out, i + r, n)
            sums, lost = add_to_total(like, loss, sums, lost)
        return sums, lost
    product = widened(like)
    for r in range(0, width, n):
        product = grown(product, widened(load(batch.others, r)))
    return add_to_total(like, mass * log1p(product), sums, lost)


@inner
def find_shares_of_alike(batch, at, width):
    """Find what exponentials are multiplied with, and the gradient at the indices."""
    nothing = widened(spread(0.0, batch.tile))
    factor, mass = nothing + at.scale, nothing + at.on_value[0]
    for r in range(0, width, lanes(nothing)):
        share, at_y = index_shares(batch, r, factor, mass, nothing)
        store(share, batch.share, r)
        store(at_y, batch.at_y, r)
