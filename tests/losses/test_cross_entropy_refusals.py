"""What the loss refuses: a message that names the argument, before any work is done."""

import re

import numpy as np
import pytest
import scipy.sparse

from skxent.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from skxent.metrics import cross_entropy_loss
from tests import reference
from tests.losses import cases

N, C = 5, 4
RNG = np.random.default_rng(50)
LOGITS = cases.make_logits(RNG, (N, C))
LABELS = cases.make_target(RNG, "index", (N, C))
SOFT = cases.make_target(RNG, "probabilities", (N, C))


def hvp(input, target, **options):
    return cross_entropy_hvp(input, target, np.ones((N, C)), **options)


FUNCTIONS = [cross_entropy, cross_entropy_grad, cross_entropy_value_and_grad, hvp]

# Which argument is bad, what makes it bad, and the call's arguments.
REFUSED = [
    ("input", "0-d", {"input": np.float64(1.0), "target": 0}),
    ("input", "None", {"input": None}),
    ("input", "text", {"input": "abc"}),
    ("input", "array of text", {"input": LOGITS.astype(str)}),
    ("input", "ragged list", {"input": [[0.0, 1.0], [0.0, 1.0, 2.0]]}),
    ("input", "object array", {"input": LOGITS.astype(object)}),
    ("input", "complex", {"input": LOGITS.astype(complex)}),
    ("input", "longdouble", {"input": LOGITS.astype(np.longdouble)}),
    ("input", "datetime", {"input": np.zeros((N, C), dtype="M8[s]")}),
    ("input", "timedelta", {"input": np.zeros((N, C), dtype="m8[s]")}),
    ("input", "record", {"input": np.zeros((N, C), dtype=[("a", "f8")])}),
    ("input", "masked", {"input": np.ma.masked_greater(LOGITS, 1.0)}),
    ("input", "sparse array", {"input": scipy.sparse.csr_array(LOGITS)}),
    ("input", "sparse matrix", {"input": scipy.sparse.csr_matrix(LOGITS)}),
    ("target", "None", {"target": None}),
    ("target", "one label too many", {"target": np.zeros(N + 1, dtype=int)}),
    ("target", "one label too few", {"target": np.zeros(N - 1, dtype=int)}),
    ("target", "a label alone", {"target": 0}),
    ("target", "column of labels", {"target": LABELS[:, np.newaxis]}),
    ("target", "float labels", {"target": LABELS.astype(float)}),
    ("target", "integers of the input's shape", {"target": SOFT.astype(int)}),
    ("target", "too many probabilities", {"target": np.ones((N, C + 1))}),
    ("target", "too few rows", {"target": SOFT[:-1]}),
    ("target", "transposed", {"target": SOFT.T}),
    ("target", "one row for all", {"target": SOFT[:1]}),
    ("target", "bool labels", {"target": np.zeros(N, dtype=bool)}),
    ("target", "bool one-hot", {"target": SOFT > 0.5}),
    ("target", "complex", {"target": SOFT.astype(complex)}),
    ("target", "complex labels", {"target": LABELS.astype(complex)}),
    ("target", "object labels", {"target": LABELS.astype(object)}),
    ("target", "object probabilities", {"target": SOFT.astype(object)}),
    ("target", "text labels", {"target": np.array(["a"] * N)}),
    ("target", "longdouble", {"target": SOFT.astype(np.longdouble)}),
    ("target", "datetime", {"target": np.zeros(N, dtype="M8[s]")}),
    ("target", "masked labels", {"target": np.ma.masked_equal(LABELS, 0)}),
    ("target", "masked", {"target": np.ma.masked_less(SOFT, 0.1)}),
    ("target", "sparse", {"target": scipy.sparse.csr_array(SOFT)}),
    ("weight", "too long", {"weight": np.ones(C + 1)}),
    ("weight", "too short", {"weight": np.ones(1)}),
    ("weight", "0-d", {"weight": 2.0}),
    ("weight", "2-d", {"weight": np.ones((N, C))}),
    ("weight", "object", {"weight": np.ones(C, dtype=object)}),
    ("weight", "complex", {"weight": np.ones(C, dtype=complex)}),
    ("weight", "text", {"weight": ["a"] * C}),
    ("weight", "masked", {"weight": np.ma.masked_equal([0.0, 1, 2, 3], 0)}),
    ("sample_weight", "too long", {"sample_weight": np.ones(N + 1)}),
    ("sample_weight", "too short", {"sample_weight": np.ones(1)}),
    ("sample_weight", "0-d", {"sample_weight": 2.0}),
    ("sample_weight", "column", {"sample_weight": np.ones((N, 1))}),
    ("sample_weight", "object", {"sample_weight": np.ones(N, dtype=object)}),
    ("sample_weight", "complex", {"sample_weight": np.ones(N, dtype=complex)}),
    ("ignore_index", "float", {"ignore_index": 1.5}),
    ("ignore_index", "whole float", {"ignore_index": 1.0}),
    ("ignore_index", "text", {"ignore_index": "1"}),
    ("ignore_index", "None", {"ignore_index": None}),
    ("ignore_index", "probabilities", {"ignore_index": 0, "target": SOFT}),
    ("ignore_index", "probabilities, far", {"ignore_index": 255, "target": SOFT}),
    ("reduction", "unknown", {"reduction": "average"}),
    ("reduction", "upper case", {"reduction": "Mean"}),
    ("reduction", "None", {"reduction": None}),
    ("reduction", "unhashable", {"reduction": ["mean"]}),
    ("label_smoothing", "below 0", {"label_smoothing": -0.01}),
    ("label_smoothing", "above 1", {"label_smoothing": 1.01}),
    ("label_smoothing", "nan", {"label_smoothing": np.nan}),
    ("label_smoothing", "inf", {"label_smoothing": np.inf}),
    ("label_smoothing", "text", {"label_smoothing": "0.1"}),
    ("label_smoothing", "None", {"label_smoothing": None}),
    ("label_smoothing", "array", {"label_smoothing": np.full(C, 0.1)}),
]

