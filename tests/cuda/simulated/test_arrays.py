"""Arrays of numba's, and how those of other libraries become such."""

import numpy as np
import pytest
from numba import cuda

from skxent.backends._device_arrays import arrays_like
from skxent.losses import cross_entropy_value_and_grad
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.arrays import on_host

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks")


def test_read_gives_contiguous_memory_that_begins_at_16_bytes():
    whole = cuda.to_device(np.arange(24, dtype=np.float32).reshape(4, 6))
    arrays = arrays_like(whole)
    for array in (whole.T, whole.reshape(-1)[1:], whole[1:], whole[:, 2:]):
        read = arrays.read(array)
        assert read.is_c_contiguous()
        assert arrays.span(read)[0] % 16 == 0
        np.testing.assert_array_equal(on_host(read), on_host(array))
    assert arrays.span(arrays.read(whole)) == arrays.span(whole)
    assert arrays.span(arrays.read(whole[2:])) == arrays.span(whole[2:])


def test_rows_that_begin_at_no_multiple_of_16_bytes():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(8, 3)).astype(np.float32), rng.integers(3, size=7)
    expected = cross_entropy_value_and_grad(z[1:], y)
    there, out = cuda.to_device(z), cuda.to_device(z)
    loss, gradient = cross_entropy_value_and_grad(there[1:], y, out=out[1:])
    assert loss == pytest.approx(float(expected[0]), rel=1e-6)
    np.testing.assert_allclose(on_host(gradient), expected[1], atol=1e-7)
    np.testing.assert_allclose(on_host(out)[1:], expected[1], atol=1e-7)
    np.testing.assert_array_equal(on_host(out)[0], z[0])
