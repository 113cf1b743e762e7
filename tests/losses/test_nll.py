"""The loss of log-probabilities against torch, against the others and at the edges."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    nll_loss,
    nll_loss_grad,
    nll_loss_value_and_grad,
)
from tests.losses import cases

FUNCTIONS = [nll_loss, nll_loss_grad, nll_loss_value_and_grad]
REDUCTIONS = (*cases.REDUCTIONS, "sample")
SHAPES = [(7,), (1,), (6, 1), (33, 10), (9, 300), (3, 5, 4), (4, 7, 2, 3), (2, 1, 5)]
RTOL = {"float64": 1e-13, "float32": 1e-6, "float16": 1e-3}


def make_problem(shape, dtype="float64", seed=70):
    """Log-probabilities with the classes on torch's axis, and class indices."""
    rng = np.random.default_rng(seed)
    axis = min(1, len(shape) - 1)
    x = np.moveaxis(np.log(cases.make_probabilities(rng, shape)), -1, axis)
    x = np.ascontiguousarray(x.reshape(shape)).astype(dtype)
    target = rng.integers(shape[axis], size=shape[:axis] + shape[axis + 1 :])
    return x, target, cases.make_weight(rng, shape[axis])


def option_grid(target, weight):
    """Every (target, options) that torch knows, with rows ignored in both ways."""
    marked = np.array(target)
    marked.reshape(-1)[1::4] = -100
    inside = len(weight) // 2
    for (t, ignore_index), w, reduction in itertools.product(
        [(target, -100), (marked, -100), (target, inside)],
        (None, weight),
        cases.REDUCTIONS,
    ):
        yield t, {"weight": w, "ignore_index": ignore_index, "reduction": reduction}


def torch_loss(x, target, weight, **options):
    """torch's float64 value and the gradient of its sum."""
    x = torch.tensor(x.astype(np.float64), requires_grad=True)
    weight = None if weight is None else torch.tensor(weight)
    loss = F.nll_loss(x, torch.tensor(target), weight, **options)
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_torch_over_the_product_of_options(shape, dtype):
    x, target, weight = make_problem(shape, dtype)
    rtol = RTOL[dtype]
    failures = []
    for t, options in option_grid(target, weight):
        value, gradient = torch_loss(x, t, **options)
        text = cases.describe(options)
        both = nll_loss_value_and_grad(x, t, **options)
        for got in (nll_loss(x, t, **options), both[0]):
            assert got.dtype == dtype
            failures += cases.value_mismatch(f"value, {text}", got, value, rtol)
        for got in (nll_loss_grad(x, t, **options), both[1]):
            assert got.dtype == dtype
            failures += cases.value_mismatch(f"gradient, {text}", got, gradient, rtol)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (33, 10), (3, 70, 4), (4, 7, 2, 3)], ids=str)
