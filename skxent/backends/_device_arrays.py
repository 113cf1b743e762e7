"""Arrays of a CUDA device in the libraries that own them: allocate, address, copy.

Every library answers the same few questions about the arrays of one call, which all
live on the device of the first. Dtypes are named as in numpy. Nothing but ``to_host``
and ``is_finite`` waits for the device.

``constant`` copies a few numbers to the device, once for each stream: memory that is
given up is given away to the stream that asked for it, behind all that this one has
queued, while another might still read it.

Estimators ask for more, which the arrays of torch and cupy answer: rows that are taken,
sums of columns, products by ``@``. Those of numba cannot.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from skxent.backends._numba_arrays import NumbaArrays, numba_arrays
from skxent.backends._places import ALIGNMENT, is_on_device, package_of

__all__ = [
    "CupyArrays",
    "NumbaArrays",
    "TorchArrays",
    "arrays_like",
    "copy_to_host",
    "is_on_device",
    "package_of",
]


def arrays_like(array: Any) -> "TorchArrays | CupyArrays | NumbaArrays":
    """Return what answers for the library and the device of an array."""
    package = package_of(array)
    if package == "torch":
        return _torch_arrays(array.device, _stream_of_torch(array.device))
    if package == "cupy":
        return _cupy_arrays(array.device.id, _stream_of_cupy(array.device))
    return numba_arrays(array)


def _is_foreign(array: Any, arrays: "TorchArrays | CupyArrays") -> bool:
    """Return whether an array is one of a device and of another library."""
    return not arrays.owns(array) and is_on_device(array)


def copy_to_host(array: Any) -> Any:
    """Return an array of a device as one of numpy, bfloat16 as float32."""
    arrays = arrays_like(array)
    array = arrays.read(array)
    if arrays.dtype(array) == "bfloat16":
        array = arrays.cast(array, "float32")
    return arrays.to_host(array)


def _stream_of_torch(device: Any) -> int:
    """Return the address of the current stream, 0 for the default one."""
    import torch

    return int(torch.cuda.current_stream(device).cuda_stream)


def _stream_of_cupy(device: Any) -> int:
    """Return the address of the current stream, 0 for the default one."""
    import cupy

    with device:  # each has a current stream
        return int(cupy.cuda.get_current_stream().ptr)


class TorchArrays:
    """Tensors of torch on one device, for a stream at an address."""

    def __init__(self, device: Any, stream: int) -> None:
        import torch

        self.torch = torch
        self.device = device
        self.stream = stream
        self.index = device.index or 0
        self.constant = lru_cache(maxsize=64)(self._constant)

    def read(self, array: Any) -> Any:
        """Return an array of this library, contiguous and aligned, on this device."""
        if isinstance(array, np.ndarray):
            # torch has no strides below 0 and no other order of bytes
            array = np.asarray(array, array.dtype.newbyteorder("="), order="C")
            if not array.flags.writeable:
                array = array.copy()  # of which torch warns
        elif _is_foreign(array, self):
            array = self._ordered(array)
        array = self.torch.as_tensor(array).detach().resolve_neg()
        array = array.to(self.device).contiguous()
        return array if array.data_ptr() % ALIGNMENT == 0 else array.clone()

    def _ordered(self, array: Any) -> Any:
        """Return an array of another library whose numbers have been written.

        By DLPack the current stream waits. The other interface names a stream, which
        torch does not look at.
        """
        if hasattr(array, "__dlpack__"):
            return self.torch.utils.dlpack.from_dlpack(array)
        interface = getattr(array, "__cuda_array_interface__", {})
        if interface.get("stream") is not None:
            from skxent.backends._cuda_launch import stream_at

            stream_at(interface["stream"]).synchronize()
        return array

    def _constant(self, values: tuple[float, ...], dtype: str) -> Any:
        kind = getattr(self.torch, dtype)
        return self.torch.tensor(values, dtype=kind, device=self.device)

    def dtype(self, array: Any) -> str:
        return str(array.dtype).partition(".")[2]

    def cast(self, array: Any, dtype: str) -> Any:
        return array.to(getattr(self.torch, dtype))

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        kind = getattr(self.torch, dtype)
        return self.torch.empty(shape, dtype=kind, device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        kind = getattr(self.torch, dtype)
        return self.torch.zeros(shape, dtype=kind, device=self.device)

    def spread(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the array broadcast to a shape, contiguous."""
        return self.torch.broadcast_to(array, shape).contiguous()

    def clear(self, array: Any) -> None:
        array.zero_()

    def copy(self, array: Any, out: Any) -> None:
        """Copy the numbers of an array to another one of the same library."""
        out.detach().copy_(array)

    def product(self, weights: Any, factors: Any) -> Any:
        return weights * factors

    def times(self, weights: Any, factors: Any) -> Any:
        """Return the product, 0 where a weight is 0."""
        product = self.product(weights, factors)
        return self.torch.where(weights == 0, 0.0, product).to(weights.dtype)

    def take(self, array: Any, rows: Any) -> Any:
        """Return some rows, which a numpy array numbers."""
        return array[self.torch.as_tensor(rows, device=self.device)]

    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        return self.torch.where(condition, yes, no)

    def column_sums(self, array: Any) -> Any:
        """Return the sums over the rows, float64."""
        return array.sum(0, dtype=self.torch.float64)

    def is_finite(self, array: Any) -> bool:
        return bool(self.torch.isfinite(array).all())

    def put(self, array: Any, columns: Any, values: Any) -> None:
        """Write one value to each row, in the column that is given."""
        array.scatter_(1, columns[:, None], values[:, None])

    def exp(self, array: Any) -> Any:
        return self.torch.exp(array)

    def largest(self, array: Any) -> Any:
        """Return the largest number of each row, (n, 1)."""
        return array.amax(1, keepdim=True)

    def address(self, array: Any) -> Any:
        return array.data_ptr()

    def span(self, array: Any) -> tuple[int, int]:
        """Return where the numbers begin, and where as many of them would end."""
        begin = array.data_ptr()
        return begin, begin + array.nbytes

    def owns(self, array: Any) -> bool:
        """Return whether an array is one of this library."""
        return package_of(array) == "torch"

    def to_host(self, array: Any) -> Any:
        return array.cpu().numpy()


