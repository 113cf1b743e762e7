r"""Dual coordinate ascent: rows one after another, in random order.

Where the rows of sparse data have few features in common, an epoch, which costs hardly
more than a gradient, takes the objective three to ten times nearer to its minimum.

The intercept has no penalty and so no bounded dual. It is given one that pulls it to
where it was, :math:`\mu/2\,\|b - b'\|^2`, and ``b'`` follows after every epoch: the
proximal point algorithm (R. T. Rockafellar, "Monotone Operators and the Proximal Point
Algorithm", SIAM Journal on Control and Optimization 14, 1976).

When it stops
-------------
The duality gap, a bound of the suboptimality but for what the intercept still moves, is
the sum over the rows of mass times the divergence of the row's distribution in the dual
from the softmax of its logits.

Epochs are float32: the coefficients are made anew of the distributions at the end.
"""

from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from skxent.backends._sparse import dual_epoch, dual_gap, squared_norms
from skxent.linear_model._solvers import Settings
from skxent.linear_model._sparse_loss import SparseLinearCrossEntropy, squared_norm
from skxent.linear_model._trace import Trace
from skxent.losses._targets import mass_and_weight

__all__ = ["ascend_dual"]

Coef = NDArray[np.float64]

# Curvature that the intercept adds to that of a row, and the pull on it beside the mass
# of all rows: small beside its curvature, so that it moves freely.
INTERCEPT_SHARE = 0.01
MOST_PULL = 5e-4
# Epochs that are worth it beside Newton's method, and before which there is no telling.
MOST_EPOCHS_LEFT = 30
FEWEST_EPOCHS = 3
TINY = 1e-300


class _Dual:
    """Distributions of the rows, and the coefficients that they make."""

    def __init__(self, objective: SparseLinearCrossEntropy, coef: Coef) -> None:
        self.objective = objective
        self.ridge = objective.l2 * objective.targets.denominator
        mass, weight = mass_and_weight(objective.targets)
        self.mass = mass * weight if weight.size else mass
        norms = squared_norms(objective.design.matrix)
        self.pull = np.inf
        if objective.fit_intercept:
            total = float(self.mass.sum())
            norm = max(float(self.mass @ norms) / total, TINY)
            self.pull = min(self.ridge / (INTERCEPT_SHARE * norm), MOST_PULL * total)
        self.rates = np.array([1 / self.ridge, 1 / self.pull])
        self.curvature = self.mass * (norms / self.ridge + 1 / self.pull)
        self.centre = np.zeros(objective.n_outputs)
        self.weights, self.bias = objective.weights_of(coef, np.float32)
        if coef.any():
            self.centre = self.bias
            shares = self._shares_of(
                objective.design.product(self.weights) + self.centre
            )
            self.shares = shares.astype(np.float32)
            self.weights, self.bias = self.point(np.float32)
        else:
            self.shares = self._target().astype(np.float32)

    def _shares_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the softmax of logits, of the second class for two."""
        if self.objective.n_outputs == 1:
            return np.asarray(scipy.special.expit(outputs))
        return np.asarray(scipy.special.softmax(outputs, axis=1))

    def _target(self) -> Coef:
        """Return the targets as distributions, of the second class for two."""
        target, on_value, off_value, *_ = self.objective.targets
        if target.ndim == 1:
            t = np.zeros((len(target), len(on_value)))
            kept = np.flatnonzero(self.mass)
            t[kept, target[kept]] = on_value[target[kept]]
        else:
            t = target * on_value
        t += off_value
        t = t[:, -self.objective.n_outputs :] / np.maximum(t.sum(axis=1), TINY)[:, None]
        return np.asarray(t)

    def point(self, dtype: Any) -> tuple[NDArray[Any], Coef]:
        """Return the coefficients and the intercept of the distributions."""
        residual = (self._target() - self.shares) * self.mass[:, None]
        bias = self.centre + residual.sum(axis=0) / self.pull
        residual /= self.ridge
        weights = self.objective.design.pull_back(residual.astype(dtype))
        return weights, bias

    def epoch(self, order: NDArray[np.intp]) -> None:
        """Solve the rows in an order."""
        bias = self.bias.astype(np.float32)
        dual_epoch(
            self.objective.design.matrix,
            order,
            self.mass,
            self.curvature,
            self.rates,
            self.weights,
            bias,
            self.shares,
        )
        # that of the kernel is float32
        moved = self.mass @ (self._target() - self.shares)
        self.bias = self.centre + moved / self.pull

    def move_centre(self) -> None:
        """Pull the intercept to where it is; the same distributions move it on."""
        self.bias, self.centre = 2 * self.bias - self.centre, self.bias

    def measure(self, weights: NDArray[Any]) -> tuple[float, float]:
        """Return the objective and the duality gap."""
        objective = self.objective
        product = objective.design.product(weights)
        value = objective.loss(product, self.bias)
        value += 0.5 * objective.l2 * squared_norm(weights)
        dtype = weights.dtype
        gap = dual_gap(
            product, self.bias.astype(dtype), self.shares.astype(dtype), self.mass
        )
        return value, gap / objective.targets.denominator


def ascend_dual(
    objective: SparseLinearCrossEntropy, coef: Coef, settings: Settings, trace: Trace
) -> tuple[bool, Coef, Coef]:
    """Return whether to stop, and the weights and the bias where it ended."""
    enough = settings.tol**2
    dual = _Dual(objective, coef)
    trace.add(*dual.measure(dual.weights))
    stops = False
    for _ in range(settings.max_iter):
        dual.epoch(settings.random_state.permutation(objective.X.shape[0]))
        trace.add(*dual.measure(dual.weights))
        if settings.stop is not None:
            stops = settings.stop(objective.coef_of(dual.weights, dual.bias))
        if stops or trace.estimates[-1] <= enough or _is_slow(trace.estimates, enough):
            break
        dual.move_centre()
    weights, dual.bias = dual.point(np.float64)
    trace.forget()
    trace.add(*dual.measure(weights))
    return stops or trace.estimates[-1] <= enough, weights, dual.bias


def _is_slow(estimates: list[float], enough: float) -> bool:
    """Return whether many more epochs are needed at the rate of the last."""
    if len(estimates) <= FEWEST_EPOCHS:
        return False
    before, last = estimates[-2:]
    rate = last / before
    return not rate < 1 or np.log(enough / last) / np.log(rate) > MOST_EPOCHS_LEFT
