"""Agreement of the binary losses with torch, the softmax loss, mpmath and itself."""

import math

import mpmath
import numba
import numpy as np
import pytest

from skxent.losses import (
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_hvp,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
)
from tests.losses import binary_cases, cases

RTOL = {"float64": 1e-12, "float32": 5e-7, "float16": 1e-3}
every_form = pytest.mark.parametrize("form", binary_cases.FORMS)
every_dtype = pytest.mark.parametrize("dtype", ["float64", "float32"])
every_shape = pytest.mark.parametrize("shape", binary_cases.SHAPES, ids=str)


def make_problem(form, shape, dtype="float64", seed=1):
    rng = np.random.default_rng(seed)
    x = binary_cases.make_input(rng, form, shape, dtype)
    return rng, x, binary_cases.make_target(rng, shape, dtype)


def strided(array):
    """The same numbers with gaps between them, in Fortran order."""
    room = np.full([2 * n for n in reversed(array.shape)], 99, dtype=array.dtype).T
    view = room[(*(slice(None, None, 2) for _ in array.shape), ...)]
    view[...] = array
    return view


def thinned(grid, shape):
    """A large problem gets every seventh of the combinations."""
    return [o for i, o in enumerate(grid) if math.prod(shape) < 1e5 or i % 7 == 0]


@every_dtype
@every_shape
@every_form
def test_agrees_with_torch_over_the_product_of_options(form, shape, dtype):
    rng, x, q = make_problem(form, shape, dtype)
    value, grad, value_and_grad, _ = binary_cases.FORMS[form]
    failures = []
    for options in thinned(binary_cases.option_grid(rng, form, shape), shape):
        expected, slope = binary_cases.torch_value_and_grad(form, x, q, **options)
        size = binary_cases.mass_scale(q, **options) if x.size else 1.0
        if form == "probabilities":  # the denominator of the slope
            size = size / (x * (1 - x))
        for array in (np.asarray, strided):
            z, t = array(x), array(q)
            text = f"{array.__name__}, {cases.describe(options)}"
            both, both_slope = value_and_grad(z, t, **options)
            for got in (value(z, t, **options), both):
                tolerance = RTOL[dtype] * np.abs(expected)
                tolerance = tolerance + binary_cases.torch_error(x, q, **options)
                failures += cases.mismatch(text, got, expected, tolerance)
            for got in (grad(z, t, **options), both_slope):
                failures += cases.gradient_mismatch(text, got, slope, size, RTOL[dtype])
    assert not failures, "\n".join(failures)


@every_dtype
@every_shape
def test_curvature_product_agrees_with_torch(shape, dtype):
    rng, x, q = make_problem("logits", shape, dtype)
    vector = np.asarray(rng.normal(size=shape)).astype(dtype)
    failures = []
    for options in thinned(binary_cases.option_grid(rng, "logits", shape), shape):
        expected = binary_cases.torch_hvp(x, q, vector, **options)
        for array in (np.asarray, strided):
            got = binary_cross_entropy_with_logits_hvp(
                array(x), array(q), array(vector), **options
            )
            text = f"{array.__name__}, {cases.describe(options)}"
            size = 0.0
            if x.size:  # torch's own p (1 - p) cancels
                size = binary_cases.mass_scale(q, **options) * np.abs(vector)
            tolerance = RTOL[dtype] * np.abs(expected) + 1e-15 * size
            failures += cases.mismatch(text, got, expected, tolerance)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@every_form
def test_label_smoothing_goes_into_the_target(form, smoothing):
    rng, x, q = make_problem(form, (33, 10))
    value, grad, _, _ = binary_cases.FORMS[form]
    for options in binary_cases.option_grid(rng, form, x.shape):
        options["label_smoothing"] = smoothing
        expected, slope = binary_cases.torch_value_and_grad(form, x, q, **options)
        tolerance = binary_cases.torch_error(x, q, **options)
        tolerance = tolerance + 1e-13 * np.abs(expected)
        got = value(x, q, **options)
        failures = cases.mismatch(cases.describe(options), got, expected, tolerance)
        assert not failures, failures[0]
        np.testing.assert_allclose(grad(x, q, **options), slope, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reduction", [*binary_cases.REDUCTIONS, "sample"])
@pytest.mark.parametrize("shape", [(), (5,), (33, 10), (4, 3, 5, 6)], ids=str)
@every_form
def test_grad_output_is_the_chain_rule(form, shape, reduction):
    rng, x, q = make_problem(form, shape)
    value, grad, _, _ = binary_cases.FORMS[form]
    for weight in binary_cases.make_weights(rng, shape):
        options = {"weight": weight, "reduction": reduction}
        inflow = rng.normal(size=np.shape(value(x, q, **options)))
        got = grad(x, q, **options, grad_output=inflow)
        if reduction == "sample":
            options["reduction"] = "none"
            per_sample = math.prod(shape[1:])
            inflow = np.broadcast_to(
                inflow.reshape(shape[:1] + (1,) * (len(shape) - 1)) / per_sample, shape
            )
        _, slope = binary_cases.torch_value_and_grad(
            form, x, q, grad_output=inflow, **options
        )
        np.testing.assert_allclose(got, slope, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(), (5,), (33, 10), (4, 3, 5, 6)], ids=str)
