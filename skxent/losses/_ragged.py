"""Lists of arrays whose lengths differ: their rows one after another.

Conventions
-----------
Entry ``i`` of a list is ``input[i]`` of the array that the entries would make if they
were of one shape, and axis 0 of that array numbers them. Nothing is padded: the rows of
all entries make one array (n, C), the elements of binary losses one array of the
entries' trailing shape.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.losses import _validation as check
from skxent.losses._layout import check_class_axis

__all__ = [
    "RaggedLayout",
    "join",
    "join_like",
    "ragged_layout",
    "read",
    "split",
    "sums_of_entries",
]

Entries = list[NDArray[Any]]
LISTS = (list, tuple)
NUMBERS = "biuf"  # kinds of dtypes that numpy joins to one of them


def read(value: Any, name: str) -> NDArray[Any] | Entries:
    """Return an array, or the arrays of a list whose shapes differ."""
    try:
        return check.to_array(value, name)
    except ValueError as error:
        # numpy raises a ValueError of its own where shapes differ
        if _is_list(value) and isinstance(error.__cause__, ValueError):
            entries = _entries(value, name)
            if len({entry.shape for entry in entries}) > 1:
                return entries
        raise


def sums_of_entries(
    values: NDArray[Any], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sum of each entry's values, 0 for an empty one."""
    sums = np.zeros(len(counts))
    filled = counts > 0
    if filled.any():
        begins = (np.cumsum(counts) - counts)[filled]
        sums[filled] = np.add.reduceat(values, begins, dtype=np.float64)
    return sums


def split(values: NDArray[Any], counts: NDArray[np.int64]) -> Entries:
    """Return each entry's values."""
    return np.split(values, np.cumsum(counts)[:-1])


