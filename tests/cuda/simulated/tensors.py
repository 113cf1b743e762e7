"""Tensors of torch that stand in for those of a device: the simulator reads the host.

Their type and the adaptor are torch's own; what asks the driver is answered here.
"""

import torch
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

from skxent.backends import _device_arrays


class Tensor(torch.Tensor):
    """A tensor in host memory that says it is on a device."""

    is_cuda = True


Tensor.__module__ = "torch"


def on_device(array, **options):
    """Return a tensor that holds the numbers of an array."""
    return torch.as_tensor(array, **options).as_subclass(Tensor)


def _staying(method):
    """Return a method of the adaptor whose tensors say that they are on a device."""

    def stays(*args):
        return method(*args).as_subclass(Tensor)

    return stays


def use_host_memory(monkeypatch):
    """Let the adaptor of torch address memory of the host."""
    adaptor = _device_arrays.TorchArrays

    def constant(self, values, dtype):
        return torch.tensor(values, dtype=getattr(torch, dtype))

    def address(self, tensor):
        tensor = tensor.detach().as_subclass(torch.Tensor)
        if tensor.dtype == torch.bfloat16:  # which numpy lacks
            tensor = tensor.view(torch.uint16)
        return FakeCUDAArray(tensor.numpy().ravel())

    for name in ("read", "empty"):
        monkeypatch.setattr(adaptor, name, _staying(getattr(adaptor, name)))
    monkeypatch.setattr(adaptor, "_constant", constant)
    monkeypatch.setattr(adaptor, "address", address)
    monkeypatch.setattr(_device_arrays, "_stream_of_torch", lambda device: 0)
    _device_arrays._torch_arrays.cache_clear()
