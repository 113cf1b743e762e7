"""Groups of threads that share a row: their largest number, their sums.

A group is 1, 2, 4, ... 32 neighbours in a warp, or all threads of a block. Every thread
of the block calls these functions, and every thread of a group gets the result. The
order of the additions depends on ``group`` alone. ``shared`` has one element for each
warp of the block.
"""

from numba import cuda

__all__ = ["WARP", "group_max", "group_sum", "sum_of_neighbours"]

WARP = 32
EVERY = 0xFFFFFFFF  # lane of a warp


@cuda.jit(device=True)
def of_warps(x, group, shared):
    """Return the number that the first lane of each warp of the block has.

    Each lane gets one; ``group // WARP`` neighbours have all of them.
    """
    lane = cuda.threadIdx.x % WARP
    if lane == 0:
        shared[cuda.threadIdx.x // WARP] = x
    cuda.syncthreads()
    x = shared[lane % (group // WARP)]
    cuda.syncthreads()  # before somebody writes again
    return x


@cuda.jit(device=True)
def max_of_neighbours(x, n):
    """Return the largest number of ``n`` neighbours; nan is passed over."""
    step = 1
    while step < n:
        other = cuda.shfl_xor_sync(EVERY, x, step)
        x = other if other > x else x
        step *= 2
    return x


@cuda.jit(device=True)
def sum_of_neighbours(x, n):
    """Return the sum over ``n`` neighbours."""
    step = 1
    while step < n:
        x += cuda.shfl_xor_sync(EVERY, x, step)
        step *= 2
    return x


@cuda.jit(device=True)
def group_max(x, group, shared):
    """Return the largest number of the group; nan is passed over."""
    x = max_of_neighbours(x, min(group, WARP))
    if group > WARP:
        x = max_of_neighbours(of_warps(x, group, shared), group // WARP)
    return x


@cuda.jit(device=True)
def group_sum(x, group, shared):
    """Return the sum over the group."""
    x = sum_of_neighbours(x, min(group, WARP))
    if group > WARP:
        x = sum_of_neighbours(of_warps(x, group, shared), group // WARP)
    return x
