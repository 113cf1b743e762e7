import math
import sys
import types

import numpy as np
import pytest
from numba import cuda, float32, float64, int32
from numba.core import config

from tests.cuda.scheduler import (
    ORDERS,
    POISON,
    DivergenceError,
    device_math,
    in_every_order,
    ordered,
    use_device_math,
)

SIZE = 64
EVERY_LANE = 0xFFFFFFFF


def test_this_is_the_simulator():
    assert config.ENABLE_CUDASIM


def launched(kernel, *args, blocks=1, threads=SIZE, dynamic=0):
    """Return what the kernel writes to its last argument, a fresh array each time."""

    def run():
        out = np.zeros(blocks * threads, np.float32)
        kernel[blocks, threads, 0, dynamic](*args, out)
        return out

    return run


X = np.random.default_rng(0).standard_normal(2 * SIZE).astype(np.float32)


# -- what a change of order shows ------------------------------------------------------


def neighbour(with_barrier):
    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        s = cuda.shared.array(SIZE, float32)
        s[i] = x[i]
        if with_barrier:
            cuda.syncthreads()
        out[i] = s[(i + 1) % SIZE]

    return launched(kernel, X)


def shifted(with_barrier):
    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        s = cuda.shared.array(SIZE, float32)
        s[i] = x[i]
        cuda.syncthreads()
        mine = s[(i + 1) % SIZE]
        if with_barrier:
            cuda.syncthreads()
        s[i] = mine
        cuda.syncthreads()
        out[i] = s[i]

    return launched(kernel, X)


def of_warps(with_barrier):
    """One sum per warp, read by the others."""

    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        s = cuda.shared.array(2, float32)
        sums = sum_of_warp(x[i])
        if i % 32 == 0:
            s[i // 32] = sums
        if with_barrier:
            cuda.syncthreads()
        out[i] = s[0] + s[1]

    return launched(kernel, X)


@cuda.jit(device=True)
def sum_of_warp(x):
    step = 16
    while step:
        x += cuda.shfl_xor_sync(EVERY_LANE, x, step)
        step //= 2
    return x


@pytest.mark.parametrize("kernel", [neighbour, shifted, of_warps])
def test_a_missing_barrier_shows(kernel):
    in_every_order(kernel(with_barrier=True))
    with pytest.raises(AssertionError, match="a race"):
        in_every_order(kernel(with_barrier=False), ORDERS[:2])


def test_values_without_a_race():
    wanted = np.roll(X[:SIZE], -1)
    np.testing.assert_array_equal(in_every_order(neighbour(True)), wanted)
    np.testing.assert_array_equal(in_every_order(shifted(True)), wanted)


def test_the_order_of_float_atomics_shows():
    @cuda.jit
    def kernel(x, out):
        cuda.atomic.add(out, 0, x[cuda.grid(1)])

    with pytest.raises(AssertionError, match="a race"):
        in_every_order(launched(kernel, X, blocks=2))


def test_the_order_of_blocks():
    came = []

    @cuda.jit
    def kernel():
        came.append((cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x))

    def run(order):
        came.clear()
        with ordered(order):
            kernel[(2, 2), 3]()
        return list(came)

    forward = [(x, y, i) for x in range(2) for y in range(2) for i in range(3)]
    assert run("forward") == forward
    assert run("reverse") == forward[::-1]
    assert run(1) != forward
    assert run(1) == run(1)
    assert sorted(run(2)) == forward
    with pytest.raises(ValueError, match="order must be"), ordered("sideways"):
        pass


# -- threads that wait for others ------------------------------------------------------


@cuda.jit
def barrier_of_some(out):
    if cuda.threadIdx.x < 10:
        cuda.syncthreads()


@cuda.jit
def barrier_after_return(out):
    if cuda.threadIdx.x >= 10:
        return
    cuda.syncthreads()


@cuda.jit
def barriers_of_two_lines(out):
    if cuda.threadIdx.x < 10:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


@cuda.jit
def shuffle_of_some(out):
    if cuda.threadIdx.x < 10:
        cuda.shfl_xor_sync(EVERY_LANE, 1.0, 1)


@cuda.jit
def barrier_beside_shuffle(out):
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()
    else:
        sum_of_warp(float32(1))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("kernel", "complaint"),
    [
        (barrier_of_some, r"syncthreads was reached by 10 of 64 threads at .*\.py:\d+"),
        (barrier_after_return, "54 of 64 threads have returned"),
        (barriers_of_two_lines, r"by 54 of 64 .*\n?.*by 10 of|by 10 .*\n?.*by 54 of"),
        (shuffle_of_some, "shfl_xor_sync was reached by 10 of 32 lanes of mask 0xffff"),
        (barrier_beside_shuffle, "syncthreads was reached by 32 of 64"),
    ],
)
def test_divergence_raises(kernel, complaint, order):
    with ordered(order), pytest.raises(DivergenceError, match=complaint):
        launched(kernel)()
    neighbour(True)()  # and the next launch is none the worse


