"""Products and factors of large matrices, shared out to threads with one BLAS each.

The parts depend on the shapes alone, so the bits do not depend on the number of
threads, as those of a BLAS with several threads do. And Ctrl-C waits for one part
only. What is small is done at once.
"""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skxent.backends._dense import in_rows, padded
from skxent.backends._team import LEAST_WORK, team

__all__ = [
    "add_gram",
    "beside",
    "cho_factor",
    "cho_solve",
    "gram_of_rows",
    "mirror",
    "multiply",
    "multiply_by_gram",
    "norms_of_rows",
    "product_of_columns",
    "product_of_rows",
]

Matrix = NDArray[np.float64]

# Multiplications that are worth starting threads for: 5 ms of one.
WORTH_THREADS = 8 * LEAST_WORK
# Multiplications of a part, 30 to 70 ms; parts at least; their least lines.
PART_WORK = 1 << 31
N_PARTS = 8
LEAST_LINES = 64
# Numbers of a block of rows, and its least rows.
BLOCK_SIZE = 1 << 20
BLOCK_ROWS = 256
# Columns of a block of wide data, whose products with one another are added up.
BLOCK_COLUMNS = 256
# Numbers of a block of columns that are read twice. More of them are faster to read
# where they lie in rows (2000 x 20000, 3 vectors: 36 ms for 2**20, 41 for this), and
# slower where they have to be copied.
GRAM_BLOCK_SIZE = 1 << 18
# Columns of the factor that are made together.
PANEL = 256
# What scipy.linalg's functions call, which on matrices of ten columns takes 1 us of
# their 15. Upper factors, of the transpose.
POTRF = {
    np.dtype(np.float32): scipy.linalg.lapack.spotrf,
    np.dtype(np.float64): scipy.linalg.lapack.dpotrf,
}
POTRS = {
    np.dtype(np.float32): scipy.linalg.lapack.spotrs,
    np.dtype(np.float64): scipy.linalg.lapack.dpotrs,
}


