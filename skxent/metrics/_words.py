"""Codes of labels of a fixed width: strings, floats, integers far apart.

Conventions are those of :mod:`skxent.metrics._codes`. A label is a row of words of 32
bits. Some of the words in which the classes differ are hashed to at most 16 bits,
without collisions: the hash gives the only class that a label can be. Then all words
are compared with those of this class, by a kernel that needs no memory beside the
codes.

Classes that are not known show in a few labels; those that a class is missing for are
found by the comparison.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxent.backends import backend_for
from skxent.metrics._blocks import blocks_of

__all__ = ["MOST_CLASSES", "WORD", "Codes", "codes_of_words"]

WORD = np.dtype(np.uint32)
HASH_BITS = 16
MOST_CLASSES = 256  # a byte for a code; 16 bits are enough to tell them apart
SEEDS = range(1, 9)
SAMPLES_OF_CLASS = 4  # whose strings are 6 % of 1000 rows of 10 float32 numbers
N_BLOCKS = 128  # of labels that have to be copied, whose words may be many
# Odd; its powers have no pattern. Multiples would: differences of words of 1, -2, 1.
GOLDEN = 0x9E37_79B9_7F4A_7C15
ODD = np.uint32(1)


class Codes(NamedTuple):
    """Labels in the form of indices."""

    codes: NDArray[Any]  # (n,) integers
    classes: NDArray[Any]  # (K,) ascending


class Hash(NamedTuple):
    """What tells the classes apart."""

    words: NDArray[np.uint32]  # (K, n_words) of the classes
    columns: NDArray[np.intp]  # of the words that are hashed
    factors: NDArray[np.uint32]  # one for each of the columns
    table: NDArray[np.uint8]  # the code for each hash
    shift: int  # what a hash drops of 32 bits

    def match(self, y: NDArray[Any], dtype: np.dtype[Any], codes: Any) -> Any:
        """Write the codes of labels; return some rows with labels of no class."""
        in_place = y.dtype == dtype and y.flags.c_contiguous
        blocks = blocks_of(len(y), 1 if in_place else N_BLOCKS)
        for block in blocks:
            words = _words_of(y[block].astype(dtype, copy=False))
            missed = backend_for(words).match_words(
                words,
                self.columns,
                self.factors,
                self.shift,
                self.table,
                self.words,
                codes[block],
            )
            if missed.size:
                return missed + block.start
        return missed


def _words_of(labels: NDArray[Any]) -> NDArray[np.uint32]:
    """Return labels as rows of words."""
    return np.ascontiguousarray(labels).view(WORD).reshape(len(labels), -1)


def _hashes(
    words: NDArray[np.uint32],
    columns: NDArray[np.intp],
    factors: NDArray[np.uint32],
    shift: int,
) -> NDArray[np.uint32]:
    """Return the hash of each row."""
    total: NDArray[np.uint32] = (words[:, columns] * factors).sum(axis=1, dtype=WORD)
    return total >> np.uint32(shift)


def _try_hash(words: NDArray[np.uint32], columns: NDArray[np.intp]) -> Hash | None:
    """Return a hash of these words that no two classes share, None if none is found."""
    codes = np.arange(len(words), dtype=np.uint8)
    # four times the square of the number of classes, as far as that goes
    n_bits = min(HASH_BITS, 2 * len(words).bit_length() + 2)
    table, shift = np.zeros(1 << n_bits, np.uint8), 32 - n_bits
    for seed in SEEDS:
        powers = [pow(GOLDEN, seed + i, 1 << 64) >> 32 for i in range(len(columns))]
        factors = np.array(powers, WORD) | ODD
        hashes = _hashes(words, columns, factors, shift)
        table[hashes] = codes
        if (table[hashes] == codes).all():
            return Hash(words, columns, factors, table, shift)
    return None


def _hash_of(classes: NDArray[Any]) -> Hash | None:
    """Return the hash of the fewest words, None if there is none."""
    words = _words_of(classes)
    n_steps = (words[1:] != words[:-1]).sum(axis=0)
    by_use = n_steps.argsort(kind="stable")[::-1]
    n_columns = 1
    while (found := _try_hash(words, by_use[:n_columns])) is None:
        if n_columns >= len(by_use):
            return None
        n_columns *= 2
    return found


def _grown(
    classes: NDArray[Any], missed: NDArray[Any], most: int
) -> NDArray[Any] | None:
    """Return the classes and those that were missed, None if these are too many."""
    grown = np.union1d(classes, missed)
    # nan and -0.0 are missed as often as they are found
    return grown if len(classes) < len(grown) <= most else None


def _encode(y: NDArray[Any], classes: NDArray[Any], most: int) -> Codes | None:
    """Return the codes of the labels; there may be ``most`` classes in the end."""
    codes = np.empty(len(y), np.uint8)
    while (hashed := _hash_of(classes)) is not None:
        missed = hashed.match(y, classes.dtype, codes)
        if not missed.size:
            return Codes(codes, classes)
        grown = _grown(classes, y[missed].astype(classes.dtype), most)
        if grown is None:
            return None
        classes = grown
    return None


def codes_of_words(
    y: NDArray[Any], known: NDArray[Any] | None, n_classes: int
) -> Codes | None:
    """Return the codes of labels of a fixed width, None where that takes a sort."""
    if n_classes > MOST_CLASSES:
        return None
    if known is None:
        step = max(1, len(y) // (SAMPLES_OF_CLASS * n_classes))
        classes = np.array(sorted({*y[::step].tolist()}), y.dtype)
        most = n_classes
    else:
        classes, most = known.astype(np.promote_types(y.dtype, known.dtype)), 0
    kind, width = classes.dtype.kind, classes.dtype.itemsize
    fits = width in (4, 8) if kind in "iuf" else kind == "U" and width > 0
    if not fits or len(classes) > n_classes:
        return None
    if kind == "f" and not np.isfinite(classes).all():
        return None
    found = _encode(y, classes, most)
    if found is None or len(found.classes) != n_classes:
        return None
    return found
