"""A program for new processes: the first call of a public loss, and what it compiles.

``python first_call.py once NAME`` makes one call for float32 logits; ``all NAME`` makes
calls of every kind that may get a kernel of its own. Prints JSON: ``seconds`` of the
first call, and ``specialisations``, the number of compiled signatures of the kernels
that Python calls, whether they were compiled now or read from the cache.
"""

import gc
import itertools
import json
import sys
from time import perf_counter

import numpy as np

# Few and many rows run on one thread and on all; few and many classes, and classes
# that are not on the last axis, run different loops.
SHAPES = [
    (n, *shape) for n in (2, 20_000) for shape in ((3,), (300,), (3, 2), (300, 2))
]
DTYPES = ["float16", "float32", "float64"]
TARGETS = ["index", "probabilities"]


def softmax_arguments(shape, dtype, target):
    """Return logits and a target."""
    x = np.full(shape, 0.5, dtype=dtype)
    if target == "index":
        return x, np.zeros((shape[0], *shape[2:]), dtype=np.int64)
    return x, x


def index_arguments(shape, dtype, _):
    """Return logits and class indices."""
    return softmax_arguments(shape, dtype, "index")


def binary_arguments(shape, dtype, _):
    """Return logits, or probabilities, and a target of the same kind."""
    return softmax_arguments(shape, dtype, "probabilities")


def linear_arguments(shape, dtype, target):
    """Return features, the weights of a layer, and a target."""
    n, n_classes = shape[:2]
    features, weight = np.ones((n, 2), dtype), np.ones((n_classes, 2), dtype)
    return features, weight, softmax_arguments((n, n_classes), dtype, target)[1]


VALUE_AND_GRADIENT = ("", "_grad", "_value_and_grad")
FUNCTIONS = [
    ("cross_entropy", (*VALUE_AND_GRADIENT, "_hvp"), softmax_arguments),
    ("nll_loss", VALUE_AND_GRADIENT, index_arguments),
    ("binary_cross_entropy", VALUE_AND_GRADIENT, binary_arguments),
    (
        "binary_cross_entropy_with_logits",
        (*VALUE_AND_GRADIENT, "_hvp"),
        binary_arguments,
    ),
    ("linear_cross_entropy", VALUE_AND_GRADIENT, linear_arguments),
]
MAKERS = {
    base + ending: make for base, endings, make in FUNCTIONS for ending in endings
}
NAMES = list(MAKERS)


def specialisations():
    """Return how many signatures the kernels have that Python calls."""
    from numba.core.dispatcher import Dispatcher

    return sum(
        len(kernel.signatures)
        for kernel in gc.get_objects()
        if isinstance(kernel, Dispatcher)
        and kernel.py_func.__module__.startswith("skxent.")
        and not kernel.targetoptions.get("no_cpython_wrapper")
    )


def main(which, name):
    """Make the calls and print what was seen."""
    from skxent import losses

    function = getattr(losses, name)
    cases = [((32, 3), "float32", "index")]
    if which == "all":
        cases = itertools.product(SHAPES, DTYPES, TARGETS)
    times = []
    for case in cases:
        arguments = MAKERS[name](*case)
        if name.endswith("_hvp"):
            arguments = *arguments, arguments[0]
        start = perf_counter()
        function(*arguments)
        times.append(perf_counter() - start)
    report = {"seconds": times[0], "specialisations": specialisations()}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
