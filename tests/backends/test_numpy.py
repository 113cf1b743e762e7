"""The backend of host memory: which arrays it takes and which twin it runs."""

import os

import numpy as np
import pytest
from numba import cuda

from skxent.backends import _numpy, backend_for
from skxent.kernels import _cpu
from skxent.losses import cross_entropy, nll_loss


class OnDevice:
    """An array of another device, as far as the protocols tell."""

    def __dlpack_device__(self):
        return (2, 0)  # kDLCUDA


class CudaArray:
    __cuda_array_interface__: dict = {}  # noqa: RUF012 - its presence is what counts


@pytest.mark.parametrize("array", [OnDevice(), CudaArray()])
def test_arrays_on_a_device_are_refused_by_name(array):
    with pytest.raises(TypeError, match=f"got a {type(array).__name__} on another dev"):
        nll_loss(array, [0])


@pytest.mark.skipif(cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("array", [OnDevice(), CudaArray()])
def test_without_a_gpu_the_extra_is_named(array):
    with pytest.raises(ImportError, match=r"skxent\[cuda12\] or skxent\[cuda13\]"):
        cross_entropy(array, [0])


@pytest.mark.parametrize("array", [np.zeros((2, 3)), [[0.0]], ((0.0,),)])
def test_host_arrays_are_served_here(array):
    assert backend_for(array) is _numpy


def test_read_only_and_strided_arrays_compile_nothing_new():
    logits = np.random.default_rng(0).normal(size=(40, 3))
    target = np.zeros(40, dtype=np.int64)
    expected = cross_entropy(logits, target)
    signatures = list(_cpu.short_rows_loss.sequential.signatures)
    strided = np.repeat(logits, 2, axis=1)[:, ::2]
    for array in (logits, strided, np.asfortranarray(logits)):
        array.flags.writeable = False
        assert cross_entropy(array, target) == expected
    assert list(_cpu.short_rows_loss.sequential.signatures) == signatures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_gives_the_same_bits():
    logits = np.random.default_rng(0).normal(size=(4000, 10))
    target = np.zeros(4000, dtype=np.int64)
    expected = cross_entropy(logits, target)  # the parent's threads are running now
    pid = os.fork()
    if pid == 0:  # the child leaves without pytest
        os._exit(0 if cross_entropy(logits, target) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_small_and_busy_calls_stay_on_their_thread(monkeypatch):
    calls = []
    kernel = type(_cpu.short_rows_loss)(
        parallel=lambda: calls.append("parallel"),
        sequential=lambda: calls.append("sequential"),
    )
    large = _numpy.PARALLEL_MIN_SIZE
    _numpy._launch(kernel, large)
    _numpy._launch(kernel, large - 1)
    with _numpy._parallel_section:
        _numpy._launch(kernel, large)
    monkeypatch.setattr(_numpy, "_forked", True)
    _numpy._launch(kernel, large)
    assert calls == ["parallel", "sequential", "sequential", "sequential"]
