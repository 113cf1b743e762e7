"""More axes, any class axis, and one mean per sample."""

import itertools

import numpy as np
import pytest
import torch

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests import reference
from tests.losses import cases

SHAPES = [(2, 3, 4), (2, 70, 5, 3), (3, 2, 1, 2, 2), (1, 5, 0)]
FORMS = ["index", "probabilities"]
RNG = np.random.default_rng


def make_problem(form, shape, axis, seed=0):
    rng = RNG(seed)
    z = rng.normal(0, 3, shape)
    row_shape = shape[:axis] + shape[axis + 1 :]
    if form == "index":
        return z, rng.integers(0, shape[axis], row_shape)
    q = rng.uniform(0.1, 1, shape)
    return z, q / q.sum(axis=axis, keepdims=True)


def torch_value_and_grad(z, target, **options):
    leaf = torch.tensor(z, requires_grad=True)
    if "weight" in options:
        options = {**options, "weight": torch.tensor(options["weight"])}
    value = torch.nn.functional.cross_entropy(leaf, torch.tensor(target), **options)
    value.sum().backward()
    return value.detach().numpy(), leaf.grad.numpy()


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_torchs_layout_agrees_with_torch(form, shape, reduction):
    z, target = make_problem(form, shape, 1)
    weight = RNG(1).uniform(0.5, 2, shape[1])
    for smoothing, with_weight in itertools.product([0.0, 0.1], [False, True]):
        options = {"reduction": reduction, "label_smoothing": smoothing}
        if with_weight:
            options["weight"] = weight
        if form == "index":
            options["ignore_index"] = 1
        value, gradient = torch_value_and_grad(z, target, **options)
        got, got_gradient = cross_entropy_value_and_grad(z, target, **options)
        assert np.shape(got) == np.shape(value)
        np.testing.assert_allclose(got, value, rtol=1e-12)
        np.testing.assert_allclose(got_gradient, gradient, rtol=1e-10, atol=1e-15)
        assert got_gradient.flags.c_contiguous


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("form", FORMS)
def test_any_class_axis_is_the_moved_axis(form, axis):
    shape = (4, 3, 5)
    z, target = make_problem(form, shape, axis % 3)
    vector = RNG(2).normal(size=shape)
    options = {"label_smoothing": 0.1, "reduction": "none"}
    moved = [np.moveaxis(a, axis, 1) if a.ndim == 3 else a for a in (z, target, vector)]
    expected = cross_entropy(moved[0], moved[1], **options)
    got = cross_entropy(z, target, class_axis=axis, **options)
    np.testing.assert_array_equal(got, expected)
    pairs = [
        (
            cross_entropy_grad(z, target, class_axis=axis, **options),
            cross_entropy_grad(moved[0], moved[1], **options),
        ),
        (
            cross_entropy_hvp(z, target, vector, class_axis=axis, **options),
            cross_entropy_hvp(*moved, **options),
        ),
    ]
    for array, of_moved in pairs:
        assert array.shape == shape
        np.testing.assert_allclose(np.moveaxis(array, axis, 1), of_moved, rtol=1e-13)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("axis", [1, -1])
