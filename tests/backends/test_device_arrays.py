"""What is asked of arrays on a device, as far as tensors on the CPU can answer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skxent.backends import _device_arrays
from skxent.backends._device_arrays import (
    TorchArrays,
    arrays_like,
    is_on_device,
)
from skxent.backends._numba_arrays import Exported


class CudaArray:
    __cuda_array_interface__: dict = {}  # noqa: RUF012 - its presence is what counts


class Capsule:
    def __init__(self, kind):
        self.kind = kind

    def __dlpack_device__(self):
        return self.kind, 0


CPU, CUDA, MANAGED, METAL = 1, 2, 13, 8


@pytest.mark.parametrize(
    "array", [np.zeros(2), [1.0], 1.0, torch.zeros(2), Capsule(CPU), Capsule(METAL)]
)
def test_what_is_not_on_a_cuda_device(array):
    assert not is_on_device(array)


@pytest.mark.parametrize("array", [CudaArray(), Capsule(CUDA), Capsule(MANAGED)])
def test_what_is_on_a_cuda_device(array):
    assert is_on_device(array)


class Exporting(Capsule):
    """Exports memory of the host as if it were that of a device."""

    def __init__(self, array):
        super().__init__(CUDA)
        self.array = array
        self.streams = []

    def __dlpack__(self, *, stream=None, **options):
        self.streams.append(stream)
        return self.array.__dlpack__(**options)


def test_what_is_exported_by_dlpack_has_the_interface_that_numba_reads():
    pytest.importorskip("cuda.core")
    whole = np.arange(12.0).reshape(3, 4)
    for array in (whole, whole.T, whole[1:, 2:]):
        exporting = Exporting(array)
        interface = Exported(exporting, in_order=True).__cuda_array_interface__
        wanted = array.__array_interface__
        for name in ("shape", "typestr", "data"):
            assert interface[name] == wanted[name]
        assert interface["strides"] in (array.strides, wanted["strides"])
        assert exporting.streams == [1]
    Exported(exporting, in_order=False)
    assert exporting.streams == [1, -1]


@pytest.fixture
def arrays():
    return TorchArrays(torch.device("cpu"), 0)


def test_read_gives_contiguous_memory_that_begins_at_16_bytes(arrays):
    whole = torch.arange(24.0).reshape(4, 6)
    for tensor in (whole.T, whole.reshape(-1)[1:], whole[:, 2:]):
        read = arrays.read(tensor)
        assert read.is_contiguous()
        assert read.data_ptr() % 16 == 0
        assert torch.equal(read, tensor)
    assert arrays.read(whole).data_ptr() == whole.data_ptr()


def test_read_takes_arrays_of_the_host_and_leaves_the_graph(arrays):
    values = np.arange(3)
    values.flags.writeable = False
    assert arrays.read(values).tolist() == [0, 1, 2]
    assert not arrays.read(torch.ones(2, requires_grad=True)).requires_grad


def test_the_current_stream_waits_for_what_is_exported(arrays, monkeypatch):
    current = SimpleNamespace(cuda_stream=99)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    exporting = Exporting(np.arange(3.0))
    assert arrays.read(exporting).tolist() == [0, 1, 2]
    assert exporting.streams == [99]


@pytest.mark.parametrize("stream", [None, 1, 2, 0x7F00])
def test_the_stream_that_writes_is_waited_for(arrays, monkeypatch, stream):
    launch = pytest.importorskip("skxent.backends._cuda_launch")
    waited_for = []

    def stream_at(address):
        return SimpleNamespace(synchronize=lambda: waited_for.append(address))

    monkeypatch.setattr(launch, "stream_at", stream_at)
    array = CudaArray()
    array.__cuda_array_interface__ = {"version": 3, "stream": stream}
    # to read it takes a device
    assert arrays._ordered(array) is array
    assert waited_for == ([] if stream is None else [stream])


def test_dtypes_have_their_numpy_names(arrays):
    for name in ("float16", "bfloat16", "float32", "float64", "int64"):
        assert arrays.dtype(arrays.empty((2,), name)) == name
        assert arrays.dtype(arrays.cast(torch.zeros(2), name)) == name


def test_each_stream_has_its_own_constants(monkeypatch):
    # whose memory, when it is given up, the next kernel of the same stream may write
    stream = 7
    monkeypatch.setattr(_device_arrays, "_stream_of_torch", lambda device: stream)
    _device_arrays._torch_arrays.cache_clear()
    tensor = torch.zeros(2)
    here = arrays_like(tensor)
    one = here.constant((1.0,), "float32")
    assert arrays_like(tensor).constant((1.0,), "float32") is one
    stream = 9
    there = arrays_like(tensor)
    assert (here.stream, there.stream) == (7, 9)
    assert there.constant((1.0,), "float32") is not one
    _device_arrays._torch_arrays.cache_clear()


def test_spread_repeats_and_times_leaves_zeros(arrays):
    spread = arrays.spread(torch.tensor([[1.0], [2.0]]), (2, 3))
    assert spread.is_contiguous()
    assert spread.tolist() == [[1.0] * 3, [2.0] * 3]
    weights, factors = torch.tensor([0.0, 2.0]), torch.tensor([np.inf, 3.0])
    assert arrays.times(weights, factors).tolist() == [0.0, 6.0]
    assert arrays.to_host(weights).tolist() == [0.0, 2.0]
