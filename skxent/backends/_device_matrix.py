"""Rows of features on a CUDA device, that solvers on the host see as a matrix of numpy.

Conventions
-----------
X is (n, p), float32 or float64, an array of torch or cupy. Rows that are taken stay on
the device. Products are computed there, in the dtype of X, by the array's own library,
and come to the host; so does what `numpy.asarray` is asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends._device_arrays import CupyArrays, TorchArrays

__all__ = ["DeviceMatrix"]


class DeviceMatrix:
    """A matrix on a device."""

    __array_ufunc__ = None  # numpy leaves products to `__rmatmul__`

    def __init__(self, arrays: TorchArrays | CupyArrays, array: Any) -> None:
        self.arrays = arrays
        self.array = array
        self.shape: tuple[int, int] = tuple(array.shape)
        self.dtype = np.dtype(arrays.dtype(array))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[Any]) -> "DeviceMatrix":
        if isinstance(rows, slice):
            return DeviceMatrix(self.arrays, self.array[rows])
        return DeviceMatrix(self.arrays, self.arrays.take(self.array, rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.arrays.to_host(self.array), dtype=dtype)

    @property
    def T(self) -> "DeviceMatrix":
        """The transposed matrix."""
        return DeviceMatrix(self.arrays, self.array.T)

    def _on_device(self, operand: Any) -> Any:
        """Return a matrix of the host or of the device as an operand of products."""
        if isinstance(operand, DeviceMatrix):
            return operand.array
        return self.arrays.read(np.asarray(operand, dtype=self.dtype))

    def logits(self, coef: Any, intercept: Any) -> Any:
        """Return ``X coef^T + intercept`` on the device, in the dtype of X."""
        name = self.dtype.name
        logits = self.array @ self.arrays.cast(coef, name).T
        logits += self.arrays.cast(intercept, name)
        return logits

    def __matmul__(self, right: Any) -> NDArray[Any]:
        return np.asarray(self.arrays.to_host(self.array @ self._on_device(right)))

    def __rmatmul__(self, left: Any) -> NDArray[Any]:
        return np.asarray(self.arrays.to_host(self._on_device(left) @ self.array))
