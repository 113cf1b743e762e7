"""Products of few vectors with ``X X^T``, of a block of columns of X at a time.

Wide data have many more columns than rows, and few vectors: BLAS spends its time in
arranging X anew (2000 x 20000, 3 vectors, 2 cores: 100 ms, here 40). The tiles are
those of :mod:`._products` with rows as the lines. Blocks are wide, so that few rows at
a time are read in pages that follow one another: where a block fits the second cache,
to find its pages takes longer than to read it twice.
"""

from skxent.kernels._jit import alone
from skxent.kernels._linear_rows import classes_at_once
from skxent.kernels._products import FOUR, TWO, add_dots, add_multiples
from skxent.kernels._simd import advance, lanes, pointer, spread, store

LINES = 32  # rows that are read beside one another


@alone
def add_gram_of_columns(x, stride, n_columns, a, sums, out):
    """Add ``(A X) X^T`` to ``out``, of one dtype all.

    ``x``, one-dimensional, holds the rows of X, ``stride`` elements apart. ``a`` (R, n)
    is A; ``out`` (R, n') has whole groups of four rows, ``sums`` (R, p') is memory for
    whole vectors of ``A X``.
    """
    n_vectors, n_rows = a.shape
    p, weights, of_columns = pointer(x), pointer(a), pointer(sums)
    n, width, length = lanes(p), sums.shape[1], out.shape[1]
    step = classes_at_once(n_vectors)
    for i in range(0, n_vectors * width, n):
        store(spread(0.0, p), of_columns, i)
    for first in range(0, n_rows, LINES):
        begin = 0
        while begin < n_columns:
            rest = n_columns - begin
            size = FOUR * n if rest >= FOUR * n else min(TWO * n, rest)
            for k in range(0, n_vectors, step):
                add_multiples(
                    advance(p, first * stride + begin),
                    stride,
                    min(LINES, n_rows - first),
                    size,
                    advance(weights, k * n_rows + first),
                    n_rows,
                    n,
                    min(step, n_vectors - k),
                    0,
                    advance(of_columns, k * width + begin),
                    width,
                    n,
                )
            begin += size
    for line in range(0, n_rows, FOUR):
        for k in range(0, n_vectors, step):
            add_dots(
                advance(p, line * stride),
                stride,
                min(FOUR, n_rows - line) - 1,
                n_columns,
                advance(of_columns, k * width),
                width,
                n,
                min(step, n_vectors - k),
                advance(p, line * stride + n_columns),
                stride if k == 0 else 0,
                n if k == 0 else 0,
                advance(pointer(out), k * length + line),
                length,
            )
