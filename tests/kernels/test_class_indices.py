"""Class indices that are ignored or wrong, handed to the kernels as they are.

Everything public refuses a wrong index. The kernels have to live with one all the same:
the short cut for calls without options asks after them.
"""

import math

import numpy as np
import pytest

from skxent.backends import NO_INDEX, EncodedTargets, _numpy
from skxent.kernels import _targets
from skxent.kernels._batches import MOST_CLASSES

N_ROWS = 38  # two groups of 16 lanes and a part of one
SHAPES = [
    shape
    for n_classes in (2, 10, 300, 5000)
    for shape in [(N_ROWS, n_classes), (2, n_classes, N_ROWS // 2)]
]
WRONG = [-1, "K", 2**30, 2**31 - 1, 2**40, -(2**40) - 1, 2**63 - 1, -(2**63)]
# one value for all classes; one for each; smoothing
COEFFICIENTS = ["plain", "weighted", "smooth"]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_coefficient = pytest.mark.parametrize("coefficients", COEFFICIENTS)


def make(shape, dtype, coefficients, *, probabilities=False):
    """Return scores and the record of right class indices."""
    rng = np.random.default_rng(70)
    scores = rng.normal(0, 3, shape)
    if probabilities:
        scores = rng.uniform(0.1, 0.9, shape)
    n_classes = shape[1]
    on, off = np.ones(n_classes), np.zeros(n_classes)
    if coefficients != "plain":
        on = rng.uniform(0.5, 2, n_classes)
    if coefficients == "smooth":
        on, off = 0.9 * on, 0.1 / n_classes * on
    target = rng.integers(0, n_classes, N_ROWS)
    none = np.empty(0)
    return scores.astype(dtype), EncodedTargets(target, on, off, none, NO_INDEX, 1.0)


def softmax(scores, targets):
    """Return the sum of the losses, the losses and the gradient."""
    losses, gradient = np.full(N_ROWS, 7, scores.dtype), np.full_like(scores, 7)
    total = _numpy.softmax_loss(scores, targets, losses, gradient, 0.5)
    nothing = np.empty((0,) * scores.ndim, scores.dtype)
    alone = _numpy.softmax_loss(scores, targets, losses[:0], nothing, 0.5)
    # of few classes it is not made of the losses of rows, rounded to their dtype
    is_product = scores.shape[1] <= MOST_CLASSES
    most = 8 * float(np.finfo(scores.dtype).eps) if is_product else 0
    assert alone == pytest.approx(total, rel=most, abs=0, nan_ok=True)
    return total, losses, as_rows(gradient)


def probability(scores, targets):
    """Do as `softmax` for probabilities."""
    losses, gradient = np.full(N_ROWS, 7, scores.dtype), np.full_like(scores, 7)
    nothing = np.empty((0,) * scores.ndim, scores.dtype)
    limits = -math.inf, math.inf
    alone = _numpy.probability_loss(scores, targets, *limits, losses[:0], nothing, 0.5)
    total = _numpy.probability_loss(scores, targets, *limits, losses, gradient, 0.5)
    assert alone == total or (math.isnan(alone) and math.isnan(total))
    return total, losses, as_rows(gradient)


def as_rows(gradient):
    return np.moveaxis(gradient, 1, -1).reshape(N_ROWS, -1)


def assert_wrong_row_alone_is_nan(kernel, scores, targets):
    """A wrong index makes its row nan, and leaves the others their bits."""
    _, losses, gradient = kernel(scores, targets)
    for wrong in WRONG:
        for row in (0, 17, N_ROWS - 1):
            target = targets.target.copy()
            target[row] = scores.shape[1] if wrong == "K" else wrong
            total, got, slopes = kernel(scores, targets._replace(target=target))
            assert math.isnan(total)
            assert math.isnan(got[row])
            assert np.isnan(slopes[row]).all()
            others = np.arange(N_ROWS) != row
            np.testing.assert_array_equal(got[others], losses[others])
            np.testing.assert_array_equal(slopes[others], gradient[others])


@every_shape
@every_dtype
@every_coefficient
def test_wrong_index_is_nan_and_touches_no_neighbour(shape, dtype, coefficients):
    assert_wrong_row_alone_is_nan(softmax, *make(shape, dtype, coefficients))


@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
@every_dtype
@every_coefficient
def test_wrong_index_of_probabilities_is_nan(shape, dtype, coefficients):
    arguments = make(shape, dtype, coefficients, probabilities=True)
    assert_wrong_row_alone_is_nan(probability, *arguments)


@every_dtype
@pytest.mark.parametrize("shape", [(N_ROWS, 1), (2, 1, N_ROWS // 2)], ids=str)
def test_wrong_index_is_nan_where_there_is_one_class(shape, dtype):
    assert_wrong_row_alone_is_nan(softmax, *make(shape, dtype, "plain"))


@every_shape
@every_dtype
@every_coefficient
@pytest.mark.parametrize("ignored", [-100, 1, -(2**63) + 1, 2**40])
def test_ignored_rows_weigh_0_whatever_their_logits_are(
    shape, dtype, coefficients, ignored
):
    scores, targets = make(shape, dtype, coefficients)
    targets.target[targets.target == ignored] = 0
    rows = [0, 5, 16, 17, N_ROWS - 1]
    targets.target[rows] = ignored
    weight = np.random.default_rng(71).uniform(0.5, 2, N_ROWS)
    for row_weight in (np.empty(0), weight, np.where(weight > 1, weight, math.nan)):
        zeros = row_weight.copy() if row_weight.size else np.ones(N_ROWS)
        zeros[rows] = 0
        of_weights = targets._replace(row_weight=zeros)
        of_index = targets._replace(row_weight=row_weight, ignore_index=ignored)
        expected = softmax(scores, of_weights)
        for fill in (0.5, math.nan, math.inf, -math.inf):
            bad = np.moveaxis(scores.copy(), 1, -1)
            bad.reshape(N_ROWS, -1)[rows] = fill
            bad = np.ascontiguousarray(np.moveaxis(bad, -1, 1))
            total, losses, gradient = softmax(bad, of_index)
            np.testing.assert_array_equal(total, expected[0])
            np.testing.assert_array_equal(losses, expected[1])
            np.testing.assert_array_equal(gradient, expected[2])
            assert not losses[rows].any()
            assert not gradient[rows].any()


@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
@every_dtype
@every_coefficient
def test_ignored_rows_of_probabilities_weigh_0(shape, dtype, coefficients):
    scores, targets = make(shape, dtype, coefficients, probabilities=True)
    rows = [0, 5, N_ROWS - 1]
    targets.target[rows] = -100
    zeros = np.ones(N_ROWS)
    zeros[rows] = 0
    expected = probability(scores, targets._replace(row_weight=zeros))
    got = probability(scores, targets._replace(ignore_index=-100))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not got[2][rows].any()


@every_shape
def test_no_index_ignores_nothing_and_weight_0_ignores_everything(shape):
    scores, targets = make(shape, "float32", "plain")
    targets.target[3] = NO_INDEX
    assert math.isnan(softmax(scores, targets)[0])
    weight = np.ones(N_ROWS)
    weight[3] = 0
    total, losses, gradient = softmax(scores, targets._replace(row_weight=weight))
    assert math.isfinite(total)
    assert losses[3] == 0
    assert not gradient[3].any()


def test_rule_of_a_row():
    # class, weight, ignore_index: the class that is read and the weight
    for arguments, expected in {
        (3, 2.0, -100): (3, 2.0),
        (3, 0.0, -100): (3, 0.0),
        (3, 2.0, 3): (3, 0.0),
        (3, math.nan, 3): (3, 0.0),
        (-100, 2.0, -100): (0, 0.0),
        (-100, 2.0, -99): (0, math.nan),
        (5, 2.0, -100): (0, math.nan),
        (5, 0.0, -100): (0, 0.0),
        (-(2**63), 2.0, NO_INDEX): (0, math.nan),
    }.items():
        y, weight, ignore_index = arguments
        got = _targets.class_and_weight(y, weight, 5, ignore_index)
        np.testing.assert_array_equal(got, expected, err_msg=str(arguments))
