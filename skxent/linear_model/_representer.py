"""Wide data: optimal coefficients are sums of the rows.

Coefficients ``A X`` have n numbers for each class instead of p (the representer
theorem). Their logits are ``A K`` with the products ``K = X X^T`` of the rows, and the
gradient of the objective is ``G X``, where G takes no product with X: the residuals
plus the ridge of A.

Points and gradients
--------------------
An array (2, R, n), or (2, R, n + 1) with an intercept. A point holds A and the logits
``A K`` without the intercept; a gradient holds zeros and G. Both hold the intercept's
part twice, the gradient again with zeros. So the sum of the products of a point and a
gradient is that of ``A X`` and ``G X``, and L-BFGS asks for no others: it never needs
``G K``. A step takes one product with K, for which X is read once.

The preconditioner is a Kronecker curvature, ``C (x) X^T W X + l2 M (x) I`` with weights
W of the rows. For a class coordinate of eigenvalue a, its inverse times ``G X`` is

    ((l2 + a W K)^-1 G) X,

which needs a factor of ``l2 / a + W^1/2 K W^1/2``. K is there for this alone, in
float32 and factored in its place. Where rows depend on one another, A may grow as the
inverse of the ridge: a small one is for :mod:`skxent.linear_model._row_space`.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from skxent.backends import backend_for
from skxent.backends._device_matrix import DeviceMatrix
from skxent.linear_model._factor import Factor
from skxent.linear_model._lbfgs import minimize
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._preconditioners import class_moments, eigenvectors
from skxent.linear_model._probabilities import softmax
from skxent.linear_model._products import (
    gram_of_rows,
    multiply_by_gram,
    norms_of_rows,
    product_of_columns,
    product_of_rows,
)
from skxent.linear_model._row_masses import pulls
from skxent.linear_model._sampled import renewal
from skxent.linear_model._solvers import Settings, SolverResult

__all__ = [
    "CurvatureOfRows",
    "SumsOfRows",
    "minimize_over_rows",
]

Coef = NDArray[np.float64]
Point = NDArray[np.float64]

# Rows for each class but the first, from which on products with K are few enough to be
# taken by X.
LEAST_ROWS = 256
# Of the largest curvature of a row: the least ridge that float32 can tell from 0 well.
LEAST_RIDGE = 1e-5
# Of a class, beside the weights of the rows: less is rounding.
LEAST_CURVATURE = 1e-12


class SumsOfRows:
    """The objective as a function of points.

    Parameters
    ----------
    objective : LinearCrossEntropy
        Of an array X, not of a matrix on a device.
    sizes : ndarray of shape (n,)
        The norms of the rows.
    """

    def __init__(
        self, objective: LinearCrossEntropy, sizes: NDArray[np.float64]
    ) -> None:
        self.objective = objective
        self.dtype = objective.dtype
        self.n = len(objective.X)
        self.sizes = sizes
        # K over the sizes of both rows, above the diagonal
        self.shares = gram_of_rows(objective.X, _inverse(sizes), np.dtype(np.float32))

    def value_and_gradient(self, point: Point) -> tuple[float, Point]:
        """Return the objective and its gradient."""
        objective, n = self.objective, self.n
        scale = 1.0 / objective.targets.denominator
        z = self.logits(point).astype(self.dtype, copy=False)
        total = backend_for(z).softmax_loss(
            z, objective.targets, np.empty(0, z.dtype), z, scale
        )
        residual = z[:, 1:].T
        gradient = np.zeros_like(point)
        ridge = objective.ridge(point[0, :, :n])
        np.add(residual, ridge, out=gradient[1, :, :n])
        gradient[1, :, n:] = residual.sum(axis=1, dtype=np.float64, keepdims=True)
        penalty = 0.5 * float(np.vdot(ridge, point[1, :, :n]))
        return total * scale + penalty, gradient

    def logits(self, point: Point) -> NDArray[np.float64]:
        """Return the logits (n, K)."""
        z = np.zeros((self.n, self.objective.n_classes))
        z[:, 1:] = point[1, :, : self.n].T
        if self.objective.fit_intercept:
            z[:, 1:] += point[1, :, -1]
        return z

    def image(self, rows: Coef) -> Coef:
        """Return ``A K``, of one A (R, n) or of a stack of them."""
        products = multiply_by_gram(self.objective.X, rows.reshape(-1, self.n).T)
        return products.T.reshape(rows.shape)

    def point(self, rows: Coef, intercepts: Coef) -> Point:
        """Return the point of A, (R, n), and intercepts, (R, 1) or (R, 0).

        Or the points of stacks of them.
        """
        parts = [
            np.concatenate([part, intercepts], axis=-1)
            for part in (rows, self.image(rows))
        ]
        return np.stack(parts, axis=-3)

    def start(self, coef: Coef) -> Point:
        """Return about the point of coefficients, as far as rows span them.

        Of all A with the same ``A X`` it is near the one for which G is 0 if the
        gradient is.
        """
        p = self.objective.X.shape[1]
        zero = np.zeros((len(coef), self.n))
        without_weights = np.hstack([zero, coef[:, p:]])
        if not coef[:, :p].any():
            return np.array([without_weights, without_weights])
        weights = coef[:, :p].T.astype(self.objective.X.dtype)
        images = product_of_rows(self.objective.X, weights).T.astype(np.float64)
        there = np.array([without_weights, np.hstack([images, coef[:, p:]])])
        _, gradient = self.value_and_gradient(there)
        ridge = LEAST_RIDGE * self.sizes**2
        factor = Factor(self.shares, self.sizes**2 + ridge, self.sizes)
        # l2 M A = -G at A = 0 there
        wanted = images - ridge * self.objective.without_ridge(gradient[1, :, : self.n])
        rows = zero
        for _ in range(2):  # the second corrects the rounding of the first
            left = wanted - self.image(rows) - ridge * rows
            rows = rows + factor.solve(left.T).T
        return self.point(rows, coef[:, p:])

    def coef(self, point: Point) -> Coef:
        """Return the coefficients of a point, (R, p) or (R, p + 1)."""
        weights = product_of_columns(point[0, :, : self.n].T, self.objective.X)
        return np.hstack([weights, point[0, :, self.n :]])


def _inverse(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverses of numbers from 0 on, but 0 of 0."""
    return np.divide(1.0, numbers, out=np.zeros_like(numbers), where=numbers > 0)