def test_of_log_probabilities_is_the_cross_entropy_of_probabilities(shape, reduction):
    x, target, weight = make_problem(shape)
    rng = np.random.default_rng(71)
    options = {"weight": weight, "reduction": reduction, "ignore_index": 0}
    for sample_shape in {target.shape[:1], target.shape}:
        options["sample_weight"] = cases.make_sample_weight(rng, sample_shape)
        np.testing.assert_allclose(
            nll_loss(x, target, **options),
            cross_entropy(np.exp(x), target, from_logits=False, **options),
            rtol=1e-13,
        )
        # The chain rule: d/dx = p d/dp.
        slope = cross_entropy_grad(np.exp(x), target, from_logits=False, **options)
        np.testing.assert_allclose(
            nll_loss_grad(x, target, **options), slope * np.exp(x), rtol=1e-13
        )


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_any_class_axis_gives_the_bits_of_its_own(axis, reduction):
    x, target, weight = make_problem((5, 6, 7))
    rng = np.random.default_rng(72)
    options = {"weight": weight, "reduction": reduction}
    options["sample_weight"] = cases.make_sample_weight(rng, target.shape)
    value, gradient = nll_loss_value_and_grad(x, target, **options)
    for moved in (
        np.moveaxis(x, 1, axis),
        np.ascontiguousarray(np.moveaxis(x, 1, axis)),
    ):
        got, slope = nll_loss_value_and_grad(moved, target, class_axis=axis, **options)
        assert cases.same_bits(got, value)
        np.testing.assert_array_equal(np.moveaxis(slope, axis, 1), gradient)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_grad_output_multiplies_the_gradient(reduction):
    x, target, weight = make_problem((9, 6, 4))
    options = {"weight": weight, "reduction": reduction}
    losses = nll_loss(x, target, **options)
    inflow = np.random.default_rng(73).normal(size=np.shape(losses))
    got = nll_loss_grad(x, target, grad_output=inflow, **options)
    rows = inflow.reshape(inflow.shape + (1,) * (2 - inflow.ndim))
    plain = nll_loss_grad(x, target, **options)
    expected = plain * np.broadcast_to(rows, (9, 4))[:, np.newaxis]
    np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_list_of_arrays_is_taken_as_by_cross_entropy(reduction):
    x, target, weight = make_problem((9, 4))
    entries, labels = np.split(x, [2, 3]), np.split(target, [2, 3])
    options = {"weight": weight, "reduction": reduction, "class_axis": -1}
    losses, slopes = nll_loss_value_and_grad(entries, labels, **options)
    expected = cross_entropy(
        [np.exp(entry) for entry in entries], labels, from_logits=False, **options
    )
    if reduction != "none":
        losses, expected = [losses], [expected]
    for got, other in zip(losses, expected, strict=True):
        np.testing.assert_allclose(got, other, rtol=1e-13)
    if reduction != "sample":  # there a sample of the array is a row
        plain = nll_loss_grad(x, target, **options)
        np.testing.assert_array_equal(np.concatenate(slopes), plain)
    with pytest.raises(TypeError, match=r"\btarget\b.*cross_entropy"):
        nll_loss(entries, [np.exp(entry) for entry in entries])


# the contract's table of special cases


@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ignored_row_adds_nothing_whatever_it_holds(reduction, fill):
    x, target, weight = make_problem((8, 5))
    options = {"weight": weight, "reduction": reduction}
    expected = nll_loss_value_and_grad(x, np.r_[target[:6], -1, -1], ignore_index=-1)
    x[6:] = fill
    got = nll_loss_value_and_grad(x, np.r_[target[:6], -1, -1], ignore_index=-1)
    assert cases.same_bits(got[0], expected[0])
    assert cases.same_bits(got[1], expected[1])
    weights = [1, 1, 1, 1, 1, 1, 0, 0]
    value, gradient = nll_loss_value_and_grad(
        x, target, sample_weight=weights, **options
    )
    kept = nll_loss_value_and_grad(x[:6], target[:6], **options)
    np.testing.assert_allclose(np.resize(value, np.shape(kept[0])), kept[0], rtol=1e-14)
    np.testing.assert_allclose(gradient[:6], kept[1], rtol=1e-14)
    assert (gradient[6:] == 0).all()


@pytest.mark.parametrize("shape", [(5,), (6, 5), (0, 5), (6, 5, 3), (0, 5, 3), (4, 0)])
def test_nothing_to_average(shape):
    axis = min(1, len(shape) - 1)
    x = np.zeros(shape)
    target = np.full(shape[:axis] + shape[axis + 1 :], -100)
    for reduction in REDUCTIONS:
        value, gradient = nll_loss_value_and_grad(x, target, reduction=reduction)
        assert gradient.shape == shape
        assert (gradient == 0).all()
        if reduction in ("mean", "sample"):
            assert np.isnan(value).all()
        else:
            assert (np.asarray(value) == 0).all()
    assert np.shape(nll_loss(x, target, reduction="none")) == target.shape


def test_an_empty_list_is_no_rows():
    assert math.isnan(nll_loss(np.zeros((0, 3)), []))


