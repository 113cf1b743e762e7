"""Losses of arrays on a device, in the simulator, whose arrays are those of numba."""

import numpy as np
import pytest
from numba import cuda

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
    nll_loss,
)
from tests import reference
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.arrays import on_host

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks")


RNG = np.random.default_rng(0)
TOLERANCES = {"float16": 4e-3, "float32": 3e-6, "float64": 1e-13}
# shape, options, whether targets are probabilities, dtype
CASES = {
    "a row": ((7,), {}, False, "float32"),
    "few classes": ((5, 3), {}, False, "float64"),
    "many classes": ((3, 40), {"reduction": "none"}, False, "float32"),
    "planes": ((4, 5, 3), {"reduction": "sum"}, False, "float32"),
    "channels last": ((4, 3, 5), {"class_axis": -1}, False, "float32"),
    "probabilities": ((5, 3), {"label_smoothing": 0.1}, True, "float32"),
    "class weights": (
        (5, 6),
        {"weight": RNG.uniform(0.5, 2, 6), "label_smoothing": 0.2},
        False,
        "float32",
    ),
    "sample weights": (
        (4, 3, 2),
        {"sample_weight": np.array([1.0, 0.0, 2.0, 0.5])},
        False,
        "float64",
    ),
    "weighted probabilities": (
        (4, 3),
        {"sample_weight": np.array([1.0, 0.0, 2.0, 0.5])},
        True,
        "float64",
    ),
    "half precision": ((3, 40), {}, False, "float16"),
    "scores that are probabilities": ((4, 3), {"from_logits": False}, False, "float64"),
    "smoothed targets of probabilities": (
        (4, 3),
        {"from_logits": False, "label_smoothing": 0.2},
        False,
        "float64",
    ),
}


def drawn(shape, options, has_probabilities, dtype):
    axis = options.get("class_axis", min(1, len(shape) - 1)) % len(shape)
    scores = 3 * RNG.standard_normal(shape)
    if not options.get("from_logits", True):
        scores = np.exp(scores) / np.exp(scores).sum(axis=axis, keepdims=True)
    row_shape = shape[:axis] + shape[axis + 1 :]
    if has_probabilities:
        rows = RNG.dirichlet(np.ones(shape[axis]), row_shape)
        target = np.ascontiguousarray(np.moveaxis(rows, -1, axis)).astype(dtype)
    else:
        target = np.asarray(RNG.integers(shape[axis], size=row_shape))
        target.reshape(-1)[:1] = -100 if target.size > 1 else 0
    return scores.astype(dtype), target


class Expected:
    """What the oracle says, in the shapes of the call."""

    def __init__(self, scores, target, options):
        self.axis = options.get("class_axis", min(1, scores.ndim - 1)) % scores.ndim
        self.shape = np.moveaxis(scores, self.axis, -1).shape
        self.scores = self.rows(scores)
        soft = target.ndim == scores.ndim
        self.target = self.rows(target) if soft else target.reshape(-1)
        self.options = {k: v for k, v in options.items() if k != "class_axis"}
        if "sample_weight" in options:
            repeats = len(self.scores) // len(options["sample_weight"])
            per_row = np.repeat(options["sample_weight"], repeats)
            self.options["sample_weight"] = per_row

    def rows(self, array):
        return np.moveaxis(array, self.axis, -1).reshape(-1, self.shape[-1])

    def unrows(self, rows):
        return np.moveaxis(rows.reshape(self.shape), -1, self.axis)

    def loss(self):
        loss = reference.cross_entropy(self.scores, self.target, **self.options)
        return loss.reshape(self.shape[:-1]) if loss.ndim else loss

    def gradient(self, grad_output=None):
        return self.unrows(
            reference.cross_entropy_grad(
                self.scores, self.target, grad_output=grad_output, **self.options
            )
        )

    def product(self, vector):
        return self.unrows(
            reference.cross_entropy_hvp(
                self.scores, self.target, self.rows(vector), **self.options
            )
        )


@pytest.mark.parametrize("name", CASES)
def test_what_the_oracle_says(name):
    shape, options, has_probabilities, dtype = CASES[name]
    scores, target = drawn(shape, options, has_probabilities, dtype)
    expected = Expected(scores, target, options)
    near = {"rtol": 0, "atol": TOLERANCES[dtype]}
    there = cuda.to_device(scores)

    loss, gradient = cross_entropy_value_and_grad(there, target, **options)
    np.testing.assert_allclose(on_host(loss), expected.loss(), **near)
    np.testing.assert_allclose(on_host(gradient), expected.gradient(), **near)
    assert str(gradient.dtype) == dtype
    assert isinstance(loss, float) or options.get("reduction") == "none"

    inflow = RNG.standard_normal(np.shape(expected.loss()))
    gradient = cross_entropy_grad(there, target, grad_output=inflow, **options)
    np.testing.assert_allclose(on_host(gradient), expected.gradient(inflow), **near)
    if options.get("from_logits", True):
        v = RNG.standard_normal(shape).astype(dtype)
        product = cross_entropy_hvp(there, target, v, **options)
        np.testing.assert_allclose(on_host(product), expected.product(v), **near)


