"""``cross_entropy`` and its gradient beside its peers, and beside the speed of memory.

The gradient is written into ``out=`` unless a name says otherwise.
"""

from functools import cache, partial

import numpy as np

from .common import (
    BOTH_DTYPES,
    GRID,
    bandwidths,
    by_profile,
    check_agreement,
    make_indices,
    make_logits,
    make_probabilities,
    ratio_of_medians,
)
from .peers import VALUE, VALUE_AND_GRAD

SHAPES = by_profile(
    quick=[(1000, 10)],
    regular=[(32, 3), (1000, 10), (1_000_000, 10), (20_000, 1000)],
    full=GRID,
)
DTYPES = by_profile(quick=["float32"], regular=BOTH_DTYPES, full=BOTH_DTYPES)
BOTH_FORMS = ["index", "probabilities"]
FORMS = by_profile(quick=["index"], regular=BOTH_FORMS, full=BOTH_FORMS)


def chosen(peers):
    """Return the names of the peers that the profile is for."""
    return by_profile(quick=list(peers), regular=["torch"], full=list(peers))


def libraries(peers):
    """Return the libraries whose calls are timed on their own; the quick profile
    runs the peers in the ratios only."""
    return ["skxent", *by_profile(quick=[], regular=["torch"], full=list(peers))]


def make_inputs(shape, dtype, form):
    """Return logits and a target of the given form."""
    if form == "index":
        return make_logits(shape, dtype), make_indices(shape)
    return make_logits(shape, dtype), make_probabilities(shape, dtype)


@cache
def value_call(shape, dtype, form, library):
    """Return a call that computes the loss, compiled and run once."""
    inputs = make_inputs(shape, dtype, form)
    if library == "skxent":
        from skxent.losses import cross_entropy

        call = partial(cross_entropy, *inputs)
    else:
        call = VALUE[library](*inputs)
    call()
    return call


@cache
def value_and_grad_call(shape, dtype, form, library, reuse_out=True):
    """Return a call that computes loss and gradient, compiled and run once."""
    logits, target = make_inputs(shape, dtype, form)
    if library == "skxent":
        from skxent.losses import cross_entropy_value_and_grad

        out = np.empty_like(logits) if reuse_out else None
        call = partial(cross_entropy_value_and_grad, logits, target, out=out)
    else:
        call = VALUE_AND_GRAD[library](logits, target)
    call()
    return call


def comparable_calls(prepare, shape, dtype, form, library):
    """Return our call and the peer's, or raise if they do not agree."""
    ours = prepare(shape, dtype, form, "skxent")
    theirs = prepare(shape, dtype, form, library)
    try:
        check_agreement(ours, theirs, dtype)
    except AssertionError as error:
        if library != "scikit-learn":
            raise
        raise NotImplementedError("scikit-learn clips small probabilities") from error
    return ours, theirs


def bytes_moved(shape, dtype, form, writes_gradient):
    """Return how many bytes the call must read and write."""
    logits, target = make_inputs(shape, dtype, form)
    return logits.nbytes * (1 + writes_gradient) + target.nbytes


class CrossEntropy:
    """``cross_entropy``, ours and the peers'."""

    params = (SHAPES, DTYPES, FORMS, libraries(VALUE))
    param_names = ("shape", "dtype", "form", "library")
    repeat = (5, 500, 2.0)
    prepare = staticmethod(value_call)

    def setup(self, *params):
        """Prepare the call; asv runs this again before every timed call."""
        self.call = self.prepare(*params)

    def time_call(self, *_):
        """Time one call."""
        self.call()

    def peakmem_call(self, *_):
        """Measure the peak of a process that makes the call, its inputs included."""
        self.call()


class CrossEntropyValueAndGrad(CrossEntropy):
    """``cross_entropy_value_and_grad``, and what the peers have for it."""

    params = (SHAPES, DTYPES, FORMS, libraries(VALUE_AND_GRAD))
    prepare = staticmethod(value_and_grad_call)


class CrossEntropyOverPeer:
    """``cross_entropy`` against each peer, alternately in one process."""

    params = (SHAPES, DTYPES, BOTH_FORMS, chosen(VALUE))
    param_names = ("shape", "dtype", "form", "peer")
    unit = "skxent time / peer's time"
    prepare = staticmethod(value_call)

    def setup(self, *params):
        """Prepare both calls and see that they agree."""
        self.calls = comparable_calls(self.prepare, *params)

    def track_time_ratio(self, *_):
        """Return the ratio of the medians."""
        return ratio_of_medians(*self.calls)


class CrossEntropyValueAndGradOverPeer(CrossEntropyOverPeer):
    """``cross_entropy_value_and_grad`` against each peer, alternately."""

    params = (SHAPES, DTYPES, FORMS, chosen(VALUE_AND_GRAD))
    prepare = staticmethod(value_and_grad_call)


class CrossEntropyValueAndNewGradOverTorch(CrossEntropyOverPeer):
    """The same against torch where ours too allocates the gradient in each call."""

    params = (SHAPES, DTYPES, FORMS, ["torch"])
    prepare = staticmethod(partial(value_and_grad_call, reuse_out=False))


class CrossEntropyOverCopy:
    """``cross_entropy`` beside ``np.copyto`` of the logits."""

    params = (SHAPES, DTYPES, FORMS)
    param_names = ("shape", "dtype", "form")
    prepare = staticmethod(value_call)
    writes_gradient = False

    def setup(self, *params):
        """Prepare our call."""
        self.call = self.prepare(*params, "skxent")
        self.bytes_moved = bytes_moved(*params, self.writes_gradient)

    def bandwidths(self, shape, dtype):
        """Return GB/s, ours and the copy's."""
        return bandwidths(self.call, self.bytes_moved, make_logits(shape, dtype))

    def track_bandwidth(self, shape, dtype, form):
        """Return what has to be read and written, over our time."""
        return self.bandwidths(shape, dtype)[0]

    track_bandwidth.unit = "GB/s"

    def track_copy_bandwidth(self, shape, dtype, form):
        """Return the bandwidth of the copy, measured in turns with our call."""
        return self.bandwidths(shape, dtype)[1]

    track_copy_bandwidth.unit = "GB/s"

    def track_time_ratio(self, shape, dtype, form):
        """Return our time per byte read or written over the copy's."""
        our_bandwidth, copy_bandwidth = self.bandwidths(shape, dtype)
        return copy_bandwidth / our_bandwidth

    track_time_ratio.unit = "skxent time per byte / np.copyto time per byte"


class CrossEntropyValueAndGradOverCopy(CrossEntropyOverCopy):
    """``cross_entropy_value_and_grad`` beside ``np.copyto`` of the logits."""

    prepare = staticmethod(value_and_grad_call)
    writes_gradient = True
