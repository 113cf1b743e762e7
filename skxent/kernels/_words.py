"""Labels of a fixed width as rows of words of 32 bits: the class of each, by its hash.

Conventions
-----------
- ``words`` (n, n_words) uint32 of the labels, ``class_words`` (K, n_words) of the
  classes, K up to 256.
- The hash of a label is made of the words in ``columns`` and as many odd ``factors``:
  the upper bits of the sum of products, the lower ``shift`` dropped. ``table`` has the
  only class that a hash can be of.
- ``codes_out`` (n,) uint8 receives the classes.
- ``missed_out`` (n_chunks,) int64 receives the first row of a chunk whose words are not
  those of its class, where the chunk ends then; -1 if there is none.
"""

from numba import prange, uint64

from skxent.kernels._jit import inner, twins

WORD_MASK = 0xFFFF_FFFF


@inner
def is_row(words, i, class_words, code):
    """Return whether a label is that class."""
    same = True
    for j in range(words.shape[1]):
        same &= words[i, j] == class_words[code, j]
    return same


@inner
def match_chunk(
    words, columns, factors, shift, table, class_words, begin, end, codes_out
):
    """Return the first row ``begin:end`` that is of no class, -1 if there is none."""
    for i in range(begin, end):
        total = uint64(0)
        for j in range(columns.size):
            total += uint64(words[i, columns[j]]) * uint64(factors[j])
        code = table[(total & uint64(WORD_MASK)) >> uint64(shift)]
        codes_out[i] = code
        if not is_row(words, i, class_words, code):
            return i
    return -1


@twins
def match_words(
    first_chunk,
    last_chunk,
    words,
    columns,
    factors,
    shift,
    table,
    class_words,
    rows_per_chunk,
    codes_out,
    missed_out,
):
    """Write the class of each label, and which labels are of none."""
    for chunk in prange(first_chunk, last_chunk):
        begin = chunk * rows_per_chunk
        end = min(begin + rows_per_chunk, words.shape[0])
        missed_out[chunk] = match_chunk(
            words, columns, factors, shift, table, class_words, begin, end, codes_out
        )
