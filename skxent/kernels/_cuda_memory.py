"""Memory of a GPU: 16 bytes at a time, between global and a thread's own memory.

A thread asks for 16 bytes with one instruction, from an address that is a multiple of
16. Numba splits such accesses into those of single numbers, and checks each index for
being negative; these primitives do neither.

Kernels are launched with addresses, since numba takes 4 us to hand over an array and
0.3 for a number. `pointer_to` makes of an address what the others take. ``own`` is an
array of the thread's own, `numba.cuda.local.array`, which the compiler keeps in
registers where it knows every index. It holds numbers of the dtype that is computed
with, which is float32 for memory of less. bfloat16 is unknown to numpy: its memory is
uint16, the upper half of a float32.

Every primitive is an ordinary Python function, which is what it means and what the
simulator runs, on arrays in place of addresses; the function decorated with its name is
what it compiles to.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from skxent.kernels._jit import rule
from skxent.kernels._simd_type import I32, Builder, compiled

__all__ = [
    "WIDTH",
    "pointer_to",
    "quotient",
    "read_one",
    "read_wide",
    "start_of",
    "stream_wide",
    "write_one",
    "write_wide",
]

WIDTH = 16  # bytes
HALF = 2  # bytes of float16 and bfloat16
I16, I64 = ir.IntType(16), ir.IntType(64)
F32 = ir.FloatType()
BFLOAT16 = types.uint16
QUIET_NAN = 0x7FC0  # of bfloat16
MOST_OF_32_BITS = 0xFFFFFFFF
GLOBAL = 1  # the address space, in which a load needs no check of where it leads


def pointer_to(address: Any, dtype: Any) -> Any:
    """Return the numbers of a numba type at an address of global memory."""
    return address


@compiled(pointer_to, lambda address, dtype: types.CPointer(dtype.dtype))
def _pointer_to(s: Builder, address: Any, dtype: Any) -> Any:
    return s.b.inttoptr(address, s.context.get_value_type(s.sig.return_type))


def read_one(p: Any, i: int) -> Any:
    """Return element ``i`` of a pointer, or of an array that threads share."""
    if p.dtype == np.uint16:
        return np.array(int(p[i]) << 16, np.uint32).view(np.float32)[()]
    return p[i]


def write_one(x: Any, p: Any, i: int) -> None:
    """Write element ``i``."""
    if p.dtype == np.uint16:  # to the nearest, of two the one whose last bit is 0
        bits = int(np.float32(x).view(np.uint32))
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        p[i] = rounded if x == x else QUIET_NAN
    else:
        p[i] = x


def lanes_at(p: Any, i: int) -> range:
    """Return the elements of 16 bytes, from ``i`` on; a device faults elsewhere."""
    lanes = WIDTH // p.dtype.itemsize
    if i % lanes:
        raise ValueError(f"16 bytes begin at a multiple of {lanes} elements, not {i}.")
    return range(lanes)


def read_wide(p: Any, i: int, own: Any, k: int) -> None:
    """Copy the 16 bytes from element ``i`` on to ``own`` from ``k`` on."""
    for lane in lanes_at(p, i):
        own[k + lane] = read_one(p, i + lane)


def write_wide(own: Any, k: int, p: Any, i: int) -> None:
    """Copy numbers of ``own`` from ``k`` on to the 16 bytes from element ``i`` on."""
    for lane in lanes_at(p, i):
        write_one(own[k + lane], p, i + lane)


def stream_wide(own: Any, k: int, p: Any, i: int) -> None:
    """Copy them to memory that the cache should give up first."""
    write_wide(own, k, p, i)


def quotient(a: int, b: int) -> int:
    """Return ``a // b`` of numbers in [0, 2**32), in a fifth of the time."""
    return a // b


@compiled(quotient, lambda a, b: types.int64)
def _quotient(s: Builder, a: Any, b: Any) -> Any:
    a, b = (s.b.trunc(s.cast(x, k, types.int64), I32) for k, x in enumerate((a, b)))
    return s.b.zext(s.b.udiv(a, b), I64)


@rule
def start_of(row, n_rows, n_classes, n_columns):
    """Return the first element of a row of planes ``(outer, n_classes, n_columns)``."""
    few = n_rows <= MOST_OF_32_BITS
    plane = quotient(row, n_columns) if few else row // n_columns
    return plane * n_columns * (n_classes - 1) + row


def _place(s: Builder, p: Any, k: int, i: Any) -> tuple[Any, int]:
    """Return the address of an element of argument ``k``, and the size of one.

    The argument is a pointer to global memory, or an array of the thread or the block.
    """
    if isinstance(s.sig.args[k], types.Array):
        p = s.context.make_array(s.sig.args[k])(s.context, s.b, p).data
    else:
        p = s.b.addrspacecast(p, p.type.pointee.as_pointer(GLOBAL))
    size = s.context.get_abi_sizeof(p.type.pointee)
    return s.b.gep(p, [s.cast(i, k + 1, types.intp)]), size


