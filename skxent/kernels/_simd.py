"""Vectors of a cache line of floats: memory, lanes and arithmetic.

LLVM vectorises a loop over floats by itself, but not with these three things, which a
loss at the speed of memory needs: lines fetched ahead inside the loop, a transposition
in registers, and the whole width of the machine's registers. Here a vector is a value
like a float: ``+ - * /`` and comparisons work lane by lane, a number beside a vector is
spread over its lanes, and scalar rules that only use operators take vectors too.

A vector has 64 bytes: 16 float32 or 8 float64 numbers. LLVM cuts it to the registers of
the machine (one of AVX-512, two of AVX2, four of SSE or NEON). ``widened`` makes 16
float64 numbers of 16 float32 numbers, with the same operators.

Memory is addressed by pointers, since an array that is handed from function to function
is reference-counted at each call (90 ns). The caller keeps the array alive.

Every primitive is an ordinary Python function on numpy arrays, which is what it means
and what the tests compare with; the function decorated with its name below is what it
compiles to. In Python a pointer is an array. Nothing here knows of cross-entropy.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature

from skxent.kernels._simd_type import (
    BOOL,
    I32,
    INDEX,
    LINE,
    Builder,
    Lanes,
    Vector,
    align_of,
    common_type,
    compiled,
    integer_of,
    lanes_of,
    llvm_type,
    suffix,
    vector_of,
)

__all__ = [
    "advance",
    "all_lanes",
    "any_lane",
    "apart",
    "bits",
    "computed",
    "exchanged",
    "fence",
    "first",
    "float_of",
    "floats",
    "fma",
    "gather",
    "keep",
    "lanes",
    "largest",
    "lengthened",
    "load",
    "load_beside",
    "load_part",
    "load_part_beside",
    "low_half",
    "magnitude",
    "maximum",
    "minimum",
    "muladd",
    "narrowed",
    "numbers",
    "permuted",
    "pointer",
    "prefetch",
    "prefetch_to_write",
    "scatter",
    "scratch",
    "select",
    "shortened",
    "slots",
    "spread",
    "store",
    "store_part",
    "stream",
    "to_next_line",
    "total",
    "widened",
]

# -- memory ----------------------------------------------------------------------------


def pointer(array: Any) -> Any:
    """Return the address of the first element of a contiguous array."""
    return array.reshape(-1)


@compiled(pointer, lambda array: types.CPointer(array.dtype))
def _pointer(s: Builder, array: Any) -> Any:
    return s.context.make_array(s.sig.args[0])(s.context, s.b, array).data


def keep(array: Any) -> None:
    """Keep the memory of an array until here: pointers to it do not."""


@compiled(keep, lambda array: types.void)
def _keep(s: Builder, array: Any) -> None:
    """Do nothing: the last use of a variable is what numba goes by."""


def advance(p: Any, n: int) -> Any:
    """Return the address ``n`` elements further on."""
    return p[n:]


@compiled(advance, lambda p, n: p)
def _advance(s: Builder, p: Any, n: Any) -> Any:
    return s.b.gep(p, [s.cast(n, 1, types.intp)])


def scratch(like: Any, size: int) -> Any:
    """Return memory for ``size`` elements, a constant, that lasts until the return.

    It is the stack's: a function must not hand it to its caller.
    """
    return np.empty(size, like.dtype)


def _type_scratch(like: Any, size: Any) -> Any:
    # numba offers the type of the constant after that of any integer
    return types.CPointer(like.dtype) if isinstance(size, types.Literal) else None


@compiled(scratch, _type_scratch)
def _scratch(s: Builder, like: Any, size: Any) -> Any:
    element = s.context.get_data_type(s.sig.return_type.dtype)
    count = s.sig.args[1].literal_value
    with s.b.goto_entry_block():
        memory = s.b.alloca(ir.ArrayType(element, count))
        memory.align = LINE
    return s.b.bitcast(memory, element.as_pointer())


def slots(size: int) -> Any:
    """Return memory for ``size`` int64 numbers, as ``scratch`` does."""
    return np.empty(size, np.int64)


def _type_slots(size: Any) -> Any:
    return types.CPointer(types.int64) if isinstance(size, types.Literal) else None


@compiled(slots, _type_slots)
def _slots(s: Builder, size: Any) -> Any:
    count = s.sig.args[0].literal_value
    with s.b.goto_entry_block():
        memory = s.b.alloca(ir.ArrayType(INDEX, count))
        memory.align = LINE
    return s.b.bitcast(memory, INDEX.as_pointer())


def load(p: Any, i: int) -> Any:
    """Return the vector that begins at element ``i``."""
    return lanes_of(p[i : i + lanes(p)])


@compiled(load, lambda p, i: vector_of(p.dtype))
def _load(s: Builder, p: Any, i: Any) -> Any:
    vector = s.sig.return_type
    return s.load(p, s.cast(i, 1, types.intp), llvm_type(vector), align_of(vector))


def load_beside(p: Any, i: int, like: Any) -> Any:
    """Return as many elements from ``i`` on as there are lanes beside them."""
    return lanes_of(p[i : i + lanes(like)])


def _type_load_beside(p: Any, i: Any, like: Any) -> Any:
    return like.with_scalar(p.dtype)


@compiled(load_beside, _type_load_beside)
def _load_beside(s: Builder, p: Any, i: Any, like: Any) -> Any:
    vector = s.sig.return_type
    return s.load(p, s.cast(i, 1, types.intp), llvm_type(vector), align_of(vector))


def gather(p: Any, index: Any) -> Any:
    """Return the elements that the lanes of ``index`` number."""
    return lanes_of(p[index])


@compiled(gather, lambda p, index: index.with_scalar(p.dtype))
def _gather(s: Builder, p: Any, index: Any) -> Any:
    vector = s.sig.return_type
    wide = llvm_type(vector)
    addresses, every = s.addresses(p, index, vector)
    name = f"masked.gather.{suffix(vector)}.v{vector.lanes}p0"
    nothing = ir.Constant(wide, ir.Undefined)
    return s.call(name, wide, addresses, I32(align_of(vector)), every, nothing)


def scatter(v: Any, p: Any, index: Any) -> None:
    """Write each lane to the element that the lane of ``index`` numbers."""
    p[index] = v


@compiled(scatter, lambda v, p, index: types.void)
def _scatter(s: Builder, v: Any, p: Any, index: Any) -> None:
    vector = s.sig.args[0]
    name = f"masked.scatter.{suffix(vector)}.v{vector.lanes}p0"
    addresses, every = s.addresses(p, index, vector)
    s.call(name, ir.VoidType(), v, addresses, I32(align_of(vector)), every)


def numbers(like: Any) -> Any:
    """Return 0, 1, 2 ... in the lanes, integers of the size of the floats beside."""
    return lanes_of(np.arange(lanes(like), dtype=f"i{like.dtype.itemsize}"))


@compiled(numbers, lambda like: like.with_scalar(integer_of(like.scalar)))
def _numbers(s: Builder, like: Any) -> Any:
    vector = s.sig.return_type
    return ir.Constant(llvm_type(vector), list(range(vector.lanes)))


def load_part(p: Any, i: int, n: int, fill: float) -> Any:
    """Return the vector that begins at element ``i``; lanes from ``n`` on are filled.

    Nothing is read for them.
    """
    return load_part_beside(p, i, n, fill, p)


@compiled(load_part, lambda p, i, n, fill: vector_of(p.dtype))
def _load_part(s: Builder, p: Any, i: Any, n: Any, fill: Any) -> Any:
    return s.masked_load(p, i, n, fill)


def load_part_beside(p: Any, i: int, n: int, fill: float, like: Any) -> Any:
    """Do as ``load_part``, with as many lanes as ``like``."""
    vector = np.full(lanes(like), fill, p.dtype)
    n = min(n, vector.size)
    vector[:n] = p[i : i + n]
    return lanes_of(vector)


@compiled(load_part_beside, lambda p, i, n, fill, like: like.with_scalar(p.dtype))
def _load_part_beside(s: Builder, p: Any, i: Any, n: Any, fill: Any, like: Any) -> Any:
    return s.masked_load(p, i, n, fill)


def store(v: Any, p: Any, i: int) -> None:
    """Write a vector from element ``i`` on."""
    p[i : i + v.size] = v


@compiled(store, lambda v, p, i: types.void)
def _store(s: Builder, v: Any, p: Any, i: Any) -> None:
    s.store(v, p, s.cast(i, 2, types.intp), align_of(s.sig.args[0]))


def stream(v: Any, p: Any, i: int) -> None:
    """Write a whole cache line from element ``i`` on, past the caches.

    Nothing reads it until the next :func:`fence`.
    """
    p[i : i + v.size] = v


@compiled(stream, lambda v, p, i: types.void)
def _stream(s: Builder, v: Any, p: Any, i: Any) -> None:
    instruction = s.store(v, p, s.cast(i, 2, types.intp), LINE)
    instruction.set_metadata("nontemporal", s.b.module.add_metadata([I32(1)]))


def fence() -> None:
    """Wait until other threads can see what was written."""


@compiled(fence, lambda: types.void)
def _fence(s: Builder) -> None:
    s.b.fence("seq_cst")


def to_next_line(p: Any) -> int:
    """Return how many elements there are before the next cache line begins."""
    return int(-(p.ctypes.data // p.itemsize) % (LINE // p.itemsize))


@compiled(to_next_line, lambda p: types.intp)
def _to_next_line(s: Builder, p: Any) -> Any:
    size = s.sig.args[0].dtype.bitwidth // 8
    place = s.b.udiv(s.b.ptrtoint(p, INDEX), INDEX(size))
    return s.b.and_(s.b.neg(place), INDEX(LINE // size - 1))


def store_part(v: Any, p: Any, i: int, n: int) -> None:
    """Write the first ``n`` lanes of a vector from element ``i`` on."""
    p[i : i + n] = v[:n]


@compiled(store_part, lambda v, p, i, n: types.void)
def _store_part(s: Builder, v: Any, p: Any, i: Any, n: Any) -> None:
    i, n = s.cast(i, 2, types.intp), s.cast(n, 3, types.intp)
    s.store_below(v, p, i, n, s.sig.args[0])


def prefetch(p: Any, i: int) -> None:
    """Ask for the cache line of element ``i``, which need not exist."""


def prefetch_to_write(p: Any, i: int) -> None:
    """Ask for the cache line of element ``i`` as one that will be written."""


def _compile_prefetch(primitive: Any, to_write: bool) -> None:
    @compiled(primitive, lambda p, i: types.void)
    def _prefetch(s: Builder, p: Any, i: Any) -> None:
        byte = ir.IntType(8).as_pointer()
        address = s.b.bitcast(s.b.gep(p, [s.cast(i, 1, types.intp)]), byte)
        all_levels, data = I32(3), I32(1)
        s.call(
            "prefetch.p0", ir.VoidType(), address, I32(int(to_write)), all_levels, data
        )


_compile_prefetch(prefetch, False)
_compile_prefetch(prefetch_to_write, True)


def apart() -> None:
    """Keep the function that says so a function of its own in machine code.

    Part of its caller, it would share the registers with all that is there.
    """


@compiled(apart, lambda: types.void)
def _apart(s: Builder) -> None:
    s.b.function.attributes.add("noinline")


# -- lanes -----------------------------------------------------------------------------


def lanes(x: Any) -> int:
    """Return how many lanes the vectors of a pointer, or a vector, have."""
    return x.size if isinstance(x, Lanes) else LINE // x.dtype.itemsize


@compiled(lanes, lambda x: types.intp)
def _lanes(s: Builder, x: Any) -> Any:
    of = s.sig.args[0]
    return INDEX(of.lanes if isinstance(of, Vector) else vector_of(of.dtype).lanes)


def computed(p: Any) -> Any:
    """Return zeros as memory's numbers are computed with: int16 is float16's memory."""
    dtype = np.dtype(np.float32 if p.dtype == np.int16 else p.dtype)
    return lanes_of(np.zeros(LINE // dtype.itemsize, dtype))


def _type_computed(p: Any) -> Any:
    return vector_of(types.float32 if p.dtype == types.int16 else p.dtype)


@compiled(computed, _type_computed)
def _computed(s: Builder, p: Any) -> Any:
    vector = s.sig.return_type
    return ir.Constant(llvm_type(vector), [0.0] * vector.lanes)


def spread(number: float, like: Any) -> Any:
    """Return a vector of one number, with the dtype of a pointer or vector.

    The number itself, with its dtype, beside a number.
    """
    if isinstance(like, float | np.generic):
        return type(like)(number)
    return lanes_of(np.full(lanes(like), number, like.dtype))


def _type_spread(number: Any, like: Any) -> Any:
    is_value = isinstance(like, Vector | types.Float)
    return like if is_value else vector_of(like.dtype)


@compiled(spread, _type_spread)
def _spread(s: Builder, number: Any, like: Any) -> Any:
    result = s.sig.return_type
    if not isinstance(result, Vector):
        return s.cast(number, 0, result)
    return s.spread(s.cast(number, 0, result.scalar), result.lanes)


def first(v: Any) -> Any:
    """Return the number in the first lane."""
    return v[0]


@compiled(first, lambda v: v.scalar)
def _first(s: Builder, v: Any) -> Any:
    return s.b.extract_element(v, I32(0))


def select(mask: Any, x: Any, y: Any) -> Any:
    """Return ``x`` where the mask is true, else ``y``; of numbers as well."""
    if np.ndim(mask) == 0:
        return x if mask else y
    dtype = x.dtype if isinstance(x, Lanes) else y.dtype
    return lanes_of(np.where(mask, x, y).astype(dtype))


def _type_select(mask: Any, x: Any, y: Any) -> Any:
    if mask == types.boolean:
        # a float64 constant beside a float32 is meant to be one
        floats = [number for number in (x, y) if isinstance(number, types.Float)]
        number = min(floats or [x], key=lambda kind: kind.bitwidth)
        return signature(number, mask, number, number)
    vector = common_type((x, y))
    return None if vector is None else signature(vector, mask, vector, vector)


@compiled(select, _type_select)
def _select(s: Builder, mask: Any, x: Any, y: Any) -> Any:
    return s.b.select(mask, x, y)


def any_lane(mask: Any) -> bool:
    """Return whether a lane is true."""
    return bool(np.any(mask))


@compiled(any_lane, lambda mask: types.boolean)
def _any_lane(s: Builder, mask: Any) -> Any:
    return s.call(f"vector.reduce.or.v{s.sig.args[0].lanes}i1", BOOL, mask)


def all_lanes(mask: Any) -> bool:
    """Return whether every lane is true."""
    return bool(np.all(mask))


@compiled(all_lanes, lambda mask: types.boolean)
def _all_lanes(s: Builder, mask: Any) -> Any:
    return s.call(f"vector.reduce.and.v{s.sig.args[0].lanes}i1", BOOL, mask)


def maximum(x: Any, y: Any) -> Any:
    """Return the larger of both, ``y`` where one of them is nan."""
    return lanes_of(np.where(x > y, x, y))


def _type_pair(x: Any, y: Any) -> Any:
    vector = common_type((x, y))
    return None if vector is None else signature(vector, vector, vector)


@compiled(maximum, _type_pair)
def _maximum(s: Builder, x: Any, y: Any) -> Any:
    return s.b.select(s.b.fcmp_ordered(">", x, y), x, y)


def minimum(x: Any, y: Any) -> Any:
    """Return the smaller of both, ``y`` where one of them is nan."""
    return lanes_of(np.where(x < y, x, y))


@compiled(minimum, _type_pair)
def _minimum(s: Builder, x: Any, y: Any) -> Any:
    return s.b.select(s.b.fcmp_ordered("<", x, y), x, y)


def magnitude(x: Any) -> Any:
    """Return numbers without their sign."""
    return np.abs(x)


@compiled(magnitude, lambda x: x)
def _magnitude(s: Builder, x: Any) -> Any:
    return s.call(f"fabs.{suffix(s.sig.return_type)}", x.type, x)


def _halves(s: Builder, v: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the halves of a vector, then theirs, down to one number."""
    n = v.type.count
    while n > 1:
        n //= 2
        low = s.shuffle(v, v, list(range(n)))
        high = s.shuffle(v, v, list(range(n, 2 * n)))
        v = combine(low, high)
    return s.b.extract_element(v, I32(0))


