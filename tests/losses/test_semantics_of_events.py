"""The contract's table of special cases, for every way to ask for the loss of events.

An event is one of two classes that stands for itself, as in multilabel data.
`test_binary_semantics` holds the functions to the table at sizes that reach every path
of the kernels; here two events go to the functions and to both classes.
"""

import math

import numpy as np
import pytest

from skxent import losses
from skxent.losses import BinaryCrossEntropyLoss, CrossEntropyLoss


def binary_ways(from_logits):
    """The ways to ask for the value and gradient of events, options given late."""

    def of_class(cls, **held):
        def ask(x, q, **options):
            return cls(from_logits=from_logits, **held, **options).value_and_grad(x, q)

        return ask

    name = "binary_cross_entropy" + ("_with_logits" if from_logits else "")
    return {
        name: getattr(losses, f"{name}_value_and_grad"),
        "BinaryCrossEntropyLoss": of_class(BinaryCrossEntropyLoss),
        "CrossEntropyLoss": of_class(CrossEntropyLoss, form="binary"),
    }


LN2, INF, NAN = math.log(2), math.inf, math.nan
# The name, whether of logits, the input, the target, weights, the losses, the slopes.
EVENTS = [
    ("no elements", True, [], [], None, [], []),
    ("weights of 0 only", True, [0, 3], [1, 0], [0, 0], [0, 0], [0, 0]),
    ("weight 0 against inf", True, [-INF, 0], [1, 1], [0, 1], [0, LN2], [0, -0.5]),
    ("mass 0 against inf", True, [-INF, 0], [0, 1], None, [0, LN2], [0, -0.5]),
    ("-inf under the target", True, [-INF, 0], [1, 1], None, [INF, LN2], [-1, -0.5]),
    ("+inf", True, [INF, 0], [1, 1], None, [NAN, LN2], [NAN, -0.5]),
    ("nan", True, [NAN, 0], [0, 0], None, [NAN, LN2], [NAN, 0.5]),
    ("targets off [0, 1]", True, [0, 0], [-1, 3], None, [LN2, LN2], [1.5, -2.5]),
    ("no elements", False, [], [], None, [], []),
    ("weights of 0 only", False, [0.5, 1], [1, 0], [0, 0], [0, 0], [0, 0]),
    ("exactly right", False, [0, 1], [0, 1], None, [0, 0], [0, 0]),
    ("clamped", False, [0, 1], [1, 0], None, [100, 100], [-1e12, 1e12]),
    ("weight 0 at the clamp", False, [0, 0.5], [1, 1], [0, 1], [0, LN2], [0, -2]),
    ("nan", False, [NAN, 0.5], [0, 0], None, [NAN, LN2], [NAN, 2]),
    ("targets off [0, 1]", False, [0.5, 0.5], [-1, 3], None, [LN2, LN2], [6, -10]),
]
EVENT_CASES = [
    pytest.param(ask, *event, id=f"{title}-{name}-{of_logits}".replace(" ", "_"))
    for title, of_logits, *event in EVENTS
    for name, ask in binary_ways(of_logits).items()
]


@pytest.mark.parametrize(("ask", "x", "q", "weight", "loss", "slope"), EVENT_CASES)
def test_row_of_the_table_for_events(ask, x, q, weight, loss, slope):
    x, q, loss = (np.array(a, dtype=float) for a in (x, q, loss))
    with np.errstate(invalid="ignore"):
        mean = np.divide(loss.sum(), loss.size)
    expected = {"none": loss, "sample": loss, "sum": loss.sum(), "mean": mean}
    for reduction, values in expected.items():
        got, gradient = ask(x, q, weight=weight, reduction=reduction)
        assert np.shape(got) == np.shape(values)
        np.testing.assert_allclose(got, values, rtol=1e-14)
        share = max(len(x), 1) if reduction == "mean" else 1
        np.testing.assert_allclose(gradient, np.divide(slope, share), rtol=1e-14)


@pytest.mark.parametrize("of_logits", [True, False])
def test_refusals_for_events(of_logits):
    x = np.full((3, 2), 0.5)
    for ask in binary_ways(of_logits).values():
        for argument, options in [
            ("label_smoothing", {"label_smoothing": 1.01}),
            ("reduction", {"reduction": "average"}),
            ("weight", {"weight": np.ones(3)}),
        ]:
            with pytest.raises(ValueError, match=rf"^{argument} must .*; got "):
                ask(x, x, **options)
        with pytest.raises(ValueError, match=r"^target must .*; got shape \(2,\)"):
            ask(x, x[0])