def test_a_lane_must_be_in_the_mask_that_it_names_and_reads():
    @cuda.jit
    def outside(out):
        cuda.syncwarp(0xFF)

    @cuda.jit
    def reads_outside(out):
        if cuda.laneid < 8:
            cuda.shfl_down_sync(0xFF, 1.0, 4)

    with pytest.raises(DivergenceError, match="lane 8 is not in its mask 0xff"):
        launched(outside)()
    with pytest.raises(DivergenceError, match="lane 4 reads 8"):
        launched(reads_outside)()


def test_an_error_names_its_thread():
    @cuda.jit
    def kernel(x, out):
        out[cuda.grid(1)] = x[cuda.grid(1)]

    with pytest.raises(IndexError) as caught:
        launched(kernel, X, blocks=3)()
    assert caught.value.__notes__ == ["in thread (0, 0, 0) of block (2, 0, 0)"]


# -- memory ----------------------------------------------------------------------------


def test_unwritten_memory_shows():
    @cuda.jit
    def kernel(n, out):
        i = cuda.threadIdx.x
        s = cuda.shared.array(SIZE, float32)
        dynamic = cuda.shared.array(0, float64)
        local = cuda.local.array(2, int32)
        if i < n:
            s[i] = dynamic[i] = local[1] = 1
        out[cuda.grid(1)] = s[i] + dynamic[i] + (local[1] - 1)

    out = launched(kernel, 40, dynamic=8 * SIZE, blocks=2)().reshape(2, SIZE)
    np.testing.assert_array_equal(out[:, :40], 2)  # and each block has its own
    assert np.isnan(out[:, 40:]).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_poison_is_nan(dtype):
    assert np.isnan(np.repeat(POISON, 4).view(dtype)).all()
    assert (np.repeat(POISON, 4).view(dtype.replace("f", "i")) > 2**30).all()


def test_arrays_of_one_line_are_two_and_dynamic_memory_is_one():
    @cuda.jit
    def kernel(out):
        i = cuda.threadIdx.x
        # fmt: off
        a, b = cuda.shared.array(SIZE, float32), cuda.shared.array((SIZE, 2), np.int64)
        # fmt: on
        floats = cuda.shared.array(0, np.float32)
        ints = cuda.shared.array(0, int32)[SIZE:]
        a[i], b[i, 1], floats[i], ints[i] = 1, 2, 4, 8
        cuda.syncthreads()
        j = (i + 5) % SIZE
        out[i] = a[j] + b[j, 1] + floats[j] + ints[j]
        if i == 0:
            out[i] += ints.size / SIZE

    out = in_every_order(launched(kernel, dynamic=2 * 4 * SIZE))
    np.testing.assert_array_equal(out, [16] + [15] * (SIZE - 1))