# The contract asks for a ValueError wherever the type is right and the value wrong.
VALUE_ERRORS = {
    "one label too many",
    "one label too few",
    "too many probabilities",
    "too few rows",
    "too long",
    "too short",
    "unknown",
    "below 0",
    "above 1",
    "nan",
}


@pytest.mark.parametrize(
    ("argument", "flaw", "arguments"),
    REFUSED,
    ids=[f"{argument}-{flaw}".replace(" ", "_") for argument, flaw, _ in REFUSED],
)
def test_bad_argument_is_named(argument, flaw, arguments):
    kinds = ValueError if flaw in VALUE_ERRORS else (ValueError, TypeError)
    arguments = {"input": LOGITS, "target": LABELS, **arguments}
    for function in FUNCTIONS:
        with pytest.raises(kinds, match=rf"\b{argument}\b"):
            function(**arguments)


@pytest.mark.parametrize(
    "vector",
    [
        np.ones((N, C + 1)),
        np.ones(C),
        np.ones((1, C)),
        1.0,
        LOGITS.astype(object),
        LOGITS.astype(complex),
        np.ma.masked_greater(LOGITS, 1.0),
    ],
    ids=["wide", "row", "one row", "scalar", "object", "complex", "masked"],
)
def test_bad_vector_is_named(vector):
    with pytest.raises((ValueError, TypeError), match=r"\bvector\b"):
        cross_entropy_hvp(LOGITS, LABELS, vector)


@pytest.mark.parametrize(
    ("reduction", "grad_output"),
    [
        ("mean", np.ones(N)),
        ("sum", np.ones((N, C))),
        ("none", np.ones(N + 1)),
        ("none", np.ones((N, 1))),
        ("none", np.ones(1)),
        ("mean", 1j),
        ("mean", "1"),
        ("none", np.ones(N, dtype=object)),
    ],
    ids=repr,
)
def test_bad_grad_output_is_named(reduction, grad_output):
    with pytest.raises((ValueError, TypeError), match=r"\bgrad_output\b"):
        cross_entropy_grad(LOGITS, LABELS, reduction=reduction, grad_output=grad_output)


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "out",
    [
        np.empty((N, C + 1)),
        np.empty((N + 1, C)),
        np.empty(N * C),
        np.empty((C, N)),
        np.empty((N, C), dtype=np.float32),
        np.empty((N, C), dtype=np.int64),
        np.empty((N, C), dtype=object),
        [[0.0] * C] * N,
        read_only(np.empty((N, C))),
    ],
    ids=[
        "wide",
        "long",
        "flat",
        "transposed",
        "float32",
        "integer",
        "object",
        "list",
        "read-only",
    ],
)
def test_bad_out_is_named(out):
    for call in (
        lambda: cross_entropy_grad(LOGITS, LABELS, out=out),
        lambda: cross_entropy_value_and_grad(LOGITS, LABELS, out=out),
        lambda: cross_entropy_hvp(LOGITS, LABELS, np.ones((N, C)), out=out),
    ):
        with pytest.raises((ValueError, TypeError), match=r"\bout\b"):
            call()


