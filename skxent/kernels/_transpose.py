"""Rows that become vectors of their columns, in registers, and back.

A block of ``n`` columns of as many rows as a vector has lanes is read as ``n`` vectors
and mixed in ``log2 n`` steps; each step exchanges lanes between pairs of vectors.
Primitives as those of :mod:`skxent.kernels._simd`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from skxent.kernels._simd import lanes
from skxent.kernels._simd_type import (
    INDEX,
    LINE,
    Builder,
    Vector,
    align_of,
    compiled,
    lanes_of,
    llvm_type,
    vector_of,
)

__all__ = [
    "alternating",
    "evens_and_odds",
    "transpose",
    "transpose_back",
    "widest_block",
]


def _butterfly(s: Builder, vectors: list[Any]) -> list[Any]:
    """Transpose the square blocks, as many lanes wide as there are vectors."""
    n, wide = len(vectors), vectors[0].type.count
    h = 1
    while h < n:
        low = [c if c & h == 0 else wide + c - h for c in range(wide)]
        high = [c + h if c & h == 0 else wide + c for c in range(wide)]
        mixed = list(vectors)
        for j in range(n):
            if j & h == 0:
                mixed[j] = s.shuffle(vectors[j], vectors[j + h], low)
                mixed[j + h] = s.shuffle(vectors[j], vectors[j + h], high)
        vectors = mixed
        h *= 2
    return vectors


def evens_and_odds(x: Any, y: Any) -> tuple[Any, Any]:
    """Return the lanes of even and of odd number of ``x`` and ``y`` in a row."""
    joined = np.concatenate([x, y])
    return lanes_of(joined[::2]), lanes_of(joined[1::2])


@compiled(evens_and_odds, lambda x, y: types.UniTuple(x, 2))
def _evens_and_odds(s: Builder, x: Any, y: Any) -> Any:
    n = x.type.count
    parts = [s.shuffle(x, y, list(range(first, 2 * n, 2))) for first in (0, 1)]
    return s.context.make_tuple(s.b, s.sig.return_type, parts)


def alternating(x: Any, y: Any) -> tuple[Any, Any]:
    """Undo :func:`evens_and_odds`."""
    joined = np.stack([x, y], axis=1).reshape(-1)
    return lanes_of(joined[: x.size]), lanes_of(joined[x.size :])


@compiled(alternating, lambda x, y: types.UniTuple(x, 2))
def _alternating(s: Builder, x: Any, y: Any) -> Any:
    n = x.type.count
    order = [
        lane for pair in zip(range(n), range(n, 2 * n), strict=True) for lane in pair
    ]
    parts = [s.shuffle(x, y, order[:n]), s.shuffle(x, y, order[n:])]
    return s.context.make_tuple(s.b, s.sig.return_type, parts)


def widest_block(columns: int, like: Any) -> int:
    """Return the largest power of 2 up to ``columns`` and to the number of lanes."""
    n = lanes(like)
    while n > columns:
        n //= 2
    return n


@compiled(widest_block, lambda columns, like: types.intp)
def _widest_block(s: Builder, columns: Any, like: Any) -> Any:
    columns = s.cast(columns, 0, types.intp)
    n = INDEX(1)
    for size in _block_sizes(s.sig.args[1]):
        enough = s.b.icmp_signed(">=", columns, INDEX(size))
        n = s.b.select(enough, INDEX(size), n)
    return n


def _block_sizes(p: Any) -> list[int]:
    """Return 1, 2, 4 ... up to the number of lanes."""
    n = vector_of(p.dtype).lanes
    return [1 << e for e in range(n.bit_length())]


def transpose(p: Any, stride: int, tile: Any, columns: int) -> None:
    """Write ``columns`` columns of as many rows as there are lanes as vectors.

    Row ``r`` begins at element ``r * stride``. ``columns`` is a power of 2 up to the
    number of lanes; the tile begins at a multiple of 64 bytes.
    """
    n = lanes(p)
    for r in range(n):
        for c in range(columns):
            tile[c * n + r] = p[r * stride + c]


@compiled(transpose, lambda p, stride, tile, columns: types.void)
def _transpose(s: Builder, p: Any, stride: Any, tile: Any, columns: Any) -> None:
    vector = vector_of(s.sig.args[0].dtype)
    stride = s.cast(stride, 1, types.intp)
    columns = s.cast(columns, 3, types.intp)
    for n in _block_sizes(s.sig.args[0]):
        with s.b.if_then(s.b.icmp_signed("==", columns, INDEX(n))):
            vectors = [_gather_block(s, p, stride, vector, j, n) for j in range(n)]
            for c, column in enumerate(_butterfly(s, vectors)):
                s.store(column, tile, INDEX(c * vector.lanes), LINE)


def _gather_block(
    s: Builder, p: Any, stride: Any, vector: Vector, j: int, n: int
) -> Any:
    """Return the first ``n`` columns of rows ``j``, ``j + n``, ... in one vector."""
    part = ir.VectorType(llvm_type(vector).element, n)
    pieces = [
        s.load(p, s.b.mul(stride, INDEX(r)), part, align_of(vector))
        for r in range(j, vector.lanes, n)
    ]
    while len(pieces) > 1:
        joined = list(range(2 * pieces[0].type.count))
        pieces = [
            s.shuffle(x, y, joined)
            for x, y in zip(pieces[::2], pieces[1::2], strict=True)
        ]
    return pieces[0]


def transpose_back(
    columns: Any, step: int, p: Any, stride: int, n_columns: int
) -> None:
    """Write as many rows as there are lanes, from vectors of their columns.

    Column ``c`` begins at element ``c * step``, row ``r`` is written from element
    ``r * stride`` on. ``n_columns`` is a power of 2 up to the number of lanes.
    """
    n = lanes(p)
    for r in range(n):
        for c in range(n_columns):
            p[r * stride + c] = columns[c * step + r]


@compiled(transpose_back, lambda columns, step, p, stride, n_columns: types.void)
def _transpose_back(
    s: Builder, columns: Any, step: Any, p: Any, stride: Any, n_columns: Any
) -> None:
    vector = vector_of(s.sig.args[0].dtype)
    step, stride = s.cast(step, 1, types.intp), s.cast(stride, 3, types.intp)
    n_columns = s.cast(n_columns, 4, types.intp)
    wide, align = llvm_type(vector), align_of(vector)
    for n in _block_sizes(s.sig.args[0]):
        with s.b.if_then(s.b.icmp_signed("==", n_columns, INDEX(n))):
            places = [s.b.mul(step, INDEX(c)) for c in range(n)]
            vectors = _butterfly(
                s, [s.load(columns, place, wide, align) for place in places]
            )
            for r in range(wide.count):
                begin = r // n * n
                row = vectors[r % n]
                part = s.shuffle(row, row, list(range(begin, begin + n)))
                s.store(part, p, s.b.mul(stride, INDEX(r)), align)