@every_form
def test_sample_is_the_mean_of_each_entry_of_the_first_axis(form, shape):
    rng, x, q = make_problem(form, shape)
    value, grad, value_and_grad, _ = binary_cases.FORMS[form]
    axes = tuple(range(1, len(shape)))
    for weight in binary_cases.make_weights(rng, shape):
        losses = value(x, q, weight=weight, reduction="none")
        got = value(x, q, weight=weight, reduction="sample")
        assert np.shape(got) == shape[:1]
        np.testing.assert_allclose(got, losses.mean(axis=axes), rtol=1e-14)
        both, both_slope = value_and_grad(x, q, weight=weight, reduction="sample")
        assert cases.same_bits(both, got)
        slope = grad(x, q, weight=weight, reduction="sample")
        assert cases.same_bits(both_slope, slope)
        summed = grad(x, q, weight=weight, reduction="none")
        np.testing.assert_allclose(slope, summed / math.prod(shape[1:]), rtol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("special", [False, True])
@every_dtype
def test_is_the_softmax_loss_of_the_row_of_0_and_x(dtype, special, smoothing):
    rng, x, q = make_problem("logits", (700,), dtype)
    if special:
        x[::7], x[1::7], x[2::7] = -math.inf, math.inf, math.nan
        q[:350:2], q[1:350:2] = 0.0, 1.0
    rows = np.stack([np.zeros_like(x), x], axis=1)
    options = {"reduction": "none", "label_smoothing": smoothing}
    weight, pos_weight = rng.uniform(0.25, 4.0, size=700), 2.5
    of_rows = options | {"weight": [1.0, pos_weight], "sample_weight": weight}
    of_binary = options | {"weight": weight, "pos_weight": [pos_weight]}
    target = np.stack([1 - q, q], axis=1)
    rtol = 2 * RTOL[dtype]  # each of both is off by as much
    np.testing.assert_allclose(
        binary_cross_entropy_with_logits(x, q, **of_binary),
        cross_entropy(rows, target, **of_rows),
        rtol=rtol,
    )
    np.testing.assert_allclose(
        binary_cross_entropy_with_logits_grad(x, q, **of_binary),
        cross_entropy_grad(rows, target, **of_rows)[:, 1],
        rtol=rtol,
        atol=rtol,
    )
    v = rng.normal(size=700).astype(dtype)
    np.testing.assert_allclose(
        binary_cross_entropy_with_logits_hvp(x, q, v, **of_binary),
        cross_entropy_hvp(rows, target, np.stack([0 * v, v], axis=1), **of_rows)[:, 1],
        rtol=1e-9 if dtype == "float64" else rtol,  # <p, v> cancels in the softmax
        atol=rtol,
    )


# exp is 0 below -708, and float32 has no normal number below 1.2e-38
LEAST = {np.float64: 1e-300, np.float32: 1.2e-38}


def confident_logits(dtype):
    sizes = [0.0, 1e-20, 1e-3, 0.5, 3, 10, 17, 25, 36.8, 40, 60, 300, 700, 708.5, 1e4]
    rng = np.random.default_rng(3)
    sizes = np.concatenate([sizes, rng.exponential(20, 150)])
    return np.concatenate([sizes, -sizes]).astype(dtype)


def softplus(x):
    """``log(1 + exp(x))`` in working precision."""
    return mpmath.log1p(mpmath.exp(x))


def ulps(got, exact, size, dtype):
    return abs(mpmath.mpf(float(got)) - exact) / float(np.spacing(dtype(size)))


@pytest.mark.parametrize("pos_weight", [None, 3.0])
@pytest.mark.parametrize("q", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loss_and_gradient_are_within_4_ulp(dtype, q, pos_weight):
    x = confident_logits(dtype)
    loss, gradient = binary_cross_entropy_with_logits_value_and_grad(
        x, np.full_like(x, q), pos_weight=pos_weight, reduction="none"
    )
    t1 = q * (pos_weight or 1.0)
    t0 = 1 - q
    checked = 0
    with mpmath.workdps(60):
        for i, z in enumerate(map(mpmath.mpf, x.tolist())):
            exact = t1 * softplus(-z) + t0 * softplus(z)
            if exact > LEAST[dtype]:
                assert ulps(loss[i], exact, float(exact), dtype) <= 4, (z, loss[i])
                checked += 1
            else:
                assert 0 <= loss[i] <= LEAST[dtype]
            p = 1 / (1 + mpmath.exp(-z))
            slope = t0 * p - t1 / (1 + mpmath.exp(z))
            if abs(slope) > 1e-30:
                mass = max(t0 * p, t1 / (1 + mpmath.exp(z)))
                size = max(abs(float(slope)), float(mass))
                assert ulps(gradient[i], slope, size, dtype) <= 4, (z, gradient[i])
    assert checked > 100


@pytest.mark.parametrize("q", [0.0, 1.0, 0.25])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loss_of_probabilities_is_within_4_ulp(dtype, q):
    rng = np.random.default_rng(4)
    p = np.concatenate([np.exp(-rng.exponential(8, 200)), 1 - 2.0 ** -np.arange(1, 24)])
    p = p.astype(dtype)
    loss = binary_cross_entropy(p, np.full_like(p, q), reduction="none")
    with mpmath.workdps(60):
        for got, x in zip(loss, map(mpmath.mpf, p.tolist()), strict=True):
            exact = -q * mpmath.log(x) - (1 - q) * mpmath.log1p(-x)
            assert ulps(got, exact, float(exact), dtype) <= 4, (x, got)


def test_tiny_losses_keep_their_digits_inside_a_mean():
    x = np.full(4096, 30.0, dtype=np.float32)
    value = binary_cross_entropy_with_logits(x, np.ones_like(x))
    assert value == np.float32(math.log1p(math.exp(-30)))


@pytest.mark.parametrize("reduction", binary_cases.REDUCTIONS)
@every_form
def test_float16_agrees_with_torch(form, reduction):
    _, x, q = make_problem(form, (33, 10), np.float16)
    _, _, value_and_grad, _ = binary_cases.FORMS[form]
    value, gradient = value_and_grad(x, q, reduction=reduction)
    expected, slope = binary_cases.torch_value_and_grad(form, x, q, reduction=reduction)
    assert np.asarray(value).dtype == gradient.dtype == np.float16
    np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-6)


def test_gradient_of_probabilities_has_torchs_denominator():
    p = np.array([0.0, 1.0, 0.0, 1.0, 1e-13, 1 - 2.0**-50])
    q = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    value, slope = binary_cases.torch_value_and_grad(
        "probabilities", p, q, reduction="none"
    )
    got = binary_cross_entropy(p, q, reduction="none")
    np.testing.assert_allclose(got, value, rtol=1e-15)
    assert (got[:2] == 100).all()
    assert (got[2:4] == 0).all()
    slopes = binary_cross_entropy_grad(p, q, reduction="none")
    # torch's 1e-12 is one of float32
    np.testing.assert_allclose(slopes, slope, rtol=1e-8)
    np.testing.assert_allclose(slopes, (p - q) / 1e-12, rtol=1e-15)
    assert (slopes[2:4] == 0).all()


def large_problem(form, dtype):
    rng, x, q = make_problem(form, (20_001, 3), dtype, seed=5)
    options = {"weight": rng.uniform(0.25, 4.0, size=(20_001, 1))}
    if form == "logits":
        options["pos_weight"] = rng.uniform(0.25, 4.0, size=3)
    return x, q, options | {"label_smoothing": 0.1}


def every_result(form, x, q, options):
    value, grad, value_and_grad, _ = binary_cases.FORMS[form]
    results = []
    for reduction in (*binary_cases.REDUCTIONS, "sample"):
        chosen = options | {"reduction": reduction}
        results += [value(x, q, **chosen), grad(x, q, **chosen)]
        results += value_and_grad(x, q, **chosen)
        if form == "logits":
            results.append(binary_cross_entropy_with_logits_hvp(x, q, x, **chosen))
    return results


@every_dtype
@every_form
def test_same_bits_for_any_number_of_threads(form, dtype):
    problem = large_problem(form, dtype)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(2)
        on_two = every_result(form, *problem)
        numba.set_num_threads(1)
        on_one = every_result(form, *problem)
    finally:
        numba.set_num_threads(before)
    for a, b in zip(on_two, on_one, strict=True):
        assert cases.same_bits(a, b)


@every_dtype
@every_form
def test_value_and_gradient_alone_have_the_bits_of_both(form, dtype):
    results = every_result(form, *large_problem(form, dtype))
    step = 5 if form == "logits" else 4
    for i in range(0, len(results), step):
        assert cases.same_bits(results[i], results[i + 2])
        assert cases.same_bits(results[i + 1], results[i + 3])


def test_weights_of_every_period_are_those_of_the_full_array():
    # periods below, at and above the length of a block, with a rest in every chunk
    rng = np.random.default_rng(6)
    for shape in [(9001, 1), (4001, 3), (90, 127), (70, 128), (70, 129), (9, 5, 1001)]:
        x = rng.normal(size=shape)
        q = rng.random(shape)
        weight = rng.uniform(0.25, 4.0, size=shape[-1])
        pos_weight = rng.uniform(0.25, 4.0, size=shape[1:])
        got = every_result("logits", x, q, {"weight": weight, "pos_weight": pos_weight})
        full = {
            "weight": np.broadcast_to(weight, shape).copy(),
            "pos_weight": np.broadcast_to(pos_weight, shape).copy(),
        }
        for a, b in zip(got, every_result("logits", x, q, full), strict=True):
            assert cases.same_bits(a, b)
