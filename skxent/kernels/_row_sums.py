"""Sums of rows that lie one behind the other, one in each lane.

A row is added up along itself, in as many partial sums as a vector has lanes: first
what is left of four vectors, then four at a time, with what rounding takes from that.
The partial sums of as many rows are then transposed and added at once, pair by pair;
from the third step on they are float64. ``sums_of_columns`` adds the same numbers in
the same order where a tile holds the rows side by side, so both give the same bits.
Primitives as those of :mod:`skxent.kernels._simd`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from skxent.kernels._jit import inner, rule
from skxent.kernels._simd import lanes, load, spread, store, widened
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
FOUR = 4
NARROW_STEPS = 2  # taken in the dtype of the rows
PARTS_SIZE = MOST_LANES * MOST_LANES


def sums_of_rows(p: Any, n_classes: int) -> Any:
    """Return the sums, float64, of as many rows as a vector has lanes.

    Of ``n_classes`` each, one behind the other.
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
        parts, error = two_sum(parts, (a + b) + (c + d))
        lost = lost + error
    parts = parts + lost
    for step in range(n.bit_length() - 1):
        if step == NARROW_STEPS:
            parts = parts.astype(np.float64)
        parts = parts[:, ::2] + parts[:, 1::2]
    return lanes_of(parts[:, 0].astype(np.float64))


@compiled(
    sums_of_rows, lambda p, n_classes: vector_of(p.dtype).with_scalar(types.float64)
)
def _sums_of_rows(s: Builder, p: Any, n_classes: Any) -> Any:
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
    few = s.b.srem(whole, INDEX(FOUR * n))
    align = align_of(vector)
    with cgutils.for_range_slice(s.b, INDEX(0), few, INDEX(n), INDEX) as (k, _):
        for row, part in zip(rows, sums, strict=True):
            more = s.load(row, k, wide, align)
            s.b.store(s.b.fadd(s.b.load(part), more), part)
    with s.b.if_then(s.b.icmp_signed("<", few, whole)):
        losses = [cgutils.alloca_once_value(s.b, nothing) for _ in rows]
        for lost in losses:  # once for each call, not for the function's first
            s.b.store(nothing, lost)
        step = INDEX(FOUR * n)
        with cgutils.for_range_slice(s.b, few, whole, step, INDEX) as (k, _):
            for row, part, lost in zip(rows, sums, losses, strict=True):
                places = [s.b.add(k, INDEX(j * n)) for j in range(FOUR)]
                a, b, c, d = (s.load(row, place, wide, align) for place in places)
                four = s.b.fadd(s.b.fadd(a, b), s.b.fadd(c, d))
                rounded, error = _two_sum(s, s.b.load(part), four)
                s.b.store(rounded, part)
                s.b.store(s.b.fadd(s.b.load(lost), error), lost)
        for part, lost in zip(sums, losses, strict=True):
            s.b.store(s.b.fadd(s.b.load(part), s.b.load(lost)), part)
    return _tree(s, [s.b.load(part) for part in sums])


def _two_sum(s: Builder, a: Any, b: Any) -> tuple[Any, Any]:
    """Compile :func:`skxent.kernels._vector.two_sum`."""
    rounded = s.b.fadd(a, b)
    added = s.b.fsub(rounded, a)
    rest = s.b.fsub(a, s.b.fsub(rounded, added))
    return rounded, s.b.fadd(rest, s.b.fsub(b, added))


@inner
def sums_of_columns(tile, n_classes, parts):
    """Return what ``sums_of_rows`` does of rows side by side.

    ``parts`` is memory for ``PARTS_SIZE`` numbers.
    """
    n = lanes(tile)
    whole = n_classes - n_classes % n
    few = whole % (FOUR * n)
    for j in range(n):
        part = spread(0.0, tile)
        if whole + j < n_classes:
            part = load(tile, (whole + j) * n)
        for k in range(j, few, n):
            part = part + load(tile, k * n)
        lost = spread(0.0, tile)
        for k in range(few + j, whole, FOUR * n):
            a, b = load(tile, k * n), load(tile, (k + n) * n)
            c, d = load(tile, (k + 2 * n) * n), load(tile, (k + 3 * n) * n)
            part, error = two_sum(part, (a + b) + (c + d))
            lost = lost + error
        store(part + lost, parts, j * n)
    return sum_of_parts(parts)


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


def _tree(s: Builder, parts: list[Any]) -> Any:
    """Add up each vector: the sums, one in each lane."""
    wide = llvm_type(s.sig.return_type)
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


def scale_rows(factors: Any, p: Any, n_classes: int, out: Any) -> None:
    """Write as many rows as there are factors, each times its own, in their order.

    Rows no longer than a vector.
    """
    for r in range(factors.size):
        row = slice(r * n_classes, (r + 1) * n_classes)
        out[row] = factors[r] * p[row]


@compiled(scale_rows, lambda factors, p, n_classes, out: types.void)
def _scale_rows(s: Builder, factors: Any, p: Any, n_classes: Any, out: Any) -> None:
    vector = s.sig.args[0]
    n = vector.lanes
    n_classes = s.cast(n_classes, 2, types.intp)
    nothing = ir.Constant(llvm_type(vector), [0.0] * n)
    for r in range(n):
        at = s.b.mul(n_classes, INDEX(r))
        row = s.load_below(p, at, n_classes, vector, nothing)
        scaled = s.b.fmul(row, s.shuffle(factors, factors, [r] * n))
        s.store_below(scaled, out, at, n_classes, vector)
