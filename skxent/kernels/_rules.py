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
