"""Vectors as a type of compiled code: how numba types and compiles them.

``Vector`` is registered with numba as a value like a float, with operators lane by
lane; ``compiled`` registers what a primitive of :mod:`skxent.kernels._simd` compiles
to, and ``Builder`` writes its LLVM instructions. In plain Python a vector is ``Lanes``.

No fast-math flag is set: nan and infinity stay what they are, and a sum is added in the
order that is written, in every place it is inlined into.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typeconv.castgraph import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import models, register_model, type_callable

__all__ = [
    "BOOL",
    "I32",
    "INDEX",
    "LINE",
    "Builder",
    "Lanes",
    "Vector",
    "align_of",
    "common_type",
    "compiled",
    "integer_of",
    "lanes_of",
    "llvm_type",
    "suffix",
    "vector_of",
]

LINE = 64  # bytes of a cache line, and of a vector
INDEX = ir.IntType(64)
I32 = ir.IntType(32)
BOOL = ir.IntType(1)


class Lanes(np.ndarray[Any, Any]):
    """A vector in plain Python: told from a pointer by its type."""


def lanes_of(values: Any) -> Any:
    return np.array(values).view(Lanes)


class Vector(types.Type):
    """The type of a vector of ``lanes`` numbers."""

    def __init__(self, scalar: Any, lanes: int) -> None:
        self.scalar = scalar
        self.lanes = lanes
        super().__init__(name=f"Vector({scalar}, {lanes})")

    @property
    def dtype(self) -> Any:
        """What arrays and pointers call it."""
        return self.scalar

    def can_convert_from(self, typingctx: Any, other: types.Type) -> Any:
        """Return how a number becomes a vector: spread over the lanes."""
        return Conversion.unsafe if isinstance(other, types.Number) else None

    def with_scalar(self, scalar: Any) -> "Vector":
        """Return the type of as many lanes of another kind."""
        return Vector(scalar, self.lanes)


def vector_of(scalar: Any) -> Vector:
    return Vector(scalar, LINE * 8 // scalar.bitwidth)


def integer_of(scalar: Any) -> Any:
    return types.int32 if scalar.bitwidth == 32 else types.int64


def llvm_type(vector: Vector) -> ir.VectorType:
    scalar: Any = vector.scalar
    if scalar == types.boolean:
        element: ir.Type = BOOL
    elif scalar in (types.int16, types.int32, types.int64):
        element = ir.IntType(scalar.bitwidth)
    else:
        element = ir.FloatType() if vector.scalar == types.float32 else ir.DoubleType()
    return ir.VectorType(element, vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, llvm_type(fe_type))


# -- how a primitive is compiled -------------------------------------------------------


def compiled(primitive: Callable[..., Any], typer: Callable[..., Any]) -> Any:
    """Decorate what a primitive compiles to; ``typer`` gives the type of its result."""
    type_callable(primitive)(lambda context: typer)

    def decorate(lowering: Callable[..., Any]) -> Callable[..., Any]:
        @lower_builtin(primitive, types.VarArg(types.Any))
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            result = lowering(Builder(context, builder, sig), *args)
            return context.get_dummy_value() if result is None else result

        registered: Callable[..., Any] = lower
        return registered

    return decorate


class Builder:
    """Instructions on the arguments of one call."""

    def __init__(self, context: Any, builder: Any, sig: Any) -> None:
        self.context = context
        self.b = builder
        self.sig = sig

    def cast(self, value: Any, k: int, to: types.Type) -> Any:
        """Return argument ``k`` as another type."""
        return self.context.cast(self.b, value, self.sig.args[k], to)

    def constant(self, vector: ir.VectorType, values: list[Any]) -> ir.Constant:
        return ir.Constant(vector, values)

    def spread(self, scalar: Any, lanes: int) -> Any:
        """Return a vector of one number."""
        vector = ir.VectorType(scalar.type, lanes)
        one = self.b.insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
        mask = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        return self.b.shuffle_vector(one, one, mask)

    def shuffle(self, x: Any, y: Any, lanes: list[int]) -> Any:
        """Return the named lanes of both vectors, those of ``y`` counted on."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
        return self.b.shuffle_vector(x, y, mask)

    def call(self, name: str, result: ir.Type, *args: Any, flags: Any = ()) -> Any:
        """Call an LLVM intrinsic."""
        function_type = ir.FunctionType(result, [arg.type for arg in args])
        function = cgutils.get_or_insert_function(
            self.b.module, function_type, f"llvm.{name}"
        )
        return self.b.call(function, args, fastmath=flags)

    def address(self, p: Any, i: Any, vector: ir.VectorType) -> Any:
        return self.b.bitcast(self.b.gep(p, [i]), vector.as_pointer())

    def addresses(self, p: Any, index: Any, vector: Vector) -> tuple[Any, Any]:
        """Return the addresses of elements of a kind, and the mask of all lanes."""
        # llvmlite has no address arithmetic on vectors
        offsets = self.b.sext(index, ir.VectorType(INDEX, vector.lanes))
        size = self.spread(INDEX(align_of(vector)), vector.lanes)
        base = self.spread(self.b.ptrtoint(p, INDEX), vector.lanes)
        every = ir.Constant(ir.VectorType(BOOL, vector.lanes), [1] * vector.lanes)
        address = ir.VectorType(p.type, vector.lanes)
        offset = self.b.mul(offsets, size)
        return self.b.inttoptr(self.b.add(base, offset), address), every

    def load(self, p: Any, i: Any, vector: ir.VectorType, align: int) -> Any:
        return self.b.load(self.address(p, i, vector), align=align)

    def store(self, v: Any, p: Any, i: Any, align: int) -> Any:
        return self.b.store(v, self.address(p, i, v.type), align=align)

    def masked_load(self, p: Any, i: Any, n: Any, fill: Any) -> Any:
        """Return the vector of the call's result, ``fill`` from lane ``n`` on."""
        vector = self.sig.return_type
        fill = self.spread(self.cast(fill, 3, vector.scalar), vector.lanes)
        i, n = self.cast(i, 1, types.intp), self.cast(n, 2, types.intp)
        return self.load_below(p, i, n, vector, fill)

    def load_below(self, p: Any, i: Any, n: Any, vector: Vector, fill: Any) -> Any:
        """Return the vector from element ``i`` on, ``fill`` from lane ``n`` on."""
        return self.load_where(p, i, self.lanes_below(n, vector.lanes), vector, fill)

    def load_where(self, p: Any, i: Any, mask: Any, vector: Vector, fill: Any) -> Any:
        """Return the vector from element ``i`` on, ``fill`` where the mask is false."""
        wide = llvm_type(vector)
        name = f"masked.load.{suffix(vector)}.p0"
        address = self.address(p, i, wide)
        return self.call(name, wide, address, I32(align_of(vector)), mask, fill)

    def store_below(self, v: Any, p: Any, i: Any, n: Any, vector: Vector) -> None:
        """Write the first ``n`` lanes from element ``i`` on."""
        mask = self.lanes_below(n, vector.lanes)
        name = f"masked.store.{suffix(vector)}.p0"
        address = self.address(p, i, llvm_type(vector))
        self.call(name, ir.VoidType(), v, address, I32(align_of(vector)), mask)

    def lanes_below(self, n: Any, lanes: int) -> Any:
        """Return the mask of the first ``n`` lanes."""
        numbers = ir.Constant(ir.VectorType(INDEX, lanes), list(range(lanes)))
        return self.b.icmp_signed("<", numbers, self.spread(n, lanes))


