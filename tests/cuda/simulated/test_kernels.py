"""CUDA kernels of rows in the simulator, in several orders of the threads."""

import numpy as np
import pytest
from numba import cuda
from numba.core.types import float32, float64, uint16

from skxent.kernels import NO_INDEX
from skxent.kernels import _cuda as kernels
from skxent.kernels._cuda_rows import Schedule
from tests import reference
from tests.cuda.scheduler import in_every_order, use_device_math

use_device_math("skxent.kernels._cuda")

TYPES = {"float32": float32, "float64": float64}
TOLERANCES = {"float32": 3e-6, "float64": 4e-15}
IGNORED = -100
SMOOTHING = 0.2
SCALE = 0.25

# What a group has: a part of a warp, a warp, two warps. Rows that fit exactly, that
# leave threads idle, that begin at no multiple of 16 bytes, and that take turns.
ROWS = {
    "8 threads": (33, Schedule(8, 1, 32, True, False)),
    "8 threads, aligned": (36, Schedule(8, 2, 32, True, True)),
    "a warp": (101, Schedule(32, 1, 64, True, False)),
    "two warps": (131, Schedule(64, 1, 64, True, False)),
    "two warps, aligned": (300, Schedule(64, 2, 64, True, True)),
    "two warps, two turns": (517, Schedule(64, 2, 64, False, False)),
    "a warp, three turns": (265, Schedule(32, 1, 32, False, False)),
    "a warp, turns, aligned": (264, Schedule(32, 1, 32, False, True)),
}
OPTIONS = ["plain", "smooth", "weighted", "probabilities"]


class Case:
    """Rows, their targets and weights, and what comes out, by numpy."""

    def __init__(self, n_rows, n_classes, dtype, options):
        rng = np.random.default_rng(n_classes)
        self.z = (4 * rng.standard_normal((n_rows, n_classes))).astype(dtype)
        self.z[-1, : min(2, n_classes)] = self.z[-1].max()  # two largest
        self.has_indices = options != "probabilities"
        self.is_smooth = options in ("smooth", "probabilities")
        smoothing = SMOOTHING if self.is_smooth else 0.0
        weight = np.ones(1)
        if options == "weighted":
            weight = rng.uniform(0.5, 2.0, n_classes)
        self.on = (weight * (1 - smoothing)).astype(dtype)
        self.off = (weight * smoothing / n_classes).astype(dtype)
        self.row_weight = rng.uniform(0.5, 2.0, n_rows).astype(dtype)
        self.row_weight[1 % n_rows] = 0.0
        if self.has_indices:
            self.target = rng.integers(n_classes, size=n_rows)
            self.target[2 % n_rows] = IGNORED
            self.z[2 % n_rows] = np.nan
        else:
            self.target = rng.dirichlet(np.ones(n_classes), n_rows).astype(dtype)
        self.counts = self.row_weight != 0
        if self.has_indices:
            self.counts &= self.target != IGNORED
        self.options = {
            "weight": np.broadcast_to(weight, (n_classes,)),
            "ignore_index": IGNORED,
            "label_smoothing": smoothing,
            "sample_weight": self.row_weight,
        }
        self.scale = np.array([SCALE], dtype)

    def flags(self):
        return IGNORED, int(self.on.size > 1), 1

    def expected(self):
        losses = reference.cross_entropy(
            self.z, self.target, reduction="none", **self.options
        )
        gradient = reference.cross_entropy_grad(
            self.z, self.target, reduction="sum", **self.options
        )
        return losses, SCALE * gradient


