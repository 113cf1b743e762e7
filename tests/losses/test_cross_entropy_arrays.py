"""Arrays of any layout, dtype and library, in and out."""

import numpy as np
import pandas as pd
import pytest
import torch

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests.losses import cases

N, C = 37, 6
SHAPES = [(N, C), (C,), (1001, 37)]
FLOATS = [np.float16, np.float32, np.float64]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def strided(array, tmp_path):
    # Room between the entries of every axis, filled with what must not be read.
    room = np.full([2 * n + 1 for n in array.shape], 99).astype(array.dtype)
    view = room[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def every_other_row(array, tmp_path):
    # The last axis stays contiguous: the layout of a slice of rows.
    return np.repeat(array, 2, axis=0)[::2]


def reversed_axes(array, tmp_path):
    back = tuple(slice(None, None, -1) for _ in array.shape)
    return np.ascontiguousarray(array[back])[back]


def fortran(array, tmp_path):
    return np.asfortranarray(array)


def read_only(array, tmp_path):
    array = array.copy()
    array.flags.writeable = False
    return array


def read_only_memmap(array, tmp_path):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.bin"
    path.write_bytes(array.tobytes())
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


def other_byte_order(array, tmp_path):
    return array.astype(array.dtype.newbyteorder("S"))


def unaligned(array, tmp_path):
    data = np.frombuffer(b"\0" + array.tobytes(), dtype=np.uint8)
    return data[1:].view(array.dtype).reshape(array.shape)


LAYOUTS = [
    strided,
    every_other_row,
    reversed_axes,
    fortran,
    read_only,
    read_only_memmap,
    other_byte_order,
    unaligned,
]


def every_result(z, target, vector, **options):
    """What the four functions return, flat."""
    return (
        cross_entropy(z, target, **options),
        cross_entropy_grad(z, target, **options),
        *cross_entropy_value_and_grad(z, target, **options),
        cross_entropy_hvp(z, target, vector, **options),
    )


def make_arguments(form, shape, dtype=np.float64):
    """Arrays for every array argument that the shape allows."""
    rng = np.random.default_rng(60)
    arguments = {
        "z": cases.make_logits(rng, shape, dtype),
        "target": np.asarray(cases.make_target(rng, form, shape, dtype)),
        "vector": rng.normal(size=shape).astype(dtype),
        "weight": cases.make_weight(rng, shape[-1]),
    }
    if len(shape) > 1:
        arguments["sample_weight"] = cases.make_sample_weight(rng, shape[0])
    return arguments


def assert_same_results(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert type(a) is type(b)
        assert cases.same_bits(a, b)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_bits_of_the_contiguous_array(
    layout, form, shape, dtype, tmp_path
):
    plain = make_arguments(form, shape, dtype)
    expected = every_result(**plain, reduction="none")
    odd = {
        name: layout(array, tmp_path) if array.ndim else array
        for name, array in plain.items()
    }
    assert_same_results(every_result(**odd, reduction="none"), expected)
    assert_same_results(every_result(**odd), every_result(**plain))
    # Nothing was written into an argument.
    fresh = make_arguments(form, shape, dtype)
    for name in fresh:
        np.testing.assert_array_equal(odd[name], fresh[name])
        np.testing.assert_array_equal(plain[name], fresh[name])


@pytest.mark.parametrize("form", cases.FORMS)
def test_broadcast_view_is_read_as_the_array_it_stands_for(form):
    arguments = make_arguments(form, (N, C))
    views = {
        name: np.broadcast_to(array[:1], array.shape)
        for name, array in arguments.items()
    }
    copies = {name: view.copy() for name, view in views.items()}
    assert_same_results(every_result(**views), every_result(**copies))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_integer_logits_are_float64(form, dtype):
    arguments = make_arguments(form, (N, C))
    whole = np.round(arguments.pop("z") * 10)
    if dtype.startswith("u"):
        whole = np.abs(whole)
    results = every_result(z=whole.astype(dtype), **arguments)
    assert {np.asarray(result).dtype for result in results} == {np.dtype("f8")}
    assert_same_results(results, every_result(z=whole, **arguments))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(N, C), (C,)], ids=str)
