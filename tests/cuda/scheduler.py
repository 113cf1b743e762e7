"""CUDA kernels without a GPU: numba's simulator, one thread at a time, in any order.

The simulator (``NUMBA_ENABLE_CUDASIM=1`` before numba is imported) makes each thread of
a block a thread of the system, which is slow (50 ms a barrier), knows no warp and lets
faults pass. ``install`` puts greenlets in their place, of which one runs until it waits
or returns. The thread that is next in the chosen order goes on: a warp runs as far
ahead of the others as the barriers let it, so a barrier that is missing shows as a
result that depends on the order::

    def run():
        out = np.zeros(64, np.float32)
        kernel[1, 64](x, out)
        return out

    out = in_every_order(run)  # raises where there is a race

- A barrier that not all threads of the block reach, or a warp operation that not all
  lanes of its mask reach, raises ``DivergenceError``: also if some have returned, or
  wait at another line. Lanes beyond the end of the block count as present.
- Shared and local memory is fresh for each block and filled with ``POISON``: nan of any
  width, or a large integer. Arrays are told apart by their call, also within one line.
- ``math`` is the device's where it is a global of a kernel or device function: of IEEE
  754 (``log(0)`` is -inf), and float32 for float32. Modules with nothing but plain
  functions that kernels call are named to ``use_device_math``.

What it does not show: types. A float32 times a Python float stays float32 here and is
float64 in the compiled kernel (``tests/cuda/ptx.py`` sees that). Nor out-of-order
memory: each write is seen at once. Sync of the grid is not there.
"""

import contextlib
import contextvars
import functools
import heapq
import inspect
import math
import random
import sys
import types

import greenlet
import numba.cuda
import numpy as np
from numba.cuda.simulator import api, kernel, kernelapi

POISON = np.uint32(0x7FFD5555)  # one is a nan of float32, two one of float64
ORDERS = ("forward", "reverse", 1, 2)
WARP = 32
_order = "forward"


class DivergenceError(RuntimeError):
    """Some threads wait for others that never come."""


@contextlib.contextmanager
def ordered(order):
    """Run kernels "forward", in "reverse", or at random after an integer seed."""
    global _order
    if order not in ("forward", "reverse") and not isinstance(order, int):
        raise ValueError(f'order must be "forward", "reverse" or a seed, got {order!r}')
    before, _order = _order, order
    try:
        yield
    finally:
        _order = before


def in_every_order(run, orders=ORDERS):
    """Return what ``run()`` returns, fresh arrays: the same bits in each order."""
    wanted = None
    for order in orders:
        with ordered(order):
            result = run()
        arrays = [np.array(a) for a in (result if type(result) is tuple else (result,))]
        wanted = wanted or arrays
        for first, now in zip(wanted, arrays, strict=True):
            if first.tobytes() != now.tobytes():
                raise AssertionError(
                    f"a race: the results of the orders {orders[0]!r} and {order!r} "
                    f"differ\n{first}\n{now}"
                )
    return result


def _priorities(order):
    """Return what ranks the threads that could run: the least goes on."""
    if isinstance(order, int):
        dice = random.Random(order)
        return lambda rank: dice.random()
    return (lambda rank: rank) if order == "forward" else (lambda rank: -rank)


@functools.cache
def _order_of_blocks(grid, order):
    priority, blocks = _priorities(order), list(np.ndindex(*grid))
    return [blocks[i] for i in sorted(range(len(blocks)), key=priority)]


# -- threads and blocks ----------------------------------------------------------------


class _Thread(greenlet.greenlet):
    """One thread of a block; ``rank`` counts x fastest, as warps do."""

    def __init__(self, run, block, index, rank):
        super().__init__(run)
        self.block, self.rank = block, rank
        self.index = kernelapi.Dim3(*index)
        # Python gives a greenlet a fresh context, in which numpy would warn
        self.gr_context = contextvars.copy_context()


