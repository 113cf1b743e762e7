"""A module in place of cupy, of which no more is here than what adaptors ask for.

Its arrays are numpy's, of a type of their own. As in cupy, whose functions are compiled
for that type, `ascontiguousarray` takes no others and knows nothing of devices.
"""

import contextlib
import sys
from types import SimpleNamespace

import numpy as np
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray


class Array(np.ndarray):
    """An array on the device that is current."""

    @property
    def __cuda_array_interface__(self):
        return {"version": 3}

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self):
        return DEVICE

    def get(self):
        return np.asarray(self).view(np.ndarray).copy()


Array.__module__ = "cupy"


def ascontiguousarray(array):
    if not isinstance(array, Array):
        kind = type(array).__name__
        raise TypeError(f"Argument 'a' has incorrect type (got {kind})")
    return np.ascontiguousarray(array).view(Array)


def asarray(array, dtype=None):
    # cupy asks the type, numpy for the interface
    array = array.view(np.ndarray) if isinstance(array, Array) else array
    return aligned(np.asarray(array, dtype)).view(Array)


def from_dlpack(array):
    """Read what another library exports; the current stream has waited for it."""
    array.__dlpack__(stream=1)
    return asarray(array)


def aligned(array):
    """Return an array as the pool of cupy would place it."""
    if array.ctypes.data % 16 == 0 or not array.size:
        return array
    places = np.empty(array.nbytes + 16, np.uint8)
    begin = -places.ctypes.data % 16
    placed = places[begin : begin + array.nbytes].view(array.dtype)
    placed = placed.reshape(array.shape)
    placed[...] = array
    return placed


def empty(shape, dtype):
    return aligned(np.empty(shape, dtype)).view(Array)


def zeros(shape, dtype):
    return asarray(np.zeros(shape, dtype))


def _stream():
    return SimpleNamespace(ptr=0)


class Device(contextlib.nullcontext):
    """One device."""

    def __init__(self, index):
        super().__init__()
        self.id = index


DEVICE = Device(0)
MODULE = SimpleNamespace(
    ndarray=Array,
    arange=np.arange,
    asarray=asarray,
    ascontiguousarray=ascontiguousarray,
    broadcast_to=lambda array, shape: np.broadcast_to(array, shape, subok=True),
    cuda=SimpleNamespace(Device=Device, get_current_stream=_stream),
    empty=empty,
    exp=np.exp,
    from_dlpack=from_dlpack,
    isfinite=np.isfinite,
    where=lambda *args: np.where(*args).view(Array),
    zeros=zeros,
)


class _OnHost(type):
    def __instancecheck__(cls, value):
        return isinstance(value, np.ndarray) and not isinstance(value, Array)


class HostArray(metaclass=_OnHost):
    """What arrays of numpy are instances of, but for those that stand in."""


def use_stub(monkeypatch):
    """Let the adaptor of cupy work on arrays of the host."""
    from skxent.backends import _device_arrays, _places

    monkeypatch.setitem(sys.modules, "cupy", MODULE)
    others = _places._ON_HOST[1:]
    monkeypatch.setattr(_places, "_ON_HOST", (HostArray, *others))
    adaptor = _device_arrays.CupyArrays

    def address(self, array):
        return FakeCUDAArray(np.asarray(array).view(np.ndarray).ravel())

    monkeypatch.setattr(adaptor, "address", address)
    _device_arrays._cupy_arrays.cache_clear()
