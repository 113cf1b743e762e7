"""The loss of a linear layer: arrays in and out, memory, and what it refuses."""

import math
import tracemalloc

import numpy as np
import pytest

from skxent.losses import (
    _linear_call,
    linear_cross_entropy,
    linear_cross_entropy_grad,
    linear_cross_entropy_value_and_grad,
)
from tests.losses import cases
from tests.losses.linear_cases import REDUCTIONS, RTOL, SHAPES, Problem, make_problem


def gaps(array):
    room = np.full([2 * n + 1 for n in array.shape], 99).astype(array.dtype)
    view = room[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def other_byte_order(array):
    return array.astype(array.dtype.newbyteorder("S"))


def unaligned(array):
    data = np.frombuffer(b"\0" + array.tobytes(), dtype=np.uint8)
    return data[1:].view(array.dtype).reshape(array.shape)


LAYOUTS = [gaps, read_only, np.asfortranarray, other_byte_order, unaligned]


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("shapes", SHAPES[3:5], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_any_layout_is_read_and_arguments_stay(
    layout, shapes, form, dtype, linear_block
):
    plain = make_problem(shapes, form, dtype)
    odd = Problem(*(layout(array) for array in plain))

    def results(problem):
        X, W, b, target, weight = problem
        value, slopes = linear_cross_entropy_value_and_grad(
            X, W, target, linear_bias=b, weight=weight
        )
        return value, *slopes

    for got, expected in zip(results(odd), results(plain), strict=True):
        np.testing.assert_allclose(
            got, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * np.abs(expected).max()
        )
    for array, same in zip(odd, plain, strict=True):
        np.testing.assert_array_equal(array, same)


def test_integers_and_lists_are_read_as_float64():
    value, slopes = linear_cross_entropy_value_and_grad(
        [[1, 2]], np.array([[1, 0], [0, 1]]), [1], linear_bias=[0, 1]
    )
    assert value.dtype == np.float64
    assert math.isclose(value, math.log1p(math.exp(-2)), rel_tol=1e-15)
    assert [slope.dtype for slope in slopes] == [np.float64] * 3


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_out_receives_the_gradients(shapes, order, dtype):
    X, W, b, target, _ = make_problem(shapes, "index", dtype)
    value, slopes = linear_cross_entropy_value_and_grad(X, W, target, linear_bias=b)
    out = tuple(np.full_like(a, 7, order=order) for a in (X, W, b))
    got, filled = linear_cross_entropy_value_and_grad(
        X, W, target, linear_bias=b, out=out
    )
    assert cases.same_bits(got, value)
    assert filled is out
    for array, slope in zip(out, slopes, strict=True):
        np.testing.assert_array_equal(array, slope)
        array.fill(7)
    assert linear_cross_entropy_grad(X, W, target, linear_bias=b, out=out) is out
    for array, slope in zip(out, slopes, strict=True):
        np.testing.assert_array_equal(array, slope)


@pytest.mark.parametrize("dtype", RTOL)
def test_out_may_be_the_operands_in_any_order(dtype, linear_block):
    X, W, b, target, _ = make_problem(((6, 3), (6, 3)), "index", dtype)
    slopes = linear_cross_entropy_grad(X, W, target, linear_bias=b)
    for first, second in [(0, 1), (1, 0)]:
        operands = [X.copy(), W.copy()]
        bias = b.copy()
        out = (operands[first], operands[second], bias)
        linear_cross_entropy_grad(*operands, target, linear_bias=bias, out=out)
        for array, slope in zip(out, slopes, strict=True):
            np.testing.assert_array_equal(array, slope)


def test_out_has_memory_of_its_own_for_each_gradient():
    room = np.empty((4, 3))
    X, W = np.ones((4, 3)), np.ones((4, 3))
    with pytest.raises(ValueError, match=r"^out must .* out\[0\] and out\[1\]"):
        linear_cross_entropy_grad(X, W, [0, 1, 2, 1], out=(room, room))


def test_out_may_overlap_the_target():
    X, W, _, _, _ = make_problem(((6, 3), (3, 3)), "index")
    target = cases.make_probabilities(np.random.default_rng(84), (6, 3))
    slopes = linear_cross_entropy_grad(X, W, target)
    out = (target, np.empty_like(W))
    linear_cross_entropy_grad(X, W, target, out=out)
    for array, slope in zip(out, slopes, strict=True):
        np.testing.assert_array_equal(array, slope)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_same_bits_on_a_second_call(dtype):
    problem = make_problem(((500, 20), (300, 20)), "index", dtype)
    X, W, b, target, _ = problem
    results = [
        linear_cross_entropy_value_and_grad(X, W, target, linear_bias=b)
        for _ in range(2)
    ]
    assert cases.same_bits(results[0][0], results[1][0])
    for first, second in zip(results[0][1], results[1][1], strict=True):
        assert cases.same_bits(first, second)


def peak_beyond_results(function, *args, **options):
    """Bytes that a call needs at its peak, less those of the arrays it returns."""
    tracemalloc.start()
    try:
        results = function(*args, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    arrays = results if isinstance(results, tuple) else (results,)
    return peak - sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("function", [linear_cross_entropy, linear_cross_entropy_grad])
def test_memory_is_far_below_that_of_the_scores(function, dtype):
    n, n_classes, n_features = 8192, 8192, 64
    X = np.zeros((n, n_features), dtype=dtype)
    W = np.zeros((n_classes, n_features), dtype=dtype)
    target = np.arange(n)
    function(X[:1], W, target[:1])  # compiles
    peak = peak_beyond_results(function, X, W, target)
    # A block holds 3.1 % of the scores, and a product for the gradients 0.8 %; float16
    # needs twice as much of both, and W and its gradient in float32.
    share = peak / (n * n_classes * X.itemsize)
    assert share < {"float64": 0.045, "float32": 0.045, "float16": 0.12}[dtype]


def test_blocks_follow_the_number_of_rows_and_of_scores():
    rows = _linear_call.rows_per_block
    for n, n_scores, expected in [
        (20_000, 32_000, 524),  # the most scores at once
        (16_384, 8192, 512),  # a 32nd of the rows
        (10_000_000, 10, 312_500),
        (100, 10**6, 64),  # the least rows
        (1000, 10, 209_715),  # the least scores
    ]:
        assert rows(n, n_scores) == expected


# refusals

X, W, B, TARGET, _ = make_problem(SHAPES[2], "index")
FUNCTIONS = [
    linear_cross_entropy,
    linear_cross_entropy_grad,
    linear_cross_entropy_value_and_grad,
]
REFUSED = {
    "input-number": (ValueError, "input", {"input": 1.0}),
    "input-three-axes": (ValueError, "input", {"input": np.ones((2, 5, 3))}),
    "input-text": (TypeError, "input", {"input": X.astype(str)}),
    "input-other-dtype": (TypeError, "linear_weight", {"input": X.astype("f4")}),
    "weight-one-axis": (ValueError, "linear_weight", {"linear_weight": W[0]}),
    "weight-features": (ValueError, "linear_weight", {"linear_weight": W[:, :2]}),
    "weight-transposed": (ValueError, "linear_weight", {"linear_weight": W.T}),
    "weight-dtype": (TypeError, "linear_weight", {"linear_weight": W.astype("f4")}),
    "weight-complex": (TypeError, "linear_weight", {"linear_weight": W + 1j}),
    "unbatched-with-dimensions": (
        ValueError,
        "input",
        {"input": X[0], "linear_weight": np.ones((5, 2, 3)), "target": [0, 0]},
    ),
    "bias-shape": (ValueError, "linear_bias", {"linear_bias": np.ones(4)}),
    "bias-column": (ValueError, "linear_bias", {"linear_bias": B[:, None]}),
    "bias-dtype": (TypeError, "linear_bias", {"linear_bias": B.astype("f4")}),
    "target-short": (ValueError, "target", {"target": TARGET[1:]}),
    "target-wide": (ValueError, "target", {"target": np.ones((10, 6))}),
    "target-float": (TypeError, "target", {"target": TARGET.astype(float)}),
    "target-out-of-range": (ValueError, "target", {"target": TARGET + 5}),
    "ignore_index-soft": (
        ValueError,
        "ignore_index",
        {"target": np.ones((10, 5)), "ignore_index": 0},
    ),
    "ignore_index-None": (TypeError, "ignore_index", {"ignore_index": None}),
    "class-weight": (ValueError, "weight", {"weight": np.ones(6)}),
    "sample_weight": (ValueError, "sample_weight", {"sample_weight": np.ones(6)}),
    "smoothing": (ValueError, "label_smoothing", {"label_smoothing": 1.5}),
    "reduction": (ValueError, "reduction", {"reduction": "average"}),
}


@pytest.mark.parametrize(("error", "argument", "flaw"), REFUSED.values(), ids=REFUSED)
def test_bad_argument_is_named(error, argument, flaw):
    arguments = {"input": X, "linear_weight": W, "target": TARGET, **flaw}
    for function in FUNCTIONS:
        with pytest.raises(error, match=rf"\b{argument}\b"):
            function(**arguments)


def test_target_out_of_range_names_the_row_among_all_blocks(monkeypatch):
    monkeypatch.setattr(_linear_call, "rows_per_block", lambda *_: 3)
    target = TARGET.copy()
    target[7] = 977
    out = (np.full_like(X, 7.0), np.full_like(W, 7.0))
    with pytest.raises(ValueError, match=r"\btarget\b.*977 at row 7"):
        linear_cross_entropy_grad(X, W, target, out=out)
    for array in out:
        assert (array == 7.0).all()


@pytest.mark.parametrize(
    ("out", "argument"),
    [
        ([np.empty_like(X), np.empty_like(W)], "out"),
        ((np.empty_like(X),), "out"),
        ((np.empty_like(X), np.empty_like(W), np.empty_like(B)), "out"),
        ((None, np.empty_like(W)), r"out\[0\]"),
        ((np.empty_like(X), np.empty_like(W.T)), r"out\[1\]"),
        ((np.empty_like(X), W.astype("f4")), r"out\[1\]"),
        ((read_only(X), np.empty_like(W)), r"out\[0\]"),
    ],
    ids=["list", "short", "long", "None", "transposed", "float32", "read-only"],
)
def test_bad_out_is_named(out, argument):
    for function in FUNCTIONS[1:]:
        with pytest.raises((ValueError, TypeError), match=rf"\b{argument}"):
            function(X, W, TARGET, out=out)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bad_grad_output_is_named(reduction):
    with pytest.raises(ValueError, match=r"\bgrad_output\b"):
        linear_cross_entropy_grad(
            X, W, TARGET, reduction=reduction, grad_output=np.ones(9)
        )