def test_total_weight_zero_with_rows_kept_is_nan_in_value_and_gradient_as_in_torch():
    x, _, _ = make_problem((4, 3))
    target = np.array([0, 0, -100, 0])
    weight = np.array([0.0, 1.0, 2.0])
    value, gradient = nll_loss_value_and_grad(x, target, weight=weight)
    expected = torch_loss(x, target, weight)
    assert math.isnan(value)
    assert math.isnan(expected[0])
    np.testing.assert_array_equal(gradient, expected[1])
    assert np.isnan(gradient).sum() == 3


def test_class_without_weight_against_an_infinite_loss_is_zero():
    x = np.array([[-math.inf, 0.0], [-1.0, -2.0]])
    losses, gradient = nll_loss_value_and_grad(
        x, np.array([0, 1]), weight=[0.0, 3.0], reduction="none"
    )
    np.testing.assert_array_equal(losses, [0.0, 6.0])
    np.testing.assert_array_equal(gradient, [[0.0, 0.0], [0.0, -3.0]])


def test_minus_infinity_is_an_infinite_loss_and_nan_is_nan():
    x = np.array([[-math.inf, math.nan], [math.nan, 0.0], [-1.0, math.nan]])
    losses, gradient = nll_loss_value_and_grad(x, np.zeros(3, int), reduction="none")
    np.testing.assert_array_equal(losses, [math.inf, math.nan, 1.0])
    np.testing.assert_array_equal(gradient, [[-1.0, 0.0]] * 3)


def test_a_sure_right_answer_costs_a_positive_zero():
    losses = nll_loss(np.zeros((2, 1)), np.array([0, -100]), reduction="none")
    assert (losses == 0).all()
    assert not np.signbit(losses).any()


def test_what_the_dtype_cannot_hold_is_infinite():
    x = np.full((2, 1), -60_000, dtype=np.float16)
    assert nll_loss(x, [0, 0], reduction="sum") == math.inf
    assert nll_loss(x, [0, 0]) == 60_000
    gradient = nll_loss_grad(x, [0, 0], grad_output=1e300)
    assert (gradient == -math.inf).all()


# arrays in and out


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("shape", [(33, 10), (3, 5, 4)], ids=str)
def test_any_layout_gives_the_same_bits_and_arguments_stay(shape, dtype):
    x, target, weight = make_problem(shape, dtype)
    expected = nll_loss_value_and_grad(x, target, weight=weight)
    gaps = np.full((2 * shape[0], *shape[1:]), 99, dtype=dtype)[::2]
    gaps[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for odd in (gaps, frozen, np.asfortranarray(x), x.astype(x.dtype.newbyteorder())):
        value, gradient = nll_loss_value_and_grad(odd, target, weight=weight)
        assert cases.same_bits(value, expected[0])
        np.testing.assert_array_equal(gradient, expected[1])
        np.testing.assert_array_equal(odd, x)


def test_integers_and_lists_are_read_as_float64():
    value, gradient = nll_loss_value_and_grad([[-1, -2], [-3, -4]], [1, 0])
    assert value == 2.5
    assert gradient.dtype == np.float64


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_out_receives_the_gradient_and_may_be_the_input(dtype):
    x, target, weight = make_problem((9, 6), dtype)
    value, gradient = nll_loss_value_and_grad(x, target, weight=weight)
    for out in (np.empty_like(x), np.empty_like(x, order="F"), x.copy()):
        out[...] = x
        got, slope = nll_loss_value_and_grad(out, target, weight=weight, out=out)
        assert slope is out
        assert cases.same_bits(got, value)
        np.testing.assert_array_equal(out, gradient)
        assert nll_loss_grad(x, target, weight=weight, out=out) is out
        np.testing.assert_array_equal(out, gradient)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(70_000, 3), (2000, 300), (3, 7, 30_000)], ids=str)
