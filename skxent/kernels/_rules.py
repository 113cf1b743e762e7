"""The algebra of cross-entropy, one formula per function, for CPU and CUDA alike.

Conventions
-----------
For one row: logits ``z``, their maximum ``m``, ``d = sum_k exp(z_k - m)``,
probabilities ``p_k = exp(z_k - m) / d``, target ``t_k``, mass ``a = sum_k t_k``.
Then, with ``lse = m + log d``:

- loss ``sum_k t_k (lse - z_k) = sum_k t_k (m - z_k) + a log d``
- gradient ``a p_k - t_k``
- curvature product ``a p_k (v_k - sum_j p_j v_j)``

Both parts of the loss are sums of non-negative terms (for ``t >= 0``), so nothing
cancels. Every option of the public functions lives in ``t`` and in the row weight that
the kernels multiply with.
"""

import math

from skxent.kernels._jit import rule


@rule
def blend(on_value, q, off_value):
    """Return ``t_k`` for the target ``q_k``, class weight and smoothing folded in."""
    return on_value * q + off_value


@rule
def weighted(t, x):
    """Return ``t * x``, and 0 where ``t`` is 0 even if ``x`` is infinite."""
    if t == 0:
        return type(x)(0)
    return t * x


@rule
def residual(mass, p, t):
    """Return the gradient with respect to one logit."""
    return mass * p - t


@rule
def curvature(mass, p, v, mean_v):
    """Return one entry of the Hessian-vector product; ``mean_v`` is ``<p, v>``."""
    return mass * (p * (v - mean_v))


@rule
def clip(p, low, high):
    """Return ``p`` limited to ``[low, high]``; nan stays nan."""
    if p < low:
        return low
    if p > high:
        return high
    return p


@rule
def surprise(p):
    """Return ``-log p``: exactly 0 for 1, inf for 0."""
    return type(p)(0) - math.log(p)


@rule
def reciprocal(p):
    """Return ``1 / p``, the slope of ``log p``: nan where that has no value."""
    if p < 0:
        return type(p)(math.nan)
    return type(p)(1) / p


# A binary target is the two-class row of logits (0, x), of target (t0, t1). There
# d = 1 + e with e = exp(-|x|), and neither p = sigmoid(x) nor 1 - p cancels.

MOST_SURPRISE = 100.0
LEAST_REST = 1e-50  # below exp(-100)
LEAST_VARIANCE = 1e-12


@rule
def defined(x):
    """Return the logit, nan for +inf: the row (0, inf) has no softmax."""
    if x == type(x)(math.inf):
        return type(x)(math.nan)
    return x


@rule
def positive_part(x):
    """Return the larger of ``x`` and 0."""
    if x > 0:
        return x
    return type(x)(0)


@rule
def sigmoid_loss(t0, t1, x, log_d):
    """Return ``t0 log(1 + exp(x)) + t1 log(1 + exp(-x))``: no term cancels."""
    if x != x:
        return x
    loss = weighted(t1, positive_part(-x) + log_d)
    return loss + weighted(t0, positive_part(x) + log_d)


@rule
def sigmoid_residual(t0, t1, x, e):
    """Return the gradient ``t0 p - t1 (1 - p)`` with respect to the logit."""
    larger = type(e)(1) / (type(e)(1) + e)
    smaller = e * larger
    if x > 0:
        return t0 * larger - t1 * smaller
    return t0 * smaller - t1 * larger


@rule
def sigmoid_curvature(mass, e, v):
    """Return ``a p (1 - p) v``, for one logit the whole Hessian-vector product."""
    d = type(e)(1) + e
    return mass * (e / (d * d)) * v


@rule
def odds(p, rest):
    """Return ``p / rest`` for ``rest = 1 - p``: then ``-log rest`` is its log1p.

    A logarithm near 1 keeps its digits. Beyond the largest surprise the odds are cut.
    """
    if rest < LEAST_REST:
        return p / type(p)(LEAST_REST)
    return p / rest


@rule
def bernoulli_loss(t0, t1, s0, s1):
    """Return ``t0 s0 + t1 s1`` for the surprises of both classes, each at most 100."""
    most = type(s0)(MOST_SURPRISE)
    return t0 * (most if s0 > most else s0) + t1 * (most if s1 > most else s1)


@rule
def bernoulli_slope(p, q):
    """Return ``(p - q) / (p (1 - p))``, the denominator at least 1e-12."""
    variance = p * (type(p)(1) - p)
    if variance < LEAST_VARIANCE:
        variance = type(p)(LEAST_VARIANCE)
    return (p - q) / variance