def _parts(n_lines: int, work: float) -> list[slice]:
    """Return the parts of the lines of a result that takes so many multiplications."""
    n_parts = max(N_PARTS, int(work // PART_WORK))
    step = max(LEAST_LINES, -(-n_lines // n_parts))
    return [slice(i, min(i + step, n_lines)) for i in range(0, n_lines, step)]


def multiply(
    left: NDArray[Any], right: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return ``left @ right``."""
    work = float(left.shape[0]) * left.shape[1] * right.shape[1]
    if work < WORTH_THREADS:
        return np.matmul(left, right, out=out)
    if out is None:
        out = np.empty((left.shape[0], right.shape[1]), left.dtype)
    by_rows = left.shape[0] >= right.shape[1]

    def part(lines: slice) -> None:
        if by_rows:
            np.matmul(left[lines], right, out=out[lines])
        else:
            np.matmul(left, right[:, lines], out=out[:, lines])

    with team(LEAST_WORK) as run:
        run(part, _parts(max(out.shape), work))
    return out


def product_of_rows(X: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
    """Return ``X @ columns``, the same bits for X in any memory layout."""
    n, p = X.shape
    out = np.empty((n, columns.shape[1]), np.result_type(X, columns))
    step = max(BLOCK_ROWS, BLOCK_SIZE // max(1, p))

    def block(begin: int) -> None:
        rows = slice(begin, begin + step)
        np.matmul(in_rows(X[rows], X.dtype), columns, out=out[rows])

    with team(X.size * columns.shape[1]) as run:
        run(block, range(0, n, step))
    return out


def product_of_columns(left: NDArray[Any], X: NDArray[Any]) -> Matrix:
    """Return ``left.T @ X``, the same bits for X in any memory layout."""
    n, p = X.shape
    out = np.zeros((left.shape[1], p))
    step = max(LEAST_LINES, BLOCK_SIZE // max(1, p))
    for begin in range(0, n, step):
        rows = slice(begin, begin + step)
        out += left[rows].T @ in_rows(X[rows], X.dtype)
    return out


def norms_of_rows(X: NDArray[Any]) -> Matrix:
    """Return the Euclidean norms, the same bits for X in any memory layout."""
    n, p = X.shape
    out = np.empty(n)
    step = max(1, BLOCK_SIZE // max(1, p))
    for begin in range(0, n, step):
        rows = slice(begin, begin + step)
        block = in_rows(X[rows], X.dtype)
        np.einsum("ij,ij->i", block, block, out=out[rows], dtype=np.float64)
    return np.sqrt(out, out=out)


def gram_of_rows(X: NDArray[Any], scale: Matrix, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the products with one another of the rows of X, each times its scale.

    The same bits for X in any memory layout. Below the diagonal there is anything.
    """
    n, p = X.shape
    work = 0.5 * n * n * p
    out = np.zeros((n, n), dtype)
    block = np.empty((n, min(p, BLOCK_COLUMNS)), dtype)

    def fill(columns: slice, lines: slice) -> None:
        scaled = X[lines, columns] * scale[lines, np.newaxis]
        block[lines, : scaled.shape[1]] = scaled

    def add(n_columns: int, lines: slice) -> None:
        some = block[:, :n_columns]
        out[lines, lines.start :] += some[lines] @ some[lines.start :].T

    parts = _parts(n, work) if work >= WORTH_THREADS else [slice(0, n)]
    with team(int(work)) as run:
        for begin in range(0, p, BLOCK_COLUMNS):
            columns = slice(begin, min(begin + BLOCK_COLUMNS, p))
            run(functools.partial(fill, columns), parts)
            run(functools.partial(add, columns.stop - begin), parts)
    return out


def multiply_by_gram(X: NDArray[Any], columns: NDArray[Any]) -> Matrix:
    """Return ``X @ (X.T @ columns)`` of few float64 columns.

    The same bits for X in any memory layout.
    """
    from skxent.backends._numpy import add_gram_of_columns

    n, p = X.shape
    step = padded(max(LEAST_LINES, GRAM_BLOCK_SIZE // max(1, n)), columns.itemsize)
    width = -(-p // N_PARTS)
    weights = np.ascontiguousarray(columns.T)
    shape = len(weights), padded(n, columns.itemsize)

    def add(first: int) -> Matrix:
        out, sums = np.zeros(shape), np.empty((len(weights), step))
        last = min(first + width, p)
        for begin in range(first, last, step):
            some = slice(begin, min(begin + step, last))
            block = in_rows(X[:, some], columns.dtype)
            add_gram_of_columns(block, weights, sums, out)
        return out

    with team(2 * X.size * columns.shape[1]) as run:
        products = sum(run(add, range(0, p, width)), np.zeros(shape))
    return np.asarray(products[:, :n].T)


def add_gram(X: NDArray[Any], out: NDArray[Any], sign: float = 1.0) -> None:
    """Add ``sign * X.T @ X`` to the symmetric ``out``."""
    n, q = X.shape
    work = 0.5 * n * q * q
    if work < WORTH_THREADS:
        out += sign * (X.T @ X)
        return

    def part(lines: slice) -> None:
        product = X[:, lines].T @ X[:, : lines.stop]
        out[lines, : lines.stop] += sign * product
        out[: lines.start, lines] = out[lines, : lines.start].T

    with team(LEAST_WORK) as run:
        run(part, _parts(q, work))


def beside(function: Callable[[], Any]) -> Any:
    """Return what a long function of LAPACK returns, which runs in another thread.

    So Ctrl-C gets through to the caller. The function then ends by itself, for nobody.
    """
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result()


def mirror(matrix: NDArray[Any], scale: Matrix) -> None:
    """Put what is above the diagonal below, row and column times a scale."""
    n = len(matrix)
    scale = scale.astype(matrix.dtype, copy=False)

    def part(lines: slice) -> None:
        scaled = matrix[: lines.stop, lines].T * scale[: lines.stop]
        scaled *= scale[lines, np.newaxis]
        matrix[lines, : lines.start] = scaled[:, : lines.start]
        own = scaled[:, lines.start :]
        np.copyto(matrix[lines, lines], own, where=np.tri(len(own), k=-1, dtype=bool))

    if n <= LEAST_LINES:
        with np.errstate(all="ignore"):
            part(slice(0, n))
        return
    with team(LEAST_WORK if n * n > LEAST_WORK // 8 else 0) as run:
        run(part, _parts(n, 0.0))


def cho_factor(matrix: NDArray[Any]) -> None:
    """Put the Cholesky factor of a matrix in its place on and below the diagonal.

    What is above the diagonal stays as it is.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is not positive definite.
    """
    n = len(matrix)
    if n <= LEAST_LINES:  # which BLAS does in one thread
        _factor_corner(matrix)
        return
    panel = n if n**3 / 6 < WORTH_THREADS else PANEL
    with team(LEAST_WORK) as run:
        for begin in range(0, n, panel):
            end = min(begin + panel, n)
            factor = _factor_corner(matrix[begin:end, begin:end])
            parts = _parts(n - end, 0.5 * panel * (n - end) ** 2)
            below = matrix[end:, begin:end]
            run(functools.partial(_solve_lines, factor, below), parts)
            run(functools.partial(_subtract_gram, below, matrix[end:, end:]), parts)


def cho_solve(matrix: NDArray[Any], columns: Matrix) -> Matrix:
    """Solve for vectors (d,) or (d, c) by what :func:`cho_factor` left in a matrix."""
    columns = columns.astype(matrix.dtype, copy=False)
    solved, _ = POTRS[matrix.dtype](matrix.T, columns)
    return np.asarray(solved, np.float64)


def _factor_corner(corner_out: NDArray[Any]) -> NDArray[Any]:
    """Do as :func:`cho_factor` by one call of LAPACK; return the factor.

    Above the diagonal it holds anything. LAPACK writes to the memory of what is in C
    order, and to a copy of what is part of a matrix.
    """
    potrf = POTRF[corner_out.dtype]
    factor, info = potrf(corner_out.T, clean=False, overwrite_a=True)
    if info > 0:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    if not np.may_share_memory(factor, corner_out):
        lower = np.tri(len(corner_out), dtype=bool)
        np.copyto(corner_out, factor.T, where=lower)
    return np.asarray(factor.T)


def _solve_lines(corner: Matrix, lines_out: Matrix, part: slice) -> None:
    """Divide some lines by the factor of the corner above them."""
    lines_out[part] = scipy.linalg.solve_triangular(
        corner, lines_out[part].T, lower=True, check_finite=False
    ).T


def _subtract_gram(lines: Matrix, rest_out: Matrix, part: slice) -> None:
    """Take the products of the lines from some of the rows below."""
    product = lines[part] @ lines[: part.stop].T
    rest_out[part, : part.start] -= product[:, : part.start]
    corner, own = rest_out[part, part], product[:, part.start :]
    np.subtract(corner, own, out=corner, where=np.tri(len(own), dtype=bool))