class CupyArrays:
    """Arrays of cupy on one device, for a stream at an address."""

    def __init__(self, device: int, stream: int) -> None:
        import cupy

        self.cupy = cupy
        self.device = cupy.cuda.Device(device)
        self.stream = stream
        self.index = device
        self.constant = lru_cache(maxsize=64)(self._constant)

    def read(self, array: Any) -> Any:
        """Return an array of this library, contiguous and aligned, on this device."""
        with self.device:
            # torch names no stream in the other interface, and cupy waits for none then
            if _is_foreign(array, self) and hasattr(array, "__dlpack__"):
                array = self.cupy.from_dlpack(array)
            # `ascontiguousarray` takes nothing but arrays of cupy, and leaves those of
            # another device there; `asarray` has no order for what others export
            array = self.cupy.ascontiguousarray(self.cupy.asarray(array))
            return array if array.data.ptr % ALIGNMENT == 0 else array.copy()

    def _constant(self, values: tuple[float, ...], dtype: str) -> Any:
        with self.device:
            return self.cupy.asarray(values, dtype=dtype)

    def dtype(self, array: Any) -> str:
        return str(array.dtype)

    def cast(self, array: Any, dtype: str) -> Any:
        with self.device:
            return array.astype(dtype, copy=False)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        with self.device:
            return self.cupy.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        with self.device:
            return self.cupy.zeros(shape, dtype)

    def spread(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the array broadcast to a shape, contiguous."""
        with self.device:
            return self.cupy.ascontiguousarray(self.cupy.broadcast_to(array, shape))

    def clear(self, array: Any) -> None:
        with self.device:
            array.fill(0)

    def copy(self, array: Any, out: Any) -> None:
        """Copy the numbers of an array to another one of the same library."""
        with self.device:
            out[...] = array

    def product(self, weights: Any, factors: Any) -> Any:
        with self.device:
            return weights * factors

    def times(self, weights: Any, factors: Any) -> Any:
        """Return the product, 0 where a weight is 0."""
        product = self.product(weights, factors)
        with self.device:
            product = self.cupy.where(weights == 0, 0.0, product)
            return product.astype(weights.dtype, copy=False)

    def take(self, array: Any, rows: Any) -> Any:
        """Return some rows, which a numpy array numbers."""
        with self.device:
            return array[self.cupy.asarray(rows)]

    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        with self.device:
            return self.cupy.where(condition, yes, no)

    def column_sums(self, array: Any) -> Any:
        """Return the sums over the rows, float64."""
        with self.device:
            return array.sum(0, dtype="float64")

    def is_finite(self, array: Any) -> bool:
        with self.device:
            return bool(self.cupy.isfinite(array).all())

    def put(self, array: Any, columns: Any, values: Any) -> None:
        """Write one value to each row, in the column that is given."""
        with self.device:
            array[self.cupy.arange(len(columns)), columns] = values

    def exp(self, array: Any) -> Any:
        with self.device:
            return self.cupy.exp(array)

    def largest(self, array: Any) -> Any:
        """Return the largest number of each row, (n, 1)."""
        with self.device:
            return array.max(1, keepdims=True)

    def address(self, array: Any) -> Any:
        return array.data.ptr

    def span(self, array: Any) -> tuple[int, int]:
        """Return where the numbers begin, and where as many of them would end."""
        begin = array.data.ptr
        return begin, begin + array.nbytes

    def owns(self, array: Any) -> bool:
        """Return whether an array is one of this library."""
        return package_of(array) == "cupy"

    def to_host(self, array: Any) -> Any:
        return array.get()


_torch_arrays = lru_cache(maxsize=16)(TorchArrays)
_cupy_arrays = lru_cache(maxsize=16)(CupyArrays)
