"""Products of a compressed sparse matrix with a narrow dense one.

Rows of the dense matrix lie side by side: what the loops wait for is their cache lines,
which are asked for some entries ahead.

Conventions
-----------
- A compressed matrix: line ``i`` has the entries ``starts[i]`` to ``starts[i + 1]`` of
  ``data`` (float32 or float64) and ``indices`` (int32 or int64), its places in the
  line. Lines are rows in CSR, columns in CSC. Entries may come in any order, more than
  once (they are added up), or be 0.
- ``dense`` and ``out`` are C-contiguous, of R columns and one dtype: what is computed
  in, whatever that of ``data`` is.
- The caller has checked ``starts`` and ``indices``: nothing else keeps a kernel from
  reading and writing anywhere.

A row of ``out`` is added up in the order of the entries, by one thread, so the bits do
not depend on how lines are shared out.
"""

from numba import prange

from skxent.kernels._jit import alone, inner, twins
from skxent.kernels._simd import (
    advance,
    lanes,
    load,
    load_part,
    muladd,
    pointer,
    prefetch,
    prefetch_to_write,
    spread,
    store,
    store_part,
)

AHEAD = 16  # entries whose row is asked for in advance


@inner
def ask_for(dense, first, end):
    """Ask for the lines of elements ``first`` to ``end``, rarely for one twice."""
    n = lanes(dense)
    for k in range(first, end - n // 4, n):
        prefetch(dense, k)
    prefetch(dense, end - 1)


@inner
def ask_for_line(data, indices, begin, end):
    """Ask for the entries of a line that does not follow the one that is read.

    Lines in random order wait for them 8 ms in 23, at 160 entries and 20 columns.
    """
    for j in range(begin, end, lanes(data)):
        prefetch(data, j)
    for j in range(begin, end, lanes(indices)):
        prefetch(indices, j)


@inner
def gather_number(data, indices, begin, end, dense, out):
    """Write the sum of rows of one column."""
    total = dense[0] * 0
    for j in range(begin, end):
        total += type(total)(data[j]) * dense[indices[j]]
    out[0] = total


@inner
def gather_part(data, indices, begin, end, last, dense, n_columns, out):
    """Write the sum of rows that are shorter than a vector."""
    total = spread(0.0, dense)
    for j in range(begin, end):
        prefetch(dense, indices[min(j + AHEAD, last)] * n_columns)
        row = load_part(dense, indices[j] * n_columns, n_columns, 0.0)
        total = muladd(spread(data[j], dense), row, total)
    store_part(total, out, 0, n_columns)


@inner
def gather_two(data, indices, begin, end, last, dense, n_columns, out):
    """Write the sum of rows of one or two vectors, which may overlap."""
    b = n_columns - lanes(dense)
    sum_a = spread(0.0, dense)
    sum_b = sum_a
    for j in range(begin, end):
        ahead = indices[min(j + AHEAD, last)] * n_columns
        ask_for(dense, ahead, ahead + n_columns)
        x = spread(data[j], dense)
        row = advance(dense, indices[j] * n_columns)
        sum_a = muladd(x, load(row, 0), sum_a)
        sum_b = muladd(x, load(row, b), sum_b)
    store(sum_a, out, 0)
    store(sum_b, out, b)


@inner
def gather_four(data, indices, begin, end, last, dense, n_columns, first, out):
    """Write columns ``first`` on of the sum of rows: four vectors, or what is left."""
    n = lanes(dense)
    a, b = min(first, n_columns - n), min(first + n, n_columns - n)
    c, d = min(first + 2 * n, n_columns - n), min(first + 3 * n, n_columns - n)
    sum_a = spread(0.0, dense)
    sum_b, sum_c, sum_d = sum_a, sum_a, sum_a
    for j in range(begin, end):
        ahead = indices[min(j + AHEAD, last)] * n_columns
        ask_for(dense, ahead + a, ahead + d + n)
        x = spread(data[j], dense)
        row = advance(dense, indices[j] * n_columns)
        sum_a = muladd(x, load(row, a), sum_a)
        sum_b = muladd(x, load(row, b), sum_b)
        sum_c = muladd(x, load(row, c), sum_c)
        sum_d = muladd(x, load(row, d), sum_d)
    store(sum_a, out, a)
    store(sum_b, out, b)
    store(sum_c, out, c)
    store(sum_d, out, d)


@inner
def gather_line(data, indices, begin, end, last, dense, n_columns, out):
    """Write the sum of the rows that the entries ``begin:end`` multiply."""
    n = lanes(dense)
    if n_columns == 1:
        gather_number(data, indices, begin, end, dense, out)
    elif n_columns < n:
        gather_part(data, indices, begin, end, last, dense, n_columns, out)
    elif n_columns <= 2 * n:
        gather_two(data, indices, begin, end, last, dense, n_columns, out)
    else:
        for first in range(0, n_columns, 4 * n):
            gather_four(data, indices, begin, end, last, dense, n_columns, first, out)


@twins
def gather_products(first_chunk, last_chunk, data, indices, starts, dense, chunks, out):
    """Write the compressed matrix times ``dense``: a row for each of its lines."""
    n_columns = out.shape[1]
    for chunk in prange(first_chunk, last_chunk):
        for i in range(chunks[chunk], chunks[chunk + 1]):
            gather_line(
                pointer(data),
                pointer(indices),
                starts[i],
                starts[i + 1],
                indices.size - 1,
                pointer(dense),
                n_columns,
                advance(pointer(out), i * n_columns),
            )


@inner
def scatter_number(data, indices, begin, end, row, out):
    """Add multiples of a number."""
    for j in range(begin, end):
        out[indices[j]] += type(row[0])(data[j]) * row[0]


@inner
def scatter_part(data, indices, begin, end, last, row, n_columns, out):
    """Add multiples of a row that is shorter than a vector."""
    part = load_part(row, 0, n_columns, 0.0)
    for j in range(begin, end):
        prefetch_to_write(out, indices[min(j + AHEAD, last)] * n_columns)
        place = advance(out, indices[j] * n_columns)
        old = load_part(place, 0, n_columns, 0.0)
        store_part(muladd(spread(data[j], row), part, old), place, 0, n_columns)


@inner
def scatter_two(data, indices, begin, end, last, row, n_columns, out):
    """Add multiples of a row of one or two vectors, which stay in registers.

    They may overlap: the second is read before the first is written.
    """
    b = n_columns - lanes(row)
    row_a, row_b = load(row, 0), load(row, b)
    for j in range(begin, end):
        ahead = indices[min(j + AHEAD, last)] * n_columns
        ask_for(out, ahead, ahead + n_columns)
        x = spread(data[j], row)
        place = advance(out, indices[j] * n_columns)
        new_b = muladd(x, row_b, load(place, b))
        store(muladd(x, row_a, load(place, 0)), place, 0)
        store(new_b, place, b)


@inner
def scatter_many(data, indices, begin, end, last, row, n_columns, out):
    """Add multiples of a row of any length, the last vector as in `scatter_two`."""
    n = lanes(row)
    tail = n_columns - n
    for j in range(begin, end):
        ahead = advance(out, indices[min(j + AHEAD, last)] * n_columns)
        x = spread(data[j], row)
        place = advance(out, indices[j] * n_columns)
        prefetch_to_write(ahead, n_columns - 1)
        new = muladd(x, load(row, tail), load(place, tail))
        for k in range(0, tail, n):
            prefetch_to_write(ahead, k)
            store(muladd(x, load(row, k), load(place, k)), place, k)
        store(new, place, tail)


@inner
def scatter_line(data, indices, begin, end, last, row, n_columns, out):
    """Add multiples of a row to the rows of ``out`` that the entries name."""
    n = lanes(row)
    if n_columns == 1:
        scatter_number(data, indices, begin, end, row, out)
    elif n_columns < n:
        scatter_part(data, indices, begin, end, last, row, n_columns, out)
    elif n_columns <= 2 * n:
        scatter_two(data, indices, begin, end, last, row, n_columns, out)
    else:
        scatter_many(data, indices, begin, end, last, row, n_columns, out)


@twins
def scatter_products(
    first_line, last_line, data, indices, starts, dense, bounds, splits, out
):
    """Write the transposed compressed matrix times ``dense``, whose rows are its lines.

    Part ``t`` writes rows ``bounds[t]`` to ``bounds[t + 1]`` of ``out``. Their entries
    of line ``i`` begin ``splits[i, t - 1]`` behind its start.
    """
    n_columns = out.shape[1]
    n_parts = bounds.size - 1
    for part in prange(n_parts):
        if first_line == 0:
            out[bounds[part] : bounds[part + 1]] = 0
        for i in range(first_line, last_line):
            begin, end = starts[i], starts[i + 1]
            if part < n_parts - 1:
                end = begin + splits[i, part]
            if part > 0:
                begin += splits[i, part - 1]
            scatter_line(
                pointer(data),
                pointer(indices),
                begin,
                end,
                indices.size - 1,
                advance(pointer(dense), i * n_columns),
                n_columns,
                pointer(out),
            )


@alone
def gather_squares(data, indices, starts, weight, out):
    """Write, for each line, the sum of squares times the weight of their places."""
    for i in range(starts.size - 1):
        square = 0.0
        for j in range(starts[i], starts[i + 1]):
            square += data[j] * data[j] * weight[indices[j]]
        out[i] = square


@alone
def scatter_squares(data, indices, starts, weight, out):
    """Add, for each place, the sum of squares times the weight of their lines."""
    for i in range(starts.size - 1):
        for j in range(starts[i], starts[i + 1]):
            out[indices[j]] += data[j] * data[j] * weight[i]


@twins
def survey_lines(
    first_chunk, last_chunk, indices, starts, size, chunks, wrong_out, unsorted_out
):
    """Count, for each chunk of lines, indices outside ``[0, size)``, not rising."""
    for chunk in prange(first_chunk, last_chunk):
        wrong, unsorted = 0, 0
        for i in range(chunks[chunk], chunks[chunk + 1]):
            previous = -1
            for j in range(starts[i], starts[i + 1]):
                wrong += (indices[j] < 0) | (indices[j] >= size)
                unsorted += indices[j] <= previous
                previous = indices[j]
        wrong_out[chunk] = wrong
        unsorted_out[chunk] = unsorted


@twins
def split_lines(first_chunk, last_chunk, indices, starts, bounds, chunks, splits_out):
    """Write how many entries of each sorted line lie before each inner bound."""
    for chunk in prange(first_chunk, last_chunk):
        for i in range(chunks[chunk], chunks[chunk + 1]):
            j = starts[i]
            for part in range(bounds.size - 2):
                while j < starts[i + 1] and indices[j] < bounds[part + 1]:
                    j += 1
                splits_out[i, part] = j - starts[i]
