"""How far from its oracle a result may be, by the size of the terms it is made of.

Hostile values make terms cancel: `a p - t` of weights of 2**40 is off by the rounding
of `t`, times 100 where a linear layer multiplies it with a weight of 100, and beyond
the largest float16 then. A constant allows too little here and too much there. So each
entry is measured by the sum of the magnitudes of its terms, in ours and in the oracle.
Where a product of factors is beyond float64 in some order, nothing is promised.

Functions take the arguments of the oracles in `surfaces`, and `of`, the numbers that
are computed with; they return bounds in the shape of the results, nan where there is
no number.
"""

from typing import NamedTuple

import numpy as np
import scipy.special

TERMS = 64  # of the sums of the fuzz, about: each may round once more


class Numbers(NamedTuple):
    """What the numbers of a dtype hold."""

    unit: float  # what a sum of some terms is off by, relative to their sizes
    least: float  # what exponentials and their shares are off by, rounded to subnormals
    most: float


# exponentials leave 30 and 100 bits of the exponent to a sum, whose terms are `TERMS`
SINGLE = Numbers(TERMS * 2.0**-23, TERMS * 2.0 ** (30 - 149), 2.0**128)
DOUBLE = Numbers(TERMS * 2.0**-52, TERMS * 2.0 ** (100 - 1074), np.inf)
BEYOND = 1e305  # where sums of so many terms may overflow


def is_within(got, expected, bounds_of):
    """Whether each entry is off by its bound at most, and by what its dtype rounds."""
    is_double = got[0].dtype == np.float64
    with np.errstate(all="ignore"):
        bounds = bounds_of(DOUBLE if is_double else SINGLE)
        return len(got) == len(expected) == len(bounds) and all(
            ours.shape == theirs.shape == np.shape(bound)
            and _are_within(ours, theirs.astype(np.float64), bound)
            for ours, theirs, bound in zip(got, expected, bounds, strict=True)
        )


def _are_within(ours, theirs, bound):
    limits = np.finfo(ours.dtype)
    most = float(limits.max)
    far = np.where(np.isfinite(theirs), float(limits.eps) * np.abs(theirs), 0.0)
    far = far + bound + 2 * float(limits.smallest_subnormal)
    # what is beyond the largest number is infinite
    low, high = (np.clip(theirs + x, -most, most) for x in (-far, far))
    x, y = (np.clip(a.astype(np.float64), -most, most) for a in (ours, theirs))
    is_same = (x == y) | (np.isnan(x) & np.isnan(y))
    return bool((is_same | ((low <= x) & (x <= high)) | np.isinf(bound)).all())


def _where_it_fits(size, *factors):
    """Return a size, infinite where factors are beyond float64 in some order."""
    reach = 1.0
    for factor in factors:
        reach = reach * np.maximum(np.abs(factor), 1.0)
    return np.where(reach > BEYOND, np.inf, size)


def _products(slopes, factors):
    """Return the bounds of sums of products, infinite where they may overflow."""
    is_beyond = slopes > BEYOND
    sums = np.where(is_beyond, 0.0, slopes) @ factors
    # 0 times what is infinite is 0 here
    is_beyond = (is_beyond.astype(float) @ (factors != 0) > 0) | (sums > BEYOND)
    return np.where(is_beyond, np.inf, sums)


def _floats(value, size):
    return np.ones(size) if value is None else np.asarray(value, float)


def _as_read(array, of):
    """Return magnitudes, infinite where the numbers computed with do not hold them."""
    array = np.abs(np.asarray(array, float))
    return np.where(array > of.most, np.inf, array)


def _inflow(options):
    """Return the magnitude of `grad_output`, 1 if there is none."""
    inflow = np.asarray(options.get("grad_output")).item()
    return 1.0 if inflow is None else abs(float(inflow))


class _Rows:
    """The sizes of targets, and what rows are multiplied with, for losses of rows."""

    def __init__(self, of, shape, target, options):
        n, c = shape
        self.of = of
        target = np.asarray(target)
        w = _floats(options.get("weight"), c)
        s = _floats(options.get("sample_weight"), n)
        smoothing = options.get("label_smoothing", 0.0)
        share = s
        if target.ndim == 1:
            ignored = target == options.get("ignore_index", -100)
            y = np.where(ignored, 0, target).astype(int)
            s = np.where(ignored, 0.0, s)
            q = np.eye(c)[y]
            share = s * w[y]
        else:
            q = _as_read(target, of)
        mass = (1 - smoothing) * q + smoothing / c
        self.t = np.where(mass == 0, 0.0, np.abs(w) * mass)
        self.a = self.t.sum(axis=1, keepdims=True)
        self.s = np.abs(s)[:, np.newaxis]
        self.factors = [self.s, np.abs(w).max(), np.abs(q).max()]
        self.divisor = 1.0
        self.is_reduced = options["reduction"] != "none"
        if options["reduction"] == "mean":
            # a divisor that cancels is off by the rounding of its terms
            total = abs(share.sum())
            self.divisor = total / (1 + np.abs(share).sum() / total)
            self.factors.append(1 / self.divisor)
        self.inflow = _inflow(options)

    def value(self, terms, *factors):
        """Return the bound of the loss, given those of its terms."""
        size = np.where(self.s == 0, 0.0, self.s * terms / self.divisor)
        size = _where_it_fits(size, *self.factors, *factors)
        return size.sum() if self.is_reduced else size.sum(axis=1)

    def slopes(self, terms, *factors):
        """Return the bound of a gradient, given those of its terms."""
        size = self.s * self.inflow * terms / self.divisor + self.of.least
        size = np.where(self.s == 0, 0.0, size)
        return _where_it_fits(size, *self.factors, self.inflow, *factors)


