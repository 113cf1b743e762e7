"""The algebra of cross-entropy, one formula per function, for CPU and CUDA alike.

Conventions
-----------
For one row: logits ``z``, their maximum ``m``, ``d = sum_k exp(z_k - m)``,
probabilities ``p_k = exp(z_k - m) / d``, target ``t_k``, mass ``a = sum_k t_k``.
Then, with ``lse = m + log d``:

- loss ``sum_k t_k (lse - z_k) = sum_k t_k (m - z_k) + a log d``
- gradient ``a p_k - t_k``, with ``a p_k = (a / d) exp(z_k - m)``
- curvature product ``a p_k (v_k - sum_j p_j v_j)``

Both parts of the loss are sums of non-negative terms (for ``t >= 0``), so nothing
cancels. Every option of the public functions lives in ``t`` and in the row weight that
the kernels multiply with.
"""

import math

from skxent.kernels._jit import rule
from skxent.kernels._simd import fma, select, spread


@rule
def blend(on_value, q, off_value):
    """Return ``t_k`` for the target ``q_k``, class weight and smoothing folded in."""
    return on_value * q + off_value


@rule
def weighted(t, x):
    """Return ``t * x``, and 0 where ``t`` is 0 even if ``x`` is infinite."""
    return select(t == 0, 0.0, t * x)


@rule
def residual(high, low, e, t):
    """Return the gradient ``a p - t`` with respect to one logit.

    ``a p`` is an exponential times a share in two parts, so that it is off by no more
    than the exponential where it and ``t`` cancel.
    """
    return fma(high, e, fma(low, e, -t))


@rule
def curvature(mass, p, v, mean_v):
    """Return one entry of the Hessian-vector product; ``mean_v`` is ``<p, v>``."""
    return mass * (p * (v - mean_v))


# Rows of probabilities; these rules take numbers and vectors, as those below do.


@rule
def clip(p, low, high):
    """Return ``p`` limited to ``[low, high]``; nan stays nan."""
    return select(p < low, low, select(p > high, high, p))


@rule
def ratio(t, p):
    """Return ``t / p``, the slope of ``t log p``; 0 where ``t`` is 0.

    nan where the logarithm has no value.
    """
    return select(t == 0, 0.0, select(p < 0, math.nan, t / p))


# A binary target is the two-class row of logits (0, x), of target (t0, t1). There
# d = 1 + e with e = exp(-|x|), and neither p = sigmoid(x) nor 1 - p cancels. These
# rules take numbers and vectors.

MOST_SURPRISE = 100.0
LEAST_VARIANCE = 1e-12


@rule
def binary_targets(q, weight, pos_weight, on_share, off_share):
    """Return ``t0`` and ``t1``."""
    rest = spread(1.0, q) - q
    t1 = weight * pos_weight * blend(on_share, q, off_share)
    return weight * blend(on_share, rest, off_share), t1


@rule
def defined(x):
    """Return the logit, nan for +inf: the row (0, inf) has no softmax."""
    return select(x == math.inf, math.nan, x)


@rule
def sigmoid_loss(t0, t1, x, log_d):
    """Return ``t0 log(1 + exp(x)) + t1 log(1 + exp(-x))``: no term cancels.

    Both logarithms are ``log d``, and ``|x|`` more for the class that is less likely.
    """
    t = select(x > 0, t0, t1)
    far = select(x > 0, x, -x)
    return weighted(t, far) + (t0 + t1) * log_d


@rule
def sigmoid_residual(t0, t1, x, e):
    """Return the gradient ``t0 p - t1 (1 - p)`` with respect to the logit."""
    near, far = select(x > 0, t0, -t1), select(x > 0, -t1, t0)
    return (near + far * e) / (spread(1.0, e) + e)


@rule
def sigmoid_curvature(mass, e, v):
    """Return ``a p (1 - p) v``, for one logit the whole Hessian-vector product."""
    d = spread(1.0, e) + e
    return mass * (e / (d * d)) * v


@rule
def bernoulli_loss(t0, t1, s0, s1):
    """Return ``t0 s0 + t1 s1`` for the surprises of both classes, each at most 100."""
    s0 = select(s0 > MOST_SURPRISE, MOST_SURPRISE, s0)
    s1 = select(s1 > MOST_SURPRISE, MOST_SURPRISE, s1)
    return t0 * s0 + t1 * s1


@rule
def bernoulli_slope(p, q):
    """Return ``(p - q) / (p (1 - p))``, the denominator at least 1e-12."""
    variance, least = p * (spread(1.0, p) - p), spread(LEAST_VARIANCE, p)
    return (p - q) / select(variance < least, least, variance)
