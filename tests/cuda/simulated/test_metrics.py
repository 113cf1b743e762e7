"""Metrics of scores on a device, beside those of the same scores on the host."""

import numpy as np
import pytest
from numba import cuda

from skxent import metrics
from tests.cuda.scheduler import use_device_math

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks")

RNG = np.random.default_rng(5)
Y = np.array([2, 0, 1, 1, 0])
P = RNG.dirichlet(np.ones(3), 5)
WEIGHT = RNG.uniform(0.5, 2, 5)
STRINGS = np.array(["a", "b", "c"])[Y]
SOFT = RNG.dirichlet(np.ones(3), 5)
CALLS = {
    "log loss": ("log_loss", Y, {}),
    "log loss, a sum": ("log_loss", STRINGS, {"normalize": False}),
    "log loss, weighted": ("log_loss", Y, {"sample_weight": WEIGHT}),
    "log loss, a label without samples": ("log_loss", [0, 0, 2, 2, 2], {}),
    "share explained": ("d2_log_loss_score", STRINGS, {"sample_weight": WEIGHT}),
    "cross-entropy": ("cross_entropy_loss", STRINGS, {}),
    "soft labels": ("cross_entropy_loss", SOFT, {}),
    "options": (
        "cross_entropy_loss",
        Y,
        {"class_weight": "balanced", "label_smoothing": 0.1, "sample_weight": WEIGHT},
    ),
    "ignored": ("cross_entropy_loss", Y, {"ignore_label": 1, "labels": [0, 2, 3]}),
    "calibration": ("expected_calibration_error", Y, {"n_bins": 3}),
}


def both(name, y, scores, **options):
    """Return what a metric says of scores on the device and on the host."""
    if name == "log_loss" and np.unique(y).size < 3:
        options["labels"] = [0, 1, 2]
    function = getattr(metrics, name)
    got = function(y, cuda.to_device(scores), **options)
    return got, function(y, scores, **options)


@pytest.fixture
def copies(monkeypatch):
    """The shapes of what was copied to the host but for sums."""
    from skxent.backends._device_arrays import NumbaArrays

    copied = []
    to_host = NumbaArrays.to_host

    def counted(self, array):
        copied.append(tuple(array.shape))
        return to_host(self, array)

    monkeypatch.setattr(NumbaArrays, "to_host", counted)
    return copied


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CALLS)
def test_same_as_on_the_host(case, dtype, copies):
    name, y, options = CALLS[case]
    got, expected = both(name, y, P.astype(dtype), **options)
    assert isinstance(got, float)
    assert got == pytest.approx(expected, rel=20 * float(np.finfo(dtype).eps))
    stays = name != "expected_calibration_error"
    assert (P.shape not in copies) == stays


def test_logits(copies):
    options = {"from_logits": True, "label_smoothing": 0.1}
    got, expected = both("cross_entropy_loss", Y, np.log(P), **options)
    assert got == pytest.approx(expected, rel=1e-14)
    assert P.shape not in copies


def test_labels_may_live_on_the_device():
    there = [cuda.to_device(array) for array in (Y, P, WEIGHT)]
    got = metrics.log_loss(there[0], there[1], sample_weight=there[2])
    assert got == pytest.approx(metrics.log_loss(Y, P, sample_weight=WEIGHT))


def test_probabilities_of_0_and_1_are_clipped_by_the_log_loss_alone():
    hard = np.eye(3)[[0, 0, 1, 1, 0]]
    for name in ("log_loss", "cross_entropy_loss"):
        got, expected = both(name, Y, hard)
        assert got == pytest.approx(expected)


def said(function, *args):
    """Return what the error of a call says."""
    with pytest.raises(ValueError, match=r".+") as error:
        function(*args)
    return str(error.value)


@pytest.mark.parametrize("name", ["log_loss", "cross_entropy_loss"])
def test_what_is_wrong_is_said_as_on_the_host(name):
    metric = getattr(metrics, name)
    for wrong in (P - 0.2, P + 0.5, np.where(0.9 * P.max() < P, np.nan, P)):
        assert said(metric, Y, cuda.to_device(wrong)) == said(metric, Y, wrong)
    with pytest.warns(UserWarning, match="do not sum to one"):
        metric(Y, cuda.to_device(0.9 * P))
    with pytest.raises(ValueError, match="classes"):
        metric([0, 1, 0, 1, 0], cuda.to_device(P))


def test_other_shapes_and_dtypes_take_the_way_over_the_host():
    got, expected = both("cross_entropy_loss", Y > 0, P[:, 0].copy())
    assert got == expected
    got, expected = both("cross_entropy_loss", Y % 2, np.float16([[0.25, 0.75]] * 5))
    assert got == expected


@pytest.mark.parametrize("scale", [1e-46, 1e-44, 1e39])
@pytest.mark.parametrize(
    "name", ["log_loss", "d2_log_loss_score", "cross_entropy_loss"]
)
def test_weights_that_float32_does_not_hold(name, scale):
    scores = P.astype(np.float32)
    got, expected = both(name, Y, scores, sample_weight=np.full(5, scale))
    assert got == pytest.approx(expected, rel=1e-12)
    got, _ = both(name, Y, scores)
    assert got == pytest.approx(expected, rel=1e-6)