def assert_right(case, losses, partial, gradient, dtype):
    expected, expected_gradient = case.expected()
    tolerance = TOLERANCES[dtype] * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(losses, expected, rtol=0, atol=tolerance)
    total = tolerance * len(expected)
    n_counted, found = partial.reshape(-1, 2).sum(axis=0)
    np.testing.assert_allclose(found, expected.sum(), rtol=0, atol=total)
    assert n_counted == np.count_nonzero(case.counts)
    atol = TOLERANCES[dtype]
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("form", ROWS)
def test_groups_of_threads(form, options, dtype):
    n_classes, schedule = ROWS[form]
    case = Case(3, n_classes, dtype, options)
    real = TYPES[dtype]
    if dtype == "float64":  # half as many numbers in 16 bytes
        schedule = schedule._replace(n_parts=2 * schedule.n_parts)
    made = case.has_indices, case.is_smooth, True
    kernel = cuda.jit(kernels.rows_loss(real, real, schedule, *made))
    n_blocks = -(-3 // (schedule.block // schedule.group))

    def run():
        losses, gradient = (
            np.full(3, np.nan, dtype),
            np.full(case.z.size, np.nan, dtype),
        )
        partial = np.full(2 * n_blocks, np.nan)
        kernel[n_blocks, schedule.block](
            case.z.reshape(-1),
            case.target.reshape(-1),
            case.on,
            case.off,
            case.row_weight,
            case.scale,
            losses,
            partial,
            gradient,
            3,
            n_classes,
            *case.flags(),
            1,
        )
        return losses, partial, gradient.reshape(case.z.shape)

    assert_right(case, *in_every_order(run), dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("n_classes", "n_columns"), [(2, 1), (3, 1), (4, 1), (10, 1), (3, 5), (4, -5)]
)
def test_a_thread_a_row(n_classes, n_columns, options, dtype):
    # of planes a thread has the row in registers, or reads it three times
    n_rows, block = 35 if n_columns != 1 else 165, 32 if n_columns != 1 else 64
    case = Case(n_rows, n_classes, dtype, options)
    real = TYPES[dtype]
    is_in_registers, n_columns = n_columns > 0, abs(n_columns)
    made = case.has_indices, case.is_smooth, True
    if is_in_registers:
        made = n_classes, block, n_columns == 1, *made
        kernel = cuda.jit(kernels.short_rows_loss(real, real, *made))
        lengths = n_rows, n_columns
    else:
        kernel = cuda.jit(kernels.planes_loss(real, real, block, *made))
        lengths = n_rows, n_classes, n_columns

    def planes(rows):
        blocks = rows.reshape(n_rows // n_columns, n_columns, n_classes)
        return np.ascontiguousarray(np.swapaxes(blocks, 1, 2)).reshape(-1)

    def run():
        losses = np.full(n_rows, np.nan, dtype)
        partial, gradient = np.full(4, np.nan), np.full(case.z.size, np.nan, dtype)
        kernel[2, block](
            planes(case.z),
            case.target if case.has_indices else planes(case.target),
            case.on,
            case.off,
            case.row_weight,
            case.scale,
            losses,
            partial,
            gradient,
            *lengths,
            *case.flags(),
            1,
        )
        columns = gradient.reshape(n_rows // n_columns, n_classes, n_columns)
        return losses, partial, np.swapaxes(columns, 1, 2).reshape(case.z.shape)

    assert_right(case, *in_every_order(run), dtype)


def losses_and_gradient(rows, target, ignore_index=IGNORED):
    """Return those of the kernel of groups, for rows that are not ordinary."""
    rows = np.array(rows, np.float64)
    n_rows, n_classes = rows.shape
    schedule = Schedule(8, 2, 32, True, False)
    kernel = kernels.rows_loss(float64, float64, schedule, True, False, True)
    losses, gradient = np.zeros(n_rows), np.zeros(rows.size)
    one = np.ones(1)
    cuda.jit(kernel)[-(-n_rows // 4), 32](
        rows.reshape(-1),
        np.array(target),
        one,
        0 * one,
        one,
        one,
        losses,
        np.zeros(2 * -(-n_rows // 4)),
        gradient,
        n_rows,
        n_classes,
        ignore_index,
        0,
        0,
        1,
    )
    return losses, gradient.reshape(rows.shape)


def test_rows_without_a_softmax_are_nan():
    row = [1.0, 2.0, 3.0]
    bad = [[np.inf, 2.0, 3.0], [np.nan, 2.0, 3.0], [-np.inf] * 3]
    losses, gradient = losses_and_gradient([*bad, row], [1, 1, 1, 1])
    assert np.isnan(losses[:3]).all()
    assert np.isnan(gradient[:3]).all()
    assert np.isfinite(losses[3])
    assert np.isfinite(gradient[3]).all()


def test_an_index_that_is_no_class_is_nan():
    losses, gradient = losses_and_gradient(np.zeros((4, 3)), [3, -1, NO_INDEX, 0])
    assert np.isnan(losses[:3]).all()
    assert np.isnan(gradient[:3]).all()
    assert losses[3] == pytest.approx(np.log(3))
    losses, _ = losses_and_gradient(np.zeros((1, 3)), [NO_INDEX], NO_INDEX)
    assert np.isnan(losses).all()


def test_a_confident_row_keeps_its_digits():
    losses, gradient = losses_and_gradient([[0.0, 50.0, -800.0]], [1])
    assert losses[0] == pytest.approx(np.exp(-50.0), rel=1e-15)
    assert gradient[0, 1] == pytest.approx(-np.exp(-50.0), rel=1e-15)
    assert gradient[0, 2] == 0.0


def test_a_class_of_probability_zero():
    losses, gradient = losses_and_gradient([[0.0, -np.inf, 1.0]] * 2, [1, 0])
    assert losses[0] == np.inf
    assert np.isfinite(losses[1])
    np.testing.assert_allclose(gradient.sum(axis=1), 0.0, atol=3e-16)


@pytest.mark.parametrize("options", ["smooth", "probabilities"])
@pytest.mark.parametrize("form", [form for form in ROWS if "turn" in form])
def test_a_turn_of_probability_zero(form, options):
    n_classes, schedule = ROWS[form]
    case = Case(3, n_classes, "float32", options)
    case.z[0, : n_classes // 2] = -np.inf
    kernel = kernels.rows_loss(
        float32, float32, schedule, case.has_indices, case.is_smooth, True
    )
    losses, gradient = np.zeros(3, "f4"), np.zeros(case.z.size, "f4")
    arrays = case.target, case.on, case.off, case.row_weight, case.scale
    outputs = losses, np.zeros(6), gradient
    cuda.jit(kernel)[3, schedule.block](
        *(array.reshape(-1) for array in (case.z, *arrays)),
        *outputs,
        3,
        n_classes,
        *case.flags(),
        1,
    )
    assert losses[0] == np.inf
    _, expected = case.expected()
    np.testing.assert_allclose(gradient.reshape(3, -1)[0], expected[0], atol=3e-6)


def bfloat16(values):
    """Return the upper halves of float32 numbers, rounded to the nearest."""
    bits = np.float32(values).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def test_bfloat16_is_the_upper_half_of_float32():
    n_classes = 37
    rng = np.random.default_rng(0)
    memory = bfloat16(3 * rng.standard_normal((3, n_classes)))
    rows = (memory.astype(np.uint32) << 16).view(np.float32)
    target, one = np.array([0, 36, 20]), np.ones(1, np.float32)
    schedule = Schedule(16, 1, 32, True, False)
    kernel = kernels.rows_loss(uint16, float32, schedule, True, False, True)
    losses, gradient = np.zeros(3, np.float32), np.zeros(memory.size, np.uint16)
    args = memory.reshape(-1), target, one, 0 * one, one, one
    outputs = losses, np.zeros(4), gradient
    cuda.jit(kernel)[2, 32](*args, *outputs, 3, n_classes, IGNORED, 0, 0, 1)
    expected = reference.cross_entropy(rows, target, reduction="none")
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    expected = reference.cross_entropy_grad(rows, target, reduction="sum")
    np.testing.assert_array_equal(gradient, bfloat16(expected).reshape(-1))


@pytest.mark.parametrize("n_columns", [0, 1, 5, 8, 33, 1025])
def test_sums_of_rows_take_no_more_threads_than_a_row_has_numbers(
    n_columns, monkeypatch
):
    from skxent.backends import _cuda_calls as calls
    from skxent.backends._device_arrays import arrays_like

    monkeypatch.setattr(calls, "SUM_BLOCK", 64)
    n_rows = 70 if n_columns < 33 else 3
    values = np.random.default_rng(0).normal(size=(n_rows, n_columns))
    weights = (np.arange(n_rows) != 1).astype(float)
    launched = []
    queue = calls.queue

    def noted(call, kernel, n_blocks, *args):
        launched.append(n_blocks)
        queue(call, kernel, n_blocks, *args)

    monkeypatch.setattr(calls, "queue", noted)

    def run():
        there = cuda.to_device(values.reshape(-1))
        call = calls.new_call(arrays_like(there))
        return calls.sums_of_rows(
            call, there, n_rows, "float64", cuda.to_device(weights)
        ).copy_to_host()

    sums = in_every_order(run)
    assert np.isnan(sums[1])
    expected = np.delete(values.sum(axis=1), 1)
    np.testing.assert_allclose(np.delete(sums, 1), expected, rtol=1e-12, atol=1e-13)
    threads = 64 * launched[0]
    assert threads < 64 + n_rows * max(8, 8 * n_columns)
