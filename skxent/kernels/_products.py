"""Products of many short vectors with few: the tiles of registers they are made of.

``X`` is *lines* of numbers that lie side by side, ``stride`` elements from line to
line. It is multiplied with a matrix ``A`` of few rows, one for each class, from either
side:

``add_dots``
    ``out[k, a] += sum_l A[k, l] X[a, l]``, four lines times up to four classes in up to
    16 vectors of partial sums, each added up at the end
``add_multiples``
    ``out[k, l] += sum_a A[k, a] X[a, l]``, up to four vectors of each line times up to
    four classes in as many sums, one number of ``A`` spread over a vector

``A`` and ``out`` are stored as vectors: entry ``(k, i)`` is element
``k * of_class + i // n * of_vector + i % n`` for vectors of ``n`` lanes. A matrix in
rows has ``of_vector = n``; the tiles of groups of rows (``_groups.py``), of K vectors
each, have ``of_class = n`` and ``of_vector = K n``.

With every vector of ``X`` that is read, memory is asked for: the vector ``ahead``
elements further on, 0 for nothing new; or the cache line at ``next_x``, with a step for
each line and each vector. Sums of one call are taken in the dtype of ``X``, then added
to ``out``, whose dtype may be float64.

Primitives as those of :mod:`skxent.kernels._simd`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from skxent.kernels._simd import lanes
from skxent.kernels._simd_type import (
    I32,
    INDEX,
    Builder,
    Vector,
    align_of,
    compiled,
    llvm_type,
    suffix,
    vector_of,
)

__all__ = ["FOUR", "TWO", "add_dots", "add_multiples"]

FOUR, TWO = 4, 2
INTO_SECOND_CACHE = I32(2)


def add_dots(
    x: Any,
    stride: int,
    last: int,
    size: int,
    a: Any,
    of_class: int,
    of_vector: int,
    n_classes: int,
    next_x: Any,
    next_of_line: int,
    next_of_vector: int,
    out: Any,
    out_of_class: int,
) -> None:
    """Add the products of four lines of ``size`` numbers with up to four classes.

    Line ``last`` stands for those after it: where there are less than four.
    """
    n = lanes(x)
    i = np.arange(size)
    for k in range(n_classes):
        of_a = a[k * of_class + i // n * of_vector + i % n]
        for r in range(FOUR):
            line = min(r, last) * stride
            out[k * out_of_class + r] += (x[line : line + size] * of_a).sum()


class Dots(NamedTuple):
    """What :func:`add_dots` is given, as instructions take it."""

    lines: list[Any]
    size: Any
    a: Any
    of_class: Any
    of_vector: Any
    next_x: Any
    next_of_line: Any
    next_of_vector: Any
    out: Any
    out_of_class: Any


@compiled(add_dots, lambda x, b, c, d, a, f, g, h, i, j, k, out, m: types.void)
def _add_dots(s: Builder, x: Any, *args: Any) -> None:
    stride, last, size, a, of_class, of_vector, n_classes, *others = _as_integers(
        s, args
    )
    lines = []
    for r in range(FOUR):
        is_there = s.b.icmp_signed("<", INDEX(r), last)
        line = s.b.select(is_there, INDEX(r), last)
        lines.append(s.b.gep(x, [s.b.mul(line, stride)]))
    dots = Dots(lines, size, a, of_class, of_vector, *others)
    _for_each_count(s, n_classes, lambda count: _emit_dots(s, dots, count))


def _emit_dots(s: Builder, dots: Dots, count: int) -> None:
    """Write the instructions for ``count`` classes."""
    vector = vector_of(s.sig.args[0].dtype)
    n = INDEX(vector.lanes)
    n_vectors = s.b.udiv(dots.size, n)
    whole = s.b.mul(n_vectors, n)
    rest = s.b.sub(dots.size, whole)
    sums = _zeros(s, vector, FOUR * count)

    def add(v: Any, i: Any, below: Any = None) -> None:
        numbers = []
        asked = s.b.mul(v, dots.next_of_vector)
        for r, line in enumerate(dots.lines):
            of_line = s.b.mul(dots.next_of_line, INDEX(r))
            _ask(s, dots.next_x, s.b.add(asked, of_line))
            numbers.append(_load(s, vector, line, i, below))
        for k in range(count):
            at = s.b.add(s.b.mul(v, dots.of_vector), s.b.mul(dots.of_class, INDEX(k)))
            factor = _load(s, vector, dots.a, at)
            for r in range(FOUR):
                _add_product(s, vector, numbers[r], factor, sums[k * FOUR + r])

    with cgutils.for_range(s.b, n_vectors) as loop:
        add(loop.index, s.b.mul(loop.index, n))
    with s.b.if_then(s.b.icmp_signed(">", rest, INDEX(0))):
        add(n_vectors, whole, rest)
    for k in range(count):
        four = _four_sums(s, sums[k * FOUR : (k + 1) * FOUR])
        _add_to_memory(s, four, dots.out, s.b.mul(dots.out_of_class, INDEX(k)))


def add_multiples(
    x: Any,
    stride: int,
    n_lines: int,
    size: int,
    a: Any,
    of_class: int,
    of_vector: int,
    n_classes: int,
    ahead: int,
    out: Any,
    out_of_class: int,
    out_of_vector: int,
) -> None:
    """Add multiples of ``n_lines`` lines for up to four classes.

    ``size`` numbers of each line: four vectors, or up to two.
    """
    n = lanes(x)
    i, line = np.arange(size), np.arange(n_lines)
    block = np.stack([x[r * stride : r * stride + size] for r in line])
    for k in range(n_classes):
        of_a = a[k * of_class + line // n * of_vector + line % n]
        at = k * out_of_class + i // n * out_of_vector + i % n
        out[at] += of_a @ block


class Multiples(NamedTuple):
    """What :func:`add_multiples` is given, as instructions take it."""

    x: Any
    stride: Any
    n_lines: Any
    size: Any
    a: Any
    of_class: Any
    of_vector: Any
    ahead: Any
    out: Any
    out_of_class: Any
    out_of_vector: Any


@compiled(add_multiples, lambda x, b, c, d, a, f, g, h, i, out, k, m: types.void)
def _add_multiples(s: Builder, x: Any, *args: Any) -> None:
    stride, n_lines, size, a, of_class, of_vector, n_classes, *others = _as_integers(
        s, args
    )
    terms = Multiples(x, stride, n_lines, size, a, of_class, of_vector, *others)
    four = INDEX(FOUR * vector_of(s.sig.args[0].dtype).lanes)
    is_wide = s.b.icmp_signed("==", size, four)
    with s.b.if_else(is_wide) as (wide, narrow):
        for branch, n_vectors in ((wide, FOUR), (narrow, TWO)):
            with branch:
                emit = partial(_emit_multiples, s, terms, n_vectors)
                _for_each_count(s, n_classes, emit)


def _emit_multiples(s: Builder, terms: Multiples, n_vectors: int, count: int) -> None:
    """Write the instructions for so many vectors of each line and ``count`` classes."""
    vector = vector_of(s.sig.args[0].dtype)
    n = INDEX(vector.lanes)
    sums = _zeros(s, vector, count * n_vectors)
    places = [INDEX(v * vector.lanes) for v in range(n_vectors)]
    rests = [s.b.sub(terms.size, place) for place in places]
    # what lies between the vectors of a class
    between = s.b.sub(terms.of_vector, n)
    with cgutils.for_range(s.b, terms.n_lines) as loop:
        i = loop.index
        line = s.b.gep(terms.x, [s.b.mul(i, terms.stride)])
        numbers = []
        for place, rest in zip(places, rests, strict=True):
            _ask(s, line, s.b.add(place, terms.ahead))
            below = None if n_vectors == FOUR else rest
            numbers.append(_load(s, vector, line, place, below))
        at = s.b.add(i, s.b.mul(s.b.udiv(i, n), between))
        for k in range(count):
            place = s.b.add(at, s.b.mul(terms.of_class, INDEX(k)))
            factor = s.spread(s.b.load(s.b.gep(terms.a, [place])), vector.lanes)
            for v in range(n_vectors):
                _add_product(s, vector, numbers[v], factor, sums[k * n_vectors + v])
    for v, rest in enumerate(rests):
        with s.b.if_then(s.b.icmp_signed(">", rest, INDEX(0))):
            at = s.b.mul(terms.out_of_vector, INDEX(v))
            for k in range(count):
                place = s.b.add(at, s.b.mul(terms.out_of_class, INDEX(k)))
                part = s.b.load(sums[k * n_vectors + v])
                _add_to_memory(s, part, terms.out, place)


def _as_integers(s: Builder, args: tuple[Any, ...]) -> list[Any]:
    """Return the arguments but the first, those that are no pointers as indices."""
    kinds = s.sig.args[1:]
    return [
        arg if isinstance(kind, types.CPointer) else s.cast(arg, k, types.intp)
        for k, (arg, kind) in enumerate(zip(args, kinds, strict=True), 1)
    ]


def _for_each_count(s: Builder, n_classes: Any, emit: Callable[[int], None]) -> None:
    """Emit instructions for each number of classes up to four."""
    for count in range(1, FOUR + 1):
        with s.b.if_then(s.b.icmp_signed("==", n_classes, INDEX(count))):
            emit(count)


def _zeros(s: Builder, vector: Vector, count: int) -> list[Any]:
    """Return variables that are zero."""
    nothing = ir.Constant(llvm_type(vector), [0.0] * vector.lanes)
    sums = [cgutils.alloca_once(s.b, llvm_type(vector)) for _ in range(count)]
    for part in sums:
        s.b.store(nothing, part)
    return sums


def _add_product(s: Builder, vector: Vector, x: Any, y: Any, part: Any) -> None:
    """Add a product to a variable."""
    name = f"fmuladd.{suffix(vector)}"
    s.b.store(s.call(name, x.type, x, y, s.b.load(part)), part)


def _load(s: Builder, vector: Vector, p: Any, i: Any, n: Any = None) -> Any:
    """Return the vector that begins at element ``i``, zeros from lane ``n`` on."""
    if n is None:
        return s.load(p, i, llvm_type(vector), align_of(vector))
    nothing = ir.Constant(llvm_type(vector), [0.0] * vector.lanes)
    return s.load_below(p, i, n, vector, nothing)


def _ask(s: Builder, p: Any, i: Any) -> None:
    """Ask for the cache line of element ``i``."""
    address = s.b.bitcast(s.b.gep(p, [i]), ir.IntType(8).as_pointer())
    to_read, data = I32(0), I32(1)
    s.call("prefetch.p0", ir.VoidType(), address, to_read, INTO_SECOND_CACHE, data)


def _four_sums(s: Builder, parts: list[Any]) -> Any:
    """Return the sums of four vectors in a vector of four."""
    vectors = [s.b.load(part) for part in parts]
    n = vectors[0].type.count
    for h in (1, 2):
        low = [c if c & h == 0 else n + c - h for c in range(n)]
        high = [c + h if c & h == 0 else n + c for c in range(n)]
        vectors = [
            s.b.fadd(s.shuffle(x, y, low), s.shuffle(x, y, high))
            for x, y in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    four = vectors[0]
    while n > FOUR:
        n //= 2
        low, high = list(range(n)), list(range(n, 2 * n))
        four = s.b.fadd(s.shuffle(four, four, low), s.shuffle(four, four, high))
    return four


def _add_to_memory(s: Builder, v: Any, out: Any, i: Any) -> None:
    """Add the lanes of a vector to the elements from ``i`` on."""
    element = out.type.pointee
    wide = ir.VectorType(element, v.type.count)
    if v.type != wide:
        v = s.b.fpext(v, wide)
    align = 4 if isinstance(element, ir.FloatType) else 8
    s.store(s.b.fadd(s.load(out, i, wide, align), v), out, i, align)
