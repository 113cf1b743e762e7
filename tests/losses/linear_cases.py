"""Linear layers and their targets, and comparisons of losses with gradients."""

from typing import NamedTuple

import numpy as np

from tests.losses import cases

RTOL = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3}
REDUCTIONS = (*cases.REDUCTIONS, "sample")
# Shape of the input, of the weights: unbatched, few and many classes, K dimensions.
SHAPES = [
    ((4,), (7, 4)),
    ((1, 3), (1, 3)),
    ((10, 3), (5, 3)),
    ((10, 6), (80, 6)),
    ((10, 3), (4, 5, 3)),
    ((7, 3), (70, 2, 3, 3)),
]


class Problem(NamedTuple):
    """A linear layer, targets for its scores, and weights for all of them."""

    X: np.ndarray
    W: np.ndarray
    b: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    @property
    def scores(self):
        """All the scores, the classes on torch's axis."""
        flat = self.W.reshape(-1, self.W.shape[-1])
        scores = self.X @ flat.T + self.b.reshape(-1)
        return scores.reshape(*self.X.shape[:-1], *self.b.shape)

    def gradients(self, slopes):
        """The three gradients that a gradient with respect to the scores gives."""
        slopes = slopes.reshape(-1, self.b.size)
        X, W = np.atleast_2d(self.X), self.W.reshape(self.b.size, -1)
        return (
            (slopes @ W).reshape(self.X.shape),
            (slopes.T @ X).reshape(self.W.shape),
            slopes.sum(axis=0).reshape(self.b.shape),
        )


def make_problem(shapes, form, dtype="float64", seed=80):
    rng = np.random.default_rng(seed)
    x_shape, w_shape = shapes
    X, W = rng.normal(size=x_shape).astype(dtype), rng.normal(size=w_shape)
    b = rng.normal(size=w_shape[:-1]).astype(dtype)
    n_classes = w_shape[0]
    rows = x_shape[:-1] + w_shape[1:-1]
    target = cases.make_target(rng, form, (*rows, n_classes), dtype)
    if form == "probabilities":
        axis = len(x_shape) - 1
        target = np.ascontiguousarray(np.moveaxis(target, -1, axis))
    return Problem(X, W.astype(dtype), b, target, cases.make_weight(rng, n_classes))


def mismatches(text, got, expected, rtol):
    """Compare values and gradients relative to the largest entry of each."""
    failures = []
    value, gradients = got
    named = [("value", value, expected[0])]
    named += [
        (f"gradient {i}", g, e)
        for i, (g, e) in enumerate(zip(gradients, expected[1], strict=True))
    ]
    for what, ours, theirs in named:
        size = np.fmax.reduce(np.abs(theirs), axis=None, initial=0.0)
        failures += cases.mismatch(f"{what}, {text}", ours, theirs, rtol * size)
    return failures
