"""The threads that share out matrix products."""

import subprocess
import sys
import threading
import time

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from skxent.backends import _team
from skxent.backends._team import LEAST_WORK, team
from skxent.losses import linear_cross_entropy_value_and_grad
from tests.losses import cases


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if is_blas(pool)]


def is_blas(pool):
    return pool["user_api"] == "blas"


@pytest.fixture
def two_threads(monkeypatch):
    """Let BLAS have two threads wherever the tests run."""
    monkeypatch.setattr(_team, "_threads_to_use", lambda: 2)


def thread_and_settings(task):
    time.sleep(0.01)  # so that no thread gets everything
    return task, threading.get_ident(), blas_threads(), numba.get_num_threads()


@pytest.mark.usefixtures("two_threads")
def test_two_threads_with_a_blas_and_kernels_of_one():
    before = blas_threads()
    with team(LEAST_WORK) as run:
        results = run(thread_and_settings, range(20))
    tasks, threads, blas, kernels = zip(*results, strict=True)
    assert tasks == tuple(range(20))
    assert len(set(threads)) == 2
    assert threading.get_ident() not in threads
    assert all(n == 1 for pools in blas for n in pools)
    assert set(kernels) == {1}
    assert blas_threads() == before


def assert_alone(run):
    me = threading.get_ident()
    assert [result[1] for result in run(thread_and_settings, range(3))] == [me] * 3


@pytest.mark.usefixtures("two_threads")
def test_little_work_stays_on_the_calling_thread():
    with team(LEAST_WORK - 1) as run:
        assert_alone(run)


def test_blas_of_one_thread_stays_on_the_calling_thread():
    with threadpool_limits(1, user_api="blas"), team(LEAST_WORK) as run:
        assert_alone(run)


@pytest.mark.usefixtures("two_threads")
def test_second_team_works_alone_and_the_next_does_not():
    with team(LEAST_WORK), team(LEAST_WORK) as run:
        assert_alone(run)
    with team(LEAST_WORK) as run:
        assert run(thread_and_settings, [0])[0][1] != threading.get_ident()


@pytest.mark.usefixtures("two_threads")
def test_error_in_a_task_is_raised_and_leaves_nothing_behind():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), team(LEAST_WORK) as run:
        run(lambda task: 1 // task, [1, 0])
    assert blas_threads() == before
    with team(LEAST_WORK) as run:
        assert run(abs, [-1]) == [1]


@pytest.mark.parametrize("n_started", [1, 2])
@pytest.mark.usefixtures("two_threads")
def test_no_thread_stays_after_ctrl_c_in_a_start(n_started, monkeypatch):
    """`Thread.start` waits for the thread, so that is where Ctrl-C finds it."""
    started = []

    class Interrupted(threading.Thread):
        def start(self):
            self.daemon = True  # one that stays must not hold up the tests' end
            super().start()
            started.append(self)
            if len(started) == n_started:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt), team(LEAST_WORK):
            pass
    for thread in started:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in started)
    with team(LEAST_WORK) as run:
        assert run(abs, [-1]) == [1]


def test_a_thread_that_outlives_the_main_one_works_alone():
    code = """
import threading
import numba  # which Python 3.13 no longer lets anybody import at its end
from skxent.backends import _team
_team._threads_to_use = lambda: 2
def work():
    threading.main_thread().join()
    with _team.team(_team.LEAST_WORK) as run:
        print(run(abs, range(-3, 0)))
threading.Thread(target=work).start()
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[3, 2, 1]\n", "")


@pytest.mark.parametrize("work", [0, LEAST_WORK])
@pytest.mark.usefixtures("two_threads")
def test_floating_point_errors_are_ignored(work):
    with team(work) as run:
        assert np.isnan(run(lambda x: x - x, [np.float64(np.inf)])).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("form", ["index", "probabilities"])
def test_same_bits_for_any_number_of_threads(form, dtype, monkeypatch):
    rng = np.random.default_rng(17)
    n, n_features, n_classes = 600, 40, 3000
    X = rng.normal(size=(n, n_features)).astype(dtype)
    W = (rng.normal(size=(n_classes, n_features)) / 8).astype(dtype)
    b = rng.normal(size=n_classes).astype(dtype)
    target = rng.integers(n_classes, size=n)
    if form == "probabilities":
        target = cases.make_probabilities(rng, (n, n_classes)).astype(dtype)
    results = []
    for n_threads in (1, 2, 3):
        monkeypatch.setattr(_team, "_threads_to_use", lambda n=n_threads: n)
        with threadpool_limits(1, user_api="blas"):
            value, slopes = linear_cross_entropy_value_and_grad(
                X, W, target, linear_bias=b, label_smoothing=0.1
            )
        results.append((value, *slopes))
    for result in results[1:]:
        for got, expected in zip(result, results[0], strict=True):
            assert cases.same_bits(got, expected)
