"""``SoftmaxRegression`` beside scikit-learn's ``LogisticRegression``.

Conventions: both minimise C * sum(loss) + ||coef||^2 / 2, without a penalty on the
intercept. A gap is (objective - optimum) / optimum, in float64 whatever was fitted.
"""

from functools import cache, partial

import numpy as np

from .common import BOTH_DTYPES, by_profile, import_peer, ratio_of_medians

# Name: samples, features, classes, decades between the scales of the columns.
SYNTHETIC = {
    "small": (2000, 10, 3, 0),
    "binary": (100_000, 50, 2, 0),
    "tall": (100_000, 50, 5, 0),
    "mixed scales": (20_000, 20, 3, 3),
    "very tall": (1_000_000, 50, 5, 0),
}
PROBLEMS = by_profile(
    quick=["small"],
    regular=["digits", "binary", "tall"],
    full=["digits", "binary", "tall", "mixed scales", "very tall"],
)
DTYPES = by_profile(quick=["float64"], regular=BOTH_DTYPES, full=BOTH_DTYPES)
BOTH_LIBRARIES = ["skxent", "scikit-learn"]
# The quick profile runs the peer in the ratio only.
LIBRARIES = by_profile(quick=["skxent"], regular=BOTH_LIBRARIES, full=BOTH_LIBRARIES)
TOLS = by_profile(quick=[1e-4], regular=[1e-4, 1e-8], full=[1e-2, 1e-4, 1e-6, 1e-8])

C = 1.0
MAX_ITER = 1000
EQUAL_GAP = 1e-6


@cache
def make_problem(problem, dtype):
    """Return X and y; y of a synthetic problem is drawn from a softmax model."""
    if problem == "digits":
        X, y = import_peer("sklearn.datasets").load_digits(return_X_y=True)
        return np.ascontiguousarray(X / 16, dtype=dtype), y
    n_samples, n_features, n_classes, decades = SYNTHETIC[problem]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features))
    scores = X @ rng.standard_normal((n_features, n_classes)) / np.sqrt(n_features)
    y = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    X *= np.logspace(-decades / 2, decades / 2, n_features)
    return X.astype(dtype, copy=False), y


def make_model(library, tol):
    """Return an unfitted classifier."""
    if library == "skxent":
        from skxent.linear_model import SoftmaxRegression

        return SoftmaxRegression(C=C, tol=tol, max_iter=MAX_ITER)
    linear_model = import_peer("sklearn.linear_model")
    return linear_model.LogisticRegression(C=C, tol=tol, max_iter=MAX_ITER)


def objective(model, X, y):
    """Return the objective at a model's coefficients, written apart from all fits."""
    coef = model.coef_.astype(np.float64)
    logits = X @ coef.T + model.intercept_
    if len(coef) == 1:
        logits = np.column_stack([np.zeros(len(X)), logits])
    own_logits = logits[np.arange(len(X)), np.searchsorted(model.classes_, y)]
    logits -= own_logits[:, None]
    losses = np.logaddexp.reduce(logits, axis=1)
    return C * losses.sum() + 0.5 * np.sum(coef**2)


@cache
def optimum(problem):
    """Return the least objective, to the last digits, by Newton's method."""
    X, y = make_problem(problem, "float64")
    linear_model = import_peer("sklearn.linear_model")
    newton = linear_model.LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, max_iter=100
    )
    return objective(newton.fit(X, y), X, y)


def objective_gap(model, problem):
    """Return the relative gap; at least the rounding unit, as asv divides by it."""
    X, y = make_problem(problem, "float64")
    gap = objective(model, X, y) / optimum(problem) - 1
    if not gap > -1e-12:
        raise RuntimeError(f"gap {gap} on {problem!r}: not a number, or no optimum")
    return max(gap, np.finfo(np.float64).eps)


@cache
def fit_call(problem, dtype, library, tol=1e-4):
    """Return a call that fits a new model, compiled and run once."""
    X, y = make_problem(problem, dtype)
    call = partial(make_model(library, tol).fit, X, y)
    call()
    return call


def fit_call_to_gap(problem, library):
    """Return a fit at the loosest tolerance that reaches ``EQUAL_GAP``, or None."""
    X, y = make_problem(problem, "float64")
    for exponent in range(1, 11):
        model = make_model(library, 10.0**-exponent).fit(X, y)
        if objective_gap(model, problem) <= EQUAL_GAP:
            return partial(model.fit, X, y)
        if np.max(model.n_iter_) >= MAX_ITER:
            return None
    return None


class SoftmaxRegressionFit:
    """``fit`` at the default tolerance; read the times beside the gaps."""

    params = (PROBLEMS, DTYPES, LIBRARIES)
    param_names = ("problem", "dtype", "library")
    repeat = (1, 20, 5.0)

    def setup(self, *params):
        """Prepare the fit; asv runs this again before every timed call."""
        self.call = fit_call(*params)

    def time_fit(self, *_):
        """Time one fit."""
        self.call()

    def peakmem_fit(self, *_):
        """Measure the peak of a process that fits, its data included."""
        self.call()


class SoftmaxRegressionGap:
    """How far from the optimum a fit stops at a fixed tolerance."""

    params = (PROBLEMS, TOLS, LIBRARIES)
    param_names = ("problem", "tol", "library")
    unit = "relative objective gap"

    def setup(self, problem, tol, library):
        """Fit once."""
        self.model = fit_call(problem, "float64", library, tol)()

    def track_objective_gap(self, problem, tol, library):
        """Return the gap."""
        return objective_gap(self.model, problem)


class SoftmaxRegressionOverLogisticRegression:
    """Time to the same objective gap, alternately in one process."""

    params = (PROBLEMS,)
    param_names = ("problem",)
    unit = f"skxent time / scikit-learn time to gap {EQUAL_GAP:.0e}"

    def setup(self, problem):
        """Find the tolerance at which each of them reaches the gap."""
        self.peer = fit_call_to_gap(problem, "scikit-learn")
        if self.peer is None:
            raise NotImplementedError("scikit-learn does not reach the gap")
        self.ours = fit_call_to_gap(problem, "skxent")
        if self.ours is None:
            raise RuntimeError(f"skxent does not reach the gap on {problem!r}")

    def track_time_ratio(self, problem):
        """Return the ratio of the medians."""
        return ratio_of_medians(self.ours, self.peer)
