"""The naive oracle that every backend and every form of the loss is compared with.

Plain numpy in float64, one row at a time, written from the contract and not from
the package: nothing here is fast and nothing imports `skxent`.

Conventions
-----------
`input` is (C,) or (N, C); `target` holds class indices of shape () or (N,), or
probabilities of the input's shape.  Letters are those of the contract: for a row
with class weights w, smoothing e and one-hot or soft target q,
`t = w * ((1 - e) * q + e / C)` is the target, `a = sum(t)` its mass, `s` the row
weight, `p = softmax(z)`.  All results are float64.
"""

import math
from dataclasses import dataclass

import mpmath
import numpy as np


@dataclass(frozen=True)
class _Problem:
    """A call in canonical form: rows, their targets, row weights, the divisor."""

    z: np.ndarray  # (N, C) logits, or probabilities
    t: np.ndarray  # (N, C) weighted and smoothed targets
    s: np.ndarray  # (N,) row weights, 0 where the row is ignored
    divisor: float  # what the sum over rows is divided by
    unbatched: bool
    reduction: str

    def kept_rows(self):
        return np.flatnonzero(self.s)


def _encode(
    input, target, weight, ignore_index, reduction, label_smoothing, sample_weight
):
    z = np.asarray(input, dtype=np.float64)
    unbatched = z.ndim == 1
    z = np.atleast_2d(z)
    n, c = z.shape
    target = np.asarray(target)
    w = np.ones(c) if weight is None else np.asarray(weight, dtype=np.float64)
    s = np.ones(n)
    if sample_weight is not None:
        s = np.array(sample_weight, dtype=np.float64).reshape(n)

    q = np.zeros((n, c))
    if np.issubdtype(target.dtype, np.integer):
        # Python integers: no unsigned or narrow type can wrap around.
        labels = [int(label) for label in target.reshape(n)]
        for row, label in enumerate(labels):
            if label == ignore_index:
                s[row] = 0.0
            else:
                q[row, label] = 1.0
        share = [s[row] * w[label] for row, label in enumerate(labels) if s[row] != 0]
    else:
        q[...] = target.astype(np.float64).reshape(n, c)
        # No class, no loss to average: torch calls that mean nan as well.
        share = list(s[s != 0]) if c else []

    mass = (1.0 - label_smoothing) * q + label_smoothing / c if c else q
    # A class without mass takes no part, not even by an infinite weight.
    t = np.multiply(w, mass, out=np.zeros_like(q), where=mass != 0)
    if reduction == "mean":
        # A total weight of 0 is 0/0 whatever stands above it.
        divisor = _sum(share) or math.nan
    elif reduction in ("sum", "none"):
        divisor = 1.0
    else:
        raise ValueError(f"reduction: {reduction!r}")
    return _Problem(z, t, s, divisor, unbatched, reduction)


def _sum(terms):
    """The sum, rounded once; numpy's where that is not finite."""
    try:
        return math.fsum(terms)
    except (ValueError, OverflowError):  # inf - inf, or too large on the way
        return float(np.sum(terms))


def _is_undefined(z):
    """Whether softmax(z) has no value: nan, +inf, or nothing above -inf."""
    return bool(np.isnan(z).any() or np.max(z) in (np.inf, -np.inf))


def _minus_log_softmax(z):
    """`lse - z`, accurate also where one class holds nearly all of the mass."""
    top = int(np.argmax(z))
    shifted = z - z[top]
    return np.log1p(np.sum(np.delete(np.exp(shifted), top))) - shifted


def _softmax(z):
    e = np.exp(z - np.max(z))
    return e / np.sum(e)


def _row_loss(z, t, from_logits):
    if z.size == 0:
        return 0.0
    if np.isnan(z).any() or (from_logits and _is_undefined(z)):
        return math.nan
    terms = _minus_log_softmax(z) if from_logits else -np.log(z)
    # A target of 0 takes no part: 0 * inf is 0 here.
    return _sum((t * terms)[t != 0])


