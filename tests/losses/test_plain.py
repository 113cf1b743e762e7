"""The short cut for rows of logits: the bits and the errors of the general way."""

import itertools

import numpy as np
import pytest

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_value_and_grad,
)
from skxent.losses._call import prepare, value, value_and_grad
from skxent.losses._plain import FEW_ROWS, LEAST_ROWS, rows_loss

DEFAULTS = {
    "weight": None,
    "ignore_index": -100,
    "reduction": "mean",
    "label_smoothing": 0.0,
    "from_logits": True,
    "class_axis": None,
    "sample_weight": None,
}
SHAPES = [(1, 1), (5, 3), (LEAST_ROWS, 2), (FEW_ROWS + 1, 10), (40, 300)]


def make_problem(shape, dtype=np.float32, *, kind="index", seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 3, shape).astype(dtype)
    if kind == "probabilities":
        return z, rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)
    return z, rng.integers(0, shape[1], shape[0])


def general(z, target, **options):
    """Return value and gradient by the way that knows everything."""
    call = prepare(z, target, *(DEFAULTS | options).values())
    loss, gradient = value_and_grad(call, None)
    np.testing.assert_array_equal(value(call), loss)
    return loss, gradient


def check_same(z, target, **options):
    loss, gradient = general(z, target, **options)
    assert rows_loss(z, target, *(DEFAULTS | options).values()) is not None
    one = cross_entropy(z, target, **options)
    assert type(one) is type(loss)
    np.testing.assert_array_equal(one, loss)
    out = np.full_like(z, np.nan)
    both = cross_entropy_value_and_grad(z, target, out=out, **options)
    np.testing.assert_array_equal(both[0], loss)
    assert both[1] is out
    for each in (
        out,
        cross_entropy_value_and_grad(z, target, **options)[1],
        cross_entropy_grad(z, target, **options),
    ):
        assert each.dtype == z.dtype
        np.testing.assert_array_equal(each, gradient)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["index", "int32", "ignored", "probabilities"])
def test_every_option_gives_the_bits_of_the_general_way(shape, dtype, kind):
    z, target = make_problem(shape, dtype, kind=kind)
    if kind == "int32":
        target = target.astype(np.int32)
    if kind == "ignored":
        target[::3] = -100
    rng = np.random.default_rng(1)
    weights = (None, rng.random(shape[1]) + 0.5)
    sample_weights = (None, rng.integers(0, 3, shape[0]).astype(np.float64))
    for weight, sample_weight, label_smoothing, reduction in itertools.product(
        weights, sample_weights, (0.0, 0.1), ("mean", "sum", "none")
    ):
        check_same(
            z,
            target,
            weight=weight,
            sample_weight=sample_weight,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )


@pytest.mark.parametrize("options", [{}, {"reduction": "none"}, {"ignore_index": 1}])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_without_a_softmax_are_nan(options, bad):
    z, y = make_problem((50, 10))
    z[7, 3] = bad
    y[7] = 0
    check_same(z, y, **options)
    check_same(*make_problem((50, 10), kind="probabilities"), reduction="none")


@pytest.mark.parametrize("n_rows", [20, LEAST_ROWS, 3 * FEW_ROWS])
@pytest.mark.parametrize("wrong", [-1, 10, -(2**63)])
@pytest.mark.parametrize(
    "options",
    [{}, {"reduction": "sum"}, {"label_smoothing": 0.1}, {"weight": np.ones(10)}],
)
def test_wrong_class_index_is_named(n_rows, wrong, options):
    z, y = make_problem((n_rows, 10))
    y[2] = -100
    y[11] = wrong
    message = rf"lie in \[0, 10\); got {wrong} at row 11"
    for function in (cross_entropy, cross_entropy_grad, cross_entropy_value_and_grad):
        with pytest.raises(ValueError, match=message):
            function(z, y, **options)
    out = np.full_like(z, 7.0)
    with pytest.raises(ValueError, match=message):
        cross_entropy_grad(z, y, out=out, **options)
    assert (out == 7.0).all()


@pytest.mark.parametrize("n_rows", [20, LEAST_ROWS])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int16, ">i8"])
def test_class_indices_of_any_integers(n_rows, dtype):
    z, y = make_problem((n_rows, 10))
    check_same(z, y.astype(dtype))
    check_same(z, y.astype(dtype), reduction="none")
    y = y.astype(dtype)
    y[11] = wrong = np.iinfo(dtype).max
    for options in ({}, {"reduction": "sum"}):
        with pytest.raises(ValueError, match=rf"got {wrong} at row 11"):
            cross_entropy(z, y, **options)


def test_gradient_may_take_the_place_of_an_argument():
    z, y = make_problem((40, 10), np.float64)
    memory = np.random.default_rng(2).random(400)
    weight = np.random.default_rng(3).random(10)
    out, sample_weight = memory.reshape(40, 10), memory[:40]
    expected = general(z, y, weight=weight, sample_weight=sample_weight.copy())
    loss, gradient = cross_entropy_value_and_grad(
        z, y, weight=weight, sample_weight=sample_weight, out=out
    )
    assert loss == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])
    loss, gradient = general(z, y, label_smoothing=0.1)
    both = cross_entropy_value_and_grad(z, y, label_smoothing=0.1, out=z)
    assert both[0] == loss
    assert both[1] is z
    np.testing.assert_array_equal(z, gradient)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [3, 5000])
def test_weights_that_change_in_place(n_classes, dtype):
    z, y = make_problem((40, n_classes))
    weight, rows = np.ones(n_classes, dtype), np.ones(40, dtype)
    for factor in (1, 2, 0.5):
        weight[y[0]], rows[1] = factor, factor
        check_same(z, y, weight=weight, sample_weight=rows, label_smoothing=0.1)
    weight[y[0]] = np.inf
    assert np.isnan(cross_entropy(z, y, weight=weight))


def test_read_only_arguments_are_taken():
    z, y = make_problem((40, 10))
    weight, sample_weight = np.arange(1.0, 11.0), np.arange(40.0)
    for array in (z, y, weight, sample_weight):
        array.flags.writeable = False
    check_same(z, y, weight=weight, sample_weight=sample_weight)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"reduction": "men"}, ValueError),
        ({"reduction": np.array("mean")}, ValueError),
        ({"label_smoothing": 1.5}, ValueError),
        ({"label_smoothing": np.nan}, ValueError),
        ({"label_smoothing": True}, TypeError),
        ({"ignore_index": -1.0}, TypeError),
        ({"from_logits": 1}, TypeError),
        ({"class_axis": 2}, ValueError),
        ({"weight": np.ones(9)}, ValueError),
        ({"sample_weight": np.ones(9)}, ValueError),
    ],
)
def test_wrong_options_are_refused_as_by_the_general_way(options, error):
    z, y = make_problem((40, 10))
    with pytest.raises(error) as expected:
        prepare(z, y, *(DEFAULTS | options).values())
    for function in (cross_entropy, cross_entropy_grad, cross_entropy_value_and_grad):
        with pytest.raises(error) as found:
            function(z, y, **options)
        assert str(found.value) == str(expected.value)
