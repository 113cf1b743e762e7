"""``skxent.metrics`` beside scikit-learn's ``log_loss``."""

import tracemalloc
from functools import cache, partial

from .common import (
    BOTH_DTYPES,
    by_profile,
    check_agreement,
    import_peer,
    make_indices,
    make_probabilities,
    ratio_of_medians,
)

SHAPES = by_profile(
    quick=[(1000, 10)],
    regular=[(1000, 10), (100_000, 10), (1_000_000, 10)],
    full=[(1000, 10), (1_000_000, 2), (100_000, 10), (1_000_000, 10), (20_000, 1000)],
)
DTYPES = by_profile(quick=["float64"], regular=BOTH_DTYPES, full=BOTH_DTYPES)
# Finding the classes in y_true may cost more than the loss: class indices, integers
# that are none, strings in an array, strings of Python.
LABELS = by_profile(
    quick=["int", "str"],
    regular=["int", "str"],
    full=["int", "far", "str", "object"],
)
BOTH_LIBRARIES = ["skxent", "scikit-learn"]
# The quick profile runs the peer in the ratios only.
LIBRARIES = by_profile(quick=["skxent"], regular=BOTH_LIBRARIES, full=BOTH_LIBRARIES)


@cache
def make_labels(shape, labels):
    """Return ``y_true``, in which every class occurs."""
    indices = make_indices(shape)
    if labels == "int":
        return indices
    if labels == "far":
        return indices * 10**9
    # Numbers of one width keep the order of the classes as strings.
    strings = (indices + 10**6).astype(str)
    return strings if labels == "str" else strings.astype(object)


@cache
def metric_call(name, shape, dtype, labels, library):
    """Return a call of the metric, compiled and run once."""
    y_true, y_proba = make_labels(shape, labels), make_probabilities(shape, dtype)
    if library == "skxent":
        from skxent import metrics

        call = partial(getattr(metrics, name), y_true, y_proba)
    else:
        call = partial(import_peer("sklearn.metrics").log_loss, y_true, y_proba)
    call()
    return call


class LogLoss:
    """``log_loss``, ours and scikit-learn's."""

    params = (SHAPES, DTYPES, LABELS, LIBRARIES)
    param_names = ("shape", "dtype", "labels", "library")
    repeat = (5, 500, 2.0)
    prepare = staticmethod(partial(metric_call, "log_loss"))

    def setup(self, *params):
        """Prepare the call; asv runs this again before every timed call."""
        self.call = self.prepare(*params)

    def time_call(self, *_):
        """Time one call."""
        self.call()

    def peakmem_call(self, *_):
        """Measure the peak of a process that makes the call, its inputs included."""
        self.call()


class CrossEntropyLoss(LogLoss):
    """``cross_entropy_loss``, and scikit-learn's ``log_loss``."""

    prepare = staticmethod(partial(metric_call, "cross_entropy_loss"))


class LogLossOverScikitLearn:
    """``log_loss`` against scikit-learn's, alternately in one process."""

    params = (SHAPES, DTYPES, LABELS)
    param_names = ("shape", "dtype", "labels")
    unit = "skxent time / scikit-learn time"
    prepare = staticmethod(partial(metric_call, "log_loss"))

    def setup(self, shape, dtype, labels):
        """Prepare both calls and see that they agree."""
        self.ours = self.prepare(shape, dtype, labels, "skxent")
        self.peer = self.prepare(shape, dtype, labels, "scikit-learn")
        check_agreement(self.ours, self.peer, dtype)

    def track_time_ratio(self, *_):
        """Return the ratio of the medians."""
        return ratio_of_medians(self.ours, self.peer)


class CrossEntropyLossOverScikitLearn(LogLossOverScikitLearn):
    """``cross_entropy_loss`` against scikit-learn's ``log_loss``."""

    prepare = staticmethod(partial(metric_call, "cross_entropy_loss"))


class LogLossMemory:
    """The most that ``log_loss`` allocates at once."""

    params = (SHAPES, DTYPES, LABELS, LIBRARIES)
    param_names = ("shape", "dtype", "labels", "library")
    unit = "peak of allocations / size of the probabilities"
    prepare = staticmethod(partial(metric_call, "log_loss"))

    def setup(self, *params):
        """Prepare the call, compiled before anything is traced."""
        self.call = self.prepare(*params)

    def track_peak_share(self, shape, dtype, *_):
        """Return the peak as a share of the probabilities."""
        tracemalloc.start()
        self.call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / make_probabilities(shape, dtype).nbytes


class CrossEntropyLossMemory(LogLossMemory):
    """The most that ``cross_entropy_loss`` allocates, scikit-learn ``log_loss``."""

    prepare = staticmethod(partial(metric_call, "cross_entropy_loss"))
