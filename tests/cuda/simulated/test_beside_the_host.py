"""What the losses of a device share with those of the host: reductions, `out`, nll."""

import numpy as np
import pytest
from numba import cuda

from skxent import losses
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.arrays import on_host

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks")

RNG = np.random.default_rng(3)
SHAPE = (3, 4, 5)
LEAST = -(2**63)
SCORES = np.log(RNG.dirichlet(np.ones(4), (3, 5))).transpose(0, 2, 1).copy()
INDICES = RNG.integers(4, size=(3, 5))
INDICES[0, 1] = INDICES[2] = -100  # the third sample has no rows left
SOFT = RNG.dirichlet(np.ones(4), (3, 5)).transpose(0, 2, 1).copy()
WEIGHT = RNG.uniform(0.5, 2, 4)
OF_SAMPLES, OF_ROWS = RNG.uniform(0, 2, 3), RNG.uniform(0, 2, (3, 5))
UNIT = RNG.uniform(0.1, 0.9, SHAPE)
CASES = {
    "samples": ("cross_entropy", INDICES, {"reduction": "sample", "weight": WEIGHT}),
    "weighted samples": (
        "cross_entropy",
        INDICES,
        {"reduction": "sample", "sample_weight": OF_ROWS, "label_smoothing": 0.1},
    ),
    "samples of probabilities": ("cross_entropy", SOFT, {"reduction": "sample"}),
    "weighted samples of probabilities": (
        "cross_entropy",
        SOFT,
        {"reduction": "sample", "sample_weight": OF_ROWS},
    ),
    "nll": ("nll_loss", INDICES, {}),
    "nll, weighted": (
        "nll_loss",
        INDICES,
        {"weight": WEIGHT, "sample_weight": OF_SAMPLES},
    ),
    "nll of rows": ("nll_loss", INDICES, {"reduction": "none"}),
    "nll of samples": ("nll_loss", INDICES, {"reduction": "sample"}),
    "binary samples": (
        "binary_cross_entropy_with_logits",
        UNIT,
        {"reduction": "sample", "pos_weight": WEIGHT[:, np.newaxis]},
    ),
    "binary probabilities of samples": (
        "binary_cross_entropy",
        SOFT,
        {"reduction": "sample", "weight": OF_SAMPLES[:, np.newaxis, np.newaxis]},
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_same_as_on_the_host(case, dtype):
    name, target, options = CASES[case]
    scores = (UNIT if name == "binary_cross_entropy" else SCORES).astype(dtype)
    near = {"rtol": 100 * np.finfo(dtype).eps, "atol": 10 * np.finfo(dtype).eps}

    def both(suffix, *args, **more):
        function = getattr(losses, name + suffix)
        expected = function(scores, target, *args, **options, **more)
        got = function(cuda.to_device(scores), target, *args, **options, **more)
        return got, expected

    (loss, gradient), expected = both("_value_and_grad")
    np.testing.assert_allclose(on_host(loss), expected[0], **near)
    np.testing.assert_allclose(on_host(gradient), expected[1], **near)
    assert isinstance(loss, float) or str(loss.dtype) == dtype
    loss, expected = both("")
    np.testing.assert_allclose(on_host(loss), expected, **near)
    inflow = RNG.normal(size=np.shape(expected))
    gradient, expected = both("_grad", grad_output=inflow)
    np.testing.assert_allclose(on_host(gradient), expected, **near)
    if hasattr(losses, name + "_hvp"):
        product, expected = both("_hvp", RNG.normal(size=SHAPE).astype(dtype))
        np.testing.assert_allclose(on_host(product), expected, **near)


@pytest.mark.parametrize(
    "name",
    ["cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"],
)
def test_out_receives_the_gradient(name):
    target = SOFT if name.startswith("binary") else INDICES
    there = cuda.to_device(SCORES)
    expected = getattr(losses, name + "_grad")(SCORES, target)
    out = cuda.device_array_like(there)
    for _ in range(2):  # the second time over the input
        assert getattr(losses, name + "_grad")(there, target, out=out) is out
        np.testing.assert_allclose(on_host(out), expected, rtol=1e-13, atol=1e-16)
        out = there


@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("cross_entropy", INDICES, {}),
        ("cross_entropy", INDICES, {"from_logits": False}),
        ("cross_entropy", SOFT, {"from_logits": False}),
        ("nll_loss", INDICES, {}),
        ("binary_cross_entropy_with_logits", SOFT, {}),
    ],
)
def test_the_input_is_read_before_the_gradient_takes_its_place(name, target, options):
    scores = np.exp(SCORES) if options else SCORES
    function = getattr(losses, name + "_value_and_grad")
    expected = function(scores, target, **options)
    there = cuda.to_device(scores)
    loss, gradient = function(there, target, out=there, **options)
    assert gradient is there
    assert loss == pytest.approx(float(expected[0]), rel=1e-13)
    np.testing.assert_allclose(on_host(there), expected[1], rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("shape", [(40, 2), (3, 80), (2, 4, 3)])
def test_a_refusal_leaves_out_as_it_was(shape):
    scores = RNG.normal(size=shape)
    target = np.zeros((shape[0], *shape[2:]), int)
    target[-1] = shape[1]
    there, target = cuda.to_device(scores), cuda.to_device(target)
    for function, args in (
        (losses.cross_entropy_grad, ()),
        (losses.nll_loss_grad, ()),
        (losses.cross_entropy_hvp, (cuda.to_device(scores),)),
    ):
        with pytest.raises(ValueError, match=f"got {shape[1]} at row"):
            function(there, target, *args, out=there)
        np.testing.assert_array_equal(on_host(there), scores)
    of_rows = losses.cross_entropy_value_and_grad
    with pytest.raises(ValueError, match=f"got {shape[1]} at row"):
        of_rows(there, target, reduction="none", out=there)
    np.testing.assert_array_equal(on_host(there), scores)


@pytest.mark.parametrize("of_rows", [None, OF_ROWS])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_the_least_index_may_be_ignored(name, of_rows):
    target = np.where(INDICES < 0, LEAST, INDICES)
    options = {"sample_weight": of_rows, "weight": WEIGHT}
    for reduction in ("none", "mean", "sample"):
        options["reduction"] = reduction
        expected = getattr(losses, name + "_value_and_grad")(SCORES, INDICES, **options)
        got = getattr(losses, name + "_value_and_grad")(
            cuda.to_device(SCORES), target, ignore_index=LEAST, **options
        )
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_allclose(on_host(ours), theirs, rtol=1e-12, atol=1e-15)
    target[1, 2] = -100
    with pytest.raises(ValueError, match="got -100 at row 7"):
        losses.cross_entropy(cuda.to_device(SCORES), target, ignore_index=LEAST)


@pytest.mark.parametrize("ignore_index", [-100, 2**63, -(2**63) - 1])
def test_the_least_index_is_no_class(ignore_index):
    target = np.maximum(INDICES, 0)
    target[1, 2] = LEAST
    with pytest.raises(ValueError, match=f"got {LEAST} at row 7"):
        losses.cross_entropy(cuda.to_device(SCORES), target, ignore_index=ignore_index)


# Rows in one thread, rows in several, planes of few classes and of many.
SHAPES = [(3, 4), (3, 70), (2, 4, 3), (2, 70, 3)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_mean_of_no_rows_has_no_gradient(shape, smoothing):
    scores = RNG.normal(size=shape).astype(np.float32)
    target = np.full(shape[:1] + shape[2:], -100)
    for where in (np.asarray, cuda.to_device):
        loss, gradient = losses.cross_entropy_value_and_grad(
            where(scores), target, label_smoothing=smoothing
        )
        assert np.isnan(loss)
        np.testing.assert_array_equal(on_host(gradient), 0.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_weighs_nothing_may_have_any_target(shape):
    scores = RNG.normal(size=shape).astype(np.float32)
    target = np.moveaxis(RNG.dirichlet(np.ones(shape[1]), shape[:1] + shape[2:]), -1, 1)
    target = target.astype(np.float32)
    scores[0], target[0] = np.inf, np.nan
    weight = np.arange(shape[0], dtype=float)
    found = [
        losses.cross_entropy_value_and_grad(where(scores), target, sample_weight=weight)
        for where in (np.asarray, cuda.to_device)
    ]
    (wanted, expected), (loss, gradient) = found
    assert loss == pytest.approx(float(wanted), rel=1e-6)
    np.testing.assert_array_equal(on_host(gradient)[0], 0.0)
    np.testing.assert_allclose(on_host(gradient), expected, atol=1e-7)


def test_out_may_be_what_the_kernel_reads():
    expected = losses.cross_entropy_grad(SCORES, SOFT)
    target = cuda.to_device(SOFT)
    got = losses.cross_entropy_grad(cuda.to_device(SCORES), target, out=target)
    assert got is target
    np.testing.assert_allclose(on_host(target), expected, rtol=1e-13)
    v = RNG.normal(size=SHAPE)
    expected = losses.cross_entropy_hvp(SCORES, INDICES, v)
    there, vector = cuda.to_device(SCORES), cuda.to_device(v)
    losses.cross_entropy_hvp(there, INDICES, vector, out=vector)
    np.testing.assert_allclose(on_host(vector), expected, rtol=1e-12, atol=1e-16)


def test_no_inflow_to_a_sample_that_weighs_nothing():
    target = np.array([2, 0, -100])
    options = {"weight": [1.0, 1.0, 0.0, 1.0], "reduction": "sample"}
    options["grad_output"] = np.zeros(3)
    scores = SCORES[:, :, 0].copy()
    for where in (np.asarray, cuda.to_device):
        gradient = losses.cross_entropy_grad(where(scores), target, **options)
        np.testing.assert_array_equal(on_host(gradient), 0.0)


def test_binary_targets_may_be_bools():
    x, target = SCORES[0], SOFT[0] > 0.3
    expected = losses.binary_cross_entropy_with_logits(x, target)
    got = losses.binary_cross_entropy_with_logits(
        cuda.to_device(x), cuda.to_device(target)
    )
    assert got == pytest.approx(float(expected), rel=1e-13)


def test_samples_without_rows_are_nan():
    empty = cuda.to_device(np.zeros((2, 3, 0)))
    loss = losses.cross_entropy(empty, np.zeros((2, 0), int), reduction="sample")
    assert np.isnan(on_host(loss)).all()
    loss = losses.binary_cross_entropy_with_logits(
        empty, np.zeros((2, 3, 0)), reduction="sample"
    )
    assert np.isnan(on_host(loss)).tolist() == [True, True]


@pytest.mark.parametrize("from_logits", [True, False])
def test_nobody_waits_where_nothing_can_be_wrong(from_logits, monkeypatch):
    from skxent.backends._device_arrays import NumbaArrays

    def waits(self, array):
        raise AssertionError("the host waits for the device")

    scores = SCORES if from_logits else np.exp(SCORES)
    options = {"sample_weight": OF_ROWS}
    if not from_logits:
        options["from_logits"] = False
    expected = losses.cross_entropy_grad(scores, SOFT, **options)
    there, soft = cuda.to_device(scores), cuda.to_device(SOFT)
    with monkeypatch.context() as patch:
        patch.setattr(NumbaArrays, "to_host", waits)
        gradient = losses.cross_entropy_grad(there, soft, **options)
        options["reduction"] = "none"
        of_rows = losses.cross_entropy(there, soft, **options)
        if from_logits:
            product = losses.cross_entropy_hvp(there, soft, there, **options)
        with pytest.raises(AssertionError, match="waits"):
            losses.cross_entropy(there, soft)
    np.testing.assert_allclose(on_host(gradient), expected, rtol=1e-12, atol=1e-15)
    expected = losses.cross_entropy(scores, SOFT, **options)
    np.testing.assert_allclose(on_host(of_rows), expected, rtol=1e-12)
    if from_logits:
        expected = losses.cross_entropy_hvp(scores, SOFT, scores, **options)
        np.testing.assert_allclose(on_host(product), expected, rtol=1e-12, atol=1e-15)


def test_losses_of_a_sample_are_not_rounded_to_half_precision_before_their_sum():
    x, target = np.full((2, 40), -500, np.float16), np.zeros((2, 40), np.float16)
    target[0, 0] = target[1, 3] = 1
    options = {"reduction": "sample", "pos_weight": np.linspace(300, 400, 40)}
    loss = losses.binary_cross_entropy_with_logits
    expected = loss(x, target, **options)
    assert np.isfinite(expected).all()  # of a loss that float16 does not hold
    np.testing.assert_array_equal(
        on_host(loss(cuda.to_device(x), target, **options)), expected
    )
