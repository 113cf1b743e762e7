"""Losses of nan, of infinite and of no numbers are those of the host."""

import numpy as np
import pytest
from numba import cuda

from skxent import losses
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.arrays import on_host

use_device_math("skxent.kernels._cuda")
pytestmark = [
    pytest.mark.usefixtures("small_blocks"),
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),
]

INF, NAN = np.inf, np.nan
RNG = np.random.default_rng(5)
# Rows in one thread, rows in several, planes of few classes and of many.
SHAPES = [(3, 4), (3, 40), (2, 4, 2), (2, 70, 2)]
SUFFIXES = ["_value_and_grad", "_grad", "_hvp"]


def both(name, suffix, input, *args, **options):
    """Return what a function returns on the host and on the device, as tuples."""
    function = getattr(losses, name + suffix)
    found = []
    for where in (np.asarray, cuda.to_device):
        results = function(where(input.copy()), *args, **options)
        results = results if isinstance(results, tuple) else (results,)
        found.append([np.asarray(on_host(result)) for result in results])
    return found


def assert_same(found):
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


def drawn(shape, *, is_soft):
    """Return logits, and targets of which those of the first rows are class 1."""
    logits = RNG.normal(size=shape)
    n_rows = (shape[0], *shape[2:])
    if is_soft:
        soft = RNG.dirichlet(np.ones(shape[1]), n_rows)
        return logits, np.moveaxis(soft, -1, 1).copy()
    target = RNG.integers(1, shape[1], size=n_rows)
    target[0] = 1
    return logits, target


def weights(shape, first, rest=1.0):
    weight = np.full(shape, rest)
    weight[0] = first
    return weight


@pytest.mark.parametrize("logit", [NAN, INF, -INF])
@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits(shape, is_soft, logit):
    logits, target = drawn(shape, is_soft=is_soft)
    logits[0, 1] = logit
    logits[1] = -INF
    for options in ({}, {"reduction": "sample", "label_smoothing": 0.1}):
        for suffix in SUFFIXES:
            vector = (RNG.normal(size=shape),) if suffix == "_hvp" else ()
            assert_same(
                both("cross_entropy", suffix, logits, target, *vector, **options)
            )


@pytest.mark.parametrize("first", [NAN, 0.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_soft_targets(shape, first):
    logits, target = drawn(shape, is_soft=True)
    target[0, 1] = first
    target[1] = 0
    for options in ({}, {"reduction": "none"}):
        for suffix in SUFFIXES[:2]:
            assert_same(both("cross_entropy", suffix, logits, target, **options))


@pytest.mark.parametrize("reduction", ["mean", "sample"])
@pytest.mark.parametrize("first", [INF, NAN, 0.0])
@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_of_samples(shape, is_soft, first, reduction):
    logits, target = drawn(shape, is_soft=is_soft)
    options = {"sample_weight": weights(shape[:1], first), "reduction": reduction}
    for suffix in SUFFIXES:
        vector = (RNG.normal(size=shape),) if suffix == "_hvp" else ()
        assert_same(both("cross_entropy", suffix, logits, target, *vector, **options))


@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_that_add_up_to_nothing(shape, is_soft):
    logits, target = drawn(shape, is_soft=is_soft)
    weight = np.zeros(shape[0])
    weight[0], weight[-1] = 1, -1
    found = both(
        "cross_entropy", "_value_and_grad", logits, target, sample_weight=weight
    )
    assert_same(found)
    assert np.isnan(found[1][0])
    assert np.isnan(found[1][1][0]).all()


@pytest.mark.parametrize("weight", [INF, NAN])
@pytest.mark.parametrize("shape", SHAPES)
def test_weights_of_classes(shape, weight):
    logits, target = drawn(shape, is_soft=False)
    target[0] = -100
    options = {"weight": weights(shape[1:2], weight)}  # of class 0, which no row has
    found = both("cross_entropy", "_value_and_grad", logits, target, **options)
    assert_same(found)
    assert np.isfinite(found[1][1]).all()
    target[-1] = 0
    for name in ("cross_entropy", "nll_loss"):
        assert np.isnan(both(name, "_value_and_grad", logits, target, **options)[1][0])
    options["label_smoothing"] = 1.0
    assert_same(both("cross_entropy", "_value_and_grad", logits, target, **options))


@pytest.mark.parametrize("shape", SHAPES)
def test_an_infinite_weight_leaves_no_mean(shape):
    logits, target = drawn(shape, is_soft=False)
    options = {"weight": weights(shape[1:2], 1.0)}
    options["weight"][1] = INF
    found = both("nll_loss", "_value_and_grad", logits, target, **options)
    assert_same(found)
    assert np.isnan(found[1][0])


@pytest.mark.parametrize("inflow", [INF, NAN, 0.0])
@pytest.mark.parametrize("reduction", ["none", "sample"])
@pytest.mark.parametrize("of_row", [NAN, 0.0, 2.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_flows_into_a_loss(shape, of_row, reduction, inflow):
    logits, target = drawn(shape, is_soft=True)
    options = {"sample_weight": weights(shape[:1], of_row), "reduction": reduction}
    losses_shape = shape[:1] if reduction == "sample" else shape[:1] + shape[2:]
    options["grad_output"] = weights(losses_shape, inflow, rest=-0.5)
    assert_same(both("cross_entropy", "_grad", logits, target, **options))


@pytest.mark.parametrize("first", [INF, NAN])
@pytest.mark.parametrize("shape", SHAPES)
def test_vectors(shape, first):
    logits, target = drawn(shape, is_soft=False)
    vector = RNG.normal(size=shape)
    vector[0, 1] = first
    assert_same(both("cross_entropy", "_hvp", logits, target, vector))


@pytest.mark.parametrize("weight", [0.0, INF, NAN])
@pytest.mark.parametrize("inflow", [0.0, INF, NAN])
@pytest.mark.parametrize(
    "name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"]
)
def test_what_flows_into_a_binary_loss(name, inflow, weight):
    scores, target = RNG.uniform(0.1, 0.9, (2, 3, 4))
    for reduction in ("mean", "none", "sample"):
        options = {"weight": np.asarray(weight), "reduction": reduction}
        shape = {"mean": (), "none": (3, 4), "sample": (3,)}[reduction]
        options["grad_output"] = np.full(shape, inflow)
        assert_same(both(name, "_grad", scores, target, **options))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "sample"])
@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize(
    "shape", [(0, 3), (3, 0), (0, 0), (0,), (2, 0, 2), (2, 3, 0), (0, 70)]
)
def test_no_numbers(shape, is_soft, reduction):
    axis = min(1, len(shape) - 1)
    n_rows = shape[:axis] + shape[axis + 1 :]
    target = np.zeros(shape) if is_soft else np.full(n_rows, -100)
    every = {"reduction": reduction}
    for options in (
        {},
        {"label_smoothing": 0.1},
        {"weight": np.ones(shape[axis])},
        {"sample_weight": np.ones(n_rows[:1] or 1)},
        {"from_logits": False},
    ):
        options = every | options
        found = both(
            "cross_entropy", "_value_and_grad", np.zeros(shape), target, **options
        )
        assert_same(found)