def test_targets_of_any_integer_dtype(shape, dtype):
    arguments = make_arguments("index", shape)
    expected = every_result(**arguments, ignore_index=2)
    arguments["target"] = arguments["target"].astype(dtype)
    assert_same_results(every_result(**arguments, ignore_index=2), expected)


@pytest.mark.parametrize("form", cases.FORMS)
def test_lists_are_float64(form):
    arguments = make_arguments(form, (N, C))
    lists = {name: array.tolist() for name, array in arguments.items()}
    assert_same_results(every_result(**lists), every_result(**arguments))


def test_unbatched_target_of_any_scalar_kind():
    z = np.array([0.5, 1.5, -1.0])
    expected = cross_entropy(z, np.array(1))
    for target in (1, np.int64(1), np.uint8(1), np.uint64(1), torch.tensor(1)):
        assert cases.same_bits(cross_entropy(z, target), expected)


def test_integer_options_are_taken_as_the_numbers_they_are():
    arguments = make_arguments("index", (N, C))
    arguments["weight"] = np.arange(1, C + 1)
    arguments["sample_weight"] = np.arange(N) % 3
    as_float = {
        name: array.astype(float) if name.endswith("weight") else array
        for name, array in arguments.items()
    }
    options = {"label_smoothing": 1, "ignore_index": np.int64(2)}
    other = {"label_smoothing": 1.0, "ignore_index": 2}
    assert_same_results(
        every_result(**arguments, **options), every_result(**as_float, **other)
    )


@pytest.mark.parametrize("form", cases.FORMS)
def test_pandas_objects_are_read_by_position(form):
    arguments = make_arguments(form, (N, C))
    expected = every_result(**arguments)
    # An index that alignment would reorder.
    index = np.random.default_rng(61).permutation(N)
    frames = {
        name: pd.DataFrame(array, index=index)
        if array.ndim == 2
        else pd.Series(array, index=index[: array.size])
        for name, array in arguments.items()
    }
    assert_same_results(every_result(**frames), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_torch_tensors_on_the_cpu(form, dtype):
    arguments = make_arguments(form, (N, C), dtype)
    expected = every_result(**arguments)
    tensors = {name: torch.tensor(array) for name, array in arguments.items()}
    assert_same_results(every_result(**tensors), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_dtype_in_is_dtype_out(form, shape, dtype):
    # weight, sample_weight and target are float64 and int64: the input decides.
    arguments = make_arguments(form, shape)
    arguments["z"] = arguments["z"].astype(dtype)
    for reduction in cases.REDUCTIONS:
        value, gradient, both_value, both_gradient, product = every_result(
            **arguments, reduction=reduction
        )
        for number in (value, both_value):
            assert number.dtype == dtype
            if reduction == "none" and len(shape) == 2:
                assert isinstance(number, np.ndarray)
                assert number.shape == shape[:1]
            else:
                assert isinstance(number, dtype)
        for array in (gradient, both_gradient, product):
            assert type(array) is np.ndarray
            assert array.dtype == dtype
            assert array.shape == shape
    z, target = arguments["z"], arguments["target"]
    scaled = cross_entropy_grad(z, target, grad_output=np.float64(0.5))
    assert scaled.dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_out_is_filled_and_returned(form, shape, dtype):
    arguments = make_arguments(form, shape, dtype)
    expected = every_result(**arguments)
    z, target, vector = (arguments.pop(name) for name in ("z", "target", "vector"))
    # Ignored rows too have to be written, zeros over nan.
    out = np.full_like(z, np.nan)
    assert cross_entropy_grad(z, target, **arguments, out=out) is out
    assert cases.same_bits(out, expected[1])
    out.fill(np.nan)
    value, gradient = cross_entropy_value_and_grad(z, target, **arguments, out=out)
    assert gradient is out
    assert cases.same_bits(value, expected[2])
    assert cases.same_bits(out, expected[3])
    out.fill(np.nan)
    assert cross_entropy_hvp(z, target, vector, **arguments, out=out) is out
    assert cases.same_bits(out, expected[4])


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_out_may_be_the_input(form, shape, dtype, from_logits):
    arguments = make_arguments(form, shape, dtype)
    del arguments["vector"]
    z = arguments.pop("z")
    if not from_logits:
        z = cases.make_probabilities(np.random.default_rng(62), shape, dtype)
    arguments["from_logits"] = from_logits
    value, gradient = cross_entropy_value_and_grad(z, **arguments)
    # To a few units in the last place of its terms, not to the bit: a loop over
    # memory that overlaps itself is compiled without vectors, in another order.
    eps = np.finfo(dtype).eps
    size = np.abs(gradient).max(axis=-1, keepdims=True)
    alone = z.copy()
    assert cross_entropy_grad(alone, **arguments, out=alone) is alone
    both = z.copy()
    value_in_place, returned = cross_entropy_value_and_grad(both, **arguments, out=both)
    assert returned is both
    failures = cases.value_mismatch("value", value_in_place, value, 8 * eps)
    for what, got in [("alone", alone), ("both", both)]:
        failures += cases.gradient_mismatch(what, got, gradient, size, 8 * eps)
    assert not failures, failures[0]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1), (32, 3), (700, 40), (5, 1024), (5, 1025)])
