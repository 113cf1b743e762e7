"""The objective of softmax regression on a CUDA device.

Conventions are those of :mod:`skxent.linear_model._linear_loss`. X, the targets and the
logits of a block of rows live on the device: their products are those of the library of
X, and the kernel of the loss writes the residuals over the logits. Coefficients,
gradients and sums, added up in float64, are numpy's.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import EncodedTargets
from skxent.backends import _cuda as backend
from skxent.backends._device_matrix import DeviceMatrix
from skxent.linear_model._linear_loss import LinearCrossEntropy, LinearModelLoss

__all__ = ["DeviceLinearCrossEntropy"]

# Logits that exist at a time: 256 MB in float32, work for the device for a while.
BLOCK_SIZE = 1 << 26

Coef = NDArray[np.float64]


class DeviceLinearCrossEntropy(LinearCrossEntropy):
    """Mean cross-entropy of a linear model plus a ridge, X being a `DeviceMatrix`."""

    X: DeviceMatrix

    def __init__(
        self, X: DeviceMatrix, targets: EncodedTargets, **options: Any
    ) -> None:
        LinearModelLoss.__init__(self, X, targets, **options)

    @property
    def is_fused(self) -> bool:
        """No: the library of X multiplies."""
        return False

    def in_float32(self) -> None:
        """Return None: X would have to be copied."""

    def _of_rows(self, X: Any, rows: NDArray[np.intp]) -> "DeviceLinearCrossEntropy":
        taken = super()._of_rows(X, rows)
        taken.__dict__.pop("device_targets", None)
        return taken  # type: ignore[return-value]

    @cached_property
    def device_targets(self) -> backend.DeviceTargets:
        """The targets where X is."""
        arrays, targets, name = self.X.arrays, self.targets, self.dtype.name
        has_indices = targets.target.ndim == 1
        kind = "int64" if has_indices else name
        row_weight = None
        if targets.row_weight.size:
            row_weight = arrays.read(targets.row_weight.astype(name))
        return backend.DeviceTargets(
            arrays.read(targets.target.astype(kind, copy=False)),
            arrays.read(targets.on_value.astype(name)),
            arrays.read(targets.off_value.astype(name)),
            row_weight,
            targets.ignore_index,
            bool(targets.off_value.any()),
            has_indices,
        )

    def _blocks(self) -> Iterator[slice]:
        n = len(self.X)
        rows = max(1, BLOCK_SIZE // self.n_classes // 8) * 8  # so that all are aligned
        for begin in range(0, n, rows):
            yield slice(begin, min(begin + rows, n))

    def _operands(self, coef: Coef) -> tuple[Any, Any]:
        """Return the weights (p, K) and the intercepts (1, K), 0 for the first class.

        One product then writes the logits as the kernel reads them.
        """
        p = self.X.shape[1]
        every = np.zeros((self.n_classes, p + 1), self.dtype)
        every[1:, : coef.shape[1]] = coef
        read = self.X.arrays.read
        return read(every[:, :p]).T, read(every[np.newaxis, :, p])

    def _targets_of(self, rows: slice) -> backend.DeviceTargets:
        targets = self.device_targets
        weight = targets.row_weight
        return targets._replace(
            target=targets.target[rows],
            row_weight=None if weight is None else weight[rows],
        )

    def _pulled_back(self, blocks: Iterator[tuple[slice, Any]]) -> Coef:
        """Return the gradient with respect to ``coef`` of those of blocks of logits."""
        arrays, p = self.X.arrays, self.X.shape[1]
        gradient = np.zeros((self.n_classes, p + 1))
        for rows, residual in blocks:
            gradient[:, :p] += arrays.to_host(residual.T @ self.X[rows].array)
            gradient[:, p] += arrays.to_host(arrays.column_sums(residual))
        return gradient[1:, : self.shape[1]]

    def _loss_of_blocks(self, coef: Coef, scale: float) -> tuple[float, Coef]:
        """Return the sum of the losses and ``scale`` times its gradient."""
        weights, intercepts = self._operands(coef)
        name, arrays = self.dtype.name, self.X.arrays
        factor = arrays.constant((scale,), name)
        totals = []

        def residuals() -> Iterator[tuple[slice, Any]]:
            for rows in self._blocks():
                z = self.X[rows].array @ weights
                z += intercepts
                call = backend.new_call(arrays)
                targets = self._targets_of(rows)
                backend.softmax_loss(call, z, targets, name, factor, None, z)
                yield rows, z
                totals.append(backend.summary_on_host(call).total)

        gradient = self._pulled_back(residuals())
        return sum(totals), gradient

    def curvature_at(self, coef: Coef) -> Callable[[Coef], Coef]:
        """Return ``v -> H v`` with the Hessian at ``coef``."""
        weights, intercepts = self._operands(coef)
        name, arrays = self.dtype.name, self.X.arrays
        factor = arrays.constant((1.0 / self.targets.denominator,), name)

        def product(vector: Coef) -> Coef:
            directions, shifts = self._operands(vector)

            def blocks() -> Iterator[tuple[slice, Any]]:
                for rows in self._blocks():
                    X = self.X[rows].array
                    z, v = X @ weights, X @ directions
                    z += intercepts
                    v += shifts
                    out = arrays.empty(tuple(z.shape), name)
                    call = backend.new_call(arrays)
                    targets = self._targets_of(rows)
                    backend.softmax_curvature(call, z, targets, name, v, factor, out)
                    yield rows, out

            result = self._pulled_back(blocks())
            self._weights(result)[...] += self.ridge(self._weights(vector))
            return result

        return product