def test_all_arguments_may_live_on_the_device():
    scores, target = drawn((5, 3), {}, False, "float32")
    weight, sample_weight = RNG.uniform(0.5, 2, 3), RNG.uniform(0.5, 2, 5)
    loss = cross_entropy(
        cuda.to_device(scores),
        cuda.to_device(target),
        weight=cuda.to_device(weight),
        sample_weight=cuda.to_device(sample_weight),
    )
    expected = reference.cross_entropy(
        scores, target, weight=weight, sample_weight=sample_weight
    )
    assert loss == pytest.approx(expected, rel=1e-6)


def test_nothing_to_average_is_nan():
    assert np.isnan(cross_entropy(cuda.to_device(np.zeros((2, 2))), [-100, -100]))
    empty = cuda.to_device(np.zeros((0, 2)))
    assert np.isnan(cross_entropy(empty, np.zeros(0, int)))
    assert cross_entropy(empty, np.zeros(0, int), reduction="sum") == 0.0


WIDE = np.zeros((3, 2))
HERE = cuda.to_device(WIDE.astype(np.float32))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("got 5 at row 1", lambda: cross_entropy(HERE, [0, 5, 1])),
        ("got -1 at row 2", lambda: cross_entropy_grad(HERE, [0, 1, -1])),
        ("got 2 at row 0", lambda: cross_entropy_hvp(HERE, [2, 1, 1], HERE)),
        ("target must have shape", lambda: cross_entropy(HERE, [0, 1])),
        (
            "weight must have shape",
            lambda: cross_entropy(HERE, [0, 1, 1], weight=np.ones(3)),
        ),
        (
            "sample_weight must have shape",
            lambda: cross_entropy(HERE, [0, 1, 1], sample_weight=np.ones(2)),
        ),
        (
            "grad_output must have the shape",
            lambda: cross_entropy_grad(HERE, [0, 1, 1], grad_output=np.ones(3)),
        ),
        (
            "vector must have the shape",
            lambda: cross_entropy_hvp(HERE, [0, 1, 1], np.ones(3)),
        ),
        (
            "reduction must be one of",
            lambda: cross_entropy(HERE, [0, 1, 1], reduction="all"),
        ),
        (
            "out must have the shape",
            lambda: cross_entropy_grad(HERE, [0, 1, 1], out=cuda.to_device(WIDE)),
        ),
        ("got 2 at row 1", lambda: nll_loss(HERE, [0, 2, 1])),
    ],
)
def test_wrong_values_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("integer dtype", lambda: cross_entropy(HERE, [0.0, 1.0, 1.0])),
        (
            "input must hold",
            lambda: cross_entropy(cuda.to_device(np.zeros((3, 2), int)), [0, 1, 1]),
        ),
        ("float dtype", lambda: cross_entropy(HERE, np.zeros((3, 2), int))),
        (
            "out must be an array of the library",
            lambda: cross_entropy_grad(HERE, [0, 1, 1], out=np.zeros((3, 2))),
        ),
        ("class indices", lambda: nll_loss(HERE, np.ones((3, 2)))),
    ],
)
def test_wrong_types_are_refused(message, call):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.fixture
def narrow_device(monkeypatch):
    """Let a device have few classes and few rows."""
    from skxent.backends import _cuda

    monkeypatch.setattr(_cuda, "MOST_CLASSES", 100)
    monkeypatch.setattr(_cuda, "MOST_BLOCKS", 2)
    _cuda.rows_of.cache_clear()
    yield
    _cuda.rows_of.cache_clear()


@pytest.mark.usefixtures("narrow_device")
def test_more_classes_than_numbers_of_32_bits_are_refused():
    for n_classes in (100, 101):
        there = cuda.to_device(np.zeros((1, n_classes)))
        if n_classes == 100:
            assert cross_entropy(there, [1]) == pytest.approx(np.log(100))
        else:
            with pytest.raises(ValueError, match=r"at most 100 classes .* got 101"):
                cross_entropy(there, [1])
    planes = cuda.to_device(np.zeros((1, 101, 2)))  # whose places are of 64 bits
    assert cross_entropy(planes, [[1, 2]]) == pytest.approx(np.log(101))


@pytest.mark.usefixtures("narrow_device")
def test_more_rows_than_a_launch_has_blocks_for_are_refused():
    there = cuda.to_device(np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match=r"input .* at most 2 rows .* got 3"):
        cross_entropy_hvp(there, [0, 1, 1], there)
    soft = cuda.to_device(np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match=r"input .* at most 2 rows .* got 3"):
        cross_entropy(there, soft, from_logits=False)
    assert cross_entropy(there, soft) == pytest.approx(np.log(2))


def test_the_limits_are_those_of_32_bits():
    from skxent.backends import _cuda

    with pytest.raises(ValueError, match="at most 2147483647 classes"):
        _cuda.rows_of((1, 2**31), "float32", True, False, False)