def total(v: Any) -> Any:
    """Return the sum of the lanes, added as a tree."""
    while v.size > 1:
        v = v[: v.size // 2] + v[v.size // 2 :]
    return v[0]


@compiled(total, lambda v: v.scalar)
def _total(s: Builder, v: Any) -> Any:
    return _halves(s, v, s.b.fadd)


def exchanged(v: Any, distance: int) -> Any:
    """Return the lanes in another order: each for the one ``distance`` from it.

    A power of 2, a constant: lanes whose numbers differ in that bit change places.
    """
    return lanes_of(v[np.arange(v.size) ^ distance])


def _type_exchanged(v: Any, distance: Any) -> Any:
    return v if isinstance(distance, types.Literal) else None


@compiled(exchanged, _type_exchanged)
def _exchanged(s: Builder, v: Any, distance: Any) -> Any:
    bit = s.sig.args[1].literal_value
    return s.shuffle(v, v, [lane ^ bit for lane in range(v.type.count)])


def permuted(v: Any, index: Any) -> Any:
    """Return the lanes of ``v`` that the lanes of ``index`` number."""
    return lanes_of(v[index])


@compiled(permuted, lambda v, index: v)
def _permuted(s: Builder, v: Any, index: Any) -> Any:
    # what LLVM makes one instruction of where there is one
    if index.type.element == INDEX:
        # it would take such indices from memory one by one, but for the conjunction
        most = ir.Constant(index.type, [v.type.count - 1] * v.type.count)
        index = s.b.and_(index, most)
    result = ir.Constant(v.type, ir.Undefined)
    for lane in range(v.type.count):
        number = s.b.extract_element(index, I32(lane))
        result = s.b.insert_element(result, s.b.extract_element(v, number), I32(lane))
    return result


def largest(v: Any) -> Any:
    """Return the largest lane; which, is not said if there is a nan."""
    return np.max(v)


@compiled(largest, lambda v: v.scalar)
def _largest(s: Builder, v: Any) -> Any:
    return _halves(s, v, lambda x, y: s.b.select(s.b.fcmp_ordered(">", x, y), x, y))


# -- arithmetic ------------------------------------------------------------------------


def fma(x: Any, y: Any, z: Any) -> Any:
    """Return ``x y + z``, rounded once; of numbers as well."""
    vectors = [v for v in (x, y, z) if isinstance(v, Lanes)]
    if not vectors:
        return _fma(x, y, z)
    results = [_fma(*v) for v in np.broadcast(x, y, z)]
    return lanes_of(results).astype(np.result_type(*vectors))


def _fma(x: Any, y: Any, z: Any) -> Any:
    """Return ``x y + z``, exact but for what float64 rounds; nan beside infinity."""
    if not np.isfinite([x, y, z]).all():
        return x * y + z
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    return float(exact)


def _type_three(x: Any, y: Any, z: Any) -> Any:
    vector = common_type((x, y, z))
    return None if vector is None else signature(vector, vector, vector, vector)


def _type_fma(x: Any, y: Any, z: Any) -> Any:
    if all(isinstance(number, types.Float) for number in (x, y, z)):
        number = min((x, y, z), key=lambda kind: kind.bitwidth)
        return signature(number, number, number, number)
    return _type_three(x, y, z)


@compiled(fma, _type_fma)
def _compile_fma(s: Builder, x: Any, y: Any, z: Any) -> Any:
    of = s.sig.return_type
    name = suffix(of) if isinstance(of, Vector) else f"f{of.bitwidth}"
    return s.call(f"fma.{name}", x.type, x, y, z)


def muladd(x: Any, y: Any, z: Any) -> Any:
    """Return ``x y + z``, rounded once where the machine can."""
    return x * y + z


@compiled(muladd, _type_three)
def _muladd(s: Builder, x: Any, y: Any, z: Any) -> Any:
    return s.call(f"fmuladd.{suffix(s.sig.return_type)}", x.type, x, y, z)


def bits(v: Any) -> Any:
    """Return the bits of floats as integers."""
    return v.view(f"i{v.dtype.itemsize}")


@compiled(bits, lambda v: v.with_scalar(integer_of(v.scalar)))
def _bits(s: Builder, v: Any) -> Any:
    return s.b.bitcast(v, llvm_type(s.sig.return_type))


def float_of(i: Any) -> Any:
    """Undo :func:`bits`."""
    return i.view(f"f{i.dtype.itemsize}")


@compiled(
    float_of,
    lambda i: i.with_scalar(
        types.float32 if i.scalar.bitwidth == 32 else types.float64
    ),
)
def _float_of(s: Builder, i: Any) -> Any:
    return s.b.bitcast(i, llvm_type(s.sig.return_type))


def floats(i: Any) -> Any:
    """Return integers as floats of their size."""
    return i.astype(f"f{i.dtype.itemsize}")


@compiled(
    floats,
    lambda i: i.with_scalar(
        types.float32 if i.scalar.bitwidth == 32 else types.float64
    ),
)
def _floats(s: Builder, i: Any) -> Any:
    return s.b.sitofp(i, llvm_type(s.sig.return_type))


def widened(v: Any) -> Any:
    """Return float64 numbers."""
    return v.astype(np.float64)


@compiled(widened, lambda v: v.with_scalar(types.float64))
def _widened(s: Builder, v: Any) -> Any:
    same = s.sig.args[0] == s.sig.return_type
    return v if same else s.b.fpext(v, llvm_type(s.sig.return_type))


def narrowed(v: Any, like: Any) -> Any:
    """Return float64 numbers, rounded to the dtype of a pointer or vector."""
    return v.astype(like.dtype)


def _type_narrowed(v: Any, like: Any) -> Any:
    return v.with_scalar(like.scalar if isinstance(like, Vector) else like.dtype)


@compiled(narrowed, _type_narrowed)
def _narrowed(s: Builder, v: Any, like: Any) -> Any:
    same = s.sig.args[0] == s.sig.return_type
    return v if same else s.b.fptrunc(v, llvm_type(s.sig.return_type))


def shortened(i: Any, like: Any) -> Any:
    """Return int64 numbers as integers of the size of the floats beside them."""
    return i.astype(f"i{like.dtype.itemsize}")


@compiled(shortened, lambda i, like: i.with_scalar(integer_of(like.scalar)))
def _shortened(s: Builder, i: Any, like: Any) -> Any:
    if s.sig.args[0] == s.sig.return_type:
        return i
    # every other word: one shuffle for two registers, where truncation takes five
    n = i.type.count
    words = ir.VectorType(ir.IntType(32), n)
    low, high = (
        s.b.bitcast(s.shuffle(i, i, list(range(first, first + n // 2))), words)
        for first in (0, n // 2)
    )
    return s.shuffle(low, high, list(range(0, 2 * n, 2)))


def lengthened(i: Any) -> Any:
    """Return int16 numbers as int32 numbers."""
    return i.astype(np.int32)


@compiled(lengthened, lambda i: i.with_scalar(types.int32))
def _lengthened(s: Builder, i: Any) -> Any:
    return s.b.sext(i, llvm_type(s.sig.return_type))


def low_half(i: Any) -> Any:
    """Return the lower 16 bits of int32 numbers as int16 numbers."""
    return i.astype(np.int16)


@compiled(low_half, lambda i: i.with_scalar(types.int16))
def _low_half(s: Builder, i: Any) -> Any:
    return s.b.trunc(i, llvm_type(s.sig.return_type))
