"""``skxent.losses`` beside torch and beside the speed of memory."""

from functools import cache, partial

import numpy as np

from .common import (
    BOTH_DTYPES,
    by_profile,
    check_agreement,
    import_peer,
    make_indices,
    make_logits,
    make_probabilities,
    ratio_of_medians,
)

# From one small call up to a vocabulary; the last ones of "full" want 8 GB of memory.
SHAPES = by_profile(
    quick=[(1000, 10)],
    regular=[(32, 3), (1000, 10), (1_000_000, 10), (20_000, 1000)],
    full=[
        (32, 3),
        (1000, 10),
        (1_000_000, 2),
        (1_000_000, 10),
        (300_000, 37),
        (100_000, 100),
        (50_000, 1000),
        (2048, 50_257),
        (128, 256_000),
    ],
)
DTYPES = by_profile(quick=["float32"], regular=BOTH_DTYPES, full=BOTH_DTYPES)
BOTH_FORMS = ["index", "probabilities"]
FORMS = by_profile(quick=["index"], regular=BOTH_FORMS, full=BOTH_FORMS)
LIBRARIES = ["skxent", "torch"]


def make_inputs(shape, dtype, form):
    """Return logits and a target of the given form."""
    if form == "index":
        return make_logits(shape, dtype), make_indices(shape)
    return make_logits(shape, dtype), make_probabilities(shape, dtype)


@cache
def value_call(shape, dtype, form, library):
    """Return a call that computes the loss, compiled and run once."""
    logits, target = make_inputs(shape, dtype, form)
    if library == "skxent":
        from skxent.losses import cross_entropy

        call = partial(cross_entropy, logits, target)
    else:
        torch = import_peer("torch")
        call = partial(
            torch.nn.functional.cross_entropy,
            torch.from_numpy(logits),
            torch.from_numpy(target),
        )
    call()
    return call


@cache
def value_and_grad_call(shape, dtype, form, library, reuse_out=False):
    """Return a call that computes loss and gradient, compiled and run once."""
    logits, target = make_inputs(shape, dtype, form)
    if library == "skxent":
        from skxent.losses import cross_entropy_value_and_grad

        out = np.empty_like(logits) if reuse_out else None
        call = partial(cross_entropy_value_and_grad, logits, target, out=out)
    else:
        call = torch_value_and_grad(logits, target)
    call()
    return call


def torch_value_and_grad(logits, target):
    """Return torch's forward and backward pass as one call."""
    torch = import_peer("torch")
    leaf = torch.from_numpy(logits).requires_grad_()
    torch_target = torch.from_numpy(target)

    def call():
        leaf.grad = None
        value = torch.nn.functional.cross_entropy(leaf, torch_target)
        value.backward()
        return value.detach(), leaf.grad

    return call


class CrossEntropy:
    """``cross_entropy``, ours and torch's."""

    params = (SHAPES, DTYPES, FORMS, LIBRARIES)
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
    """``cross_entropy_value_and_grad``, and torch's forward and backward pass."""

    prepare = staticmethod(value_and_grad_call)


class CrossEntropyOverTorch:
    """``cross_entropy`` against torch, alternately in one process."""

    params = (SHAPES, DTYPES, BOTH_FORMS)
    param_names = ("shape", "dtype", "form")
    unit = "skxent time / torch time"
    prepare = staticmethod(value_call)

    def setup(self, shape, dtype, form):
        """Prepare both calls and see that they agree."""
        self.ours = self.prepare(shape, dtype, form, "skxent")
        self.peer = self.prepare(shape, dtype, form, "torch")
        check_agreement(self.ours, self.peer, dtype)

    def track_time_ratio(self, *_):
        """Return the ratio of the medians."""
        return ratio_of_medians(self.ours, self.peer)


class CrossEntropyValueAndGradOverTorch(CrossEntropyOverTorch):
    """``cross_entropy_value_and_grad`` against torch; both allocate the gradient."""

    params = (SHAPES, DTYPES, FORMS)
    prepare = staticmethod(value_and_grad_call)

    def track_time_ratio_reusing_out(self, shape, dtype, form):
        """Return the ratio with our ``out=`` given, which torch has no like for."""
        ours = value_and_grad_call(shape, dtype, form, "skxent", reuse_out=True)
        return ratio_of_medians(ours, self.peer)


class CrossEntropyOverCopy:
    """``cross_entropy`` against ``np.copyto``: 1 is the speed of memory."""

    params = (SHAPES, DTYPES, FORMS)
    param_names = ("shape", "dtype", "form")
    unit = "skxent time per byte / np.copyto time per byte"
    prepare = staticmethod(value_call)
    writes_gradient = False

    def setup(self, shape, dtype, form):
        """Prepare our call and a copy of the logits into memory already touched."""
        self.ours = self.prepare(shape, dtype, form, "skxent")
        self.logits, target = make_inputs(shape, dtype, form)
        self.bytes_moved = self.logits.nbytes * (1 + self.writes_gradient)
        self.bytes_moved += target.nbytes
        self.copy_call = partial(np.copyto, self.logits.copy(), self.logits)

    def track_time_ratio(self, *_):
        """Return our time per byte read or written over the copy's."""
        copied_bytes = 2 * self.logits.nbytes
        ratio = ratio_of_medians(self.ours, self.copy_call)
        return ratio * copied_bytes / self.bytes_moved


class CrossEntropyValueAndGradOverCopy(CrossEntropyOverCopy):
    """``cross_entropy_value_and_grad`` with ``out=`` given, against ``np.copyto``."""

    prepare = staticmethod(partial(value_and_grad_call, reuse_out=True))
    writes_gradient = True
