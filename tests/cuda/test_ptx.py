import dataclasses
import math

import numpy as np
import pytest

from tests.cuda import ptx

if ptx.missing():
    pytest.skip(ptx.missing(), allow_module_level=True)

from numba import cuda, float32, float64, int32, njit, void

VECTOR = float32[::1]
ONE = np.float32(1)


@njit
def inverse(x):
    return ONE / (ONE + x)


def good(x, out):
    i = cuda.grid(1)
    s = cuda.shared.array(64, float32)
    s[cuda.threadIdx.x] = inverse(math.exp(x[i]))
    cuda.syncthreads()
    out[i] = s[cuda.threadIdx.x ^ 1]


def spilling(n, x, out):
    # indexed by what is known at run time only: no registers
    local = cuda.local.array(256, float32)
    for i in range(256):
        local[i] = x[i]
    out[0] = local[n]


def of_float64(x, out):
    i = cuda.grid(1)
    out[i] = x[i] * 0.1 + 1


def summing(x, out):
    total = 0.0
    for i in range(x.size):
        total += x[i]
    out[0] = total


def of_many_registers(x, out):
    row = cuda.local.array(64, float32)
    total = float32(0)
    for k in range(64):
        row[k] = x[k]
        total += row[k]
    for k in range(64):
        out[k] = row[k] * total


def without_sass(code):
    return dataclasses.replace(code, sass="")


def readings(code):
    """What SASS shows, and what PTX shows where there is no nvdisasm."""
    return [code, without_sass(code)] if code.sass else [code]


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("decorate", [lambda f: f, cuda.jit])
def test_a_good_kernel(decorate, cc):
    code = ptx.compiled(decorate(good), void(VECTOR, VECTOR), cc)
    assert 8 <= code.registers <= 40
    assert code.spill_stores == code.spill_loads == code.stack == 0
    assert code.shared == 256
    assert f".target sm_{cc[0]}{cc[1]}" in code.ptx
    for each in readings(code):
        assert each.n_local == 0
        assert each.float64_arithmetic() == {}
        assert (each.n_wide_loads, each.n_narrow_loads) == (0, 1)
        assert (each.n_wide_stores, each.n_narrow_stores) == (0, 1)


def test_float64_is_seen():
    for each in readings(ptx.compiled(of_float64, void(VECTOR, VECTOR))):
        assert sum(each.float64_arithmetic().values()) >= 3  # two conversions


def test_a_sum_in_float64_can_be_permitted():
    code = ptx.compiled(summing, void(VECTOR, VECTOR))
    if code.sass:
        assert any(op.startswith("DADD") for op in code.float64_arithmetic())
        assert code.float64_arithmetic(permitted=("DADD", "F2F.F64.F32")) != {}
        assert code.float64_arithmetic(permitted=("DADD", "F2F")) == {}
    code = without_sass(code)
    assert code.float64_arithmetic(permitted=("add.f64",)) != {}
    assert code.float64_arithmetic(permitted=("add.", "cvt.")) == {}


def test_memory_is_not_arithmetic():
    def copying(x, out):
        out[0] = x[0]

    for each in readings(ptx.compiled(copying, void(float64[::1], float64[::1]))):
        assert each.float64_arithmetic() == {}


def test_local_memory_is_seen():
    code = ptx.compiled(spilling, void(int32, VECTOR, VECTOR))
    assert code.stack >= 1024
    for each in readings(code):
        assert each.n_local > 0


def test_spills_are_seen():
    signature = void(VECTOR, VECTOR)
    free = ptx.compiled(of_many_registers, signature)
    assert free.registers > 64
    assert free.spill_stores == 0
    limited = ptx.compiled(of_many_registers, signature, max_registers=32)
    assert limited.registers <= 32
    assert min(limited.spill_stores, limited.spill_loads, limited.n_local) > 0


def test_options_are_those_of_jit():
    signature = void(VECTOR, VECTOR)
    kernel = cuda.jit(max_registers=32, launch_bounds=256, fastmath=True)
    code = ptx.compiled(kernel(of_many_registers), signature)
    assert ".maxntid 256" in code.ptx  # ptxas then ignores the limit of registers
    kernel = cuda.jit(max_registers=32, fastmath=True)
    assert ptx.compiled(kernel(of_many_registers), signature).registers <= 32
    assert ".maxntid 1024" in ptx.compiled(good, signature, launch_bounds=1024).ptx
    assert "rcp.rn" in ptx.compiled(kernel(good), signature, fastmath=False).ptx
    assert "rcp.rn" not in ptx.compiled(kernel(good), signature).ptx


@pytest.mark.parametrize(
    ("width", "found"), [("v4.f32", (1, 0, 1, 0)), ("v2.f32", (0, 1, 0, 1))]
)
def test_wide_loads_are_seen(width, found):
    # what no kernel of numba does unless an intrinsic says so
    n = int(width[1])
    registers = ", ".join(f"%f{i}" for i in range(n))
    source = f"""
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 p, .param .u64 q) {{
    .reg .f32 %f<4>;
    .reg .u64 %r<5>;
    ld.param.u64 %r1, [p];
    ld.param.u64 %r2, [q];
    cvta.to.global.u64 %r3, %r1;
    cvta.to.global.u64 %r4, %r2;
    ld.global.{width} {{{registers}}}, [%r3];
    st.global.{width} [%r4], {{{registers}}};
    ret;
}}
"""
    for each in readings(ptx.assembled(source, (8, 0))):
        loads = (each.n_wide_loads, each.n_narrow_loads)
        assert (*loads, each.n_wide_stores, each.n_narrow_stores) == found


def test_the_complaint_of_ptxas_is_passed_on():
    with pytest.raises(RuntimeError, match="ptxas failed"):
        ptx.assembled(".version 8.0", (8, 0))
