"""Class indices of labels, found without sorting the labels.

Labels are few distinct ones, many times over. Whatever is unusual, a number of classes
other than that of the columns first of all, gets None for an answer: the caller then
takes the way that knows all types and all messages.

Conventions
-----------
n labels ``y``, of one type and one dimension; K classes, ascending. A code is the index
of a class, of any integer dtype. A table says which code an integer has.

Integers of a small range
    A table with one entry for each number of the range.
Strings of Python
    A dict.
Everything else
    :mod:`skxent.metrics._words`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.metrics._blocks import blocks_of
from skxent.metrics._words import MOST_CLASSES, WORD, Codes, codes_of_words

__all__ = ["Codes", "Table", "find_codes", "find_table", "plain_labels"]

TABLE_SIZE = 1 << 16
# Labels that are looked through in Python, or until all classes were seen: blocks of so
# many are 2 KB, which is 5 % of 1000 rows of 10 probabilities in float32.
FEW_LABELS = 256
NO_CODES = np.empty(0, dtype=np.int64)


class Table(NamedTuple):
    """Labels as integers, and which code each of them has."""

    labels: NDArray[Any]  # (n,) integers, all in the range of the table
    least: int  # the first integer of the table
    codes: NDArray[np.int64]  # of ``least`` and those after it, -1 for no class;
    # (0,) where labels are codes, and ``least`` is 0
    classes: NDArray[Any]  # (K,) ascending


def find_codes(y: Any, labels: Any, n_classes: int) -> Codes | None:
    """Return the codes of the labels, None where they need a closer look.

    ``labels`` are the classes, ascending; None for those that are found in ``y``.
    """
    table = find_table(y, labels, n_classes)
    return None if table is None else _codes_of_table(table)


def find_table(y: Any, labels: Any, n_classes: int) -> Table | None:
    """Return a table of the labels, None where they need a closer look.

    Labels may turn out to have no code.
    """
    y = plain_labels(y)
    if y is None or n_classes < 2:
        return None
    known = None
    if labels is not None:
        known = _ascending(plain_labels(labels))
        if known is None or len(known) != n_classes:
            return None
    if not isinstance(y, np.ndarray) or y.dtype == object:
        return _table_of_codes(_codes_of_strings(y, known, n_classes))
    if known is not None and _kind(known) != _kind(y):
        return None
    if y.dtype == bool:
        y, known = y.view(np.uint8), None if known is None else known.view(np.uint8)
    if y.dtype.kind in "iu":
        least, largest = int(y.min()), int(y.max())
        if largest - least < _most_range(y, n_classes) and largest < 1 << 63:
            return _table_of_integers(y, known, n_classes, least, largest)
    return _table_of_codes(codes_of_words(y, known, n_classes))


def _most_range(y: NDArray[Any], n_classes: int) -> int:
    """Return the size of tables, whose entries take 17 bytes while they are made.

    A few percent of the probabilities, unless the classes need more or labels cannot be
    found as words.
    """
    size = TABLE_SIZE
    if n_classes <= MOST_CLASSES and y.itemsize >= WORD.itemsize:
        size = min(size, y.size * n_classes // 64)
    return max(size, 2 * n_classes)


def _table_of_codes(found: Codes | None) -> Table | None:
    """Return the table of codes themselves."""
    if found is None:
        return None
    return Table(found.codes, 0, NO_CODES, found.classes)


def _codes_of_table(table: Table) -> Codes | None:
    """Return the codes of the labels, None if one has none."""
    y, least, codes, classes = table
    n_classes = len(classes)
    if not codes.size:
        return Codes(y, classes)
    narrow = np.where(codes < 0, n_classes, codes)
    narrow = narrow.astype(np.min_scalar_type(n_classes))
    out = np.empty(len(y), narrow.dtype)
    for block in blocks_of(len(y)):
        narrow.take(y[block].astype(np.int64, copy=False) - least, out=out[block])
        if out[block].max() == n_classes:
            return None
    return Codes(out, classes)


def _kind(labels: NDArray[Any]) -> str:
    """Return the kind of the labels, one for integers with and without a sign."""
    return labels.dtype.kind.replace("u", "i")


def plain_labels(y: Any) -> Any:
    """Return an array of numbers or strings, or a sequence whose first is a string.

    None for labels of other types.
    """
    if isinstance(y, list | tuple | range):
        if len(y) and isinstance(y[0], str):
            return y
        if not len(y) or not isinstance(y[0], int | float | np.number | np.bool_):
            return None
        try:
            y = np.asarray(y)
        except ValueError:
            return None
        return y if y.ndim == 1 and y.dtype.kind in "biuf" else None
    if hasattr(y, "iloc") and hasattr(y, "dtype"):
        values = np.asarray(y)
        if not isinstance(y.dtype, np.dtype) and values.dtype != object:
            return None
        y = values
    if type(y) not in (np.ndarray, np.memmap) or y.ndim != 1 or not y.size:
        return None
    return y if y.dtype.kind in "biufUO" and y.dtype.isnative else None


def _are_strings(labels: set[Any]) -> bool:
    """Return whether all labels are strings that an array can hold."""
    # an array drops what ends in null characters
    return all(isinstance(label, str) and "\0" not in label for label in labels)


def _ascending(labels: Any) -> NDArray[Any] | None:
    """Return labels as an array if they ascend, else None."""
    if labels is None:
        return None
    if not isinstance(labels, np.ndarray) or labels.dtype == object:
        labels = list(labels)
        if not all(isinstance(label, str) for label in labels):
            return None
        labels = np.array(labels)
    return labels if (labels[1:] > labels[:-1]).all() else None


def _codes_of_strings(
    y: Any, known: NDArray[Any] | None, n_classes: int
) -> Codes | None:
    """Return the codes of a sequence of strings."""
    if known is None:
        seen: set[Any] = set()
        for block in blocks_of(len(y), least_rows=FEW_LABELS):
            try:
                seen.update(y[block])
            except TypeError:  # a list among them
                return None
            if len(seen) > n_classes:
                return None
        if len(seen) != n_classes or not _are_strings(seen):
            return None
        classes = sorted(seen)
    elif known.dtype.kind != "U":
        return None
    else:
        classes = known.tolist()
    code_of = {label: code for code, label in enumerate(classes)}
    codes = np.empty(len(y), np.min_scalar_type(n_classes - 1))
    for block in blocks_of(len(y), least_rows=FEW_LABELS):
        size = block.stop - block.start
        try:
            found = map(code_of.__getitem__, y[block])
            codes[block] = np.fromiter(found, codes.dtype, size)
        except (KeyError, TypeError):
            return None
    return Codes(codes, np.array(classes))


def _seen(y: NDArray[Any], least: int, size: int, n_classes: int) -> NDArray[np.intp]:
    """Return which of ``least`` and the ``size - 1`` integers after it occur.

    The search ends with the block that has the last of ``n_classes``.
    """
    seen = np.zeros(size, dtype=bool)
    for block in blocks_of(len(y), least_rows=FEW_LABELS):
        places = y[block].astype(np.int64, copy=False) - least
        seen |= np.bincount(places, minlength=size) > 0
        if np.count_nonzero(seen) >= n_classes:
            break
    return np.flatnonzero(seen) + least


def _table_of_integers(
    y: NDArray[Any],
    known: NDArray[Any] | None,
    n_classes: int,
    least: int,
    largest: int,
) -> Table | None:
    """Return the table of integers from ``least`` to ``largest``."""
    size = largest - least + 1
    if known is not None:
        classes = known
    elif size >= n_classes:
        classes = _seen(y, least, size, n_classes)
        if len(classes) != n_classes:
            return None
    else:
        return None
    if classes[0] > least or classes[-1] < largest:
        return None
    if classes[0] == 0 and classes[-1] == n_classes - 1:
        return Table(y, 0, NO_CODES, classes)
    codes = np.full(size, -1)
    for code, label in enumerate(classes.tolist()):
        if least <= label <= largest:
            codes[label - least] = code
    return Table(y, least, codes, classes)
