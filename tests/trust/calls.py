"""A call of every public function, large enough for threads, and what it gave."""

import functools

import numpy as np
import pytest
import scipy.sparse

from skxent import linear_model, losses, metrics
from skxent.backends import _threads
from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV
from tests.losses.cases import same_bits

N, K = 8000, 10


def flat(result):
    """Return the arrays of a result of any form."""
    if isinstance(result, tuple | list):
        return [array for part in result for array in flat(part)]
    return [np.asarray(result)]


def agree(first, second):
    """Return whether two results have the same bits."""
    pairs = zip(flat(first), flat(second), strict=True)
    return all(
        same_bits(a, b) if a.dtype.kind == "f" else (a == b).all() for a, b in pairs
    )


def calls_of_losses():
    """Return functions without arguments by the names of what they call."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, K)), rng.integers(K, size=N)
    vector, flags = rng.normal(size=(N, K)), (rng.random((N, K)) < 0.3).astype(float)
    share = 1 / (1 + np.exp(-x))
    W = rng.normal(size=(500, K))
    arguments = {
        "binary_cross_entropy": (share, flags),
        "binary_cross_entropy_with_logits": (x, flags),
        "cross_entropy": (x, y),
        "linear_cross_entropy": (x, W, y),
        "nll_loss": (x - 9.0, y),
        "CrossEntropyLoss": (x, y),
        "BinaryCrossEntropyLoss": (x, flags),
    }

    def call_of(name):
        of = name.removesuffix("_hvp").removesuffix("_value_and_grad")
        given = arguments[of.removesuffix("_grad")]
        if name.endswith("_hvp"):
            given = (*given, vector)
        function = getattr(losses, name)
        if isinstance(function, type):
            return lambda: function().value_and_grad(*given)
        return lambda: function(*given)

    return {name: call_of(name) for name in losses.__all__}


def calls_of_metrics():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(N, K)), rng.integers(K, size=N)
    proba = np.exp(x)
    proba /= proba.sum(axis=1, keepdims=True)
    X = rng.normal(size=(300, 3))
    model = SoftmaxRegression().fit(X, np.arange(300) % 3)
    scored = model, X, np.arange(300) % 3
    special = {
        "get_scorer": lambda: metrics.get_scorer("neg_cross_entropy")(*scored),
        "get_scorer_names": lambda: len(metrics.get_scorer_names()),
        "make_cross_entropy_scorer": lambda: metrics.make_cross_entropy_scorer()(
            *scored
        ),
    }

    def call_of(name):
        return lambda: getattr(metrics, name)(y, proba)

    return {name: special.get(name) or call_of(name) for name in metrics.__all__}


def calls_of_fits():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(1000, 30))
    y = (X @ rng.normal(size=(30, 5)) + rng.gumbel(size=(1000, 5))).argmax(axis=1)
    many = rng.integers(40, size=1000)
    sparse = scipy.sparse.random_array((1000, 600), density=0.08, rng=rng, format="csr")
    wide = rng.normal(size=(150, 500))

    def fitted(model, X, y, method="fit", **options):
        def call():
            other = model()
            getattr(other, method)(X, y, **options)
            return other.coef_, other.intercept_, other.predict_proba(X)

        return call

    def calls():
        yield "SoftmaxRegression", fitted(SoftmaxRegression, X, y)
        yield "SoftmaxRegressionCV", fitted(lambda: SoftmaxRegressionCV(2, cv=2), X, y)
        yield "many classes", fitted(lambda: SoftmaxRegression(C=0.01), X, many)
        yield "sparse", fitted(lambda: SoftmaxRegression(C=0.1), sparse, y)
        yield "wide", fitted(lambda: SoftmaxRegression(C=0.1), wide, y[:150])
        yield "lasso", fitted(lambda: SoftmaxRegression(C=0.01, l1_ratio=0.5), X, y)
        yield (
            "partial_fit",
            fitted(SoftmaxRegression, X, y, "partial_fit", classes=range(5)),
        )

    found = dict(calls())
    assert set(linear_model.__all__) <= set(found)
    return found


def calls():
    """Return every call by its name."""
    return calls_of_losses() | calls_of_metrics() | calls_of_fits()


@functools.cache
def compile_all():
    """Fill the cache that this process shares with the children it starts.

    A child is watched for hangs, and would spend that time with compiling.
    """
    with pytest.MonkeyPatch.context() as patch:
        for forked in (False, True):  # both twins
            patch.setattr(_threads, "_is_forked", lambda it=forked: it)
            for call in calls().values():
                call()