def test_many_rows_are_those_that_numpy_picks(shape, dtype):
    rng = np.random.default_rng(75)
    x = -rng.exponential(size=shape).astype(dtype)
    target = rng.integers(shape[1], size=(shape[0], *shape[2:]))
    weight = rng.uniform(0.5, 2.0, size=shape[1])
    place = np.expand_dims(target, 1)
    factor = weight[target]
    losses = -np.take_along_axis(x, place, 1)[:, 0] * factor
    value, gradient = nll_loss_value_and_grad(x, target, weight=weight)
    np.testing.assert_allclose(value, losses.sum() / factor.sum(), rtol=1e-6)
    rows = nll_loss(x, target, weight=weight, reduction="none")
    np.testing.assert_allclose(rows, losses, rtol=1e-7)
    expected = np.zeros(shape)
    slope = np.expand_dims(-factor / factor.sum(), 1)
    np.put_along_axis(expected, place, slope, 1)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(33, 10), (2000, 30)], ids=str)
def test_short_way_gives_the_bits_of_the_general_one(shape):
    x, target, weight = make_problem(shape)
    marked = target.copy()
    marked[::5] = -100
    options = {"weight": weight, "sample_weight": np.linspace(0, 2, shape[0])}
    for y, some in ((target, {}), (marked, {}), (marked, options)):
        for reduction in cases.REDUCTIONS:
            got = nll_loss(x, y, reduction=reduction, **some)
            other = nll_loss(x, y.tolist(), reduction=reduction, **some)
            assert cases.same_bits(got, other)


def test_takes_no_memory():
    x = np.zeros((2000, 1000), dtype=np.float32)
    target = np.zeros(2000, dtype=np.int64)
    for _ in range(2):  # the first loads what the second looks at
        nll_loss(x, target)
    tracemalloc.start()
    try:
        nll_loss(x, target)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2000


# refusals

X, TARGET, WEIGHT = make_problem((5, 4))
REFUSED = {
    "target-float": (TypeError, "target", {"target": TARGET.astype(float)}),
    "target-probabilities": (TypeError, "target", {"target": np.exp(X)}),
    "target-integers": (TypeError, "target", {"target": X.astype(int)}),
    "target-out-of-range": (ValueError, "target", {"target": TARGET + 4}),
    "target-negative": (ValueError, "target", {"target": TARGET - 4}),
    "target-short": (ValueError, "target", {"target": TARGET[1:]}),
    "target-bool": (TypeError, "target", {"target": TARGET > 1}),
    "target-masked": (TypeError, "target", {"target": np.ma.masked_equal(TARGET, 0)}),
    "input-number": (ValueError, "input", {"input": 1.0, "target": 0}),
    "input-text": (TypeError, "input", {"input": X.astype(str)}),
    "weight-long": (ValueError, "weight", {"weight": np.ones(5)}),
    "sample_weight-long": (ValueError, "sample_weight", {"sample_weight": np.ones(6)}),
    "ignore_index-float": (TypeError, "ignore_index", {"ignore_index": 1.5}),
    "reduction-unknown": (ValueError, "reduction", {"reduction": "average"}),
    "class_axis-far": (ValueError, "class_axis", {"class_axis": 2}),
    "class_axis-float": (TypeError, "class_axis", {"class_axis": 1.0}),
}


@pytest.mark.parametrize(("error", "argument", "flaw"), REFUSED.values(), ids=REFUSED)
def test_bad_argument_is_named(error, argument, flaw):
    for function in FUNCTIONS:
        with pytest.raises(error, match=rf"\b{argument}\b"):
            function(**{"input": X, "target": TARGET, **flaw})


def test_float_target_is_sent_to_cross_entropy():
    with pytest.raises(TypeError, match=r"cross_entropy, .*from_logits=False"):
        nll_loss(X, np.exp(X))
    # what the message says to do
    loss = cross_entropy(np.exp(X), np.exp(X), from_logits=False)
    entropy = -(np.exp(X) * X).sum(axis=1).mean()
    assert math.isclose(loss, entropy, rel_tol=1e-14)


def test_bad_out_and_grad_output_are_named():
    for out in (np.empty((4, 5)), np.empty((5, 4), np.float32), [[0.0] * 4] * 5):
        with pytest.raises((ValueError, TypeError), match=r"\bout\b"):
            nll_loss_grad(X, TARGET, out=out)
    with pytest.raises(ValueError, match=r"\bgrad_output\b"):
        nll_loss_grad(X, TARGET, grad_output=np.ones(5))
