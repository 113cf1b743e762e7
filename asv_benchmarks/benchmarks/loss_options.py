"""What each option of ``cross_entropy`` costs beside a plain call for class indices."""

from functools import partial

import numpy as np

from .common import (
    BOTH_DTYPES,
    by_profile,
    make_indices,
    make_logits,
    make_probabilities,
    ratio_of_medians,
)

SHAPES = by_profile(
    quick=[(1000, 10)],
    regular=[(1_000_000, 10), (100_000, 100)],
    full=[
        (1000, 10),
        (1_000_000, 2),
        (1_000_000, 10),
        (300_000, 37),
        (100_000, 100),
        (50_000, 1000),
    ],
)
DTYPES = by_profile(quick=["float32"], regular=BOTH_DTYPES, full=BOTH_DTYPES)
NAMES_OF_OPTION = {
    "class weights": ["weight"],
    "label smoothing": ["label_smoothing"],
    "ignored rows": ["ignore_index"],
    "sample weights": ["sample_weight"],
    "these four together": [
        "weight",
        "label_smoothing",
        "ignore_index",
        "sample_weight",
    ],
    'reduction="none"': ["reduction"],
}
ALL_OPTIONS = [*NAMES_OF_OPTION, "float16 logits", "probability targets"]
# The quick profile is short, and one call with four options runs most of the code.
OPTIONS = by_profile(
    quick=["these four together"], regular=ALL_OPTIONS, full=ALL_OPTIONS
)
ALL_OPERATIONS = ["value", "value and gradient"]
OPERATIONS = by_profile(
    quick=["value and gradient"], regular=ALL_OPERATIONS, full=ALL_OPERATIONS
)

IGNORED = -100
IGNORED_EVERY = 10


def make_call(operation, logits, target, **options):
    """Return our call, compiled and run once; a gradient goes into ``out=``."""
    from skxent import losses

    if operation == "value":
        call = partial(losses.cross_entropy, logits, target, **options)
    else:
        function = losses.cross_entropy_value_and_grad
        call = partial(function, logits, target, out=np.empty_like(logits), **options)
    call()
    return call


def option_call(shape, dtype, option, operation):
    """Return our call with the option."""
    logits, target = make_logits(shape, dtype), make_indices(shape)
    rng = np.random.default_rng(5)
    options = {
        "weight": rng.uniform(0.5, 2.0, shape[1]),
        "label_smoothing": 0.1,
        "ignore_index": IGNORED,
        "sample_weight": rng.uniform(0.5, 2.0, shape[0]),
        "reduction": "none",
    }
    chosen = NAMES_OF_OPTION.get(option, ())
    if "ignore_index" in chosen:
        target = target.copy()
        target[::IGNORED_EVERY] = IGNORED
    if option == "float16 logits":
        logits = logits.astype(np.float16)
    if option == "probability targets":
        target = make_probabilities(shape, dtype)
    return make_call(operation, logits, target, **{k: options[k] for k in chosen})


def plain_call(shape, dtype, operation):
    """Return our call without options, for class indices."""
    return make_call(operation, make_logits(shape, dtype), make_indices(shape))


class OptionOverPlain:
    """An option of ``cross_entropy`` against none, alternately in one process.

    Probability targets have as many numbers as the logits, and float16 logits fewer
    bytes than those of the plain call.
    """

    params = (SHAPES, DTYPES, OPTIONS, OPERATIONS)
    param_names = ("shape", "dtype", "option", "operation")
    unit = "time with the option / time without"

    def setup(self, shape, dtype, option, operation):
        """Prepare both calls."""
        self.ours = option_call(shape, dtype, option, operation)
        self.plain = plain_call(shape, dtype, operation)

    def track_time_ratio(self, *_):
        """Return the ratio of the medians."""
        return ratio_of_medians(self.ours, self.plain)
