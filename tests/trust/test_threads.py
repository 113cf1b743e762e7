"""Every public function from many threads at once: the same bits as alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.trust.calls import agree, calls, compile_all
from tests.trust.children import blas_threads, run_child

N_THREADS = 8


def at_once():
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rst"""Call all from threads of Python, two for each, of joblib and of Dask."""
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstimport dask
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstimport joblib

 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstfunctions = calls()
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstnames = list(functions)
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstexpected = {name: functions[name]() for name in names}
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstbefore = blas_threads()
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rststart = threading.Barrier(N_THREADS)

 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstdef call_one(name):
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rst    assert agree(functions[name](), expected[name]), name

 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstdef call_some(k):
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rst    start.wait()
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rst    return [call_one(name) for name in names[k % 4 :: 4]]

 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstwith ThreadPoolExecutor(N_THREADS) as pool:
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rst    list(pool.map(call_some, range(N_THREADS)))
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstassert blas_threads() == before

 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rsttasks = [joblib.delayed(call_one)(name) for name in names]
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstjoblib.Parallel(n_jobs=4, backend="threading")(tasks)
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rsttasks = [dask.delayed(call_one)(name) for name in names]
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstdask.compute(*tasks, scheduler="threads", num_workers=4)
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstassert blas_threads() == before


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threads_change_no_bit(layer):
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstcompile_all()
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rst# tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rst
 tbb is not found by numba where pip puts it: see docs/guide/reproducibility.rstrun_child("test_threads.at_once", NUMBA_THREADING_LAYER=layer)
