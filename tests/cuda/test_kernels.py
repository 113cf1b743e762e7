"""What the compiler makes of the CUDA kernels, for two generations of devices.

Registers within the budget of the block, nothing of a thread's own in memory, float64
only where float32 losses are added up, and 16 bytes to an access.
"""

import re

import pytest

from tests.cuda import ptx

if ptx.missing():
    pytest.skip(ptx.missing(), allow_module_level=True)

from numba.core.types import int64, void

from skxent.kernels import _cuda as kernels

ARCHITECTURES = [(8, 0), (9, 0)]
REGISTERS = 65536  # of a multiprocessor
# The reduction of losses: to float64, and sums of it.
REDUCTION = ("F2F", "DADD")


def rows(n_classes, dtype, has_indices=True, is_smooth=False):
    schedule = kernels.schedule_of(n_classes, dtype, has_indices, is_smooth)
    options = schedule, has_indices, is_smooth, True
    return kernels.rows_loss, dtype, options, 15, schedule.block


def thread(n_classes, dtype, has_indices=True, is_staged=True, is_smooth=False):
    assert kernels.is_of_thread(n_classes, dtype)
    block = kernels.BLOCK if has_indices else kernels.BLOCK // 2
    options = n_classes, block, is_staged, has_indices, is_smooth, True
    return kernels.short_rows_loss, dtype, options, 15, block


def elements(dtype, kind):
    options = kernels.PARTS, kernels.BLOCK, kind, True
    return kernels.elements_loss, dtype, options, 13, kernels.BLOCK


WIDE = {
    "a few threads to a row": rows(100, "float32"),
    "a few threads to a row, unaligned": rows(101, "float32"),
    "a few threads to a row, smoothed": rows(100, "float32", is_smooth=True),
    "a warp to a row": rows(1000, "float32"),
    "a warp to a row, probabilities": rows(500, "float32", has_indices=False),
    "a block to a row": rows(8191, "float32"),
    "a block to a row, smoothed": rows(4000, "float32", is_smooth=True),
    "a row in turns": rows(32_768, "float32"),
    "a row in turns, unaligned": rows(50_257, "float32"),
    "a row in turns, smoothed": rows(50_257, "float32", is_smooth=True),
    "a row in turns, probabilities": rows(50_257, "float32", has_indices=False),
    "float16": rows(1000, "float16"),
    "float16 in turns": rows(50_257, "float16"),
    "bfloat16": rows(1001, "bfloat16"),
    "bfloat16 in turns": rows(128_256, "bfloat16"),
    "float64": rows(1000, "float64"),
    "float64 in turns": rows(50_257, "float64"),
    "a thread to a row of 2": thread(2, "float32"),
    "a thread to a row of 10": thread(10, "float32"),
    "a thread to a row of 63": thread(63, "float32"),
    "a thread to a row of 64": thread(64, "float32"),
    "a thread to a row, smoothed": thread(32, "float32", is_smooth=True),
    "a thread to a row, probabilities": thread(10, "float32", has_indices=False),
    "a thread to a row, bfloat16": thread(10, "bfloat16"),
    "a thread to a row, float64": thread(32, "float64"),
    "binary logits": elements("float32", kernels.LOGITS),
    "binary probabilities": elements("float32", kernels.PROBABILITIES),
    "binary losses of samples": (
        kernels.elements_loss,
        "float16",
        (kernels.PARTS, kernels.BLOCK, kernels.LOGITS, True, True),
        13,
        kernels.BLOCK,
    ),
    "binary curvature": elements("float32", kernels.CURVATURE),
}
BLOCK = kernels.BLOCK
NARROW = {
    "planes": thread(21, "float32", is_staged=False)[:-1],
    "planes of many classes": (
        kernels.planes_loss,
        "float32",
        (BLOCK, True, False, True),
        16,
    ),
    "probabilities": (
        kernels.probability_rows_loss,
        "float32",
        (kernels.WARP, BLOCK, True, True),
        17,
    ),
    "class indices of probabilities": (
        kernels.picked_loss,
        "float32",
        (BLOCK, False, True),
        16,
    ),
    "checks of probabilities": (
        kernels.doubtful_rows,
        "float32",
        (kernels.WARP, BLOCK),
        5,
    ),
    "curvature": (
        kernels.rows_curvature,
        "float32",
        (kernels.WARP, BLOCK, True),
        15,
    ),
}


def assembled(factory, dtype, options, n_arguments):
    """Return what the assembler says of a kernel on each architecture."""
    kernel = kernels.compiled(factory, *kernels.types_of(dtype), *options)
    signature = void(*[int64] * n_arguments)
    first = ptx.compiled(kernel, signature, cc=ARCHITECTURES[0])
    return [first, *(ptx.assembled(first.ptx, cc) for cc in ARCHITECTURES[1:])]


def assert_in_registers(compiled, dtype, block):
    assert compiled.spill_stores == compiled.spill_loads == compiled.stack == 0
    assert compiled.n_local == 0
    # they are handed out to warps in eights
    assert -(-compiled.registers // 8) * 8 * block <= REGISTERS
    if dtype != "float64":
        assert compiled.float64_arithmetic(permitted=REDUCTION) == {}


@pytest.mark.parametrize("name", WIDE)
def test_kernels_that_read_16_bytes(name):
    factory, dtype, options, n_arguments, block = WIDE[name]
    for compiled in assembled(factory, dtype, options, n_arguments):
        assert_in_registers(compiled, dtype, block)
        assert compiled.n_wide_loads
        assert compiled.n_wide_stores


@pytest.mark.parametrize("name", NARROW)
def test_kernels_that_read_number_by_number(name):
    factory, dtype, options, n_arguments = NARROW[name]
    for compiled in assembled(factory, dtype, options, n_arguments):
        assert_in_registers(compiled, dtype, BLOCK)


@pytest.mark.parametrize("n_classes", [2, 8, 10, 33, 40])
def test_a_thread_asks_for_its_row_before_it_waits_for_the_index(n_classes):
    factory, dtype, options, n_arguments, block = thread(n_classes, "float32")
    for compiled in assembled(factory, dtype, options, n_arguments):
        assert_in_registers(compiled, dtype, block)
        if not compiled.sass:
            pytest.skip("nvdisasm was not found")
        lines = re.findall(r"^\s*/\*[0-9a-f]{4,}\*/\s+(.*?);", compiled.sass, re.M)
        index = next(i for i, line in enumerate(lines) if "LDG.E.64 " in line)
        register = re.search(r"LDG\.E\.64 (R\d+)", lines[index])[1]
        is_used = re.compile(rf"\b{register}\b")
        used = next(i for i in range(index + 1, len(lines)) if is_used.search(lines[i]))
        wide = [i for i, line in enumerate(lines) if "LDG.E.128 " in line]
        assert max(wide) < used
