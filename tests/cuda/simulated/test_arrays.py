"""Arrays of numba's, and how those of other libraries become such."""

import numpy as np
import pytest
from numba import cuda
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numba.cuda.simulator.kernel import FakeCUDAKernel

from skxent.backends import _cuda_launch
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


class Exported:
    """An array of another library, on a device."""

    def __init__(self, array, device=0):
        self.array = array
        self.device = device
        self.shape = array.shape
        self.streams = []
        # of version 2, which knows no streams
        self.__cuda_array_interface__ = array.__array_interface__ | {"version": 2}

    def __dlpack_device__(self):
        return 2, self.device

    def __dlpack__(self, *, stream, **options):
        self.streams.append(stream)
        return self.array.__dlpack__(**options)


@pytest.fixture
def foreign_arrays(monkeypatch):
    """Let numba's simulator read what other libraries export."""
    pytest.importorskip("cuda.core")

    def as_cuda_array(array, sync):
        array.__array_interface__ = array.__cuda_array_interface__
        return FakeCUDAArray(np.asarray(array))

    monkeypatch.setattr(cuda, "as_cuda_array", as_cuda_array, raising=False)


Z = np.random.default_rng(1).normal(size=(7, 4))
Y = np.random.default_rng(1).integers(4, size=7)


@pytest.mark.usefixtures("foreign_arrays")
def test_the_default_stream_waits_for_what_is_exported():
    input, target = Exported(Z), Exported(Y)
    loss, gradient = cross_entropy_value_and_grad(input, target)
    expected = cross_entropy_value_and_grad(Z, Y)
    assert loss == pytest.approx(float(expected[0]), rel=1e-13)
    np.testing.assert_allclose(on_host(gradient), expected[1], rtol=1e-12)
    for exported in (input, target):
        assert exported.streams[0] == 1
        assert set(exported.streams) <= {1, -1}  # which asks where it is alone


class Device:
    """Makes itself current, as often as it is told to."""

    def __init__(self, entered, number):
        self.entered, self.number = entered, number

    def __enter__(self):
        self.entered.append(self.number)

    def __exit__(self, *error):
        self.entered.pop()


class Devices:
    """Two devices, one of them current: what is done on which is noted."""

    def __init__(self, monkeypatch):
        self.entered = [0]
        self.used = []
        monkeypatch.setattr(cuda, "gpus", self)
        for name in ("to_device", "device_array", "as_cuda_array"):
            monkeypatch.setattr(cuda, name, self.noted(getattr(cuda, name)))
        monkeypatch.setattr(
            FakeCUDAKernel, "__call__", self.noted(FakeCUDAKernel.__call__)
        )

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return Device(self.entered, number)

    def noted(self, function):
        def call(*args, **options):
            self.used.append(self.entered[-1])
            return function(*args, **options)

        return call


@pytest.fixture
def devices(foreign_arrays, monkeypatch):
    _cuda_launch.n_devices.cache_clear()
    yield Devices(monkeypatch)
    _cuda_launch.n_devices.cache_clear()


def test_what_is_on_another_device_than_the_current_is_computed_there(devices):
    weight = Exported(np.linspace(1, 2, 4))  # on the current device
    options = {"reduction": "none", "label_smoothing": 0.1}
    loss, gradient = cross_entropy_value_and_grad(
        Exported(Z, device=1), Y, weight=weight, **options
    )
    expected = cross_entropy_value_and_grad(Z, Y, weight=weight.array, **options)
    np.testing.assert_allclose(loss.copy_to_host(), expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradient.copy_to_host(), expected[1], rtol=1e-12)
    # but for the weight, which is read where it is
    assert devices.used.count(0) == 1
    assert devices.used.count(1) > 10