def test_call_without_options_gives_the_bits_of_the_general_way(shape, dtype):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    loss = cross_entropy(z, y)
    # an option of the same meaning is none of the defaults
    general = cross_entropy(z, y, ignore_index=-99)
    assert type(loss) is type(general) is dtype
    assert loss == general
    for out in (None, np.empty_like(z), z.copy()):
        value, gradient = cross_entropy_value_and_grad(z, y, out=out)
        assert out is None or gradient is out
        expected, of_general = cross_entropy_value_and_grad(z, y, ignore_index=-99)
        assert type(value) is dtype
        assert value == expected == general
        assert cases.same_bits(gradient, of_general)


def test_call_without_options_refuses_what_the_general_way_refuses():
    z, y = np.zeros((4, 3)), np.zeros(4, dtype=np.int64)
    with pytest.raises(ValueError, match="shape"):
        cross_entropy_value_and_grad(z, y, out=np.empty((3, 4)))
    with pytest.raises(TypeError, match="array"):
        cross_entropy_value_and_grad(z, y, out=[[0.0] * 3] * 4)
    with pytest.raises(ValueError, match="got 3 at row 0"):
        cross_entropy_value_and_grad(z, y + 3, out=np.empty((4, 3)))
    _, in_place = cross_entropy_value_and_grad(z, y, out=z)
    assert in_place is z
    assert z[0].tolist() == pytest.approx([-1 / 6, 1 / 12, 1 / 12])


@pytest.mark.parametrize("dtype", ["Float32", "Float64", "Int64"])
def test_frames_of_the_numbers_of_pandas(dtype):
    z = np.round(np.random.default_rng(0).normal(0, 3, (5, 3)))
    frame, target = pd.DataFrame(z).astype(dtype), pd.Series([0, 1, 2, 1, 0])
    got = cross_entropy_value_and_grad(frame, target.astype("Int64"))
    plain = z.astype(np.float32 if dtype == "Float32" else np.float64)
    for ours, expected in zip(
        got, cross_entropy_value_and_grad(plain, target.to_numpy()), strict=True
    ):
        assert cases.same_bits(ours, expected)
    with pytest.raises(TypeError, match="input must hold real numbers"):
        cross_entropy(pd.DataFrame(z).astype("string"), target)
