"""Errors of the loss and its gradient in ulp, against mpmath.

Inputs are taken as exact. A row's loss is `sum_k t_k (m - z_k) + a log1p(rest)` with
`rest` the sum of all exponentials but the largest: nothing in it cancels, so that
`DIGITS` digits hold however tiny the loss is. An ulp is that of the dtype of the row,
constant below its smallest normal number. A loss is measured in ulp of itself, a
gradient entry in ulp of the larger of itself and its own target `t_k`.
"""

import math
from dataclasses import dataclass, field

import mpmath
import numpy as np

from skxent.losses import cross_entropy, cross_entropy_grad

DIGITS = 40
SMALLEST_ENTRY = 1e-30  # of the gradient, that is measured

FAMILIES = (
    "normal, scale 1",
    "normal, scale 30",
    "uniform in [-1e4, 1e4]",
    "one logit 30 above",
    "one logit 25 above equal ones",
    "one logit 650 to 750 above",
    "ties at the maximum",
    "all equal",
    "a fifth -inf",
)
TARGETS = ("maximum", "another", "probabilities", "weighted, smoothed")
SMOOTHING = 0.1


@dataclass(frozen=True)
class Problem:
    """Rows of one family with one kind of target."""

    z: np.ndarray  # (n, C)
    target: np.ndarray  # (n,) class indices or (n, C) probabilities
    options: dict = field(default_factory=dict)

    def masses(self, row):
        """The exact targets `t_k` of a row, mpmath numbers."""
        n_classes = self.z.shape[1]
        smoothing = mpmath.mpf(self.options.get("label_smoothing", 0.0))
        spread = smoothing / n_classes
        if self.target.ndim == 1:
            q = [0] * n_classes
            q[self.target[row]] = 1
        else:
            q = map(mpmath.mpf, self.target[row].tolist())
        if not self.options:
            return [mpmath.mpf(value) for value in q]
        w = self.options["weight"].tolist()
        return [
            w_k * ((1 - smoothing) * q_k + spread)
            for w_k, q_k in zip(w, q, strict=True)
        ]


def make_logits(rng, family, shape, dtype):
    """Logits of a family."""
    n, n_classes = shape
    z = rng.normal(size=shape)
    top = (np.arange(n), rng.integers(n_classes, size=n))
    if family == "normal, scale 30":
        z *= 30
    elif family == "uniform in [-1e4, 1e4]":
        z = rng.uniform(-1e4, 1e4, size=shape)
    elif family == "one logit 30 above":
        z[top] = z.max(axis=1) + 30
    elif family == "one logit 25 above equal ones":
        z[:] = z[:, :1]
        z[top] += 25
    elif family == "one logit 650 to 750 above":
        z[top] = z.max(axis=1) + rng.uniform(650, 750, size=n)
    elif family == "ties at the maximum":
        z = np.where(rng.random(shape) < 0.3, z.max(axis=1, keepdims=True), z)
    elif family == "all equal":
        z[:] = z[:, :1]
    elif family == "a fifth -inf":
        z = np.where(rng.random(shape) < 0.2, -math.inf, z)
        z[top] = 1.0
    return z.astype(dtype)


def make_problem(rng, family, kind, shape, dtype):
    """A family of logits with a kind of target."""
    z = make_logits(rng, family, shape, dtype)
    if kind == "probabilities":
        q = np.where(np.isinf(z), 0.0, rng.exponential(size=shape))
        return Problem(z, (q / q.sum(axis=1, keepdims=True)).astype(dtype))
    target = z.argmax(axis=1)
    if kind != "maximum":
        finite = np.isfinite(z)
        target = np.where(finite, rng.random(shape), -1).argmax(axis=1)
    if kind != "weighted, smoothed":
        return Problem(z, target)
    # float32 holds the weights exactly
    weight = rng.uniform(0.25, 4.0, size=shape[1]).astype(np.float32)
    options = {"weight": weight.astype(np.float64), "label_smoothing": SMOOTHING}
    return Problem(z, target, options)


def exact_loss_and_gradient(z, t):
    """The loss of a row as an mpmath number, its gradient as two float64 arrays.

    The second array holds what the first, which is rounded, lacks.
    """
    z = [mpmath.mpf(value) for value in z.tolist()]
    top = max(range(len(z)), key=z.__getitem__)
    e = [mpmath.exp(value - z[top]) for value in z]
    rest = mpmath.fsum(e[:top] + e[top + 1 :])
    mass = mpmath.fsum(t)
    linear = mpmath.fsum(
        t_k * (z[top] - z_k) for t_k, z_k in zip(t, z, strict=True) if t_k
    )
    share = mass / (1 + rest)
    gradient = [share * e_k - t_k for e_k, t_k in zip(e, t, strict=True)]
    rounded = [float(value) for value in gradient]
    missing = [float(g - r) for g, r in zip(gradient, rounded, strict=True)]
    loss = linear + mass * mpmath.log1p(rest)
    return loss, np.array(rounded), np.array(missing)


def ulp(size, dtype):
    """The distance of neighbouring numbers of the dtype at `size`."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(size)
    lowest = info.minexp - info.nmant
    return np.ldexp(1.0, np.maximum(exponent - info.nmant - 1, lowest))


def loss_error(got, exact, dtype):
    """Error of a loss in ulp."""
    if exact >= float(np.finfo(dtype).max) or not math.isfinite(got):
        with np.errstate(over="ignore"):
            return 0.0 if got == np.dtype(dtype).type(exact) else math.inf
    return float(abs(mpmath.mpf(float(got)) - exact) / float(ulp(float(exact), dtype)))


def gradient_error(got, rounded, missing, t, dtype):
    """The largest error of the entries of a row's gradient in ulp."""
    if not np.isfinite(got).all():
        return math.inf
    size = np.maximum(np.abs(rounded), np.array([float(value) for value in t]))
    error = np.abs((got.astype(np.float64) - rounded) - missing) / ulp(size, dtype)
    return float(np.max(error, where=np.abs(rounded) > SMALLEST_ENTRY, initial=0.0))


def ours(problem):
    """Losses and gradients of skxent."""
    z, target, options = problem.z, problem.target, problem.options
    return (
        cross_entropy(z, target, reduction="none", **options),
        cross_entropy_grad(z, target, reduction="sum", **options),
    )


def largest_errors(problem, implementations=(ours,)):
    """The largest errors of loss and gradient, a pair for each implementation."""
    dtype = problem.z.dtype
    results = [implementation(problem) for implementation in implementations]
    worst = np.zeros((len(results), 2))
    with mpmath.workdps(DIGITS):
        for row, z in enumerate(problem.z):
            t = problem.masses(row)
            loss, rounded, missing = exact_loss_and_gradient(z, t)
            for number, (losses, gradient) in enumerate(results):
                errors = (
                    loss_error(losses[row], loss, dtype),
                    gradient_error(gradient[row], rounded, missing, t, dtype),
                )
                worst[number] = np.maximum(worst[number], errors)
    return worst


def exact_mean(z, target):
    """The mean of the losses of class indices, an mpmath number of `DIGITS` digits."""
    with mpmath.workdps(DIGITS):
        losses = []
        for row, y in zip(z.tolist(), target.tolist(), strict=True):
            others = row[:y] + row[y + 1 :]
            terms = (mpmath.exp(mpmath.mpf(value) - row[y]) for value in others)
            losses.append(mpmath.log1p(mpmath.fsum(terms)))
        return mpmath.fsum(losses) / len(losses)
