"""Kernels compiled with bounds checks, on the calling thread alone.

    NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=<its own folder> python -m tests.trust.bounds

numba's cache does not tell kernels with checks from those without: a folder of its own
keeps them apart. Checks are ignored in parallel twins, and do not see what goes by
pointers: the vectors of `skxent.kernels._simd`. What they see are the indices of the
arrays around them, which are those of rows, class indices, weights and chunks; that is
all of the surveys of class indices and of the sums of rows, whose tests run here, and
whose compilation takes seconds.
"""

import sys

import numpy as np
import pytest
from numba.core import config

from skxent.kernels._jit import alone, twins

FILES = ("test_survey.py", "test_row_sums.py")


def read_beyond(array):
    return array[array.size + 3]


def main():
    if not config.BOUNDSCHECK:
        raise SystemExit("NUMBA_BOUNDSCHECK must be 1; it is not set.")
    for kernel in (alone(read_beyond), twins(read_beyond).sequential):
        with pytest.raises(IndexError):
            kernel(np.zeros(4))
    options = ["-q", "-p", "no:cacheprovider"]
    return pytest.main([*options, *(f"tests/kernels/{name}" for name in FILES)])


if __name__ == "__main__":
    sys.exit(main())
