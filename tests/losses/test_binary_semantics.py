"""The binary losses at the edges of the contract, and arrays of any kind."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from skxent.losses import (
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_value_and_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_hvp,
    binary_cross_entropy_with_logits_value_and_grad,
)
from tests.losses import binary_cases, cases
from tests.losses.test_cross_entropy_arrays import LAYOUTS

REDUCTIONS = (*binary_cases.REDUCTIONS, "sample")
FLOATS = [np.float16, np.float32, np.float64]
SPECIAL = [0, 130, 298]  # the first element, another block, the rest of a block
every_form = pytest.mark.parametrize("form", binary_cases.FORMS)
every_float = pytest.mark.parametrize("dtype", FLOATS)
every_size = pytest.mark.parametrize("size", [299, 20_001])


def evaluate(x, q, **options):
    """Value and gradient of logits, the same from every function."""
    value, gradient = binary_cross_entropy_with_logits_value_and_grad(x, q, **options)
    alone = binary_cross_entropy_with_logits(x, q, **options)
    slope = binary_cross_entropy_with_logits_grad(x, q, **options)
    assert cases.same_bits(value, alone)
    assert cases.same_bits(gradient, slope)
    return value, gradient


def make_arguments(form, shape, dtype=np.float64):
    rng = np.random.default_rng(20)
    arguments = {
        "x": binary_cases.make_input(rng, form, shape, dtype),
        "q": binary_cases.make_target(rng, shape, dtype),
        "weight": rng.uniform(0.25, 4.0, size=shape[-1:]),
    }
    if form == "logits":
        arguments["pos_weight"] = rng.uniform(0.25, 4.0, size=shape)
        arguments["vector"] = np.asarray(rng.normal(size=shape)).astype(dtype)
    return arguments


def every_result(form, x, q, vector=None, **options):
    value, grad, value_and_grad, _ = binary_cases.FORMS[form]
    results = [value(x, q, **options), grad(x, q, **options)]
    results += value_and_grad(x, q, **options)
    if form == "logits":
        results.append(binary_cross_entropy_with_logits_hvp(x, q, vector, **options))
    return results


def assert_same_results(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert type(a) is type(b)
        assert cases.same_bits(a, b)


# logits that are not finite


@every_size
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logit_of_minus_infinity_is_a_class_of_probability_zero(size, dtype):
    x = np.random.default_rng(21).normal(size=size).astype(dtype)
    x[SPECIAL] = -math.inf
    q = np.zeros(size, dtype)
    q[SPECIAL] = 0.0, 1.0, 0.25
    loss, gradient = evaluate(x, q, reduction="none")
    np.testing.assert_array_equal(loss[SPECIAL], [0.0, math.inf, math.inf])
    np.testing.assert_array_equal(gradient[SPECIAL], [0.0, -1.0, -0.25])
    assert np.isfinite(np.delete(loss, SPECIAL)).all()
    product = binary_cross_entropy_with_logits_hvp(x, q, np.ones(size))
    assert (product[SPECIAL] == 0).all()
    for reduction in ("sum", "mean"):
        assert evaluate(x, q, reduction=reduction)[0] == math.inf
    q[:] = 0.0
    assert np.isfinite(evaluate(x, q)[0])


@every_size
@pytest.mark.parametrize("bad", [math.inf, math.nan, -math.nan])
@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("weight", [None, 0.0])
def test_logit_of_infinity_or_nan_is_nan_and_nothing_else_is(size, bad, q, weight):
    x = np.random.default_rng(22).normal(size=size)
    x[SPECIAL] = bad
    target = np.full(size, q)
    loss, gradient = evaluate(x, target, weight=weight, reduction="none")
    product = binary_cross_entropy_with_logits_hvp(x, target, x, weight=weight)
    for result in (loss, gradient, product):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(result)), SPECIAL)
    assert math.isnan(evaluate(x, target, weight=weight)[0])


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
def test_weight_zero_against_an_infinite_loss_is_zero(name):
    x = np.array([-math.inf, 0.5])
    options = {name: [0.0, 1.0], "reduction": "none"}
    loss, gradient = evaluate(x, [1.0, 1.0], **options)
    assert loss[0] == gradient[0] == 0
    assert loss[1] > 0


def test_smoothing_puts_mass_under_every_logit_of_minus_infinity():
    value, gradient = evaluate([-math.inf], [0.0], label_smoothing=0.3)
    assert value == math.inf
    np.testing.assert_allclose(gradient, [-0.15], rtol=1e-15)


@pytest.mark.parametrize(
    ("dtype", "huge"), [("float64", 1e308), ("float32", 3e38), ("float16", 6e4)]
)
def test_finite_logits_of_any_size_do_not_overflow(dtype, huge):
    x = np.array([huge, -huge, huge, -huge], dtype=dtype)
    loss, gradient = evaluate(x, [1, 0, 0, 1], reduction="none")
    np.testing.assert_array_equal(loss, np.abs(x) * [0, 0, 1, 1])
    np.testing.assert_array_equal(gradient, [0, 0, 1, -1])


# probabilities


@every_size
def test_right_and_certain_probabilities_have_no_loss_and_nan_has_nan(size):
    q = (np.arange(size) % 2).astype(float)
    value, gradient = binary_cross_entropy_value_and_grad(q, q)
    assert value == 0
    assert (gradient == 0).all()
    p = q.copy()
    p[SPECIAL] = math.nan
    losses = binary_cross_entropy(p, q, reduction="none")
    slopes = binary_cross_entropy_grad(p, q)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(losses)), SPECIAL)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(slopes)), SPECIAL)
    assert math.isnan(binary_cross_entropy(p, q))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_stop_at_minus_100(dtype):
    p = np.array([0.0, 1.0, np.finfo(dtype).smallest_subnormal, 0.5], dtype=dtype)
    got = binary_cross_entropy(p, [1, 0, 1, 1], reduction="none")
    assert got.dtype == dtype
    np.testing.assert_allclose(got, [100, 100, 100, math.log(2)], rtol=1e-7)
    assert (got <= 100).all()


# sizes, targets and denominators


@every_form
def test_no_elements(form):
    value, grad, value_and_grad, _ = binary_cases.FORMS[form]
    for shape in [(0,), (3, 0), (0, 4)]:
        x = np.zeros(shape, dtype=np.float32)
        assert math.isnan(value(x, x))
        assert value(x, x, reduction="sum") == 0
        assert value(x, x, reduction="none").shape == shape
        of_samples, gradient = value_and_grad(x, x, reduction="sample")
        assert of_samples.shape == shape[:1]
        assert np.isnan(of_samples).all()
        assert gradient.shape == grad(x, x).shape == shape
        assert gradient.dtype == np.float32


@every_form
def test_a_number_gives_a_number(form):
    value, grad, value_and_grad, _ = binary_cases.FORMS[form]
    for reduction in REDUCTIONS:
        loss, gradient = value_and_grad(0.25, 1, reduction=reduction)
        assert isinstance(loss, np.float64)
        assert loss == value(np.float64(0.25), True, reduction=reduction)
        assert gradient.shape == ()
        assert gradient == grad(0.25, 1.0, reduction=reduction)


@every_form
def test_mean_divides_by_the_number_of_elements_whatever_the_weights(form):
    value = binary_cases.FORMS[form][0]
    x, q = np.full(4, 0.5), np.ones(4)
    weight = [0.0, 0.0, 0.0, 2.0]
    total = value(x, q, weight=weight, reduction="sum")
    assert value(x, q, weight=weight) == total / 4
    assert value(x, q, weight=np.zeros(4)) == 0


@every_form
def test_targets_outside_the_unit_interval_follow_the_formula(form):
    x, q = np.array([0.25, 0.75]), np.array([-1.0, 3.0])
    p = x if form == "probabilities" else 1 / (1 + np.exp(-x))
    value, grad, _, _ = binary_cases.FORMS[form]
    expected = -q * np.log(p) - (1 - q) * np.log1p(-p)
    np.testing.assert_allclose(value(x, q, reduction="none"), expected, rtol=1e-14)
    slope = (p - q) / (p * (1 - p) if form == "probabilities" else 1.0)
    np.testing.assert_allclose(grad(x, q, reduction="none"), slope, rtol=1e-14)


@every_form
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", ">f8"])
def test_labels_of_any_real_dtype(form, dtype):
    arguments = make_arguments(form, (37, 6))
    arguments["q"] = np.round(arguments["q"])
    expected = every_result(form, **arguments)
    arguments["q"] = arguments["q"].astype(dtype)
    assert_same_results(every_result(form, **arguments), expected)


# arrays of any layout and library, in and out


@every_float
@every_form
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_bits_of_the_contiguous_array(
    layout, form, dtype, tmp_path
):
    plain = make_arguments(form, (37, 6), dtype)
    odd = {name: layout(array, tmp_path) for name, array in plain.items()}
    for reduction in REDUCTIONS:
        assert_same_results(
            every_result(form, **odd, reduction=reduction),
            every_result(form, **plain, reduction=reduction),
        )
    fresh = make_arguments(form, (37, 6), dtype)
    for name in fresh:  # nothing was written into an argument
        np.testing.assert_array_equal(odd[name], fresh[name])
        np.testing.assert_array_equal(plain[name], fresh[name])


@every_form
def test_lists_tensors_and_frames(form):
    arguments = make_arguments(form, (37, 6))
    expected = every_result(form, **arguments)
    for convert in (np.ndarray.tolist, torch.tensor):
        others = {name: convert(array) for name, array in arguments.items()}
        assert_same_results(every_result(form, **others), expected)
    index = np.random.default_rng(23).permutation(37)  # alignment would reorder it
    for name in ("x", "q"):
        arguments[name] = pd.DataFrame(arguments[name], index=index)
    assert_same_results(every_result(form, **arguments), expected)


def test_integer_logits_are_float64():
    x = np.array([-3, 0, 2])
    value, gradient = evaluate(x, [0, 1, 1])
    assert value.dtype == gradient.dtype == np.float64
    assert_same_results(evaluate(x.astype(float), [0, 1, 1]), (value, gradient))


@every_float
@every_form
def test_dtype_in_is_dtype_out(form, dtype):
    arguments = make_arguments(form, (37, 6))
    arguments["x"] = arguments["x"].astype(dtype)
    for reduction in REDUCTIONS:
        for result in every_result(form, **arguments, reduction=reduction):
            assert result.dtype == dtype
    shapes = {"none": (37, 6), "sample": (37,), "sum": (), "mean": ()}
    for reduction, shape in shapes.items():
        value, gradient, *_ = every_result(form, **arguments, reduction=reduction)
        assert np.shape(value) == shape
        assert isinstance(value, np.ndarray if shape else dtype)
        assert type(gradient) is np.ndarray
        assert gradient.shape == (37, 6)


@every_float
@every_form
@pytest.mark.parametrize("shape", [(), (5,), (37, 6), (6001, 3)], ids=str)
@pytest.mark.parametrize("place", ["apart", "fortran", "input"])
def test_out_is_filled_and_returned(place, shape, form, dtype):
    arguments = make_arguments(form, shape, dtype)
    _, grad, value_and_grad, _ = binary_cases.FORMS[form]
    expected = every_result(form, **arguments)
    x, q = arguments.pop("x"), arguments.pop("q")
    vector = arguments.pop("vector", None)

    def new_out():
        out = x.copy(order="F" if place == "fortran" else "C")
        return out, (out if place == "input" else x)

    out, given = new_out()
    assert grad(given, q, **arguments, out=out) is out
    assert cases.same_bits(out, expected[1])
    out, given = new_out()
    value, gradient = value_and_grad(given, q, **arguments, out=out)
    assert gradient is out
    assert cases.same_bits(value, expected[2])
    assert cases.same_bits(out, expected[3])
    if form == "logits":
        out, given = new_out()
        hvp = binary_cross_entropy_with_logits_hvp
        assert hvp(given, q, vector, **arguments, out=out) is out
        assert cases.same_bits(out, expected[4])


@pytest.mark.parametrize("name", ["x", "q", "weight", "pos_weight", "vector"])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_out_may_overlap_any_argument(name, shift):
    size = 20_000
    rng = np.random.default_rng(24)
    arguments = {key: rng.random(size) for key in ("x", "q", "vector")}
    arguments["weight"], arguments["pos_weight"] = rng.random((2, size))
    expected = every_result("logits", **arguments)
    room = np.zeros(size + 2)
    shared, out = room[1:-1], room[1 + shift : size + 1 + shift]
    x, q, vector = (arguments[key] for key in ("x", "q", "vector"))
    options = {key: arguments[key] for key in ("weight", "pos_weight")}

    def fresh():
        shared[...] = arguments[name]
        here = {"x": x, "q": q, "vector": vector, **options, name: shared}
        return here.pop("x"), here.pop("q"), here.pop("vector"), here

    x_, q_, _, rest = fresh()
    binary_cross_entropy_with_logits_grad(x_, q_, **rest, out=out)
    assert cases.same_bits(out, expected[1])
    x_, q_, _, rest = fresh()
    value, _ = binary_cross_entropy_with_logits_value_and_grad(x_, q_, **rest, out=out)
    assert cases.same_bits(value, expected[2])
    assert cases.same_bits(out, expected[3])
    x_, q_, v_, rest = fresh()
    binary_cross_entropy_with_logits_hvp(x_, q_, v_, **rest, out=out)
    assert cases.same_bits(out, expected[4])