def _wide(s: Builder, place: Any, size: int) -> tuple[Any, int]:
    """Return the address as one of 16 bytes, and how many elements they hold.

    Elements of two bytes go in pairs: the compiler splits a vector of 8 of them.
    """
    element = I32 if size == HALF else place.type.pointee
    vector = ir.VectorType(element, WIDTH // max(size, 2 * HALF))
    return s.b.bitcast(place, vector.as_pointer(GLOBAL)), WIDTH // size


def _elements(s: Builder, values: Any, n: int, element: Any) -> list[Any]:
    """Return the elements of 16 bytes."""
    if n == values.type.count:
        return [s.b.extract_element(values, I32(lane)) for lane in range(n)]
    pairs = [s.b.extract_element(values, I32(lane)) for lane in range(n // 2)]
    halves = [half for pair in pairs for half in (pair, s.b.lshr(pair, I32(16)))]
    return [s.b.bitcast(s.b.trunc(half, I16), element) for half in halves]


def _vector(s: Builder, elements: list[Any], vector: Any) -> Any:
    """Undo :func:`_elements`."""
    if len(elements) != vector.count:
        halves = [s.b.zext(s.b.bitcast(x, I16), I32) for x in elements]
        elements = [
            s.b.or_(low, s.b.shl(high, I32(16)))
            for low, high in zip(halves[::2], halves[1::2], strict=True)
        ]
    values = ir.Constant(vector, ir.Undefined)
    for lane, x in enumerate(elements):
        values = s.b.insert_element(values, x, I32(lane))
    return values


def _widened(s: Builder, x: Any, dtype: Any, to: Any) -> Any:
    """Return a number of memory as one that is computed with."""
    if dtype != BFLOAT16:
        return s.context.cast(s.b, x, dtype, to)
    high = s.b.shl(s.b.zext(x, I32), I32(16))
    return s.context.cast(s.b, s.b.bitcast(high, F32), types.float32, to)


def _narrowed(s: Builder, x: Any, dtype: Any, to: Any) -> Any:
    """Return a number as memory holds it: for bfloat16, rounded to the nearest."""
    if to != BFLOAT16:
        return s.context.cast(s.b, x, dtype, to)
    x = s.context.cast(s.b, x, dtype, types.float32)
    bits = s.b.bitcast(x, I32)
    is_odd = s.b.and_(s.b.lshr(bits, I32(16)), I32(1))
    rounded = s.b.lshr(s.b.add(s.b.add(bits, I32(0x7FFF)), is_odd), I32(16))
    is_nan = s.b.fcmp_unordered("uno", x, x)
    return s.b.trunc(s.b.select(is_nan, I32(QUIET_NAN), rounded), I16)


def _type_of_one(p: Any, i: Any) -> Any:
    return types.float32 if p.dtype == BFLOAT16 else p.dtype


@compiled(read_one, _type_of_one)
def _read_one(s: Builder, p: Any, i: Any) -> Any:
    place, size = _place(s, p, 0, i)
    x = s.b.load(place, align=size)
    return _widened(s, x, s.sig.args[0].dtype, s.sig.return_type)


@compiled(write_one, lambda x, p, i: types.void)
def _write_one(s: Builder, x: Any, p: Any, i: Any) -> None:
    place, size = _place(s, p, 1, i)
    x = _narrowed(s, x, s.sig.args[0], s.sig.args[1].dtype)
    s.b.store(x, place, align=size)


@compiled(read_wide, lambda p, i, own, k: types.void)
def _read_wide(s: Builder, p: Any, i: Any, own: Any, k: Any) -> None:
    place, n = _wide(s, *_place(s, p, 0, i))
    to, _ = _place(s, own, 2, k)
    values = s.b.load(place, align=WIDTH)
    for lane, x in enumerate(_elements(s, values, n, p.type.pointee)):
        x = _widened(s, x, s.sig.args[0].dtype, s.sig.args[2].dtype)
        s.b.store(x, s.b.gep(to, [I32(lane)]))


def _to_write(s: Builder, own: Any, k: Any, p: Any, i: Any) -> tuple[Any, Any]:
    """Return the numbers as memory holds them, 16 bytes, and where they go."""
    place, n = _wide(s, *_place(s, p, 2, i))
    source, _ = _place(s, own, 0, k)
    elements = [s.b.load(s.b.gep(source, [I32(lane)])) for lane in range(n)]
    own_dtype, dtype = s.sig.args[0].dtype, s.sig.args[2].dtype
    elements = [_narrowed(s, x, own_dtype, dtype) for x in elements]
    return _vector(s, elements, place.type.pointee), place


@compiled(write_wide, lambda own, k, p, i: types.void)
def _write_wide(s: Builder, own: Any, k: Any, p: Any, i: Any) -> None:
    s.b.store(*_to_write(s, own, k, p, i), align=WIDTH)


@compiled(stream_wide, lambda own, k, p, i: types.void)
def _stream_wide(s: Builder, own: Any, k: Any, p: Any, i: Any) -> None:
    # LLVM has no word for it
    values, place = _to_write(s, own, k, p, i)
    values = s.b.bitcast(values, ir.VectorType(I32, 4))
    words = [s.b.extract_element(values, I32(k)) for k in range(4)]
    address = s.b.ptrtoint(place, I64)
    store = ir.FunctionType(ir.VoidType(), [I64, I32, I32, I32, I32])
    code = "st.global.cs.v4.b32 [$0], {$1, $2, $3, $4};"
    s.b.asm(store, code, "l,r,r,r,r", [address, *words], True)
