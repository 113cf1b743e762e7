r"""The objective of softmax regression on sparse data.

The function is that of :mod:`skxent.linear_model._linear_loss`. Solvers for sparse data
work on ``weights`` (p, S), the coefficients of a feature side by side, and ``bias``
(S,). S is K, and the ridge is ``|W|^2``: a solver that starts where the classes' mean
is 0 stays there, since gradients do. For two classes S is 1.

Conventions
-----------
n samples, p features, K classes, R = K - 1. ``coef`` is (R, p) or (R, p + 1), float64,
relative to the first class; of solvers for sparse data (S, p) or (S, p + 1). Products
are computed in the dtype of what X is multiplied with, losses and gradients in float64,
and none copies X.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.backends import EncodedTargets, backend_for
from skxent.backends._sparse import (
    Compressed,
    Parts,
    compress,
    gather_products,
    gather_squares,
    scatter_products,
    scatter_squares,
    share_out,
)
from skxent.linear_model._linear_loss import LinearModelLoss
from skxent.linear_model._probabilities import own_shares, softmax
from skxent.linear_model._row_masses import pulls
from skxent.losses._targets import mass_and_weight

__all__ = ["SparseDesign", "SparseLinearCrossEntropy"]

Coef = NDArray[np.float64]

FEATURES_PER_BLOCK = 512
# Share of the entries up to which columns are looked for in CSR.
MOST_SHARE = 0.25


class SparseDesign:
    """A sparse matrix that has been checked, and the products with it.

    Parameters
    ----------
    X : sparse matrix or array of shape (n, p)
        CSR or CSC, float32 or float64, of any integer indices.
    """

    def __init__(self, X: Any) -> None:
        self.X = X
        self.by_rows = X.format == "csr"
        self._columns_of = X  # what columns are taken from, CSC in the end
        self.matrix: Compressed = compress(
            X.data, X.indices, X.indptr, X.shape[1] if self.by_rows else X.shape[0]
        )

    @cached_property
    def _parts(self) -> Parts:
        return share_out(self.matrix)

    def _gathered(self, dense: NDArray[Any], n_lines: int) -> NDArray[Any]:
        """Return the compressed matrix times an array."""
        out = np.empty((n_lines, dense.shape[1]), dense.dtype)
        gather_products(self.matrix, np.ascontiguousarray(dense), out)
        return out

    def _scattered(self, dense: NDArray[Any], size: int) -> NDArray[Any]:
        """Return the transposed compressed matrix times an array."""
        out = np.empty((size, dense.shape[1]), dense.dtype)
        scatter_products(self.matrix, self._parts, np.ascontiguousarray(dense), out)
        return out

    def product(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return ``X @ weights``, in the dtype of the (p, S) weights."""
        multiply = self._gathered if self.by_rows else self._scattered
        return multiply(weights, self.X.shape[0])

    def pull_back(self, residual: NDArray[Any]) -> NDArray[Any]:
        """Return ``X.T @ residual``, in the dtype of the (n, S) residual."""
        multiply = self._scattered if self.by_rows else self._gathered
        return multiply(residual, self.X.shape[1])

    def columns(
        self, places: NDArray[np.intp]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return a copy of some columns: ``data``, ``indices`` and ``indptr`` of CSC.

        No row comes twice in a column. Columns with many entries are looked for in CSR
        once: then X is kept as CSC, which takes about as long.
        """
        X = self._columns_of[:, places]
        if X.format == "csr" and X.nnz > MOST_SHARE * self.X.nnz:
            self._columns_of = self.X.tocsc()
            X = self._columns_of[:, places]
        X = X.tocsc()
        X.sum_duplicates()
        return X.data, X.indices, X.indptr.astype(np.int64)

    def squares(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of squares of each column, the rows weighted (n,)."""
        sums = scatter_squares if self.by_rows else gather_squares
        return sums(self.matrix, weight)


class SparseLinearCrossEntropy(LinearModelLoss):
    """Mean cross-entropy of a linear model plus a ridge, with its derivatives.

    X is a sparse matrix or array, CSR or CSC.
    """

    def __init__(self, X: Any, targets: EncodedTargets, **options: Any):
        super().__init__(X, targets, **options)
        self.design = SparseDesign(X)
        self.n_outputs = 1 if self.n_classes == 2 else self.n_classes
        self.backend = backend_for(X.data)

    # -- the coordinates of solvers for sparse data ------------------------------------

    def weights_of(self, coef: Coef, dtype: Any) -> tuple[NDArray[Any], Coef]:
        """Return ``weights``, in a dtype, and ``bias`` of either kind of ``coef``."""
        p = self.X.shape[1]
        first = self.n_outputs - len(coef)
        weights = np.empty((p, self.n_outputs), dtype)
        bias = np.zeros(self.n_outputs)
        for some in _blocks(p):
            block = np.zeros((some.stop - some.start, self.n_outputs))
            block[:, first:] = coef[:, some].T
            weights[some] = self.centred(block)
        if self.fit_intercept:
            bias[first:] = coef[:, p]
        return weights, self.centred(bias)

    def coef_of(self, weights: NDArray[Any], bias: Coef) -> Coef:
        """Undo :meth:`weights_of`: the coefficients of every class, whose mean is 0."""
        p = self.X.shape[1]
        coef = np.empty((self.n_outputs, p + self.fit_intercept))
        for some in _blocks(p):
            coef[:, some] = self.centred(weights[some].astype(np.float64)).T
        if self.fit_intercept:
            coef[:, p] = self.centred(bias)
        return coef

    def centred(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return columns of classes with the mean 0; a column that is alone stays."""
        if self.n_outputs == 1:
            return columns
        share = np.full(self.n_outputs, 1.0 / self.n_outputs, columns.dtype)
        return np.asarray(columns - (columns @ share)[..., np.newaxis])

    def loss_and_residual(
        self, product: NDArray[Any], bias: Coef
    ) -> tuple[float, Coef]:
        """Return the mean loss, and its gradient with respect to ``product`` + bias."""
        z = self._logits(product + bias)
        scale = 1.0 / self.targets.denominator
        targets, no_losses = self._wide_targets(), np.empty(0)
        total = self.backend.softmax_loss(z, targets, no_losses, z, scale)
        return total * scale, self._outputs(z)

    def loss(self, product: NDArray[Any], bias: Coef) -> float:
        """Return the mean loss alone."""
        z = self._logits(product + bias)
        nothing = np.empty((0, self.n_classes))
        total = self.backend.softmax_loss(
            z, self._wide_targets(), nothing[:, 0], nothing, 1.0
        )
        return total / self.targets.denominator

    def curvature(
        self, product: NDArray[Any], bias: Coef
    ) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """Return the map of changes of ``product`` + bias to those of the residual."""
        z = self._logits(product + bias.astype(product.dtype))
        mass, weight = mass_and_weight(self.targets)
        scale = 1.0 / self.targets.denominator

        def curved(change: NDArray[Any]) -> NDArray[Any]:
            out = np.empty_like(z)
            v = self._logits(change)
            self.backend.softmax_curvature(z, mass, weight, v, scale, out)
            return self._outputs(out)

        return curved

    def _wide_targets(self) -> EncodedTargets:
        """Return the targets as the kernels take them beside float64 logits."""
        target = self.targets.target
        if target.ndim == 1 or target.dtype == np.float64:
            return self.targets
        return self.targets._replace(target=target.astype(np.float64))

    def _logits(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return (n, K) logits; 0 for the first of two classes."""
        if self.n_outputs > 1:
            return outputs
        return np.hstack([np.zeros_like(outputs), outputs])

    def _outputs(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Undo `_logits`."""
        return logits if self.n_outputs > 1 else np.ascontiguousarray(logits[:, 1:])

    # -- the coordinates of all solvers ------------------------------------------------

    def value_and_gradient(self, coef: Coef) -> tuple[float, Coef]:
        """Return the objective and its gradient."""
        weights, bias = self.weights_of(coef, np.float64)
        value, residual = self.loss_and_residual(self.design.product(weights), bias)
        gradient = self.design.pull_back(residual)
        gradient += self.l2 * weights
        value += 0.5 * self.l2 * squared_norm(weights)
        return value, self._slope(gradient, residual)

    def shares(self, coef: Coef) -> Coef:
        """Return what each row adds to the curvature along each logit, (n, K)."""
        weights, bias = self.weights_of(coef, np.float64)
        z = self._logits(self.design.product(weights) + bias)
        mass = pulls(self.targets) / self.targets.denominator
        return own_shares(softmax(z, out=z)[:, 1:], mass)

    def curvature_at(self, coef: Coef) -> Callable[[Coef], Coef]:
        """Return ``v -> H v`` with the Hessian at ``coef``; keeps the logits."""
        weights, bias = self.weights_of(coef, self.X.dtype)
        curved = self.curvature(self.design.product(weights), bias)

        def product(vector: Coef) -> Coef:
            v, shift = self.weights_of(vector, self.X.dtype)
            change = curved(self.design.product(v) + shift.astype(v.dtype))
            result = self.design.pull_back(change)
            result += v.dtype.type(self.l2) * v
            return self._slope(result, change)

        return product

    def _slope(self, weights: NDArray[Any], residual: NDArray[Any]) -> Coef:
        """Return a gradient with respect to ``coef``; classes have the mean 0."""
        p = self.X.shape[1]
        gradient = np.empty(self.shape)
        first = self.n_outputs - len(gradient)
        for some in _blocks(p):
            gradient[:, some] = weights[some, first:].T
        if self.fit_intercept:
            gradient[:, p] = residual[:, first:].sum(axis=0, dtype=np.float64)
        return gradient


def _blocks(size: int) -> Iterator[slice]:
    """Yield blocks of features that are turned in the cache."""
    for begin in range(0, size, FEATURES_PER_BLOCK):
        yield slice(begin, min(begin + FEATURES_PER_BLOCK, size))


def squared_norm(array: NDArray[Any]) -> float:
    """Return the sum of squares, added up in float64."""
    flat = array.reshape(-1)
    total = 0.0
    for i in range(0, flat.size, 4096):  # no copy of the whole
        part = flat[i : i + 4096].astype(np.float64, copy=False)
        total += float(np.vdot(part, part))
    return total
