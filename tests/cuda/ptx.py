"""What a CUDA kernel compiles to, without a GPU and without a driver.

``compiled`` takes a kernel through the compiler to PTX, ``ptxas`` and, if there is one,
``nvdisasm``, afresh: no cache is read or written. ::

    code = compiled(kernel, void(float32[::1], float32[::1]), cc=(9, 0))
    assert code.spill_stores == code.n_local == 0
    assert not code.float64_arithmetic()

numba compiles device functions for the current device; here one stands in that has
nothing but the compute capability. At a launch nvjitlink takes the place of ptxas, so
the number of registers can differ by a few.
"""

import collections
import contextlib
import dataclasses
import functools
import re
import shutil
import site
import subprocess
import tempfile
import types
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

INSTALL = 'install "skxent[test-cuda]", for Linux on x86-64'


@functools.cache
def tool(name):
    """Return the path of a program of the toolkit, or None."""
    for folder in site.getsitepackages():
        for path in sorted(Path(folder).glob(f"nvidia/*/bin/{name}")):
            return str(path)
    return shutil.which(name)


@functools.cache
def missing():
    """Return what is not installed to compile kernels, or None if all is there."""
    if find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed: {INSTALL}"
    try:
        from numba.cuda.cudadrv import nvvm

        nvvm.NVVM()
    except ImportError as error:  # also where there is no libnvvm
        return f"numba-cuda has no compiler ({error}): {INSTALL}"
    if tool("ptxas") is None:
        return f"ptxas was not found: {INSTALL}"
    return None


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The code of one kernel and what ``ptxas -v`` says of it; sizes are in bytes."""

    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int  # static; dynamic shared memory is a matter of the launch
    ptx: str
    sass: str  # empty without nvdisasm

    @functools.cached_property
    def opcodes(self):
        """How often each instruction occurs: of SASS, or else of PTX."""
        instruction = (
            r"^\s*/\*[0-9a-f]+\*/\s+(?:@\S+\s+)?([A-Z][\w.]*)"
            if self.sass
            else r"^\s*(?:@\S+\s+)?([a-z]\w*(?:\.\w+)+)\s[^;]*;"
        )
        return collections.Counter(
            re.findall(instruction, self.sass or self.ptx, re.MULTILINE)
        )

    def matching(self, pattern):
        """Return the instructions that begin so, and how often each occurs."""
        return {op: n for op, n in self.opcodes.items() if re.match(pattern, op)}

    def _number(self, of_sass, of_ptx):
        return sum(self.matching(of_sass if self.sass else of_ptx).values())

    @property
    def n_wide_loads(self):
        """Loads of 128 bits, or more, from global memory."""
        return self._number(_wide("LDG"), r"ld\.global.*(v4\.[bfsu]32|v2\.[bfsu]64)")

    @property
    def n_narrow_loads(self):
        return self._number("LDG", r"ld\.global") - self.n_wide_loads

    @property
    def n_wide_stores(self):
        return self._number(_wide("STG"), r"st\.global.*(v4\.[bfsu]32|v2\.[bfsu]64)")

    @property
    def n_narrow_stores(self):
        return self._number("STG", r"st\.global") - self.n_wide_stores

    @property
    def n_local(self):
        """Loads and stores of local memory: spills, and arrays not in registers."""
        return self._number(r"LDL|STL", r"(ld|st)\.local")

    def float64_arithmetic(self, permitted=()):
        """Return the instructions that calculate in float64, and how often each occurs.

        All but those that begin with one of ``permitted``, as ``("DADD", "F2F")`` for
        a sum in float64. Loads, stores and moves are not arithmetic.
        """
        pattern = (
            r"D(ADD|MUL|FMA|SETP|MNMX)|MUFU\.R\w+64|[FI]2[FI]P?\b.*F64"
            if self.sass
            else r"(?!ld|st|mov|selp|shfl|atom|red).*\.f64"
        )
        found = self.matching(pattern)
        return {op: n for op, n in found.items() if not op.startswith(tuple(permitted))}


def _wide(load):
    return load + r"\b.*\.(128|ENL2)"


def compiled(
    kernel,
    signature,
    cc=(9, 0),
    *,
    max_registers=None,
    launch_bounds=None,
    fastmath=None,
):
    """Compile a kernel, a plain function or what ``cuda.jit`` made of one.

    Options that are not given are those of ``cuda.jit``.
    """
    options = getattr(kernel, "targetoptions", {})
    ptx = ptx_of(
        getattr(kernel, "py_func", kernel),
        signature,
        cc,
        launch_bounds=launch_bounds or options.get("launch_bounds"),
        fastmath=options.get("fastmath", False) if fastmath is None else fastmath,
    )
    return assembled(ptx, cc, max_registers or options.get("max_registers"))


def ptx_of(function, signature, cc, **options):
    from numba import cuda

    with _device_of(cc):
        ptx, _ = cuda.compile_ptx(function, signature, cc=cc, device=False, **options)
    return ptx


@contextlib.contextmanager
def _device_of(cc):
    device = types.SimpleNamespace(compute_capability=cc)
    name = "numba.cuda.dispatcher.get_current_device"
    with mock.patch(name, return_value=device):
        yield


def assembled(ptx, cc, max_registers=None):
    arch = f"sm_{cc[0]}{cc[1]}"
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        limit = [] if max_registers is None else [f"-maxrregcount={max_registers}"]
        log = _run(tool("ptxas"), "-v", f"-arch={arch}", *limit, source, "-o", cubin)
        disassembler = tool("nvdisasm")
        sass = _run(disassembler, "-c", cubin) if disassembler else ""

    def largest(pattern):
        # of the kernel, and of device functions that were not inlined
        return max(map(int, re.findall(pattern, log)), default=0)

    return Compiled(
        registers=largest(r"Used (\d+) registers"),
        spill_stores=largest(r"(\d+) bytes spill stores"),
        spill_loads=largest(r"(\d+) bytes spill loads"),
        stack=largest(r"(\d+) bytes stack frame"),
        shared=largest(r"(\d+) bytes smem"),
        ptx=ptx,
        sass=sass,
    )


def _run(*command):
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ran.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {ran.stdout[:2000]}")
    return ran.stdout
