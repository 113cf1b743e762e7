"""Sums of rows that lie one behind the other, one in each lane.

A row is added up along itself, in as many partial sums as a vector has lanes: first
what is left of four vectors, then four at a time, with what rounding takes from that.
The partial sums of as many rows are then transposed and added at once, pair by pair;
from the third step on they are float64. ``sums_of_columns`` adds the same numbers in
the same order where a tile holds the rows side by side, so both give the same bits.

``parts_of_rows`` and ``parts_of_columns`` keep what rounding takes from those steps as
well, for gradients ``a p - t`` whose terms nearly cancel: the tree is float64 from the
first step on, in which both halves of a float32 vector become one, and float64 numbers
are added up in two parts. Of four vectors they add
two and two: where many logits are alike, so are the sums of four of each lane, all
rounded alike by as much as an exponential; those of two are exact then.
Primitives as those of :mod:`skxent.kernels._simd`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from skxent.kernels._jit import by_dtype, inner, rule
from skxent.kernels._simd import (
    lanes,
    load,
    load_beside,
    scratch,
    spread,
    store,
    widened,
)
from skxent.kernels._simd_type import (
    INDEX,
    Builder,
    align_of,
    compiled,
    lanes_of,
    llvm_type,
    vector_of,
)
from skxent.kernels._vector import two_sum

MOST_LANES = 16
FOUR, TWO = 4, 2
NARROW_STEPS = 2  # taken in the dtype of the rows
PARTS_SIZE = MOST_LANES * MOST_LANES


def sums_of_rows(p: Any, n_classes: int) -> Any:
    """Return the sums, float64, of as many rows as a vector has lanes.

    Of ``n_classes`` each, one behind the other.
    """
    parts, lost = _sums_of_lanes(p, n_classes, FOUR)
    parts = parts + lost
    for step in range(lanes(p).bit_length() - 1):
        if step == NARROW_STEPS:
            parts = parts.astype(np.float64)
        parts = parts[:, ::2] + parts[:, 1::2]
    return lanes_of(parts[:, 0].astype(np.float64))


def sums_of_others(p: Any, n_classes: int, index: Any) -> Any:
    """Return what ``sums_of_rows`` does, without the entry that each index numbers.

    Of rows no longer than a vector; an index may number none.
    """
    n = lanes(p)
    rows = np.array(p[: n * n_classes]).reshape(n, n_classes)
    rows[np.arange(n_classes) == np.asarray(index[:n])[:, np.newaxis]] = 0
    return sums_of_rows(rows.reshape(-1), n_classes)


def parts_of_rows(p: Any, n_classes: int) -> tuple[Any, Any]:
    """Return the same sums in two parts, the second of which is 0 of float32 rows."""
    sums = _sums_of_lanes(p, n_classes, TWO)
    parts, lost = (each.astype(np.float64) for each in sums)
    if p.dtype == np.float32:
        half = lanes(p) // 2
        parts = parts + lost
        parts = parts[:, :half] + parts[:, half:]
        while parts.shape[1] > 1:
            parts = parts[:, ::2] + parts[:, 1::2]
        return lanes_of(parts[:, 0]), lanes_of(parts[:, 0] * 0.0)
    for _ in range(lanes(p).bit_length() - 1):
        parts, error = two_sum(parts[:, ::2], parts[:, 1::2])
        lost = (lost[:, ::2] + lost[:, 1::2]) + error
    return lanes_of(parts[:, 0]), lanes_of(lost[:, 0])


def _sums_of_lanes(p: Any, n_classes: int, at_once: int) -> tuple[Any, Any]:
    """Return the partial sums of each row, and what rounding took from them.

    Of four vectors as many are added up ``at_once`` whose sum is rounded unseen.
    """
    n = lanes(p)
    rows = np.asarray(p[: n * n_classes]).reshape(n, n_classes)
    tail = n_classes % n
    vectors = [rows[:, k : k + n] for k in range(0, n_classes - tail, n)]
    parts = np.zeros((n, n), p.dtype)
    parts[:, :tail] = rows[:, n_classes - tail :]
    few = len(vectors) % FOUR
    for vector in vectors[:few]:
        parts = parts + vector
    lost = np.zeros_like(parts)
    for k in range(few, len(vectors), FOUR):
        a, b, c, d = vectors[k : k + FOUR]
        some = [a + b, c + d] if at_once == TWO else [(a + b) + (c + d)]
        for each in some:
            parts, error = two_sum(parts, each)
            lost = lost + error
    return parts, lost


@compiled(
    sums_of_rows, lambda p, n_classes: vector_of(p.dtype).with_scalar(types.float64)
)
def _sums_of_rows(s: Builder, p: Any, n_classes: Any) -> Any:
    wide = llvm_type(s.sig.return_type)

    def joined(part: Any, lost: Any) -> Any:
        return part if lost is None else s.b.fadd(part, lost)

    return _sums_by_length(
        s, p, n_classes, FOUR, wide, joined, lambda parts: _tree(s, parts, wide)
    )


def _sums_by_length(
    s: Builder,
    p: Any,
    n_classes: Any,
    at_once: int,
    wide: Any,
    joined: Callable[[Any, Any], Any],
    tree: Callable[[list[Any]], Any],
) -> Any:
    """Compile sums of rows; ``joined`` is given what rounding took, None if nothing.

    Without that, partial sums of short rows fit the registers.
    """
    n = wide.count
    out = cgutils.alloca_once(s.b, wide)
    is_short = s.b.icmp_signed("<", s.cast(n_classes, 1, types.intp), INDEX(FOUR * n))
    with s.b.if_else(is_short, likely=True) as (short, long):
        with short:
            sums, _ = _lanes_of_rows(s, p, n_classes, None)
            s.b.store(tree([joined(part, None) for part in sums]), out)
        with long:
            sums, losses = _lanes_of_rows(s, p, n_classes, at_once)
            s.b.store(tree([*map(joined, sums, losses)]), out)
    return s.b.load(out)


@compiled(
    sums_of_others,
    lambda p, n_classes, index: vector_of(p.dtype).with_scalar(types.float64),
)
def _sums_of_others(s: Builder, p: Any, n_classes: Any, index: Any) -> Any:
    wide = llvm_type(s.sig.return_type)
    vector = vector_of(s.sig.args[0].dtype)
    n, narrow = vector.lanes, llvm_type(vector)
    lane = ir.IntType(vector.scalar.bitwidth)
    numbers = ir.Constant(ir.VectorType(lane, n), list(range(n)))
    n_classes = s.cast(n_classes, 1, types.intp)
    below = s.lanes_below(n_classes, n)
    nothing = ir.Constant(narrow, [0.0] * n)
    rows = []
    for r in range(n):
        y = s.b.load(s.b.gep(index, [INDEX(r)]))
        y = s.b.trunc(y, lane) if lane != y.type else y
        mask = s.b.and_(below, s.b.icmp_signed("!=", numbers, s.spread(y, n)))
        at = s.b.mul(n_classes, INDEX(r))
        rows.append(s.load_where(p, at, mask, vector, nothing))
    return _tree(s, rows, wide)


def _type_parts(p: Any, n_classes: Any) -> Any:
    return types.UniTuple(vector_of(p.dtype).with_scalar(types.float64), 2)


@compiled(parts_of_rows, _type_parts)
def _parts_of_rows(s: Builder, p: Any, n_classes: Any) -> Any:
    wide = llvm_type(s.sig.return_type.dtype)
    if s.sig.args[0].dtype == types.float64:
        high, low = _tree_in_parts(s, *_lanes_of_rows(s, p, n_classes, TWO))
        return s.context.make_tuple(s.b, s.sig.return_type, (high, low))

    def joined(part: Any, lost: Any) -> Any:
        halves = _halves(s, part)
        if lost is not None:
            halves = [*map(s.b.fadd, halves, _halves(s, lost))]
        return s.b.fadd(*halves)

    def tree(sums: list[Any]) -> Any:
        n, half = len(sums), sums[0].type
        low, high = (_tree(s, some, half) for some in (sums[: n // 2], sums[n // 2 :]))
        return s.shuffle(low, high, list(range(n)))

    high = _sums_by_length(s, p, n_classes, TWO, wide, joined, tree)
    low = ir.Constant(wide, [0.0] * wide.count)
    return s.context.make_tuple(s.b, s.sig.return_type, (high, low))


def _halves(s: Builder, part: Any) -> list[Any]:
    """Return both halves of a vector, float64."""
    half = part.type.count // 2
    wide = ir.VectorType(ir.DoubleType(), half)
    lanes_of_each = list(range(half)), list(range(half, 2 * half))
    return [s.b.fpext(s.shuffle(part, part, of), wide) for of in lanes_of_each]


def _lanes_of_rows(
    s: Builder, p: Any, n_classes: Any, at_once: int | None
) -> tuple[list[Any], list[Any]]:
    """Compile :func:`_sums_of_lanes`; of rows of less than four vectors for None."""
    vector = vector_of(s.sig.args[0].dtype)
    wide, n = llvm_type(vector), vector.lanes
    n_classes = s.cast(n_classes, 1, types.intp)
    tail = s.b.srem(n_classes, INDEX(n))
    whole = s.b.sub(n_classes, tail)
    nothing = ir.Constant(wide, [0.0] * n)
    rows = [s.b.gep(p, [s.b.mul(n_classes, INDEX(r))]) for r in range(n)]
    # the last entries first: rows of fewer than n have no others
    sums = [
        cgutils.alloca_once_value(s.b, s.load_below(row, whole, tail, vector, nothing))
        for row in rows
    ]
    few = whole if at_once is None else s.b.srem(whole, INDEX(FOUR * n))
    align = align_of(vector)
    with cgutils.for_range_slice(s.b, INDEX(0), few, INDEX(n), INDEX) as (k, _):
        for row, part in zip(rows, sums, strict=True):
            more = s.load(row, k, wide, align)
            s.b.store(s.b.fadd(s.b.load(part), more), part)
    if at_once is None:
        return [s.b.load(part) for part in sums], []
    losses = [cgutils.alloca_once_value(s.b, nothing) for _ in rows]
    for lost in losses:  # once for each call, not for the function's first
        s.b.store(nothing, lost)
    with s.b.if_then(s.b.icmp_signed("<", few, whole)):
        step = INDEX(FOUR * n)
        with cgutils.for_range_slice(s.b, few, whole, step, INDEX) as (k, _):
            for row, part, lost in zip(rows, sums, losses, strict=True):
                places = [s.b.add(k, INDEX(j * n)) for j in range(FOUR)]
                a, b, c, d = (s.load(row, place, wide, align) for place in places)
                some = [s.b.fadd(a, b), s.b.fadd(c, d)]
                if at_once == FOUR:
                    some = [s.b.fadd(*some)]
                for each in some:
                    rounded, error = _two_sum(s, s.b.load(part), each)
                    s.b.store(rounded, part)
                    s.b.store(s.b.fadd(s.b.load(lost), error), lost)
    return [s.b.load(part) for part in sums], [s.b.load(lost) for lost in losses]


def _two_sum(s: Builder, a: Any, b: Any) -> tuple[Any, Any]:
    """Compile :func:`skxent.kernels._vector.two_sum`."""
    rounded = s.b.fadd(a, b)
    added = s.b.fsub(rounded, a)
    rest = s.b.fsub(a, s.b.fsub(rounded, added))
    return rounded, s.b.fadd(rest, s.b.fsub(b, added))


@rule
def lane_of_columns(tile, n_classes, j, at_once):
    """Return what lane ``j`` of each row adds up to, and what rounding took."""
    n = lanes(tile)
    whole = n_classes - n_classes % n
    few = whole % (FOUR * n)
    part = spread(0.0, tile)
    if whole + j < n_classes:
        part = load(tile, (whole + j) * n)
    for k in range(j, few, n):
        part = part + load(tile, k * n)
    lost = spread(0.0, tile)
    for k in range(few + j, whole, FOUR * n):
        a, b = load(tile, k * n), load(tile, (k + n) * n)
        c, d = load(tile, (k + 2 * n) * n), load(tile, (k + 3 * n) * n)
        if at_once == TWO:
            part, error = two_sum(part, a + b)
            lost = lost + error
            some = c + d
        else:
            some = (a + b) + (c + d)
        part, error = two_sum(part, some)
        lost = lost + error
    return part, lost


@inner
def sums_of_columns(tile, n_classes):
    """Return what ``sums_of_rows`` does of rows side by side."""
    n = lanes(tile)
    parts = scratch(tile, PARTS_SIZE)
    for j in range(n):  # in registers, images of 21 classes took 8 % longer
        part, lost = lane_of_columns(tile, n_classes, j, FOUR)
        store(part + lost, parts, j * n)
    return sum_of_parts(parts)


@inner
def parts_of_columns(tile, n_classes, parts, lost_parts):
    """Return what ``parts_of_rows`` does of rows side by side.

    ``parts`` and ``lost_parts`` are memory for ``PARTS_SIZE`` float64 numbers.
    """
    n = lanes(tile)
    for j in range(n):
        part, lost = lane_of_columns(tile, n_classes, j, TWO)
        store_parts(part, lost, parts, lost_parts, j * n)
    return sum_in_parts(spread(0.0, tile), parts, lost_parts)


def _store_parts_32(part, lost, parts, lost_parts, i):
    store(widened(part) + widened(lost), parts, i)


def _store_parts_64(part, lost, parts, lost_parts, i):
    store(part, parts, i)
    store(lost, lost_parts, i)


# Store a partial sum of every row, and what rounding took from it.
store_parts = by_dtype(_store_parts_32, _store_parts_64)


def _sum_in_parts_32(like, parts, lost_parts):
    n = lanes(like)
    count = n // 2
    for j in range(count):
        a = load_beside(parts, j * n, like)
        store(a + load_beside(parts, (count + j) * n, like), parts, j * n)
    while count > 1:
        count //= 2
        for j in range(count):
            a = load_beside(parts, 2 * j * n, like)
            store(a + load_beside(parts, (2 * j + 1) * n, like), parts, j * n)
    return load_beside(parts, 0, like), widened(like * 0.0)


def _sum_in_parts_64(like, parts, lost_parts):
    n = lanes(like)
    count = n
    while count > 1:
        count //= 2
        for j in range(count):
            a, b = load(parts, 2 * j * n), load(parts, (2 * j + 1) * n)
            total, error = two_sum(a, b)
            more = load(lost_parts, 2 * j * n) + load(lost_parts, (2 * j + 1) * n)
            store(total, parts, j * n)
            store(more + error, lost_parts, j * n)
    return load(parts, 0), load(lost_parts, 0)


# The sums over the lanes of what was stored so, in two parts. What ``parts`` held is
# lost.
sum_in_parts = by_dtype(_sum_in_parts_32, _sum_in_parts_64)


@rule
def sum_of_parts(parts):
    """Return the sums over the lanes of as many vectors as a vector has lanes.

    Each holds a partial sum of every row. What ``parts`` held is lost.
    """
    n = lanes(parts)
    count = n
    for _ in range(NARROW_STEPS):
        count //= 2
        for j in range(count):
            pair = load(parts, 2 * j * n) + load(parts, (2 * j + 1) * n)
            store(pair, parts, j * n)
    sums = widened(load(parts, 0)) + widened(load(parts, n))
    if n > 1 << NARROW_STEPS + 1:
        more = widened(load(parts, 2 * n)) + widened(load(parts, 3 * n))
        sums = sums + more
    return sums


def _tree(s: Builder, parts: list[Any], wide: Any) -> Any:
    """Add up each vector: the sums, one in each lane, of type ``wide``."""
    n = wide.count
    h = 1
    while h < n:
        if len(parts) == n >> NARROW_STEPS and parts[0].type != wide:
            parts = [s.b.fpext(part, wide) for part in parts]
        low = [c if c & h == 0 else n + c - h for c in range(n)]
        high = [c + h if c & h == 0 else n + c for c in range(n)]
        parts = [
            s.b.fadd(s.shuffle(x, y, low), s.shuffle(x, y, high))
            for x, y in zip(parts[::2], parts[1::2], strict=True)
        ]
        h *= 2
    return parts[0]


def _tree_in_parts(s: Builder, sums: list[Any], losses: list[Any]) -> tuple[Any, Any]:
    """Do so in two parts, of float64 vectors."""
    n = sums[0].type.count
    h = 1
    while h < n:
        low = [c if c & h == 0 else n + c - h for c in range(n)]
        high = [c + h if c & h == 0 else n + c for c in range(n)]
        more, rest = [], []
        for j in range(0, len(sums), 2):
            x, y = sums[j : j + 2]
            rounded, error = _two_sum(s, s.shuffle(x, y, low), s.shuffle(x, y, high))
            x, y = losses[j : j + 2]
            lost = s.b.fadd(s.shuffle(x, y, low), s.shuffle(x, y, high))
            more.append(rounded)
            rest.append(s.b.fadd(lost, error))
        sums, losses = more, rest
        h *= 2
    return sums[0], losses[0]
