"""What may happen to the files of compiled kernels: a caller sees nothing of it."""

import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numba.core.config import reload_config

import skxent
from skxent.kernels import _cache
from skxent.kernels._jit import alone

X = np.arange(4.0)
DAMAGED = "the file is damaged"


def twice(x):
    return 2 * x.sum()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of a cache of its own, which is not there yet."""
    with monkeypatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
        reload_config()
        yield tmp_path / "named" / "skxent"
    reload_config()


@pytest.fixture
def lines(caplog):
    """Return a function that returns what was logged at debug level since."""
    caplog.set_level(logging.DEBUG, "skxent")

    def since():
        records, texts = caplog.records, []
        texts += [r.getMessage() for r in records if r.levelno == logging.DEBUG]
        caplog.clear()
        return texts

    return since


def compiled(function=twice, x=X):
    """Call a function as a new process would; return if it was compiled."""
    kernel = alone(function)
    assert kernel(x) == function(x)
    assert kernel.stats.cache_hits.total() + kernel.stats.cache_misses.total() == 1
    return kernel.stats.cache_misses.total() == 1


def test_second_process_reads_what_the_first_kept(folder, lines):
    assert compiled()
    (path,) = _cache.files()
    assert path.parent == folder
    assert not compiled()
    assert compiled(x=X.astype(np.float32))
    assert len(list(_cache.files())) == 2
    assert lines() == []


def test_it_is_said_what_compiles_and_where_it_is_kept(folder, caplog):
    caplog.set_level(logging.INFO, "skxent")
    compiled()
    compiled()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["compiling twice for float64", f"kept twice in {folder}"]


def of_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_nothing(path):
    path.write_bytes(b"")


def of_noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def of_zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def of_another_kernel(path):
    other = path.parent / "other"
    path.rename(other)
    alone(thrice)(X)
    (theirs,) = path.parent.glob("thrice*")
    theirs.rename(path)
    other.unlink()


def thrice(x):
    return 3 * x.sum()


def of_a_loop_of_links(path):
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    "make",
    [of_half, of_nothing, of_noise, of_zeros, of_another_kernel, of_a_loop_of_links],
)
def test_file(folder, lines, make):
    compiled()
    (path,) = _cache.files()
    make(path)
    assert compiled()
    assert len(lines()) == 1
    assert not compiled()  # it was written again
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_folder_in_the_place_of_a_file(folder, lines):
    compiled()
    (path,) = _cache.files()
    path.unlink()
    path.mkdir()
    assert compiled()
    assert len(lines()) == 2  # it can be neither read nor replaced
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_noise_is_not_run(folder):
    # in a process of its own, which noise in machine code would kill
    code = """