class _Block:
    """Takes the place of the simulator's BlockManager."""

    def __init__(self, function, grid_dim, block_dim, debug):
        self.function, self.grid, self.dim = function, grid_dim, block_dim
        self.size = math.prod(block_dim)
        self.waiting = {}  # (what, mask, where, warp) -> threads that came
        self.arrays = {}  # by the call that makes them; None is dynamic memory

    def run(self, grid_point, *args):
        position = int(np.ravel_multi_index(grid_point, self.grid))
        blocks = _order_of_blocks(tuple(self.grid), _order)
        self.index = kernelapi.Dim3(*blocks[position])
        priority = _priorities(_order)
        x, y, _ = self.dim
        with np.errstate(all="ignore"):
            threads = [
                _Thread(self.function, self, (i % x, i // x % y, i // (x * y)), i)
                for i in range(self.size)
            ]
            ready = [(priority(thread.rank), thread.rank) for thread in threads]
            heapq.heapify(ready)
            passed = dict.fromkeys(range(self.size), args)
            try:
                while ready:
                    rank = heapq.heappop(ready)[1]
                    for woken, values in self._step(threads[rank], passed.pop(rank)):
                        passed[woken] = (values,)
                        heapq.heappush(ready, (priority(woken), woken))
                if self.waiting:
                    raise DivergenceError(self._complaint(threads))
            finally:
                for thread in threads:
                    if not thread.dead:
                        thread.throw()  # ends it: it holds what it was given

    def _step(self, thread, args):
        """Run a thread until it waits; return those that this wakes, and with what."""
        try:
            key = thread.switch(*args)
        except Exception as error:
            index = tuple(thread.index)
            error.add_note(f"in thread {index} of block {tuple(self.index)}")
            raise
        if thread.dead:
            return []
        came = self.waiting.setdefault(key, [])
        came.append(thread)
        mask, warp = key[1], key[3]
        if len(came) < (self.size if mask is None else self.lanes(mask, warp)):
            return []
        del self.waiting[key]
        values = {each.rank: each.value for each in came}
        return [(each.rank, values) for each in came]

    def lanes(self, mask, warp):
        """Return how many lanes of the mask the warp has."""
        there = (1 << min(WARP, self.size - warp * WARP)) - 1
        return (mask & there).bit_count()

    def _complaint(self, threads):
        lines = [f"threads of block {tuple(self.index)} wait for others forever:"]
        for (what, mask, (code, call), warp), came in self.waiting.items():
            number, who = self.size, "threads"
            if mask is not None:
                number = self.lanes(mask, warp)
                who = f"lanes of mask {mask:#x} of warp {warp}"
            line = next(n for a, b, n in code.co_lines() if a <= call < b)
            lines.append(f"{what} was reached by {len(came)} of {number} {who}")
            lines[-1] += f" at {code.co_filename}:{line}"
        returned = sum(thread.dead for thread in threads)
        return "\n".join([*lines, f"{returned} of {self.size} threads have returned"])


def _site():
    """Return the call in the kernel that led here."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == _site.__code__.co_filename:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def _meet(what, value=None, mask=None):
    """Wait for the block, or for the lanes of a mask; return their values by rank."""
    thread = greenlet.getcurrent()
    warp, lane = divmod(thread.rank, WARP)
    if mask is None:
        warp = None
    else:
        mask = int(mask) & 0xFFFFFFFF
        if not mask >> lane & 1:
            raise DivergenceError(f"{what}: lane {lane} is not in its mask {mask:#x}")
    thread.value = value
    return thread.parent.switch((what, mask, _site(), warp))


def _shuffle(what, mask, value, source):
    """Return the value of lane ``source(lane)``; one's own beyond the warp."""
    rank = greenlet.getcurrent().rank
    values = _meet(what, value, mask)
    lane = rank % WARP
    other = source(lane)
    if not 0 <= other < WARP:
        return value
    if rank - lane + other not in values:
        raise DivergenceError(f"{what}: lane {lane} reads {other}, not in the mask")
    return values[rank - lane + other]


# -- what kernels see ------------------------------------------------------------------


def _dtype(dtype):
    is_numba = isinstance(dtype, kernelapi.types.Type)
    return np.dtype(kernelapi.numpy_support.as_dtype(dtype) if is_numba else dtype)


def _poisoned(shape, dtype):
    array = np.empty(shape, dtype)
    poison = np.frombuffer(POISON.tobytes(), np.uint8)
    array.reshape(-1).view(np.uint8)[:] = np.resize(poison, array.nbytes)
    return array


class _Local:
    def array(self, shape, dtype, alignment=None):
        return _poisoned(shape, _dtype(dtype))


class _Shared:
    def __init__(self, dynamic_bytes):
        self.dynamic_bytes = dynamic_bytes

    def array(self, shape, dtype, alignment=None):
        arrays, dtype = greenlet.getcurrent().block.arrays, _dtype(dtype)
        if shape == 0:
            if None not in arrays:
                arrays[None] = _poisoned(self.dynamic_bytes, np.uint8)
            whole = self.dynamic_bytes // dtype.itemsize * dtype.itemsize
            return arrays[None][:whole].view(dtype)
        site = _site()
        if site not in arrays:
            arrays[site] = _poisoned(shape, dtype)
        return arrays[site]


class _Cuda(kernelapi.FakeCUDAModule):
    """The names of ``numba.cuda`` that only kernels may use."""

    def __init__(self, grid_dim, block_dim, dynamic_bytes):
        super().__init__(grid_dim, block_dim, dynamic_bytes)
        self._shared, self._local, self._cg = _Shared(dynamic_bytes), _Local(), None

    threadIdx = property(lambda self: greenlet.getcurrent().index)
    blockIdx = property(lambda self: greenlet.getcurrent().block.index)
    laneid = property(lambda self: greenlet.getcurrent().rank % WARP)

    def syncthreads(self):
        _meet("syncthreads")

    def syncthreads_count(self, value):
        return sum(map(bool, _meet("syncthreads_count", value).values()))

    def syncthreads_and(self, value):
        return int(all(_meet("syncthreads_and", value).values()))

    def syncthreads_or(self, value):
        return int(any(_meet("syncthreads_or", value).values()))

    def syncwarp(self, mask=0xFFFFFFFF):
        _meet("syncwarp", mask=mask)

    def ballot_sync(self, mask, value):
        values = _meet("ballot_sync", value, mask)
        return sum(1 << rank % WARP for rank, is_set in values.items() if is_set)

    def all_sync(self, mask, value):
        return all(_meet("all_sync", value, mask).values())

    def any_sync(self, mask, value):
        return any(_meet("any_sync", value, mask).values())

    def shfl_sync(self, mask, value, source):
        return _shuffle("shfl_sync", mask, value, lambda lane: int(source) % WARP)

    def shfl_xor_sync(self, mask, value, bits):
        return _shuffle("shfl_xor_sync", mask, value, lambda lane: lane ^ int(bits))

    def shfl_up_sync(self, mask, value, delta):
        return _shuffle("shfl_up_sync", mask, value, lambda lane: lane - int(delta))

    def shfl_down_sync(self, mask, value, delta):
        return _shuffle("shfl_down_sync", mask, value, lambda lane: lane + int(delta))

    def fma(self, x, y, z):
        wide = np.float64(x) * np.float64(y) + np.float64(z)
        return np.result_type(x, y, z).type(wide)  # of float64: rounded twice


device_math = types.ModuleType("math", "Like math, with the ways of a device.")
_OF_NUMPY = "cos exp exp2 expm1 fabs isfinite isinf isnan log log10 log1p log2 sin sqrt"
vars(device_math).update(vars(math))
vars(device_math).update({name: getattr(np, name) for name in _OF_NUMPY.split()})


def use_device_math(prefix):
    """Give the modules that are imported, with names that begin so, the device's."""
    for name, module in list(sys.modules.items()):
        if name.startswith(prefix) and getattr(module, "math", None) is math:
            module.math = device_math


@contextlib.contextmanager
def _with_device_math(function, module):
    """Take the place of what gives a function the names that only kernels may use."""
    if function.__globals__.get("math") is math:
        function.__globals__["math"] = device_math
    yield


def _name_of_kernels(name):
    """Look up what ``numba.cuda`` has in kernels only, from whatever they call."""
    if not isinstance(greenlet.getcurrent(), _Thread):
        raise AttributeError(f"numba.cuda has no {name}, outside of a kernel")
    return getattr(kernel._get_kernel_context(), name)


def install():
    """Take over the simulator of this process, before kernels are decorated."""
    known = inspect.signature(api.jit).parameters
    simulated_jit = api.jit

    @functools.wraps(simulated_jit)
    def jit(*args, **options):
        # it would refuse launch_bounds, max_registers and the like
        return simulated_jit(*args, **{k: v for k, v in options.items() if k in known})

    numba.cuda.jit = jit
    numba.cuda.__getattr__ = _name_of_kernels
    kernel.FakeCUDAModule = _Cuda
    kernel.BlockManager = _Block
    kernel.swapped_cuda_module = _with_device_math
