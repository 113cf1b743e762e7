"""Which axis of the input holds the classes, and what its rows are.

Conventions
-----------
``input`` is (C,), (N, C) or (N, C, d1, .., dK), or has its classes on another axis. A
row holds one score per class. Rows are numbered in the C order of the remaining axes,
whose lengths are ``row_shape``; the first of them numbers the samples.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "layout_of"]


class Layout(NamedTuple):
    """The shape of an input and its class axis."""

    shape: tuple[int, ...]
    axis: int  # not negative

    @property
    def n_classes(self) -> int:
        """Length of the class axis."""
        return self.shape[self.axis]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of the losses without reduction; () for a single row."""
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return math.prod(self.row_shape)

    def to_rows(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of the input's shape as (n_rows, n_classes)."""
        if self.axis != array.ndim - 1:
            array = np.moveaxis(array, self.axis, -1)
        return array.reshape(self.n_rows, self.n_classes)

    def from_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`to_rows`."""
        array = rows.reshape(*self.row_shape, self.n_classes)
        if self.axis == array.ndim - 1:
            return array
        return np.moveaxis(array, -1, self.axis)

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


def layout_of(shape: tuple[int, ...], class_axis: Any) -> Layout:
    """Return the layout for a class axis, None for torch's: 1, or 0 for one axis."""
    n_axes = len(shape)
    if n_axes == 0:
        raise ValueError(
            "input must have at least one axis, that of the classes; got a number. "
            "Pass one score per class."
        )
    if class_axis is None:
        return Layout(shape, min(1, n_axes - 1))
    if isinstance(class_axis, bool) or not isinstance(class_axis, int | np.integer):
        raise TypeError(
            f"class_axis must be an integer or None; got {class_axis!r} of type "
            f"{type(class_axis).__name__}."
        )
    if not -n_axes <= class_axis < n_axes:
        raise ValueError(
            f"class_axis must lie in [{-n_axes}, {n_axes}) for input of shape {shape}; "
            f"got {class_axis}."
        )
    return Layout(shape, int(class_axis) % n_axes)
