"""Every public function from many threads at once: the same bits as alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.trust.calls import agree, calls, compile_all
from tests.trust.children import blas_threads, check_layer, every_layer, run_on

N_THREADS = 8


def at_once():
    """Call all from threads of Python, two for each, of joblib and of Dask."""
    import dask
    import joblib

    check_layer()
    functions = calls()
    names = list(functions)
    expected = {name: functions[name]() for name in names}
    before = blas_threads()
    start = threading.Barrier(N_THREADS)

    def call_one(name):
        assert agree(functions[name](), expected[name]), name

    def call_some(k):
        start.wait()
        return [call_one(name) for name in names[k % 4 :: 4]]

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(call_some, range(N_THREADS)))
    assert blas_threads() == before

    tasks = [joblib.delayed(call_one)(name) for name in names]
    joblib.Parallel(n_jobs=4, backend="threading")(tasks)
    tasks = [dask.delayed(call_one)(name) for name in names]
    dask.compute(*tasks, scheduler="threads", num_workers=4)
    assert blas_threads() == before


@every_layer
def test_threads_change_no_bit(layer):
    compile_all()
    run_on(layer, "test_threads.at_once")
