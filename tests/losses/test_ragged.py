"""Lists of arrays whose lengths differ, beside padding them with ignored rows."""

import numpy as np
import pytest

from skxent.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_hvp,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests.losses import cases

LENGTHS = (3, 0, 70, 1)
REDUCTIONS = ("none", "sum", "mean", "sample")


def make_problem(form, n_classes=5, dtype=np.float64):
    """Entries (L, C), and the same padded with rows of nan that are ignored."""
    rng = np.random.default_rng(90)
    z = [cases.make_logits(rng, (n, n_classes), dtype) for n in LENGTHS]
    target = [cases.make_target(rng, form, array.shape, dtype) for array in z]
    target[2] = target[2].copy()
    if form == "index":
        target[2][::7] = -100
    padded = np.full((len(z), max(LENGTHS), n_classes), np.nan, dtype=dtype)
    shape = padded.shape if form == "probabilities" else padded.shape[:2]
    padded_target = np.full(shape, -100 if form == "index" else 0.2)
    kept = np.zeros(padded.shape[:2])
    for i, n in enumerate(LENGTHS):
        padded[i, :n], padded_target[i, :n], kept[i, :n] = z[i], target[i], 1.0
    return z, target, padded, padded_target, kept


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_ragged_is_padded_with_ignored_rows(form, reduction, from_logits):
    z, target, padded, padded_target, kept = make_problem(form)
    if not from_logits:
        z, padded = [np.exp(-(array**2)) for array in z], np.exp(-(padded**2))
    options = {
        "class_axis": -1,
        "weight": np.arange(1.0, 6.0),
        "label_smoothing": 0.1,
        "reduction": reduction,
        "from_logits": from_logits,
    }
    loss, gradient = cross_entropy_value_and_grad(z, target, **options)
    expected, expected_gradient = cross_entropy_value_and_grad(
        padded, padded_target, sample_weight=kept, **options
    )
    if reduction == "none":
        assert isinstance(loss, list)
        expected = [row[:n] for row, n in zip(expected, LENGTHS, strict=True)]
        loss, expected = np.concatenate(loss), np.concatenate(expected)
    np.testing.assert_allclose(loss, expected, rtol=1e-14)
    assert isinstance(gradient, list)
    for i, n in enumerate(LENGTHS):
        assert gradient[i].shape == z[i].shape
        np.testing.assert_allclose(
            gradient[i], expected_gradient[i, :n], rtol=1e-13, atol=1e-17
        )
    assert np.array_equal(
        np.concatenate(cross_entropy_grad(z, target, **options)),
        np.concatenate(gradient),
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_classes_first_is_the_default_and_the_dtype_stays(dtype):
    z, target, *_ = make_problem("index", dtype=dtype)
    options = {"reduction": "sample"}
    expected = cross_entropy(z, target, class_axis=-1, **options)
    loss = cross_entropy([array.T for array in z], target, **options)
    assert loss.dtype == dtype
    assert cases.same_bits(loss, expected)
    gradient = cross_entropy_grad([array.T for array in z], target, **options)
    assert [array.shape for array in gradient] == [(5, n) for n in LENGTHS]
    assert {array.dtype for array in gradient} == {np.dtype(dtype)}


def test_images_of_different_sizes():
    rng = np.random.default_rng(91)
    sizes = [(2, 3), (4, 1)]
    images = [rng.normal(size=(3, *size)) for size in sizes]
    labels = [rng.integers(3, size=size) for size in sizes]
    alone = [
        cross_entropy(image[np.newaxis], label[np.newaxis])
        for image, label in zip(images, labels, strict=True)
    ]
    together = cross_entropy(images, labels, reduction="sample")
    np.testing.assert_allclose(together, alone, rtol=1e-14)
    by_pixel = cross_entropy(images, labels, reduction="none")
    assert [losses.shape for losses in by_pixel] == sizes


def test_sample_weight_per_entry_or_per_row():
    z, target, *_ = make_problem("index")
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    rows = [np.full(n, w) for n, w in zip(LENGTHS, weight, strict=True)]
    by_entry = cross_entropy(z, target, class_axis=-1, sample_weight=weight)
    assert cross_entropy(z, target, class_axis=-1, sample_weight=rows) == by_entry
    assert by_entry != cross_entropy(z, target, class_axis=-1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_grad_output_and_hvp(reduction):
    z, target, padded, padded_target, _ = make_problem("index")
    rng = np.random.default_rng(92)
    vector = [rng.normal(size=array.shape) for array in z]
    padded_vector = np.zeros(padded.shape)
    inflow = rng.normal(size=padded.shape[:2])
    for i, n in enumerate(LENGTHS):
        padded_vector[i, :n] = vector[i]
    flows = {
        "none": ([row[:n] for row, n in zip(inflow, LENGTHS, strict=True)], inflow),
        "sample": (inflow[:, 0], inflow[:, 0]),
    }
    flow, padded_flow = flows.get(reduction, (2.0, 2.0))
    options = {"class_axis": -1, "reduction": reduction}
    got = cross_entropy_grad(z, target, grad_output=flow, **options)
    expected = cross_entropy_grad(
        padded, padded_target, grad_output=padded_flow, **options
    )
    product = cross_entropy_hvp(z, target, vector, **options)
    expected_product = cross_entropy_hvp(
        padded, padded_target, padded_vector, **options
    )
    for i, n in enumerate(LENGTHS):
        for a, b in [(got, expected), (product, expected_product)]:
            np.testing.assert_allclose(a[i], b[i, :n], rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_ragged_is_each_entry_by_itself(reduction):
    rng = np.random.default_rng(93)
    z = [rng.normal(size=(n, 2)) for n in LENGTHS]
    q = [rng.random((n, 2)) for n in LENGTHS]
    vector = [rng.normal(size=(n, 2)) for n in LENGTHS]
    options = {"pos_weight": [2.0, 0.5], "reduction": reduction}
    loss, gradient = binary_cross_entropy_with_logits_value_and_grad(z, q, **options)
    product = binary_cross_entropy_with_logits_hvp(z, q, vector, **options)
    joined = [np.concatenate(arrays) for arrays in (z, q, vector)]
    whole = {**options, "reduction": "mean" if reduction == "mean" else "sum"}
    expected = binary_cross_entropy_with_logits_grad(*joined[:2], **whole)
    curvature = binary_cross_entropy_with_logits_hvp(*joined, **whole)
    alone = [
        binary_cross_entropy_with_logits(a, b, **{**options, "reduction": "mean"})
        for a, b in zip(z, q, strict=True)
    ]
    if reduction == "sample":
        np.testing.assert_allclose(loss, alone, rtol=1e-14)
        share = np.repeat([0.5 / max(1, n) for n in LENGTHS], LENGTHS)[:, np.newaxis]
        expected, curvature = expected * share, curvature * share
        double = binary_cross_entropy_with_logits_grad(
            z, q, grad_output=[2.0] * 4, **options
        )
        assert cases.same_bits(double[2], 2 * gradient[2])
    elif reduction == "none":
        assert [losses.shape for losses in loss] == [(n, 2) for n in LENGTHS]
        double = binary_cross_entropy_with_logits_grad(
            z, q, grad_output=[np.full((n, 2), 2.0) for n in LENGTHS], **options
        )
        assert cases.same_bits(double[2], 2 * gradient[2])
    else:
        assert loss == binary_cross_entropy_with_logits(*joined[:2], **whole)
    np.testing.assert_allclose(np.concatenate(gradient), expected, rtol=1e-14)
    np.testing.assert_allclose(np.concatenate(product), curvature, rtol=1e-14)


def test_binary_weights_of_each_element():
    p, q = [np.array([0.3, 0.9]), np.array([0.5])], [[0.0, 1.0], [1.0]]
    loss = binary_cross_entropy(p, q, weight=[[2.0, 0.0], [3.0]], reduction="sum")
    assert loss == pytest.approx(-2 * np.log(0.7) + 3 * np.log(2.0), rel=1e-14)
    with pytest.raises(ValueError, match=r"weight must hold arrays of lengths \[2, 1"):
        binary_cross_entropy(p, q, weight=[[2.0], [0.0, 3.0]])


def test_binary_probabilities():
    p, q = [np.array([0.3, 0.9]), np.array([0.5])], [[0.0, 1.0], [1.0]]
    loss = binary_cross_entropy(p, q, reduction="sample")
    np.testing.assert_allclose(loss, [-(np.log(0.7) + np.log(0.9)) / 2, np.log(2.0)])
    gradient = binary_cross_entropy_grad(p, q, reduction="sample")
    np.testing.assert_allclose(gradient[0], [0.5 / 0.7, -0.5 / 0.9])
    np.testing.assert_allclose(gradient[1], [-2.0])


def test_losses_with_contracts_take_lists():
    z, target, *_ = make_problem("index")
    loss = CrossEntropyLoss(
        form="index", class_axis=-1, input_shape=(None, None, 5), reduction="sample"
    )
    expected = cross_entropy(z, target, class_axis=-1, reduction="sample")
    assert cases.same_bits(loss(z, target), expected)
    with pytest.raises(ValueError, match=r"input must have shape \(None, None, 5\)"):
        loss([array[:, :4] for array in z], target)
    binary = BinaryCrossEntropyLoss(input_shape=(2, None))
    assert binary([[0.0], [0.0, 0.0]], [[1], [0, 1]]) == pytest.approx(np.log(2.0))


def test_entries_of_one_shape_make_an_array():
    z, target = [np.zeros((5, 2)), np.ones((5, 2))], [[0, 1], [2, 3]]
    assert isinstance(cross_entropy(z, target, reduction="none"), np.ndarray)


Z, TARGET = [np.zeros((3, 4)), np.zeros((5, 4))], [np.zeros(3, int), np.zeros(5, int)]
BAD = {
    "classes not where they are": (
        {"class_axis": None},
        "same number of classes, on axis 0 of each",
    ),
    "axis of the list": ({"class_axis": 0}, "class_axis must be an axis of the entr"),
    "fewer targets": ({"target": TARGET[:1]}, "target must be a list of 2 arrays"),
    "target no list": ({"target": np.zeros(8, int)}, "target must be a list of 2 arr"),
    "target too long": (
        {"target": [TARGET[1], TARGET[1]]},
        r"target must hold arrays of shapes \[\(3,\), \(5,\)\] .* at entry 0",
    ),
    "out of range": ({"target": [TARGET[0], TARGET[1] + 4]}, "got 4 at row 3"),
    "weights": ({"sample_weight": np.ones(3)}, r"sample_weight must have shape \(2,\)"),
    "axes": ({"input": [np.zeros(4), Z[1]]}, "same number of axes"),
    "out": ({"out": np.zeros((8, 4))}, "out must be None for a list"),
    "grad_output": ({"grad_output": np.ones(2)}, "grad_output must have the shape of"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_lists_are_refused(change, message):
    arguments = {"input": Z, "target": TARGET, "class_axis": -1, **change}
    with pytest.raises(ValueError, match=message):
        cross_entropy_grad(**arguments)


def test_bad_binary_lists_are_refused():
    with pytest.raises(ValueError, match="differ in their first axis alone"):
        binary_cross_entropy_with_logits([np.zeros((1, 2)), np.zeros((1, 3))], [0, 1])
    with pytest.raises(ValueError, match=r"lengths \[1, 2\], those of input; got"):
        binary_cross_entropy_with_logits([[0.0], [0.0, 1.0]], [[0, 1], [0]])
    with pytest.raises(ValueError, match="target must be a list of 2 arrays"):
        binary_cross_entropy_with_logits([[0.0], [0.0, 1.0]], np.zeros(3))


def test_probabilities_are_no_integers():
    scores = [np.zeros((2, 1)), np.zeros((2, 2))]
    target = [np.array([[1], [0]]), np.array([[1, 0], [0, 1]])]
    with pytest.raises(TypeError, match="probabilities in a float dtype"):
        cross_entropy(scores, target)


def test_lengths_that_vary_do_not_fit_a_fixed_one():
    scores, target = [np.zeros((4, 3)), np.zeros((2, 3))], [[0, 1, 2, 0], [0, 1]]
    loss = CrossEntropyLoss(class_axis=-1, input_shape=(None, None, 3))
    assert loss(scores, target) == pytest.approx(np.log(3))
    loss = CrossEntropyLoss(class_axis=-1, input_shape=(None, 4, 3))
    with pytest.raises(ValueError, match=r"\(None, 4, 3\).* got shape \(2, None, 3\)"):
        loss(scores, target)
    assert "input shape   ()" in BinaryCrossEntropyLoss(input_shape=()).describe()


@pytest.mark.parametrize("entries", [[2, 2], [2, 3]])
def test_masks_in_lists_are_refused(entries):
    scores = [np.ma.array(np.zeros(n), mask=np.eye(n)[0]) for n in entries]
    with pytest.raises(TypeError, match="mask"):
        cross_entropy(scores, [0, 1])
