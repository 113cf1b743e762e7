"""Matrix products that are added to what is there, by the BLAS of scipy.

``numpy.matmul`` writes over its result. To add one product after another takes a second
array of its size then, and a pass over three, which took a third of the time of sums of
128 terms. BLAS's ``gemm`` adds them up itself; numpy has no way to it, and scipy's own
``scipy.linalg.blas.sgemm`` copies matrices whose rows are apart and keeps other Python
threads from running meanwhile.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_product", "load"]

ROUTINES: dict[np.dtype[Any], tuple[str, Any]] = {
    np.dtype(np.float32): ("sgemm", ctypes.c_float),
    np.dtype(np.float64): ("dgemm", ctypes.c_double),
}
ARGUMENTS = [*[ctypes.c_char_p] * 2, *[ctypes.c_void_p] * 11]
# Multiplications that numpy does, and adds up, while `ctypes` makes its call: 14 us.
MOST_SMALL = 1 << 21


def add_product(A: NDArray[Any], B: NDArray[Any], total: NDArray[Any]) -> None:
    """Add ``A B`` to ``total``, rows of numbers side by side.

    All of one dtype, float32 or float64; A and B rows or columns of such.
    """
    (n_rows, n_terms), n_columns = A.shape, B.shape[1]
    if n_rows * n_terms * n_columns < MOST_SMALL:
        total += A @ B
        return
    gemm, number = load()[total.dtype]
    # rows are columns to BLAS, so it multiplies the transposed matrices
    left, of_left = _orientation(B)
    right, of_right = _orientation(A)
    _, of_total = _orientation(total)
    one = ctypes.byref(number(1.0))
    gemm(
        left,
        right,
        _integer(n_columns),
        _integer(n_rows),
        _integer(n_terms),
        one,
        B.ctypes.data,
        of_left,
        A.ctypes.data,
        of_right,
        one,
        total.ctypes.data,
        of_total,
    )


def _integer(n: int) -> Any:
    return ctypes.byref(ctypes.c_int(n))


def _orientation(matrix: NDArray[Any]) -> tuple[bytes, Any]:
    """Return whether BLAS has to transpose, and how far rows or columns are apart."""
    for code, array in ((b"N", matrix), (b"T", matrix.T)):
        apart, beside = (stride // array.itemsize for stride in array.strides)
        if beside == 1 or array.shape[1] == 1:
            return code, _integer(apart if array.shape[0] > 1 else array.shape[1])
    raise ValueError(f"the numbers of no axis lie side by side: {matrix.strides}")


@cache
def load() -> dict[np.dtype[Any], tuple[Any, Any]]:
    """Return the function of BLAS for each dtype, and the type of its numbers.

    To be called before BLAS is held to one thread: it may load a library.
    """
    import scipy.linalg.cython_blas  # noqa: F401, which has to be there
    from numba.extending import get_cython_function_address

    kind = ctypes.CFUNCTYPE(None, *ARGUMENTS)
    return {
        dtype: (kind(get_cython_function_address("scipy.linalg.cython_blas", name)), of)
        for dtype, (name, of) in ROUTINES.items()
    }