import numpy as np
from skxent.kernels import _cache
from skxent.kernels._jit import alone
def twice(x): return 2 * x.sum()
assert alone(twice)(np.ones(4)) == 8
(path,) = _cache.files()
good = path.read_bytes()
for start in range(0, len(good), len(good) // 40):
    bad = np.frombuffer(good, np.uint8).copy()
    bad[start : start + 64] ^= 255
    path.write_bytes(bad)
    kernel = alone(twice)
    assert kernel._cache.load_overload(ARGS, kernel.targetctx) is None, start
path.write_bytes(good)
assert kernel._cache.load_overload(ARGS, kernel.targetctx) is not None
assert kernel(np.ones(4)) == 8
""".replace("ARGS", "(kernel.typeof_pyval(np.ones(4)),)")
    run(code, NUMBA_CACHE_DIR=folder)


def test_numba_compiles_after_a_kernel_was_read(tmp_path):
    """It gets ready then, not when a kernel is read; and garbage is collected."""
    code = """
import gc, sys
import numba, numpy as np
from skxent.losses import binary_cross_entropy
binary_cross_entropy(np.full(4, 0.5), np.zeros(4))
print("numba.np.linalg" in sys.modules, gc.isenabled())
counted = numba.njit(lambda x: {w: len(w) for w in x})(("a", "bc"))
assert dict(counted) == {"a": 1, "bc": 2}
assert numba.njit(lambda x: np.sort(x)[0])(np.ones(3)) == 1
assert binary_cross_entropy(np.full(4, 0.5, "f"), np.zeros(4, "f")) > 0.6
"""
    printed = [run(code, NUMBA_CACHE_DIR=tmp_path) for _ in range(2)]
    assert [line.split() for line in printed] == [["True", "True"], ["False", "True"]]


def run(code, *, of=Path(skxent.__file__).parents[1], **variables):
    """Run a program on the package in a folder; return what it prints."""
    named = {name: str(value) for name, value in variables.items()}
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment
        | {"PYTHONPATH": str(of), "PYTHONDONTWRITEBYTECODE": "1"}
        | named,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=of,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_path_that_leads_through_a_file(folder, lines):
    folder.parent.write_text("a file")
    assert compiled()
    assert compiled()
    assert all("NotADirectoryError" in line for line in lines())


def test_path_that_vanishes(folder, lines):
    kernel = alone(twice)
    kernel(X)
    shutil.rmtree(folder.parent)
    kernel(X.astype(np.float32))
    assert len(list(_cache.files())) == 1
    assert lines() == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of file sizes")
def test_full_disk(folder, lines):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        assert compiled()
        assert compiled()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(lines()) == 2
    assert list(folder.iterdir()) == []
    assert compiled()
    assert not compiled()


def test_umask_of_everything(folder, lines):
    before = os.umask(0o777)
    try:
        compiled()
        compiled()
    finally:
        os.umask(before)


def test_clear_removes_ours_and_nothing_else(folder):
    compiled()
    theirs = folder / "theirs.nbc"
    theirs.touch()
    removed, errors = _cache.clear()
    assert (len(removed), errors) == (1, [])
    assert list(folder.iterdir()) == [theirs]
    theirs.unlink()
    assert _cache.clear() == ([], [])
    assert not folder.exists()


def test_clear_goes_on_past_what_cannot_be_removed(folder):
    compiled()
    odd = folder / f"a{_cache.ENDING}"
    odd.mkdir()
    removed, (error,) = _cache.clear()
    assert len(removed) == 1
    assert str(odd) in str(error)


def test_settings_that_change_the_code_are_told_apart(folder, monkeypatch):
    compiled()
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    reload_config()
    assert compiled()
    monkeypatch.undo()


def test_processes_that_compile_at_once(folder):
    # each forks off before it compiles: half of them for one dtype, half for another
    code = """
import os
import numba
import numpy as np
from skxent.kernels import _cache
from skxent.kernels._jit import alone
def twice(x): return 2 * x.sum()
def right(dtype):
    kernel = alone(twice)
    assert kernel(np.arange(5, dtype=dtype)) == 20
    return kernel.stats
numba.njit(twice)(np.zeros(1))  # imports what numba imports late
children = []
for index in range(8):
    pid = os.fork()
    if not pid:
        right("f4" if index % 2 else "f8")
        os._exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
assert len(list(_cache.files())) == len(list(_cache.folders()[0].iterdir())) == 2
for dtype in ("f4", "f8"):
    assert right(dtype).cache_misses.total() == 0
"""
    run(code, NUMBA_CACHE_DIR=folder)


@pytest.fixture
def installed():
    """Return the folder of an installation with a kernel and its rule in two files."""
    ignored = shutil.ignore_patterns("__pycache__")
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        shutil.copytree(Path(skxent.__file__).parent, site / "skxent", ignore=ignored)
        kernels = site / "skxent" / "kernels"
        (kernels / "_rule.py").write_text(RULE)
        (kernels / "_kernel.py").write_text(KERNEL)
        yield site


RULE = """
from skxent.kernels._jit import rule
@rule
def scaled(x): return 2 * x
"""
KERNEL = """
from skxent.kernels._jit import alone
from skxent.kernels._rule import scaled
@alone
def kernel(x): return scaled(x)
"""
CALL = """
from skxent.kernels._kernel import kernel
print(kernel(3.0), kernel.stats.cache_misses.total())
"""


def test_edited_rule_of_another_file(installed):
    kept = installed / "skxent" / "kernels" / "__pycache__"
    home = installed.parent
    assert run(CALL, of=installed, HOME=home) == "6.0 1\n"
    assert run(CALL, of=installed, HOME=home) == "6.0 0\n"
    (first,) = kept.glob("*.skxent")
    rule = installed / "skxent" / "kernels" / "_rule.py"
    rule.write_text(RULE.replace("2", "3"))  # as an upgrade in place does
    assert run(CALL, of=installed, HOME=home) == "9.0 1\n"
    (second,) = kept.glob("*.skxent")
    assert second != first


def test_upgrade_of_a_running_process_is_not_kept(installed):
    code = f"""
import skxent.kernels._kernel
from pathlib import Path
rule = Path({str(installed)!r}, "skxent", "kernels", "_rule.py")
rule.write_text(rule.read_text().replace("2", "3"))
"""
    assert run(code + CALL, of=installed, HOME=installed) == "6.0 1\n"
    assert list(installed.rglob("*.skxent")) == []


def test_read_only_package_and_home(installed):
    # root may write anywhere: as root, be nobody once numba is imported
    code = """
import logging, os
import numba
from skxent.kernels import _cache, _kernel
numba.njit(lambda x: x)(1)  # imports what numba imports late
if os.getuid() == 0:
    os.setuid(65534)
lines = []
class Lines(logging.Handler):
    def emit(self, record): lines.append(record.getMessage())
logging.getLogger("skxent").addHandler(Lines())
logging.getLogger("skxent").setLevel("DEBUG")
"""
    lines = """
assert lines[0].startswith("compiling")
assert ["is not kept: PermissionError" in line for line in lines[1:]] == [True] * 2
assert len(_cache.folders()) == 2 and not list(_cache.files()), lines
"""
    home = installed.parent / "home"
    home.mkdir()
    installed.parent.chmod(0o755)
    kernels = installed / "skxent" / "kernels"
    for path in (home, kernels):
        path.chmod(0o555)
    variables = {"HOME": home, "XDG_CACHE_HOME": home / "cache"}
    assert run(code + CALL + lines, of=installed, **variables) == "6.0 1\n"
    for path in (home, kernels):
        path.chmod(0o755)


def test_unknown_numba_gets_its_own_cache(folder):
    code = """
import numba.core.caching
del numba.core.caching._Cache
import sys
from skxent.kernels._jit import alone
import numpy as np
from skxent.kernels._survey import survey_indices
kernel = survey_indices.sequential
assert type(kernel._cache).__name__ == "FunctionCache"
"""
    run(code, NUMBA_CACHE_DIR=folder)


def test_no_source_is_no_cache(folder, monkeypatch):
    # an archive has no sources to tell versions by
    monkeypatch.setattr(_cache, "DIGEST", "")
    assert compiled()
    assert compiled()
    assert not folder.exists()
