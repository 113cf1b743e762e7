"""How kernels are handed to the driver, which stands in for one: no GPU is needed."""

import ctypes
from types import SimpleNamespace

import pytest

pytest.importorskip("numba_cuda")

try:
    from numba.cuda.cudadrv.driver import CudaAPIError

    from skxent.backends import _cuda_launch
except Exception as error:  # the libraries that it needs are not installed
    pytest.skip(f"numba-cuda does not work here: {error}", allow_module_level=True)


class Driver:
    """Notes what it is told to launch."""

    def __init__(self, status=0):
        self.status = status

    def cuLaunchKernel(self, code, *sizes_and_more):
        *sizes, shared, stream, places, extra = sizes_and_more
        pointers = (ctypes.c_void_p * 3).from_address(places)
        self.arguments = [ctypes.c_int64.from_address(p).value for p in pointers]
        self.launched = code, sizes, shared, stream, extra
        return (self.status,)


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(_cuda_launch, "_driver", lambda: driver)
    monkeypatch.setattr(_cuda_launch, "n_devices", lambda: 1)
    monkeypatch.setattr(_cuda_launch, "_THREAD", SimpleNamespace(is_ready=True))
    monkeypatch.setattr(_cuda_launch, "_code_of", lambda kernel, n, device: 77)
    return driver


def test_the_driver_gets_sizes_and_the_addresses_of_integers(driver):
    arguments = [2**62 + 1, -100, 3]
    _cuda_launch.launch("kernel", 5, 128, 99, 0, arguments)
    assert driver.arguments == arguments
    assert driver.launched == (77, [5, 1, 1, 128, 1, 1], 0, 99, 0)


def test_what_the_driver_refuses_is_an_error(driver):
    driver.status = 1
    with pytest.raises(RuntimeError, match="did not launch a kernel: 1"):
        _cuda_launch.launch("kernel", 1, 1, 0, 0, [1, 2, 3])


def test_numba_launches_what_has_no_machine_code(monkeypatch):
    monkeypatch.setattr(_cuda_launch, "n_devices", lambda: 1)
    monkeypatch.setattr(_cuda_launch, "stream_at", lambda address: f"stream {address}")
    launched = {}

    class Kernel:
        def __getitem__(self, sizes):
            return lambda *arguments: launched.update(sizes=sizes, arguments=arguments)

    _cuda_launch.launch(Kernel(), 2, 64, 7, 0, [1, 2])
    assert launched == {"sizes": (2, 64, "stream 7"), "arguments": (1, 2)}


def test_a_kernel_that_cannot_be_compiled_names_the_remedy():
    class Kernel:
        def compile(self, signature):
            raise AttributeError("module 'numpy' has no attribute 'row_stack'")

    with pytest.raises(ImportError, match=r"skxent\[cuda12\].*row_stack"):
        _cuda_launch._code_of(Kernel(), 2, 0)


def test_an_error_of_the_driver_stays_what_it_is():
    class Kernel:
        def compile(self, signature):
            raise CudaAPIError(700, "an illegal memory access was encountered")

    with pytest.raises(CudaAPIError, match="illegal memory access"):
        _cuda_launch._code_of(Kernel(), 3, 0)