class CurvatureOfRows:
    """The inverse of the curvature at a point."""

    scaled = False

    def __init__(self, space: SumsOfRows, point: Point) -> None:
        objective = space.objective
        logits = space.logits(point)
        proba = softmax(logits, out=logits)[:, 1:]
        weight = pulls(objective.targets) / objective.targets.denominator
        classes, share = class_moments(proba, weight)
        eigenvalues, self.basis = eigenvectors(classes, objective.metric)
        self.eigenvalues = np.maximum(eigenvalues, LEAST_CURVATURE * weight.sum())
        weights = share / share.sum()
        sizes = np.sqrt(weights) * space.sizes
        middle = float(np.sqrt(self.eigenvalues[0] * self.eigenvalues[-1]))
        self.ridge = objective.l2 / middle
        self.factor = Factor(space.shares, self.ridge + sizes**2, sizes)
        self.root = np.sqrt(weights)
        self.space = space
        if objective.fit_intercept:
            self.of_ones = self._solve(weights[:, np.newaxis])[:, 0]

    def _solve(self, columns: Coef) -> Coef:
        """Return ``(ridge + W K)^-1`` times columns (n, c)."""
        root = self.root[:, np.newaxis]
        return np.asarray(root * self.factor.solve(_inverse(root) * columns))

    def solve(self, gradient: Point) -> Point:
        """Return the inverse times a gradient, or times each of a stack of them."""
        n = self.space.n
        rotated = self.basis.T @ gradient[..., 1, :, :]
        rotated /= self.eigenvalues[:, np.newaxis]
        given, intercepts = rotated[..., :n], rotated[..., n:]
        rows = self._solve(given.reshape(-1, n).T).T.reshape(given.shape)
        if intercepts.size:
            # what is left of the gradient by the intercept once A has taken its part
            rest = intercepts - given.sum(axis=-1, keepdims=True)
            rest += self.ridge * rows.sum(axis=-1, keepdims=True)
            intercepts = rest / (self.ridge * self.of_ones.sum())
            rows -= intercepts * self.of_ones
        return self.space.point(self.basis @ rows, self.basis @ intercepts)


def minimize_over_rows(
    objective: LinearCrossEntropy, coef: Coef, settings: Settings
) -> SolverResult | None:
    """Minimise over sums of the rows.

    None if other ways are better: X is on a device, there are few rows for each class,
    or the ridge counts too little beside them. It counts least at 0, where all classes
    are equally likely.
    """
    X, n_classes = objective.X, objective.n_classes
    if isinstance(X, DeviceMatrix) or len(X) < LEAST_ROWS * (n_classes - 1):
        return None
    sizes = norms_of_rows(X)
    weight = pulls(objective.targets) / objective.targets.denominator
    largest = float((weight * sizes**2).max(initial=0.0)) / n_classes
    if not objective.l2 >= LEAST_RIDGE * largest > 0:
        return None
    space = SumsOfRows(objective, sizes)
    start = space.start(coef)
    result = minimize(
        space,
        start,
        partial(CurvatureOfRows, space, start),
        settings.seen_through(space.coef),
        renew=renewal(partial(CurvatureOfRows, space)),
    )
    return result._replace(coef=space.coef(result.coef))