def _row_gradient(z, t, from_logits):
    if z.size == 0:
        return np.zeros_like(z)
    if np.isnan(z).any() or (from_logits and _is_undefined(z)):
        return np.full_like(z, math.nan)
    if from_logits:
        return _sum(t) * _softmax(z) - t
    return np.where(t == 0, 0.0, -t / z)


def _row_curvature_product(z, t, v):
    if z.size == 0:
        return np.zeros_like(z)
    if _is_undefined(z):
        return np.full_like(z, math.nan)
    p = _softmax(z)
    return _sum(t) * (p * v - p * _sum(p * v))


def _per_row(problem, rule, grad_output=None):
    """`rule` on the kept rows, scaled: the gradient or the curvature product.

    What nobody asks for, a row with a grad_output of 0, is 0 as in an ignored row.
    """
    result = np.zeros_like(problem.z)
    g = np.ones(len(result)) if grad_output is None else np.asarray(grad_output)
    g = np.broadcast_to(g, len(result))
    for row in np.flatnonzero(problem.s * (g != 0)):
        scale = g[row] * problem.s[row] / problem.divisor
        result[row] = scale * rule(row)
    return result[0] if problem.unbatched else result


def cross_entropy(
    input,
    target,
    *,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    from_logits=True,
    sample_weight=None,
):
    """The loss: a float64 scalar, or one per row for `reduction="none"`."""
    problem = _encode(
        input, target, weight, ignore_index, reduction, label_smoothing, sample_weight
    )
    losses = np.zeros(len(problem.z))
    with np.errstate(all="ignore"):
        for row in problem.kept_rows():
            loss = _row_loss(problem.z[row], problem.t[row], from_logits)
            losses[row] = problem.s[row] * loss
    if problem.reduction == "none":
        return losses[0] if problem.unbatched else losses
    return np.float64(_sum(losses) / problem.divisor)


def cross_entropy_grad(
    input,
    target,
    *,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    from_logits=True,
    sample_weight=None,
    grad_output=None,
):
    """The gradient of the (summed) loss with respect to `input`."""
    problem = _encode(
        input, target, weight, ignore_index, reduction, label_smoothing, sample_weight
    )

    def rule(row):
        return _row_gradient(problem.z[row], problem.t[row], from_logits)

    with np.errstate(all="ignore"):
        return _per_row(problem, rule, grad_output)


def cross_entropy_hvp(
    input,
    target,
    vector,
    *,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    sample_weight=None,
):
    """The Hessian of the (summed) loss times `vector`, shaped as `input`."""
    problem = _encode(
        input, target, weight, ignore_index, reduction, label_smoothing, sample_weight
    )
    vectors = np.atleast_2d(np.asarray(vector, dtype=np.float64))

    def rule(row):
        return _row_curvature_product(problem.z[row], problem.t[row], vectors[row])

    with np.errstate(all="ignore"):
        return _per_row(problem, rule)


def mass_scale(
    input,
    target,
    *,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    sample_weight=None,
):
    """`|s| * a / divisor` per row, shaped to broadcast against the gradient.

    The gradient `a * p - t` cancels, so its error is honestly measured against
    the size of its two terms rather than against their difference.
    """
    problem = _encode(
        input, target, weight, ignore_index, reduction, label_smoothing, sample_weight
    )
    scale = np.abs(problem.s / problem.divisor) * np.abs(problem.t).sum(axis=1)
    return scale[0] if problem.unbatched else scale[:, np.newaxis]


def row_loss_mp(logits, target_index):
    """One row's loss in 60 digits: `log(1 + sum exp(z_k - z_y))` over k != y.

    `log1p` keeps the digits of a loss as small as 1e-300, which no working
    precision of a plain logarithm near 1 would.
    """
    with mpmath.workdps(60):
        z = [mpmath.mpf(float(value)) for value in logits]
        y = z.pop(target_index)
        return mpmath.log1p(mpmath.fsum(mpmath.exp(value - y) for value in z))