def test_out_of_float64_is_refused_for_float32_logits():
    out = np.empty((N, C))
    with pytest.raises((ValueError, TypeError), match=r"\bout\b"):
        cross_entropy_grad(LOGITS.astype(np.float32), LABELS, out=out)


@pytest.mark.parametrize("n_rows", [40, 9001])
@pytest.mark.parametrize("bad", [41, 977, -1, -101, 2**62])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_target_out_of_range_names_the_first_row_the_value_and_the_range(
    n_rows, bad, dtype
):
    bad = min(bad, np.iinfo(dtype).max)
    z = np.zeros((n_rows, 41))
    target = np.arange(n_rows, dtype=dtype) % 41
    target[13], target[29] = bad, 555
    out = np.full_like(z, 7.0)
    for call in (
        lambda: cross_entropy(z, target),
        lambda: cross_entropy(z, target, weight=np.ones(41), label_smoothing=0.1),
        lambda: cross_entropy(z, target, sample_weight=np.ones(n_rows)),
        lambda: cross_entropy(z + 0.1, target, from_logits=False),
        lambda: cross_entropy_grad(z, target, out=out),
        lambda: cross_entropy_value_and_grad(z, target, out=np.empty_like(z)),
        lambda: cross_entropy_value_and_grad(z, target, out=z),
        lambda: cross_entropy_hvp(z, target, z, out=out),
    ):
        with pytest.raises(ValueError, match=r"\btarget\b") as caught:
            call()
        message = str(caught.value)
        assert re.search(r"\b13\b", message), message
        assert re.search(rf"(?<![\d-]){bad}\b", message), message
        assert re.search(r"\b4[01]\b", message), message
        assert "555" not in message
    # Nothing was written before the refusal that anyone might want.
    assert (out == 7.0).all()
    assert (z == 0.0).all()


def test_unbatched_target_out_of_range():
    with pytest.raises(ValueError, match=r"\btarget\b.*977"):
        cross_entropy(np.zeros(3), 977)


@pytest.mark.parametrize("bad", [2**63, 2**64 - 1, 2**64 - 100])
def test_unsigned_target_beyond_int64_does_not_wrap_around(bad):
    # 2**64 - 1 and 2**64 - 100 become -1 and -100 where they are cast to int64.
    target = np.array([0, bad], dtype=np.uint64)
    with pytest.raises(ValueError, match=rf"\btarget\b.*{bad}"):
        cross_entropy(np.zeros((2, 3)), target)


@pytest.mark.parametrize(
    ("dtype", "label", "ignore_index"),
    [("uint8", 156, -100), ("int8", 44, 300), ("uint64", 3, 3 - 2**64)],
)
def test_target_is_not_ignored_by_wrapping_around(dtype, label, ignore_index):
    # 156 is -100 in 8 bits, 300 is 44, and 3 - 2**64 is 3 in 64 bits.
    z = np.random.default_rng(51).normal(size=(2, 400))
    target = np.array([0, label], dtype=dtype)
    options = {"ignore_index": ignore_index, "reduction": "none"}
    expected = reference.cross_entropy(z, target, **options)
    assert expected[1] > 0
    np.testing.assert_allclose(
        cross_entropy(z, target, **options), expected, rtol=1e-13
    )


def test_unsigned_target_holds_an_ignore_index_out_of_the_range_of_classes():
    # 255 marks the unlabelled pixels of many segmentation data sets.
    target = np.array([0, 255, 2], dtype=np.uint8)
    z = np.random.default_rng(52).normal(size=(3, 3))
    value, gradient = cross_entropy_value_and_grad(z, target, ignore_index=255)
    np.testing.assert_allclose(value, cross_entropy(z[::2], target[::2]), rtol=1e-15)
    assert (gradient[1] == 0).all()


@pytest.mark.parametrize("value", ["no", 1, None])
def test_from_logits_is_true_or_false(value):
    for call in (cross_entropy, cross_entropy_grad, cross_entropy_value_and_grad):
        with pytest.raises(TypeError, match="from_logits must be True or False"):
            call(LOGITS, LABELS, from_logits=value)
    for loss in (CrossEntropyLoss, BinaryCrossEntropyLoss):
        with pytest.raises(TypeError, match="from_logits must be True or False"):
            loss(from_logits=value)
    with pytest.raises(TypeError, match="from_logits must be True or False"):
        cross_entropy_loss(LABELS, SOFT, from_logits=value)