def test_sample_is_the_mean_of_each_entry_of_the_first_axis(form, axis, from_logits):
    z, target = make_problem(form, (3, 4, 4), axis % 3)
    if not from_logits:
        z = np.exp(z) / np.exp(z).sum(axis=axis, keepdims=True)
    options = {
        "weight": RNG(1).uniform(0.5, 2, 4),
        "label_smoothing": 0.1,
        "from_logits": from_logits,
        "class_axis": axis,
    }
    if form == "index":
        options["ignore_index"] = 2
    s = RNG(3).uniform(0.5, 2, (3, 4))
    got, gradient = cross_entropy_value_and_grad(
        z, target, reduction="sample", sample_weight=s, **options
    )
    assert got.shape == (3,)
    inflow = np.array([1.0, -2.0, 0.5])
    pulled = cross_entropy_grad(
        z,
        target,
        reduction="sample",
        sample_weight=s,
        grad_output=inflow,
        **options,
    )
    for i in range(3):
        one = slice(i, i + 1)
        value, of_one = cross_entropy_value_and_grad(
            z[one], target[one], sample_weight=s[one], **options
        )
        assert got[i] == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(gradient[one], of_one, rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(pulled[one], inflow[i] * of_one, rtol=1e-12)


def test_sample_hvp_is_the_difference_of_the_gradient():
    z, target = make_problem("index", (3, 4, 5), 1)
    vector = RNG(2).normal(size=z.shape)
    options = {"reduction": "sample", "label_smoothing": 0.1}
    ahead, behind = (
        cross_entropy_grad(z + h * vector, target, **options) for h in (1e-5, -1e-5)
    )
    product = cross_entropy_hvp(z, target, vector, **options)
    np.testing.assert_allclose(product, (ahead - behind) / 2e-5, atol=1e-8)


def test_sample_without_kept_rows_is_nan_with_zero_gradient():
    z, target = make_problem("index", (3, 4, 5), 1)
    target[1] = -100
    value, gradient = cross_entropy_value_and_grad(z, target, reduction="sample")
    np.testing.assert_array_equal(np.isnan(value), [False, True, False])
    assert (gradient[1] == 0).all()
    assert np.isfinite(gradient).all()


def test_sample_of_plain_rows_and_of_one_row():
    z, target = make_problem("index", (6, 4), 1)
    rows = cross_entropy(z, target, reduction="none")
    np.testing.assert_allclose(
        cross_entropy(z, target, reduction="sample"), rows, rtol=1e-14
    )
    single = cross_entropy(z[0], target[0], reduction="sample")
    assert np.shape(single) == ()
    assert single == pytest.approx(rows[0], rel=1e-14)
    assert cross_entropy(z[:0], target[:0], reduction="sample").shape == (0,)


@pytest.mark.parametrize("form", FORMS)
def test_one_weight_per_sample_or_per_row(form):
    z, target = make_problem(form, (3, 4, 5), 1)
    s = np.array([0.5, 0.0, 2.0])
    per_row = np.repeat(s, 5).reshape(3, 5)
    expected = cross_entropy_value_and_grad(z, target, sample_weight=per_row)
    got = cross_entropy_value_and_grad(z, target, sample_weight=s)
    assert got[0] == expected[0]
    np.testing.assert_array_equal(got[1], expected[1])
    rows, flat = np.moveaxis(z, 1, -1).reshape(15, 4), target
    flat = target.ravel() if form == "index" else np.moveaxis(target, 1, -1)
    oracle = reference.cross_entropy(
        rows, flat.reshape(15, -1).squeeze(), sample_weight=per_row.ravel()
    )
    assert got[0] == pytest.approx(oracle, rel=1e-12)


def test_out_is_filled_whatever_the_layout():
    z, target = make_problem("index", (3, 4, 5), 1)
    expected = cross_entropy_grad(z, target)
    for out in (np.empty_like(z), np.asfortranarray(z), np.empty((3, 5, 8))[..., ::2]):
        out = out if out.shape == z.shape else np.moveaxis(out, -1, 1)
        assert cross_entropy_grad(z, target, out=out) is out
        np.testing.assert_array_equal(out, expected)
    in_place = z.copy()
    cross_entropy_grad(in_place, target, out=in_place)
    np.testing.assert_array_equal(in_place, expected)


BAD = {
    "axis": ({"class_axis": 3}, ValueError, r"class_axis must lie in \[-3, 3\)"),
    "axis type": ({"class_axis": 1.0}, TypeError, "class_axis must be an integer"),
    "target": (
        {"target": np.zeros((3, 4), int)},
        ValueError,
        r"target must .* \(3, 5\)",
    ),
    "index": (
        {"target": np.full((3, 5), 4)},
        ValueError,
        r"target must lie in \[0, 4\); got 4 at row 0",
    ),
    "weights": ({"sample_weight": np.ones(5)}, ValueError, "sample_weight must have"),
    "grad_output": (
        {"grad_output": np.ones(3), "reduction": "none"},
        ValueError,
        r"shape of the loss, \(3, 5\)",
    ),
}


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, error, message):
    z, target = make_problem("index", (3, 4, 5), 1)
    arguments = {"input": z, "target": target, **change}
    with pytest.raises(error, match=message):
        cross_entropy_grad(**arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("shape", [(3, 9, 5, 30), (2, 200, 100), (130, 70)], ids=str)
def test_classes_in_planes_give_the_bits_of_classes_side_by_side(shape, form, dtype):
    """Axis 1 is read in place, tile by tile or block by block of classes."""
    rng = np.random.default_rng(81)
    planes = cases.make_logits(rng, shape, dtype)
    if planes.ndim == 2:
        planes = np.asfortranarray(planes)
    rows = np.ascontiguousarray(np.moveaxis(planes, 1, -1))
    target = cases.make_target(rng, form, rows.shape, dtype)
    in_planes = target if form == "index" else np.moveaxis(target, -1, 1)
    vector = rng.normal(size=rows.shape).astype(dtype)
    weight = cases.make_weight(rng, shape[1])
    options = {"weight": weight, "label_smoothing": 0.1, "reduction": "none"}
    sample_weight = cases.make_sample_weight(rng, shape[0])
    options["sample_weight"] = sample_weight
    expected = (
        *cross_entropy_value_and_grad(rows, target, class_axis=-1, **options),
        cross_entropy_hvp(rows, target, vector, class_axis=-1, **options),
    )
    loss, gradient = cross_entropy_value_and_grad(planes, in_planes, **options)
    product = cross_entropy_hvp(
        planes, in_planes, np.moveaxis(vector, -1, 1), **options
    )
    got = (loss, np.moveaxis(gradient, 1, -1), np.moveaxis(product, 1, -1))
    for a, b in zip(got, expected, strict=True):
        assert cases.same_bits(np.ascontiguousarray(a), b)
    options["reduction"] = "mean"
    assert cross_entropy(planes, in_planes, **options) == cross_entropy(
        rows, target, class_axis=-1, **options
    )
