"""Which axis of the input holds the classes, and what its rows are.

Conventions
-----------
``input`` is (C,), (N, C) or (N, C, d1, .., dK), or has its classes on another axis. A
row holds one score per class. Rows are numbered in the C order of the remaining axes,
whose lengths are ``row_shape``; the first of them numbers the samples.

Kernels read rows (n, C), or planes ``(outer, C, inner)`` with ``n = outer * inner``.
The one that needs no copy is taken: planes for images whose channels come first and for
Fortran order of two axes.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.losses import _validation as check

__all__ = ["Layout", "check_class_axis", "layout_of", "make_layout"]


@dataclass(frozen=True)
class Layout:
    """The shape of an input, its class axis, and how the kernels read it.

    Small calls take as long as their Python code, so `make_layout` keeps the layouts of
    the last shapes, and a layout keeps the lengths that follow from its shape.
    """

    shape: tuple[int, ...]
    axis: int  # not negative
    place: int  # of the class axis among the axes of the rows, for the kernels

    @cached_property
    def n_classes(self) -> int:
        """Length of the class axis."""
        return self.shape[self.axis]

    @cached_property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of the losses without reduction; () for a single row."""
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @cached_property
    def n_rows(self) -> int:
        """Number of rows."""
        return math.prod(self.row_shape)

    @cached_property
    def kernel_shape(self) -> tuple[int, ...]:
        """Shape in which the kernels read an array of the input's shape."""
        outer = math.prod(self.row_shape[: self.place])
        if self.place == len(self.row_shape):
            return outer, self.n_classes
        return outer, self.n_classes, math.prod(self.row_shape[self.place :])

    def without_copy(self, array: NDArray[Any]) -> "Layout":
        """Return the layout with the place at which the array can be read as it is."""
        last = array.ndim - 1
        if self.axis == last and array.flags.c_contiguous:
            return self
        for place in range(last, -1, -1):
            if np.moveaxis(array, self.axis, place).flags.c_contiguous:
                return make_layout(self.shape, self.axis, place)
        return self

    def to_kernel(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of the input's shape as rows or planes."""
        if self.place != self.axis:
            array = np.moveaxis(array, self.axis, self.place)
        shape = self.kernel_shape
        return array if array.shape == shape else array.reshape(shape)

    def from_kernel(self, array: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`to_kernel`."""
        if self.place == self.axis:
            return array if array.shape == self.shape else array.reshape(self.shape)
        before, after = self.row_shape[: self.place], self.row_shape[self.place :]
        array = array.reshape(*before, self.n_classes, *after)
        return np.moveaxis(array, self.place, self.axis)

    def per_row(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values per row, or per sample, as one per row."""
        missing = len(self.row_shape) - values.ndim
        values = values.reshape(values.shape + (1,) * missing)
        return np.broadcast_to(values, self.row_shape).reshape(self.n_rows)

    def sample_sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the sum over the rows of each sample, one for a single row."""
        n_samples = self.row_shape[0] if self.row_shape else 1
        per_sample = values.reshape(n_samples, -1) if n_samples else values[:, None]
        return np.asarray(per_sample.sum(axis=1, dtype=np.float64))

    def read(self, value: Any, name: str) -> NDArray[Any]:
        """Return floats of the input's shape, as the kernels read them."""
        return self.to_kernel(check.check_floats_of_shape(value, name, self.shape))

    def read_target(self, value: Any) -> NDArray[Any]:
        """Return class indices (n,), or probabilities as the kernels read them."""
        target = check.to_array(value, "target")
        if target.shape == self.shape:
            return self.to_kernel(target)
        if target.shape == self.row_shape:
            return target if target.ndim == 1 else target.reshape(self.n_rows)
        raise ValueError(
            f"target must have shape {self.row_shape} (class indices) or "
            f"{self.shape} (probabilities) for scores of shape {self.shape} with "
            f"classes on axis {self.axis}; got shape {target.shape}."
        )

    def read_grad_output(self, value: Any, reduction: str) -> NDArray[np.float64]:
        """Return what flows into the loss of each row from one number per loss."""
        return self.per_row(check.check_grad_output(value, self.loss_shape(reduction)))

    def loss_shape(self, reduction: str) -> tuple[int, ...]:
        """Return the shape of the reduced loss."""
        if reduction == "none":
            return self.row_shape
        return self.row_shape[:1] if reduction == "sample" else ()

    def split_losses(self, losses: NDArray[Any]) -> Any:
        """Return the losses of the rows in their shape, a number for a single one."""
        return losses.reshape(self.row_shape)[()]

    def read_sample_weight(self, value: Any) -> NDArray[np.float64]:
        """Return one weight per row from one per sample or one per row."""
        array = check.check_floats(value, "sample_weight")
        if array.shape == self.row_shape and array.ndim == 1:
            return array.astype(np.float64, copy=False)
        single = not self.row_shape and array.size == 1
        if array.shape not in (self.row_shape[:1], self.row_shape) and not single:
            raise ValueError(
                f"sample_weight must have shape {self.row_shape[:1]}, one entry per "
                f"sample, or {self.row_shape}, one entry per row; got shape "
                f"{array.shape}."
            )
        if single:
            array = array.reshape(())
        return self.per_row(array.astype(np.float64, copy=False))


make_layout = lru_cache(maxsize=64)(Layout)


def check_class_axis(value: Any) -> int | None:
    """Return the axis of the classes, None for torch's rule."""
    if value is None:
        return None
    is_number = isinstance(value, check.INTEGERS)
    if isinstance(value, check.NO_NUMBERS) or not is_number:
        raise TypeError(
            f"class_axis must be an integer or None; got {value!r} of type "
            f"{type(value).__name__}."
        )
    return int(value)


def layout_of(shape: tuple[int, ...], class_axis: Any) -> Layout:
    """Return the layout for a class axis, None for torch's: 1, or 0 for one axis."""
    return _layout_of(shape, check_class_axis(class_axis))


@lru_cache(maxsize=64)
def _layout_of(shape: tuple[int, ...], class_axis: int | None) -> Layout:
    """Return the layout of a shape for a class axis."""
    n_axes = len(shape)
    if n_axes == 0:
        raise ValueError(
            "input must have at least one axis, that of the classes; got a number. "
            "Pass one score per class."
        )
    if class_axis is None:
        class_axis = min(1, n_axes - 1)
    elif not -n_axes <= class_axis < n_axes:
        raise ValueError(
            f"class_axis must lie in [{-n_axes}, {n_axes}) for input of shape {shape}; "
            f"got {class_axis}."
        )
    return make_layout(shape, class_axis % n_axes, n_axes - 1)