# -- warps -----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [32, 128])
def test_sum_of_a_block(threads):
    @cuda.jit(launch_bounds=128, max_registers=64)  # which the simulator would refuse
    def kernel(x, out):
        i = cuda.threadIdx.x
        s = cuda.shared.array(4, float32)
        mine = x[i]
        for step in (16, 8, 4, 2, 1):
            mine += cuda.shfl_down_sync(EVERY_LANE, mine, step)
        if cuda.laneid == 0:
            s[i // 32] = mine
        cuda.syncthreads()
        whole = float32(0)
        for k in range(cuda.blockDim.x // 32):
            whole += s[k]
        out[i] = whole

    out = in_every_order(launched(kernel, X, threads=threads))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, X[:threads].sum(dtype="f8"), rtol=1e-5)


def test_sum_of_warps():
    sums = X[:SIZE].reshape(2, 32).sum(axis=1, dtype="f8")
    np.testing.assert_allclose(in_every_order(of_warps(True)), sums.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("shuffle", "argument", "source"),
    [
        ("shfl_sync", 3, lambda lane: 3 + 0 * lane),
        ("shfl_xor_sync", 5, lambda lane: lane ^ 5),
        ("shfl_up_sync", 4, lambda lane: np.where(lane < 4, lane, lane - 4)),
        ("shfl_down_sync", 4, lambda lane: np.where(lane > 27, lane, lane + 4)),
    ],
)
def test_shuffles(shuffle, argument, source):
    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        out[i] = getattr(cuda, shuffle)(EVERY_LANE, x[i], argument)

    lane = np.arange(SIZE) % 32
    wanted = X[np.arange(SIZE) - lane + source(lane)]
    np.testing.assert_array_equal(in_every_order(launched(kernel, X)), wanted)


def test_groups_of_a_warp_go_their_own_ways():
    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        group = 0xFF << (cuda.laneid & 24)
        for _ in range(1 + cuda.laneid // 8):  # groups of eight lanes
            x[i] += cuda.shfl_xor_sync(group, x[i], 1)
        out[i] = x[i]

    out = in_every_order(lambda: launched(kernel, np.ones(SIZE, np.float32))())
    wanted = np.tile(np.repeat([2.0, 4, 8, 16], 8), 2)
    np.testing.assert_array_equal(out, wanted)


def test_votes():
    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        ballot = cuda.ballot_sync(EVERY_LANE, i % 3 == 0)
        some = cuda.any_sync(EVERY_LANE, i == 40)
        each = cuda.all_sync(EVERY_LANE, i < 32)
        cuda.syncwarp()
        count = cuda.syncthreads_count(i < 5)
        block = cuda.syncthreads_or(i == 3) + 2 * cuda.syncthreads_and(i > 3)
        out[i] = cuda.popc(ballot) + 100 * some + 1000 * each + 10000 * (count + block)

    out = in_every_order(launched(kernel, X))
    np.testing.assert_array_equal(out, 60000 + np.repeat([1011, 111], 32))


def test_a_short_warp_may_name_every_lane():
    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        out[i] = cuda.shfl_xor_sync(EVERY_LANE, x[i], 4)

    out = in_every_order(launched(kernel, X, threads=8))
    np.testing.assert_array_equal(out, X[np.arange(8) ^ 4])


def test_threads_of_two_dimensions():
    @cuda.jit
    def kernel(out):
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        out[y, x] = cuda.shfl_sync(EVERY_LANE, 10 * y + x, 9) + 100 * cuda.laneid

    out = np.zeros((8, 8), np.float32)
    kernel[1, (8, 8)](out)
    wanted = np.repeat([11, 51], 32) + 100 * (np.arange(64) % 32)
    np.testing.assert_array_equal(out.ravel(), wanted)


# -- numbers ---------------------------------------------------------------------------


def test_math_is_the_devices():
    @cuda.jit
    def kernel(x, out):
        i = cuda.threadIdx.x
        assert math.exp(x[i]).dtype == np.float32
        out[i] = math.exp(math.log(x[i] - x[i]) + math.exp(float32(1000))) + math.pi
        if i:
            out[i] = cuda.fma(x[i], x[i], -x[i] * x[i]) != 0

    out = launched(kernel, X)()
    assert np.isnan(out[0])
    assert out[1:].any()


def test_modules_without_kernels_are_named(monkeypatch):
    helpers, others = types.ModuleType("helpers_of_rows"), types.ModuleType("others")
    for module in (helpers, others):
        module.math = sys.modules["math"]  # that of this one may be the device's
        monkeypatch.setitem(sys.modules, module.__name__, module)
    use_device_math("helpers")
    assert helpers.math is device_math
    assert others.math is sys.modules["math"]
