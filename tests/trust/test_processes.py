"""Use before and after a fork, and in the workers of every kind of pool: no hang."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from tests.trust.calls import agree, compile_all
from tests.trust.children import blas_threads, run_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def results():
    """Return a loss with its gradient, a product and a fit; they use all threads."""
    from skxent.linear_model import SoftmaxRegression
    from skxent.losses import cross_entropy_value_and_grad, linear_cross_entropy

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8000, 10)), rng.integers(10, size=8000)
    value, gradient = cross_entropy_value_and_grad(X, y)
    product = linear_cross_entropy(X, rng.normal(size=(300, 10)), y)
    model = SoftmaxRegression(tol=1e-2).fit(X, y)
    return value, gradient, product, model.coef_


def task(_=None):
    """Return the results and what the process may use."""
    from skxent.backends._threads import threads_to_use

    return results(), threads_to_use()


def check(found, expected):
    assert all(agree(result, expected) for result, _ in found)


def in_a_fork(function):
    """Run a function in a child, which must end well."""
    pid = os.fork()
    if pid == 0:  # leaves without what the parent had planned
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def pools():
    """Use pools of every kind, made before and after the first call."""
    import warnings

    import joblib

    # Python 3.12 warns of forks where there are threads, as there are here
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
    early = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    early.submit(int).result()
    expected = results()
    check(early.map(task, range(2)), expected)
    early.shutdown()
    in_a_fork(lambda: check([task()], expected))
    for method in ("fork", "forkserver", "spawn"):
        with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as late:
            check(late.map(task, range(2)), expected)
    for backend in ("loky", "multiprocessing"):
        found = joblib.Parallel(n_jobs=2, backend=backend)(
            joblib.delayed(task)(i) for i in range(4)
        )
        check(found, expected)
        assert all(n_threads == 1 for _, n_threads in found)
    check([task()], expected)


def test_every_kind_of_pool():
    compile_all()
    run_child("test_processes.pools", NUMBA_THREADING_LAYER="omp")


def locks_of_others():
    """Fork while other threads hold every lock that a call may take."""
    from skxent.backends import _blas, _team, _threads

    expected = results()
    held, forked = threading.Event(), threading.Event()

    def hold():
        with _threads._parallel_section, _team._team_at_work:
            held.set()
            forked.wait()

    def contend():
        while not forked.is_set():
            with _blas.one_blas_thread():
                pass

    threads = [threading.Thread(target=each) for each in (hold, contend)]
    for thread in threads:
        thread.start()
    held.wait()
    for _ in range(5):
        in_a_fork(lambda: check([task()], expected))
    forked.set()


def lock_of_the_compiler():
    """Fork while another thread compiles."""
    from numba.core.compiler_lock import global_compiler_lock

    expected = results()
    held = threading.Event()

    def compile_for_long():
        with global_compiler_lock:
            held.set()
            time.sleep(0.5)

    thread = threading.Thread(target=compile_for_long)
    thread.start()
    held.wait()

    def compile_more():
        with global_compiler_lock:
            check([task()], expected)

    in_a_fork(compile_more)
    thread.join()


def blas_of_others():
    """Fork while another thread holds BLAS to one thread."""
    from threadpoolctl import threadpool_limits

    from skxent.backends._blas import one_blas_thread

    threadpool_limits(2, user_api="blas")
    before = blas_threads()
    held, forked = threading.Event(), threading.Event()

    def hold():
        with one_blas_thread():
            held.set()
            forked.wait()

    def use():
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert blas_threads() == before

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    in_a_fork(use)
    with one_blas_thread():
        in_a_fork(lambda: blas_threads() == [1] * len(before) or 1 / 0)
    forked.set()
    thread.join()
    assert blas_threads() == before


FORKS = {
    "children.fork_after_others": "omp",
    "children.fork_after_the_package": "omp",
    "children.import_after_spawn": "omp",
    "test_processes.lock_of_the_compiler": "omp",
    "test_processes.blas_of_others": "omp",
    "children.import_after_fork": "omp",
    "test_processes.locks_of_others": "workqueue",
}


@pytest.mark.parametrize("name", FORKS)
def test_fork(name):
    compile_all()
    run_child(name, NUMBA_THREADING_LAYER=FORKS[name])


@pytest.mark.parametrize(
    ("variable", "layer"),
    [
        ("OMP_NUM_THREADS", "omp"),
        ("OMP_NUM_THREADS", "workqueue"),
        ("NUMBA_NUM_THREADS", "omp"),
    ],
)
def test_number_of_threads_of_the_environment(variable, layer):
    environment = {variable: "1", "NUMBA_THREADING_LAYER": layer}
    run_child("children.use_one_thread", **environment)
