"""The other forms of the loss in float32: events, images, log-probabilities, layers.

Peer: torch. The gradient is written into ``out=``.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .common import (
    bandwidths,
    by_profile,
    check_agreement,
    import_peer,
    ratio_of_medians,
)

N_EVENTS = by_profile(quick=100_000, regular=1_000_000, full=10_000_000)
IMAGES = by_profile(
    quick=(2, 21, 64, 64), regular=(8, 21, 128, 128), full=(8, 21, 512, 512)
)
N_PICKED = by_profile(quick=10_000, regular=1_000_000, full=1_000_000)
# rows, features, classes
LINEAR = by_profile(
    quick=(256, 32, 1000), regular=(2000, 256, 8000), full=(20_000, 512, 32_000)
)
# Bound by memory where nothing else is in the way; linear layers are by arithmetic, and
# of ten log-probabilities one is read.
STREAMED = ["binary", "channels_first", "channels_last"]
FORMS = [*STREAMED, "log_probabilities", "linear"]
ALL_OPERATIONS = ["value", "value and gradient"]
OPERATIONS = by_profile(
    quick=["value and gradient"], regular=ALL_OPERATIONS, full=ALL_OPERATIONS
)


class Problem(NamedTuple):
    """The arguments of one function, which has torch's name."""

    name: str
    leaves: tuple[Any, ...]  # the arrays that get a gradient
    target: Any
    options: dict[str, Any]
    class_axis: int


def normal(*shape):
    """Return normal numbers in float32."""
    return np.random.default_rng(3).standard_normal(shape, dtype=np.float32)


def labels(n_classes, shape):
    """Return class indices."""
    return np.random.default_rng(4).integers(n_classes, size=shape)


def binary():
    """Events, ten in a row, each with a weight for its class."""
    x = normal(N_EVENTS // 10, 10)
    target = (normal(*x.shape) > 0).astype(np.float32)
    options = {"pos_weight": np.linspace(0.5, 2.0, 10, dtype=np.float32)}
    return Problem("binary_cross_entropy_with_logits", (x,), target, options, 1)


def channels_first():
    """The pixels of images."""
    target = labels(IMAGES[1], (IMAGES[0], *IMAGES[2:]))
    return Problem("cross_entropy", (normal(*IMAGES),), target, {}, 1)


def channels_last():
    """The same images, their channels last in memory."""
    x = np.ascontiguousarray(np.moveaxis(normal(*IMAGES), 1, -1))
    target = labels(IMAGES[1], x.shape[:-1])
    return Problem("cross_entropy", (x,), target, {}, -1)


def log_probabilities():
    """Rows of ten, as a layer of log-softmax leaves them."""
    x = -np.abs(normal(N_PICKED, 10))
    return Problem("nll_loss", (x,), labels(10, N_PICKED), {}, 1)


def linear():
    """A layer of many classes."""
    n, n_features, n_classes = LINEAR
    leaves = normal(n, n_features), normal(n_classes, n_features) / 16
    return Problem("linear_cross_entropy", leaves, labels(n_classes, n), {}, 1)


def our_call(problem, operation):
    """Return our call; of value and gradient it returns the value."""
    from skxent import losses

    options = dict(problem.options)
    if problem.class_axis != 1:
        options["class_axis"] = problem.class_axis
    arguments = *problem.leaves, problem.target
    if operation == "value":
        return partial(getattr(losses, problem.name), *arguments, **options)
    out = tuple(np.empty_like(leaf) for leaf in problem.leaves)
    options["out"] = out if len(out) > 1 else out[0]
    function = getattr(losses, f"{problem.name}_value_and_grad")
    return lambda: function(*arguments, **options)[0]


def torch_call(problem, operation):
    """Return torch's forward pass, or its forward and backward pass, for the same."""
    torch = import_peer("torch")
    function = getattr(torch.nn.functional, problem.name)
    with_grad = operation != "value"
    tensors = [
        torch.from_numpy(np.moveaxis(leaf, problem.class_axis, 1))
        for leaf in problem.leaves
    ]
    for tensor in tensors:
        tensor.requires_grad_(with_grad)
    target = torch.from_numpy(problem.target)
    options = {key: torch.from_numpy(array) for key, array in problem.options.items()}

    def call():
        for tensor in tensors:
            tensor.grad = None
        value = function(*tensors, target, **options)
        if with_grad:
            value.backward()
        return value.detach()

    return call


@cache
def make_problem(form):
    """Return the problem that a form's name stands for."""
    return {
        "binary": binary,
        "channels_first": channels_first,
        "channels_last": channels_last,
        "log_probabilities": log_probabilities,
        "linear": linear,
    }[form]()


@cache
def calls(form, operation):
    """Return our call and torch's, which agree."""
    problem = make_problem(form)
    ours, theirs = our_call(problem, operation), torch_call(problem, operation)
    check_agreement(ours, theirs, "float32")
    return ours, theirs


@cache
def prepared_call(form, operation):
    """Return our call, compiled and run once."""
    call = our_call(make_problem(form), operation)
    call()
    return call


def bytes_moved(form, operation):
    """Return how many bytes the call must read and write."""
    problem = make_problem(form)
    logits = problem.leaves[0]
    return logits.nbytes * (1 + (operation != "value")) + problem.target.nbytes


class Form:
    """Each form, ours."""

    params = (by_profile(quick=FORMS[:1], regular=FORMS, full=FORMS), OPERATIONS)
    param_names = ("form", "operation")

    def setup(self, *params):
        """Prepare the call; asv runs this again before every timed call."""
        self.call = prepared_call(*params)

    def time_call(self, *_):
        """Time one call."""
        self.call()

    def peakmem_call(self, *_):
        """Measure the peak of a process that makes the call, its inputs included."""
        self.call()


class FormOverTorch:
    """Each form against torch, alternately in one process."""

    params = (FORMS, OPERATIONS)
    param_names = ("form", "operation")
    unit = "skxent time / torch time"

    def setup(self, *params):
        """Prepare both calls and see that they agree."""
        self.calls = calls(*params)

    def track_time_ratio(self, *_):
        """Return the ratio of the medians."""
        return ratio_of_medians(*self.calls)


class FormOverCopy:
    """Each form but linear layers, beside ``np.copyto`` of the logits."""

    params = (
        by_profile(quick=STREAMED[:1], regular=STREAMED, full=STREAMED),
        OPERATIONS,
    )
    param_names = ("form", "operation")
    unit = "GB/s"

    def setup(self, form, operation):
        """Prepare our call."""
        call, logits = prepared_call(form, operation), make_problem(form).leaves[0]
        self.arguments = call, bytes_moved(form, operation), logits

    def track_bandwidth(self, *_):
        """Return what has to be read and written, over our time."""
        return bandwidths(*self.arguments)[0]

    def track_copy_bandwidth(self, *_):
        """Return the bandwidth of the copy, measured in turns with our call."""
        return bandwidths(*self.arguments)[1]
