"""What the binary losses refuse: a message that names the argument and the remedy."""

import numpy as np
import pytest
import scipy.sparse

from skxent.losses import (
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_value_and_grad,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_hvp,
)
from tests.losses import binary_cases

N, C = 5, 4
INPUT = np.random.default_rng(30).uniform(0.1, 0.9, size=(N, C))
TARGET = np.round(INPUT)


def hvp(input, target, **options):
    return binary_cross_entropy_with_logits_hvp(input, target, INPUT, **options)


OF_LOGITS = [*binary_cases.LOGITS[:3], hvp]
FUNCTIONS = [*OF_LOGITS, *binary_cases.PROBABILITIES[:3]]

WRONG_VALUES = [
    ("target", "one entry less", {"target": TARGET[:-1]}),
    ("target", "flat", {"target": TARGET.ravel()}),
    ("target", "transposed", {"target": TARGET.T}),
    ("target", "one row for all", {"target": TARGET[:1]}),
    ("target", "a number", {"target": 1.0}),
    ("weight", "too long", {"weight": np.ones(C + 1)}),
    ("weight", "one per sample, flat", {"weight": np.ones(N)}),
    ("weight", "more axes than input", {"weight": np.ones((1, N, C))}),
    ("weight", "empty", {"weight": []}),
    ("reduction", "unknown", {"reduction": "average"}),
    ("reduction", "None", {"reduction": None}),
    ("label_smoothing", "below 0", {"label_smoothing": -0.01}),
    ("label_smoothing", "above 1", {"label_smoothing": 1.01}),
    ("label_smoothing", "nan", {"label_smoothing": np.nan}),
    ("input", "list of no common row", {"input": [[[0.5, 0.5]], [[0.5]]]}),
]
WRONG_TYPES = [
    ("input", "None", {"input": None}),
    ("input", "text", {"input": "abc"}),
    ("input", "complex", {"input": INPUT.astype(complex)}),
    ("input", "object", {"input": INPUT.astype(object)}),
    ("input", "longdouble", {"input": INPUT.astype(np.longdouble)}),
    ("input", "masked", {"input": np.ma.masked_greater(INPUT, 0.5)}),
    ("input", "sparse", {"input": scipy.sparse.csr_array(INPUT)}),
    ("target", "None", {"target": None}),
    ("target", "text", {"target": TARGET.astype(str)}),
    ("target", "complex", {"target": TARGET.astype(complex)}),
    ("target", "masked", {"target": np.ma.masked_greater(TARGET, 0.5)}),
    ("target", "sparse", {"target": scipy.sparse.csr_array(TARGET)}),
    ("weight", "text", {"weight": ["a"] * C}),
    ("weight", "complex", {"weight": np.ones(C, dtype=complex)}),
    ("weight", "masked", {"weight": np.ma.masked_equal([0.0, 1, 2, 3], 0)}),
    ("label_smoothing", "text", {"label_smoothing": "0.1"}),
    ("label_smoothing", "array", {"label_smoothing": np.full(C, 0.1)}),
]


def identify(case):
    return f"{case[0]}-{case[1]}".replace(" ", "_")


@pytest.mark.parametrize("case", WRONG_VALUES, ids=identify)
def test_wrong_value_is_named(case):
    argument, _, arguments = case
    arguments = {"input": INPUT, "target": TARGET, **arguments}
    for function in FUNCTIONS:
        with pytest.raises(ValueError, match=rf"^{argument}\b"):
            function(**arguments)


@pytest.mark.parametrize("case", WRONG_TYPES, ids=identify)
def test_wrong_type_is_named(case):
    argument, _, arguments = case
    arguments = {"input": INPUT, "target": TARGET, **arguments}
    for function in FUNCTIONS:
        with pytest.raises(TypeError, match=rf"^{argument}\b"):
            function(**arguments)


@pytest.mark.parametrize("pos_weight", [np.ones(C + 1), np.ones(N), np.ones((N, C, 1))])
def test_bad_pos_weight_is_named(pos_weight):
    for function in OF_LOGITS:
        with pytest.raises(ValueError, match=r"^pos_weight must broadcast.*\(5, 4\)"):
            function(INPUT, TARGET, pos_weight=pos_weight)


def test_message_on_shapes_names_both_and_the_remedy():
    with pytest.raises(ValueError, match=r"\(5, 4\); got shape \(4,\)\. Reshape"):
        binary_cross_entropy(INPUT, TARGET[0])


@pytest.mark.parametrize("bad", [-1e-9, 1.5, -np.inf, np.inf])
@pytest.mark.parametrize("with_nan", [False, True])
def test_input_outside_the_unit_interval_names_the_first_element(bad, with_nan):
    p = INPUT.copy()
    p[2, 3], p[4, 1] = bad, 7.0
    if with_nan:
        p[0, 0] = np.nan
    out = np.full_like(p, 7.0)
    for call in (
        lambda: binary_cross_entropy(p, TARGET),
        lambda: binary_cross_entropy_grad(p, TARGET, out=out),
        lambda: binary_cross_entropy_value_and_grad(p, TARGET, out=out),
    ):
        with pytest.raises(ValueError, match=r"^input must hold prob") as caught:
            call()
        assert f"got {p[2, 3]} at index (2, 3)" in str(caught.value)
        assert "binary_cross_entropy_with_logits" in str(caught.value)
    assert (out == 7.0).all()


@pytest.mark.parametrize(
    "vector", [np.ones((N, C + 1)), np.ones(C), 1.0, INPUT.astype(complex)]
)
def test_bad_vector_is_named(vector):
    with pytest.raises((ValueError, TypeError), match=r"^vector\b"):
        binary_cross_entropy_with_logits_hvp(INPUT, TARGET, vector)


@pytest.mark.parametrize(
    ("reduction", "grad_output"),
    [
        ("mean", np.ones(1)),
        ("sum", np.ones((N, C))),
        ("none", np.ones(N * C)),
        ("none", 1.0),
        ("sample", np.ones((N, 1))),
        ("mean", 1j),
    ],
    ids=repr,
)
def test_bad_grad_output_is_named(reduction, grad_output):
    for grad in (binary_cross_entropy_grad, binary_cross_entropy_with_logits_grad):
        with pytest.raises((ValueError, TypeError), match=r"^grad_output\b"):
            grad(INPUT, TARGET, reduction=reduction, grad_output=grad_output)


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "out",
    [
        np.empty((N, C + 1)),
        np.empty(N * C),
        np.empty((N, C), dtype=np.float32),
        [[0.0] * C] * N,
        read_only(np.empty((N, C))),
    ],
    ids=["wide", "flat", "float32", "list", "read-only"],
)
def test_bad_out_is_named(out):
    for function in (*FUNCTIONS[1:4], *FUNCTIONS[5:]):
        with pytest.raises((ValueError, TypeError), match=r"^out\b"):
            function(INPUT, TARGET, out=out)
