"""Which twin of a kernel runs, on how many threads, in how many launches."""

import itertools

import numba
import pytest
from threadpoolctl import threadpool_limits

from skxent.backends import _threads
from skxent.backends._threads import LAUNCH_SIZE, PARALLEL_MIN_SIZE, launch
from skxent.kernels._jit import Twins


@pytest.fixture
def calls():
    return []


@pytest.fixture
def kernel(calls):
    """Note which twin ran which chunks, on how many threads."""
    return Twins(
        parallel=lambda *chunks: calls.append((numba.get_num_threads(), chunks)),
        sequential=lambda *chunks: calls.append((1, chunks)),
    )


def test_small_and_busy_calls_stay_on_their_thread(kernel, calls, monkeypatch):
    launch(kernel, PARALLEL_MIN_SIZE, 2)
    launch(kernel, PARALLEL_MIN_SIZE - 1, 2)
    with _threads._parallel_section:
        launch(kernel, PARALLEL_MIN_SIZE, 2)
    monkeypatch.setattr(_threads, "_is_forked", lambda: True)
    launch(kernel, PARALLEL_MIN_SIZE, 2)
    assert [n_threads for n_threads, _ in calls] == [2, 1, 1, 1]
    assert {chunks for _, chunks in calls} == {(0, 2)}


@pytest.mark.parametrize("user_api", [None, "openmp"])
def test_threadpoolctl_and_numba_set_the_number_of_threads(user_api, kernel, calls):
    import sklearn.linear_model  # noqa: F401, whose OpenMP is loaded with it

    with threadpool_limits(1, user_api=user_api):
        launch(kernel, PARALLEL_MIN_SIZE, 2)
    launch(kernel, PARALLEL_MIN_SIZE, 2)
    numba.set_num_threads(1)
    launch(kernel, PARALLEL_MIN_SIZE, 2)
    numba.set_num_threads(2)
    assert [n_threads for n_threads, _ in calls] == [1, 2, 1]


def test_some_of_the_threads(kernel, calls, monkeypatch):
    monkeypatch.setattr(_threads, "_threads_to_use_and_set", lambda: (2, 1))
    numba.set_num_threads(1)
    try:
        with pytest.raises(ZeroDivisionError):
            launch(Twins(lambda *_: 1 // 0, None), PARALLEL_MIN_SIZE, 2)
        assert numba.get_num_threads() == 1
        launch(kernel, PARALLEL_MIN_SIZE, 2)
    finally:
        numba.set_num_threads(2)
    assert calls == [(2, (0, 2))]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_long_work_is_done_in_launches_that_ctrl_c_can_end(
    n_threads, kernel, calls, monkeypatch
):
    numbers = n_threads, numba.get_num_threads()
    monkeypatch.setattr(_threads, "_threads_to_use_and_set", lambda: numbers)
    launch(kernel, 5 * LAUNCH_SIZE, 101)
    assert [n for n, _ in calls] == [n_threads] * len(calls)
    bounds = [chunks for _, chunks in calls]
    assert len(bounds) == {1: 6, 2: 3}[n_threads]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == 101
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(bounds))
    assert max(end - begin for begin, end in bounds) * 5 <= 101 * n_threads