def of_softmax(kind, *, of, input, target, score_error=0.0, vector=None, **options):
    """Losses of logits; `score_error` is what these are off by themselves."""
    z = np.asarray(input, float)
    rows = _Rows(of, z.shape, target, options)
    below = z - z.max(axis=1, keepdims=True)
    log_p = below - scipy.special.logsumexp(below, axis=1, keepdims=True)
    p = np.exp(log_p)
    spread = 2 * np.max(np.broadcast_to(score_error, z.shape), axis=1, keepdims=True)
    highest = np.where(np.isinf(spread), 0.0, np.minimum(log_p + spread, 0.0))
    p_error = np.exp(highest) - p + of.least
    p_error += of.unit * p * (1 + np.minimum(-log_p, 1e3))
    if kind == "hvp":
        v = _as_read(vector, of)
        mean, mean_error = ((x * v).sum(axis=1, keepdims=True) for x in (p, p_error))
        terms = p_error * (v + mean) + p * mean_error
        return [rows.slopes(rows.a * terms, v.max(axis=1, keepdims=True))]
    terms = rows.t * (of.unit * (np.abs(log_p) + p) + spread)
    value = rows.value(np.where(rows.t == 0, 0.0, terms), log_p)
    slopes = rows.slopes(rows.a * p_error + of.unit * rows.t)
    return {"value": [value], "grad": [slopes]}.get(kind, [value, slopes])


def of_probabilities(kind, *, of, input, target, **options):
    """Losses of probabilities: `t log p` and `t / p`."""
    p = np.abs(np.asarray(input, float))
    rows = _Rows(of, p.shape, target, options)
    # without a target a probability is not looked at; that of 0 is exactly infinite
    p = np.where((rows.t == 0) | (p == 0), 1.0, p)
    value = rows.value(of.unit * rows.t * (np.abs(np.log(p)) + 1))
    slopes = rows.slopes(of.unit * rows.t / p, 1 / p)
    return {"value": [value], "grad": [slopes]}.get(kind, [value, slopes])


def of_nll(kind, *, of, input, target, **options):
    """Losses of log-probabilities."""
    z = np.abs(np.asarray(input, float))
    rows = _Rows(of, z.shape, target, options)
    value = rows.value(of.unit * rows.t * z, z)
    slopes = rows.slopes(of.unit * rows.t)
    return {"value": [value], "grad": [slopes]}.get(kind, [value, slopes])


def of_linear(kind, *, of, input, linear_weight, linear_bias=None, **options):
    """Losses of scores, and what the chain rule multiplies their slopes with."""
    X, W = np.asarray(input, float), np.asarray(linear_weight, float)
    b = np.asarray(0.0 if linear_bias is None else linear_bias, float)
    options["input"] = X @ W.T + b
    X, W = np.abs(X), np.abs(W)
    error = of.unit * (X @ W.T + np.abs(b))
    value = of_softmax("value", of=of, score_error=error, **options)
    if kind == "value":
        return value
    (errors,) = of_softmax("grad", of=of, score_error=error, **options)
    (sizes,) = of_softmax("grad", of=of._replace(unit=1.0), **options)
    slopes = errors + of.unit * sizes
    sums = slopes.sum(axis=0)
    gradients = [_products(slopes, W), _products(slopes.T, X), sums]
    gradients = gradients[: 2 if linear_bias is None else 3]
    return gradients if kind == "grad" else [*value, *gradients]


def of_events(form, kind, *, of, input, target, vector=None, **options):
    """Losses of events, of logits or of probabilities."""
    x, q = np.asarray(input, float), _as_read(target, of)
    smoothing = options.get("label_smoothing", 0.0)
    q = (1 - smoothing) * q + smoothing / 2
    w, c = (np.abs(_floats(options.get(k), 1)) for k in ("weight", "pos_weight"))
    t0, t1 = w * (1 + q), w * c * q
    n = x.size if options["reduction"] == "mean" else 1
    inflow = _inflow(options)
    factors = w, c, q
    if form == "logits":
        p, not_p = scipy.special.expit(x), scipy.special.expit(-x)
        if kind == "hvp":
            v = _as_read(vector, of)
            size = of.unit * (t0 + t1) * p * not_p * v / n
            return [_where_it_fits(size, *factors, v)]
        losses = t0 * np.logaddexp(0, x) + t1 * np.logaddexp(0, -x)
        slopes = t0 * p + t1 * not_p
        of_value, of_slopes = x, 1.0
    else:
        logs = [np.minimum(np.abs(log), 100) for log in (np.log(x), np.log1p(-x))]
        losses = t1 * logs[0] + t0 * logs[1]
        inverse = 1 / np.maximum(x * (1 - x), 1e-12)
        slopes = ((t0 + t1) * x + t1) * inverse
        of_value, of_slopes = 1.0, inverse
    value = _where_it_fits(of.unit * losses / n, *factors, of_value)
    if options["reduction"] != "none":
        value = value.sum()
    slopes = of.unit * slopes * inflow / n
    slopes = _where_it_fits(slopes, *factors, inflow, of_slopes)
    return {"value": [value], "grad": [slopes]}.get(kind, [value, slopes])
