"""Steps on the face of an elastic net: signs stay, and what is 0 stays 0.

Coordinate descent finds out which weights are 0 in a few sweeps, but where columns go
together or lie far from 0, it takes thousands to solve for the others, and a sweep that
gains little tells nothing of what is left. With their signs given the model is a
quadratic one, which conjugate gradients minimise, until a sign would change: that
weight is 0 from there on, and so are all that the same step would take to 0, if that
gains more than to stop at the first. J. J. More, G. Toraldo, "On the Solution of Large
Quadratic Programming Problems with Bound Constraints", SIAM Journal on Optimization 1,
1991.

Conventions
-----------
A point is (q, R), the intercepts at its end.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_SWEEPS", "Face", "Turns"]

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Sweeps of a coordinate descent after which a face is worth as many products, and
# where that has proved to be so. Text takes up to 50.
SLOW_SWEEPS, FEW_SWEEPS = 60, 10
# Turns of sweeps and a face, at most; they end when a face gains less than a share.
MOST_TURNS = 20
MODELS_PER_TRIAL = 10
PRECISION = 0.05
# Sweeps where faces are of no use.
MOST_SWEEPS = 1000
# Products with the curvature on all faces of a step, and on one of them.
MOST_PRODUCTS, MOST_ON_FACE = 1000, 200
# Share of the gain on a face that as many products more may gain, as told by the last.
# A tenth ended on plateaus where columns nearly depend on each other; of two fits with
# hardly a penalty, a thousandth left 1e-6 and 6e-7, this 5e-8 and 1e-8.
SHARE_LEFT = 3e-4
LEAST_NUMBER = 1e-300
# Of a weight, within which of a limit it is there.
AT_LIMIT = 1e-12


class Face(NamedTuple):
    """A quadratic model beside the penalty, about a point."""

    product: Callable[[Matrix], Matrix]  # with the curvature of the model
    slope: Matrix  # of the model alone
    diagonal: Matrix  # of its curvature
    l1: Matrix  # (q, 1), 0 without penalty
    l2: Matrix
    n_intercepts: int  # numbers at the end of a point
    low: Matrix | float = -np.inf  # limits of the point
    high: Matrix | float = np.inf
    rounding: float = 1e-12  # of products
    allowed: float = 0.0  # by how much the objective may be off

    def step(self, point: Matrix, most: int = MOST_PRODUCTS) -> tuple[Matrix, float]:
        """Return a step that lowers model and penalty, and by how much: 0 if none.

        ``most`` is about how many products that may take.
        """
        end, slope, left = point, self.slope, most
        free = (point != 0) | (self.l1 == 0)
        while left > 0:
            step, slope, n_products, stopped = self._walk(end, slope, free, left)
            end = end + step
            left -= n_products
            if not stopped.any():
                break
            free = free & ~stopped
        step = end - point
        gain = self._penalty(point) - self._penalty(end)
        gain -= float(np.vdot(self.slope, step))
        gain -= 0.5 * float(np.vdot(step, self.product(step)))
        return (step, gain) if gain > 0 else (np.zeros_like(step), 0.0)

    def _penalty(self, point: Matrix) -> float:
        return float((self.l1 * np.abs(point) + 0.5 * self.l2 * point**2).sum())

    def _least(self, free: Mask) -> float:
        """Return a square of the residual that leaves little of what is allowed.

        The ridge bounds the least curvature, intercepts aside, and so what is left.
        """
        steep = np.maximum(self.diagonal + self.l2, LEAST_NUMBER)
        share = np.min(self.l2 / steep, initial=1.0, where=free & (self.l1 > 0))
        return float(2 * PRECISION * self.allowed * share)

    def _conditioned(self, residual: Matrix) -> Matrix:
        """Return about the inverse of the curvature times a residual."""
        steep = self.diagonal + self.l2
        result = residual / np.where(steep > 0, steep, 1.0)
        if self.n_intercepts > 1:  # to shift them all alike changes nothing
            intercepts = result.reshape(-1)[-self.n_intercepts :]
            intercepts -= intercepts.mean()
        return result

    def _limits(self, point: Matrix) -> tuple[Matrix, Matrix]:
        """Return where a face ends: a weight goes to 0, and all go to their limits."""
        signs = np.sign(point)
        low = np.where((self.l1 > 0) & (signs > 0), 0.0, -np.inf)
        high = np.where((self.l1 > 0) & (signs < 0), 0.0, np.inf)
        return np.maximum(low, self.low), np.minimum(high, self.high)

    def _gain(self, residual: Matrix, step: Matrix, product: Matrix) -> float:
        """Return by how much a step on a face lowers model and penalty."""
        pull = residual + 0.5 * (product + self.l2 * step)
        return -float(np.vdot(pull, step))

    def _walk(
        self, point: Matrix, slope: Matrix, free: Mask, most: int
    ) -> tuple[Matrix, Matrix, int, Mask]:
        """Go to the least value of a face, or to where it ends.

        Return the step, the slope there, the number of products, and the weights that
        are 0 or at a limit where the face ended.
        """
        low, high = self._limits(point)
        pull = slope + self.l1 * np.sign(point) + self.l2 * point
        first = residual = np.where(free, pull, 0.0)
        step, moved = np.zeros_like(point), np.zeros_like(point)
        conditioned = self._conditioned(residual)
        direction, square = -conditioned, float(np.vdot(residual, conditioned))
        least, gain = max(self.rounding**2 * square, self._least(free)), 0.0
        n_products = 0
        while square > least and n_products < min(most, MOST_ON_FACE):
            fall = -float(np.vdot(residual, direction))
            size = float(np.vdot(direction, (self.diagonal + self.l2) * direction))
            if not fall > self.rounding * (square * size) ** 0.5:
                break
            n_products += 1
            curved = self.product(direction)
            all_curved = np.where(free, curved + self.l2 * direction, 0.0)
            curvature = float(np.vdot(direction, all_curved))
            # a negative curvature, or one that is rounding, tells no length
            is_curved = curvature > self.rounding * size
            length = fall / curvature if is_curved else np.inf
            room = _room(point + step, direction, low, high)
            if not np.isfinite(min(length, room)):
                break
            if room < length < np.inf:
                end = np.clip(point + step + length * direction, low, high)
                bent = end - point
                curved_too = self.product(bent)
                n_products += 1
                at_first = gain + room * (fall - 0.5 * room * curvature)
                if self._gain(first, bent, curved_too) >= at_first:
                    stopped = free & ((end == low) | (end == high))
                    return bent, slope + curved_too, n_products, stopped
            step = step + min(length, room) * direction
            moved = moved + min(length, room) * curved
            if room < length:
                end = np.where(direction < 0, low, high)
                ahead = np.abs(point + step - end)
                stopped = free & (ahead <= AT_LIMIT * np.abs(point))
                step = np.where(stopped, end - point, step)
                return step, slope + moved, n_products, stopped
            latest = 0.5 * length * fall
            gain += latest
            if n_products * latest <= SHARE_LEFT * gain:
                break
            residual = residual + length * all_curved
            conditioned = self._conditioned(residual)
            last, square = square, float(np.vdot(residual, conditioned))
            direction = square / last * direction - conditioned
        return step, slope + moved, n_products, np.zeros_like(free)


def _room(point: Matrix, direction: Matrix, low: Matrix, high: Matrix) -> float:
    """Return how far a point may go within its limits."""
    ahead = np.where(direction < 0, low, high) - point
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(direction != 0, ahead / direction, np.inf)
    return max(0.0, float(room.min(initial=np.inf)))


class Turns:
    """Turns of sweeps and faces: of sweeps alone until those are found to be slow.

    A face is tried after ``most_sweeps``, now and then, and where a gain would end a
    fit. Sweeps are slow if it gains more than they did, and than may be missing. But
    where a fit would end, a trial has as many products as there were sweeps: on text,
    which needs 50 sweeps, whole faces took as long as all the rest.
    """

    def __init__(self, most_sweeps: int = SLOW_SWEEPS) -> None:
        self.most_sweeps = most_sweeps
        self.n_models = 0
        self.are_slow = False

    def solve(
        self,
        sweep: Callable[[int, float], tuple[float, int]],
        step_on_face: Callable[[int], float],
        allowed: float,
    ) -> float:
        """Minimise a model; return what that gains.

        ``sweep(most, allowed)`` does coordinate descent and returns its gain and how
        many sweeps there were, ``step_on_face(most)`` returns its gain, of so many
        products.
        """
        self.n_models += 1
        total = 0.0
        for _ in range(MOST_TURNS):
            most = FEW_SWEEPS if self.are_slow else self.most_sweeps
            gain, n_sweeps = sweep(most, allowed + total)
            total += gain
            is_tried = n_sweeps == most or total <= allowed
            is_tried |= self.are_slow or self.n_models % MODELS_PER_TRIAL == 0
            if not is_tried:
                break
            is_trial = not self.are_slow and total > allowed
            gain = step_on_face(n_sweeps if is_trial else MOST_PRODUCTS)
            self.are_slow |= gain > allowed + total
            total += gain
            if not gain and n_sweeps == most:
                return total + sweep(MOST_SWEEPS, allowed + total)[0]
            if not self.are_slow or gain <= PRECISION * (allowed + total):
                break
        return total
