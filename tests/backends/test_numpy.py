"""The backend of host memory: which arrays it takes and which twin it runs."""

import numpy as np
import pytest
from numba import cuda

from skxent.backends import _numpy, backend_for
from skxent.kernels import _cpu
from skxent.losses import cross_entropy, nll_loss


class OnDevice:
    """An array of another device, as far as the protocols tell."""

    kind = 2  # kDLCUDA

    def __dlpack_device__(self):
        return self.kind, 0


class OnMetal(OnDevice):
    kind = 8  # kDLMetal


class CudaArray:
    __cuda_array_interface__: dict = {}  # noqa: RUF012 - its presence is what counts


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_arrays_on_a_device_of_another_kind_are_refused(loss):
    with pytest.raises(TypeError, match="got a OnMetal on another device"):
        loss(OnMetal(), [0])


@pytest.mark.skipif(cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("array", [OnDevice(), CudaArray()])
def test_without_a_gpu_the_extra_is_named(array):
    with pytest.raises(ImportError, match=r"skxent\[cuda12\] or skxent\[cuda13\]"):
        cross_entropy(array, [0])
    with pytest.raises(ImportError, match="lives on a CUDA device"):
        nll_loss(array, [0])


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