def suffix(vector: Vector) -> str:
    letter = "i" if isinstance(vector.scalar, types.Integer) else "f"
    return f"v{vector.lanes}{letter}{vector.scalar.bitwidth}"


def align_of(vector: Vector) -> int:
    return int(vector.scalar.bitwidth) // 8


# -- operators -------------------------------------------------------------------------

_ARITHMETIC = {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
    operator.truediv: ("fdiv", None),
    operator.and_: (None, "and_"),
    operator.or_: (None, "or_"),
    operator.xor: (None, "xor"),
    operator.lshift: (None, "shl"),
    operator.rshift: (None, "ashr"),
}
_COMPARISONS = {
    operator.lt: "<",
    operator.gt: ">",
    operator.le: "<=",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}


def common_type(args: Any) -> Vector | None:
    """Return the type that both operands become, None without a vector."""
    vectors = {arg for arg in args if isinstance(arg, Vector)}
    others = [arg for arg in args if not isinstance(arg, Vector | types.Number)]
    return vectors.pop() if len(vectors) == 1 and not others else None


def _register(function: Any, compares: bool) -> None:
    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            vector = common_type(args)
            if vector is None or len(args) != 2:
                return None
            result = vector.with_scalar(types.boolean) if compares else vector
            return signature(result, vector, vector)

    @lower_builtin(function, Vector, Vector)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        scalar = sig.args[0].scalar
        is_float = isinstance(scalar, types.Float)
        if not compares:
            name = _ARITHMETIC[function][0 if is_float else 1]
            return getattr(builder, str(name))(*args)
        sign = _COMPARISONS[function]
        if is_float:
            if sign == "!=":
                return builder.fcmp_unordered(sign, *args)
            return builder.fcmp_ordered(sign, *args)
        return builder.icmp_signed(sign, *args)


for _function in _ARITHMETIC:
    _register(_function, compares=False)
for _function in _COMPARISONS:
    _register(_function, compares=True)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(*args, *args) if isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)
def _negation(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(*args)


@lower_cast(types.Number, Vector)
def _number_to_vector(
    context: Any, builder: Any, fromty: Any, toty: Vector, value: Any
) -> Any:
    scalar = context.cast(builder, value, fromty, toty.scalar)
    return Builder(context, builder, None).spread(scalar, toty.lanes)
