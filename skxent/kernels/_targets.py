"""What every schedule needs to know about the target of a row.

Conventions are those of :mod:`skxent.kernels._cpu`. Rules take numbers, not arrays: an
array that is handed on inside a loop is reference-counted there, 90 ns for a row.
"""

from numba import float64

from skxent.kernels._jit import inner
from skxent.kernels._rules import blend, residual


@inner
def any_nonzero(values):
    """Return whether one of the values is not 0."""
    found = False
    for k in range(values.size):
        found |= values[k] != 0
    return found


@inner
def write_residual(target, on_value, off_value, i, mass, d, scale, gradient_out):
    """Turn row ``i`` of exponentials in ``gradient_out`` into its gradient."""
    share = mass / d
    if target.ndim == 1:
        y = target[i]
        t = blend(on_value[y], 1.0, off_value[y])
        at_target = scale * residual(share, float64(gradient_out[i, y]), t)
        for k in range(gradient_out.shape[1]):
            e = float64(gradient_out[i, k])
            gradient_out[i, k] = scale * residual(share, e, off_value[k])
        gradient_out[i, y] = at_target
    else:
        for k in range(gradient_out.shape[1]):
            t = blend(on_value[k], target[i, k], off_value[k])
            e = float64(gradient_out[i, k])
            gradient_out[i, k] = scale * residual(share, e, t)


@inner
def fill_row(array_out, i, value):
    """Write one value to all of row ``i``."""
    for k in range(array_out.shape[1]):
        array_out[i, k] = value