def join(entries: Entries, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the entries one after another on their first axis, and its lengths."""
    if any(e.ndim == 0 or e.shape[1:] != entries[0].shape[1:] for e in entries):
        raise ValueError(
            f"{name} must hold arrays that differ in their first axis alone; got "
            f"shapes {[entry.shape for entry in entries]}. Flatten them."
        )
    return np.concatenate(entries), np.array([len(e) for e in entries], np.int64)


def join_like(value: Any, name: str, lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return the entries of an argument whose lengths have to be these."""
    if not _is_list(value):
        raise ValueError(
            f"{name} must be a list of {len(lengths)} arrays, as input is; got a "
            f"{type(value).__name__}."
        )
    if len(value) != len(lengths):
        raise ValueError(
            f"{name} must be a list of {len(lengths)} arrays, as input is; got length "
            f"{len(value)}."
        )
    entries = _entries(value, name)
    joined, came = join(entries, name)
    if not np.array_equal(came, lengths):
        raise ValueError(
            f"{name} must hold arrays of lengths {lengths.tolist()}, those of input; "
            f"got {came.tolist()}."
        )
    return joined


class RaggedLayout(NamedTuple):
    """The shapes of the entries and their class axis: a `Layout` for lists."""

    shapes: tuple[tuple[int, ...], ...]
    axis: int  # of each entry

    @property
    def n_classes(self) -> int:
        """Number of classes, the same in all entries."""
        return self.shapes[0][self.axis]

    @property
    def row_shapes(self) -> list[tuple[int, ...]]:
        """Shape of the losses of each entry."""
        return [shape[: self.axis] + shape[self.axis + 1 :] for shape in self.shapes]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of rows of each entry."""
        return np.array([math.prod(shape) for shape in self.row_shapes], dtype=np.int64)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.counts.sum())

    def to_kernel(self, entries: Entries) -> NDArray[Any]:
        """Return the rows (n, C) of arrays of the entries' shapes."""
        rows = [np.moveaxis(entry, self.axis, -1) for entry in entries]
        return np.concatenate([r.reshape(-1, self.n_classes) for r in rows])

    def from_kernel(self, rows: NDArray[Any]) -> Entries:
        """Undo :meth:`to_kernel`."""
        return [
            np.moveaxis(part.reshape(*shape, self.n_classes), -1, self.axis)
            for part, shape in zip(
                split(rows, self.counts), self.row_shapes, strict=True
            )
        ]

    def per_row(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values per entry, or one for all, as one per row."""
        return np.repeat(np.broadcast_to(values, len(self.shapes)), self.counts)

    def sample_sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the sum over the rows of each entry."""
        return sums_of_entries(values, self.counts)

    def read(self, value: Any, name: str) -> NDArray[Any]:
        """Return floats of the input's shapes as rows."""
        arrays = self._arrays(value, name, list(self.shapes))
        return self.to_kernel([check.check_floats(array, name) for array in arrays])

    def read_target(self, value: Any) -> NDArray[Any]:
        """Return class indices (n,) or rows of probabilities."""
        if _is_list(value):
            value = _entries(value, "target")
            if [entry.shape for entry in value] == list(self.shapes):
                for entry in value:
                    check.refuse_integers_as_probabilities(entry.dtype)
                return self.read(value, "target")
        arrays = self._arrays(
            value,
            "target",
            self.row_shapes,
            f" (class indices) or {list(self.shapes)} (probabilities)",
        )
        indices = [array.ravel() for array in arrays if array.size]
        if any(array.dtype.kind == "b" for array in indices):
            # among integers numpy would make class indices of them
            indices = [array for array in indices if array.dtype.kind == "b"]
        return np.concatenate(indices) if indices else np.empty(0, dtype=np.int64)

    def read_grad_output(self, value: Any, reduction: str) -> NDArray[np.float64]:
        """Return what flows into the loss of each row from one number per loss."""
        if reduction == "none":
            return self._read_per_row(value, "grad_output")
        return self.per_row(check.check_grad_output(value, self.loss_shape(reduction)))

    def loss_shape(self, reduction: str) -> tuple[int, ...]:
        """Return the shape of the reduced loss, without reduction that of all rows."""
        if reduction == "none":
            return (self.n_rows,)
        return (len(self.shapes),) if reduction == "sample" else ()

    def split_losses(self, losses: NDArray[Any]) -> Entries:
        """Return the losses of the rows of each entry."""
        parts = split(losses, self.counts)
        pairs = zip(parts, self.row_shapes, strict=True)
        return [part.reshape(shape) for part, shape in pairs]

    def _read_per_row(self, value: Any, name: str) -> NDArray[np.float64]:
        """Return one number per row from a list of the losses' shapes."""
        arrays = self._arrays(value, name, self.row_shapes)
        floats = [check.check_floats(array, name).ravel() for array in arrays]
        return np.concatenate(floats).astype(np.float64, copy=False)

    def read_sample_weight(self, value: Any) -> NDArray[np.float64]:
        """Return one weight per row from one per entry or one per row."""
        if not _is_list(value) or all(_is_number(entry) for entry in value):
            array = check.check_floats(value, "sample_weight")
            if array.shape != (len(self.shapes),):
                raise ValueError(
                    f"sample_weight must have shape {(len(self.shapes),)}, one entry "
                    "per entry of input, or be a list of one array per entry; got "
                    f"shape {array.shape}."
                )
            return np.repeat(array.astype(np.float64, copy=False), self.counts)
        return self._read_per_row(value, "sample_weight")

    def _arrays(
        self, value: Any, name: str, shapes: list[Any], or_else: str = ""
    ) -> Entries:
        """Return the entries of an argument, whose shapes have to be these."""
        if not _is_list(value) or len(value) != len(shapes):
            came = f"length {len(value)}" if _is_list(value) else type(value).__name__
            raise ValueError(
                f"{name} must be a list of {len(shapes)} arrays, as input is; got "
                f"{came}."
            )
        arrays = _entries(value, name)
        for i, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
            if array.shape != shape:
                raise ValueError(
                    f"{name} must hold arrays of shapes {shapes}{or_else}; got shape "
                    f"{array.shape} at entry {i}."
                )
        return arrays


def _is_list(value: Any) -> bool:
    return isinstance(value, LISTS)


def _is_number(value: Any) -> bool:
    return check.to_array(value, "sample_weight").ndim == 0


def _entries(value: Any, name: str) -> Entries:
    """Return the entries of a list as arrays of numbers."""
    entries = [check.to_array(v, f"{name}[{i}]") for i, v in enumerate(value)]
    for i, entry in enumerate(entries):
        if entry.dtype.kind not in NUMBERS:
            raise TypeError(
                f"{name}[{i}] must hold real numbers; got dtype {entry.dtype}."
            )
    return entries


def ragged_layout(entries: Entries, class_axis: Any) -> RaggedLayout:
    """Return the layout of a list, the class axis counted in the array of them all."""
    shapes = tuple(entry.shape for entry in entries)
    axes = {len(shape) for shape in shapes}
    if len(axes) > 1 or 0 in axes:
        raise ValueError(
            "input must hold arrays with the same number of axes, at least one; got "
            f"shapes {list(shapes)}."
        )
    n_axes = axes.pop() + 1
    axis = check_class_axis(class_axis)
    axis = 1 if axis is None else axis
    if not -n_axes < axis < n_axes or axis == 0:
        raise ValueError(
            "class_axis must be an axis of the entries, counted with axis 0 for the "
            f"list: in [1, {n_axes}) or [{1 - n_axes}, 0); got {axis}."
        )
    layout = RaggedLayout(shapes, axis % n_axes - 1)
    if len({shape[layout.axis] for shape in shapes}) > 1:
        raise ValueError(
            "input must hold arrays with the same number of classes, on axis "
            f"{layout.axis} of each; got shapes {list(shapes)}. Name the axis of the "
            "classes: class_axis=-1 if they come last."
        )
    return layout
