"""What the loss classes share: options that compare, print and pickle.

Conventions
-----------
Options are attributes under the names of the constructor's parameters; arrays among
them are read-only copies.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from skxent.losses import _binary as binary
from skxent.losses import _binary_with_logits as with_logits
from skxent.losses import _cross_entropy as softmax
from skxent.losses import _validation as check

__all__ = [
    "BINARY",
    "SOFTMAX",
    "Criterion",
    "Functions",
    "legacy_reduction",
    "read_only_copy",
]

LONGEST_PRINTED = 10  # entries of an array that a repr shows


class Functions(NamedTuple):
    """The functions that a loss calls."""

    value: Callable[..., Any]
    grad: Callable[..., Any]
    value_and_grad: Callable[..., Any]
    hvp: Callable[..., Any]


def _no_hvp(*arguments: Any, **options: Any) -> NoReturn:
    """Refuse the curvature of a loss of probabilities."""
    raise ValueError(
        "hvp is the curvature of the loss of logits; got a loss with "
        "from_logits=False. Pass logits to a loss with from_logits=True."
    )


# By `from_logits`.
SOFTMAX = {
    True: Functions(
        softmax.cross_entropy,
        softmax.cross_entropy_grad,
        softmax.cross_entropy_value_and_grad,
        softmax.cross_entropy_hvp,
    ),
    False: Functions(
        partial(softmax.cross_entropy, from_logits=False),
        partial(softmax.cross_entropy_grad, from_logits=False),
        partial(softmax.cross_entropy_value_and_grad, from_logits=False),
        _no_hvp,
    ),
}
BINARY = {
    True: Functions(
        with_logits.binary_cross_entropy_with_logits,
        with_logits.binary_cross_entropy_with_logits_grad,
        with_logits.binary_cross_entropy_with_logits_value_and_grad,
        with_logits.binary_cross_entropy_with_logits_hvp,
    ),
    False: Functions(
        binary.binary_cross_entropy,
        binary.binary_cross_entropy_grad,
        binary.binary_cross_entropy_value_and_grad,
        _no_hvp,
    ),
}


class Criterion:
    """A loss as its options, which print, compare and pickle."""

    def _options(self) -> dict[str, Any]:
        """Return the options by name, in the order of the constructor."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def _changed_options(self) -> str:
        """Return the options that differ from their defaults, as in a call."""
        parameters = inspect.signature(type(self)).parameters
        return ", ".join(
            f"{name}={_printed(value)}"
            for name, value in self._options().items()
            if not _equal(value, parameters[name].default)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._changed_options()})"

    # The options can be assigned to, so there is no hash that stays equal: Python
    # leaves a class that defines __eq__ alone unhashable.
    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Criterion):
            return NotImplemented
        theirs = other._options()
        return all(_equal(v, theirs[name]) for name, v in self._options().items())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for value in state.values():
            if isinstance(value, np.ndarray):  # numpy unpickles writable arrays
                value.setflags(write=False)


def _equal(a: Any, b: Any) -> bool:
    """Whether two options are the same, arrays by value with nan equal to itself."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return False
    return bool(a == b)


def _printed(value: Any) -> str:
    """Return an option as text of one line, a long array by its dtype and shape."""
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.size <= LONGEST_PRINTED:
        return repr(value.tolist())
    return f"<{value.dtype} array of shape {value.shape}>"


def read_only_copy(value: Any, name: str) -> NDArray[Any] | None:
    """Return a float array that no later change of the caller's reaches."""
    if value is None:
        return None
    array = np.array(check.check_floats(value, name))
    array.setflags(write=False)
    return array


def legacy_reduction(size_average: Any, reduce: Any, reduction: str) -> str:
    """Return what torch's deprecated arguments stand for, as torch maps them."""
    if size_average is None and reduce is None:
        return reduction
    for name, value in (("size_average", size_average), ("reduce", reduce)):
        if value is not None:
            check.check_flag(value, name)
    if reduce is not None and not reduce:
        meant = "none"
    else:
        meant = "mean" if size_average is None or size_average else "sum"
    warnings.warn(
        f"size_average and reduce are deprecated; use reduction={meant!r} instead.",
        FutureWarning,
        stacklevel=3,  # the caller of the constructor
    )
    return meant
