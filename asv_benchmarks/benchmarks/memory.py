"""What each public function needs beside its arguments and its result.

``track_bytes_per_row`` is what numpy allocates at the most in a second call, which the
docstrings tell; ``peakmem_call`` is the peak of the whole process.
"""

import tracemalloc
from functools import cache, partial

import numpy as np

from .common import by_profile, make_indices, make_logits, make_probabilities

SHAPE = by_profile(quick=(2000, 10), regular=(200_000, 50), full=(1_000_000, 50))
N_FEATURES = 64
N_LABELS = 10


@cache
def make_training_data():
    """Return features and labels that depend on them."""
    X = make_logits((SHAPE[0], N_FEATURES), "float64")
    return X, X[:, :N_LABELS].argmax(axis=1)


def losses_calls():
    """Return the calls of losses; gradients go into one output."""
    from skxent import losses

    z, p = make_logits(SHAPE, "float64"), make_probabilities(SHAPE, "float64")
    y, out = make_indices(SHAPE), np.empty(SHAPE)
    X = make_logits((SHAPE[0], N_FEATURES), "float64")
    W = make_logits((SHAPE[1], N_FEATURES), "float64")
    binary = "binary_cross_entropy_with_logits"
    arguments = {
        "cross_entropy": (z, y),
        "cross_entropy_grad": (z, y),
        "cross_entropy_value_and_grad": (z, y),
        "cross_entropy_hvp": (z, y, z),
        "nll_loss": (z, y),
        "nll_loss_value_and_grad": (z, y),
        binary: (z, p),
        f"{binary}_value_and_grad": (z, p),
        f"{binary}_hvp": (z, p, z),
        "binary_cross_entropy": (p, p),
        "binary_cross_entropy_value_and_grad": (p, p),
        "linear_cross_entropy": (X, W, y),
        "linear_cross_entropy_value_and_grad": (X, W, y),
    }
    outs = {"linear": (np.empty_like(X), np.empty_like(W))}
    calls = {}
    for name, given in arguments.items():
        calls[name] = partial(getattr(losses, name), *given)
        if name.endswith(("grad", "hvp")):
            to = outs.get(name.split("_")[0], out)
            calls[name] = partial(calls[name], out=to)
    return calls


def metrics_calls():
    """Return the calls of metrics."""
    from skxent import metrics

    given = make_indices(SHAPE), make_probabilities(SHAPE, "float64")
    names = ("log_loss", "d2_log_loss_score", "cross_entropy_loss")
    names += ("expected_calibration_error", "reliability_curve")
    return {name: partial(getattr(metrics, name), *given) for name in names}


def estimator_calls():
    """Return the calls of a classifier, dense and sparse."""
    import scipy.sparse

    from skxent.linear_model import SoftmaxRegression

    X, y = make_training_data()
    sparse = scipy.sparse.csr_array(np.where(X > 4.0, X, 0.0))
    fitted = SoftmaxRegression().fit(X, y)
    return {
        "fit": partial(SoftmaxRegression().fit, X, y),
        "fit of sparse data": partial(SoftmaxRegression().fit, sparse, y),
        "partial_fit": partial(SoftmaxRegression().partial_fit, X, y, range(N_LABELS)),
        "predict": partial(fitted.predict, X),
        "predict_proba": partial(fitted.predict_proba, X),
        "predict_proba of sparse data": partial(fitted.predict_proba, sparse),
    }


MAKERS = {
    "losses": losses_calls,
    "metrics": metrics_calls,
    "linear_model": estimator_calls,
}
NAMES = [
    *("cross_entropy", "cross_entropy_grad", "cross_entropy_value_and_grad"),
    *("cross_entropy_hvp", "nll_loss", "nll_loss_value_and_grad"),
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_value_and_grad",
    "binary_cross_entropy_with_logits_hvp",
    *("binary_cross_entropy", "binary_cross_entropy_value_and_grad"),
    *("linear_cross_entropy", "linear_cross_entropy_value_and_grad"),
    *("log_loss", "d2_log_loss_score", "cross_entropy_loss"),
    *("expected_calibration_error", "reliability_curve"),
    *("fit", "fit of sparse data", "partial_fit"),
    *("predict", "predict_proba", "predict_proba of sparse data"),
]


@cache
def prepared_call(name):
    """Return a call, compiled and run once."""
    calls = {}
    for make in MAKERS.values():
        if name not in calls:
            calls |= make()
    calls[name]()
    return calls[name]


class Memory:
    """Each public function once."""

    params = NAMES
    param_names = ("function",)

    def setup(self, name):
        """Prepare the call."""
        self.call = prepared_call(name)

    def peakmem_call(self, _):
        """Measure the peak of a process that makes the call, its inputs included."""
        self.call()

    def track_bytes_per_row(self, _):
        """Return the bytes per row that are allocated at the most, result included."""
        tracemalloc.start()
        self.call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / SHAPE[0]

    track_bytes_per_row.unit = "bytes per row"
