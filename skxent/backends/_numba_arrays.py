"""Device arrays of numba, and what other libraries export, as numba reads it.

Conventions are those of :mod:`skxent.backends._device_arrays`.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from skxent.backends._places import ALIGNMENT, is_on_device

__all__ = ["Exported", "NumbaArrays", "numba_arrays"]

_DEFAULT_STREAM, _NO_STREAM = 1, -1  # as DLPack numbers them


class Exported:
    """What a library exports by DLPack, in the form that numba reads.

    The default stream is made to wait for those who write it, if that is asked for.
    """

    def __init__(self, array: Any, *, in_order: bool) -> None:
        from cuda.core.utils import StridedMemoryView

        stream = _DEFAULT_STREAM if in_order else _NO_STREAM
        view = StridedMemoryView.from_dlpack(array, stream_ptr=stream)
        dtype, strides = np.dtype(view.dtype), view.strides
        if strides is not None:
            strides = tuple(step * dtype.itemsize for step in strides)
        self.view = view  # keeps the memory alive
        self.__cuda_array_interface__ = {
            "shape": tuple(view.shape),
            "typestr": dtype.str,
            "data": (view.ptr, view.readonly),
            "strides": strides,
            "version": 3,
        }


class NumbaArrays:
    """Device arrays of numba, and those of other libraries seen as such.

    Numba computes nothing with arrays but in kernels: small ones take the way over the
    host.
    """

    def __init__(self, device: int) -> None:
        from numba import cuda

        from skxent.backends._cuda_launch import context_of

        self.cuda = cuda
        self.device = context_of(device)
        self.index = device
        self.stream = 0  # that of the device's other users
        self.constant = lru_cache(maxsize=64)(self._constant)

    def read(self, array: Any) -> Any:
        """Return an array of this library, contiguous and aligned, on this device."""
        if is_on_device(array) and _device_of(array) != self.index:
            there = NumbaArrays(_device_of(array))
            array = there.to_host(there.read(array))
        if not is_on_device(array):
            return self._moved(np.asarray(array, order="C"))
        array = self._seen(array, in_order=True)
        if not array.is_c_contiguous():
            return self._moved(np.asarray(self._fetched(array), order="C"))
        if self.span(array)[0] % ALIGNMENT == 0:
            return array
        copied = self.empty(array.shape, array.dtype)
        self.copy(array, copied)
        return copied

    def _moved(self, array: Any) -> Any:
        """Return an array of numpy on this device."""
        with self.device:
            return self.cuda.to_device(array)

    def _seen(self, array: Any, *, in_order: bool) -> Any:
        """Return an array as one of numba, which maybe waits for those who write it.

        DLPack is asked first: torch names no stream in the other interface.
        """
        if _is_of_numba(array):
            return array
        with self.device:
            if hasattr(array, "__dlpack__"):
                array = Exported(array, in_order=in_order)
            return self.cuda.as_cuda_array(array, sync=in_order)

    def _constant(self, values: tuple[float, ...], dtype: str) -> Any:
        return self._moved(np.array(values, dtype))

    def dtype(self, array: Any) -> str:
        return str(array.dtype)

    def cast(self, array: Any, dtype: str) -> Any:
        if str(array.dtype) == dtype:
            return array
        return self._moved(self._fetched(array).astype(dtype))

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        with self.device:
            return self.cuda.device_array(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        return self._moved(np.zeros(shape, dtype))

    def spread(self, array: Any, shape: tuple[int, ...]) -> Any:
        """Return the array broadcast to a shape, contiguous."""
        spread = np.broadcast_to(self._fetched(array), shape)
        return self._moved(np.ascontiguousarray(spread))

    def clear(self, array: Any) -> None:
        self.copy(np.zeros(array.shape, array.dtype), array)

    def copy(self, array: Any, out: Any) -> None:
        """Copy the numbers of an array to another one of the same library."""
        with self.device:
            out.copy_to_device(array)

    def product(self, weights: Any, factors: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            return self._moved(self._fetched(weights) * self._fetched(factors))

    def times(self, weights: Any, factors: Any) -> Any:
        """Return the product, 0 where a weight is 0."""
        product = self._fetched(self.product(weights, factors))
        product[self._fetched(weights) == 0] = 0
        return self._moved(product)

    def address(self, array: Any) -> Any:
        pointer = getattr(array, "device_ctypes_pointer", None)
        # the simulator runs kernels on the array itself
        return array.reshape(-1) if pointer is None else pointer.value

    def span(self, array: Any) -> tuple[int, int]:
        """Return where the numbers begin, and where as many of them would end."""
        array = self._seen(array, in_order=False)
        # the simulator has no pointers, and no numbers are nowhere
        pointer = getattr(array, "device_ctypes_pointer", None)
        begin = array.ctypes.data if pointer is None else pointer.value or 0
        return begin, begin + array.nbytes

    def owns(self, array: Any) -> bool:
        """Return whether an array is one of this library and of this device."""
        return _is_of_numba(array) and _device_of(array) == self.index

    def to_host(self, array: Any) -> Any:
        return self._fetched(array)

    def _fetched(self, array: Any) -> Any:
        """Return numbers that are computed with on the host."""
        with self.device:
            return array.copy_to_host()


def _is_of_numba(array: Any) -> bool:
    return hasattr(array, "copy_to_host")


def _device_of(array: Any) -> int:
    """Return the number of the device of an array that numba reads."""
    from skxent.backends._cuda_launch import device_at, n_devices

    if n_devices() == 1:
        return 0
    if hasattr(array, "gpu_data"):  # one of numba's
        return int(array.gpu_data.context.device.id)
    if hasattr(array, "__dlpack_device__"):
        return int(array.__dlpack_device__()[1])
    return device_at(array.__cuda_array_interface__["data"][0])


_arrays_on = lru_cache(maxsize=16)(NumbaArrays)


def numba_arrays(array: Any) -> NumbaArrays:
    """Return what answers for the device of an array that numba reads."""
    return _arrays_on(_device_of(array))
