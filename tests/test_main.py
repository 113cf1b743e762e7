"""The command line, run as a user runs it."""

import importlib
import os
import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import numba
import pytest

import skxent
import skxent.kernels
from skxent._warm_cache import CALLS
from skxent.backends._threads import threads_to_use
from skxent.kernels._jit import KERNELS, Twins


def n_files():
    """Return how many files a kernel makes: one for each twin that is used."""
    return 1 + (threads_to_use() > 1)


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "skxent", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run("demo", "--picture", "demo.png", cwd=tmp_path_factory.mktemp("demo"))


def test_demo_prints_scores_of_both_models_that_agree(demo):
    assert demo.returncode == 0, demo.stderr
    lines = {line[:22].strip(): line[22:].split() for line in demo.stdout.splitlines()}
    for name in ("skxent scorer", "make_scorer", "neg_log_loss"):
        ours, _, _, theirs, _, _ = lines[name]
        assert float(ours) == pytest.approx(float(theirs), abs=2e-4)
    assert all(float(value) < 1e-12 for value in lines["scorers differ by"])


def test_demo_says_what_calibration_did(demo):
    lines = [line.split() for line in demo.stdout.splitlines()]
    fitted = next(float(w[-1]) for w in lines if w[:2] == ["as", "fitted"])
    tempered = next(float(w[-1]) for w in lines if w[:1] == ["temperature"])
    assert tempered < fitted


def test_usage_names_the_commands(tmp_path):
    result = run(cwd=tmp_path)
    assert result.returncode == 2
    assert "demo" in result.stderr


def test_versions_name_what_is_there_and_what_is_not(tmp_path):
    shown = run("show-versions", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    versions = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert versions["skxent"] == skxent.__version__
    assert versions["numba"] == numba.__version__
    assert (versions["cupy"] == "not installed") == (find_spec("cupy") is None)
    assert "cuda" in versions


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a folder of caches, which others use too, and what warming it printed."""
    folder = tmp_path_factory.mktemp("caches")
    theirs = folder / "kernels_0123", folder / "skxent"
    for each in theirs:
        each.mkdir()
        (each / "theirs.py311.1.nbc").write_bytes(b"theirs")
    # all calls would take minutes
    code = """
from skxent._warm_cache import CALLS, warm_cache
(call,) = [call for call in CALLS if call.what == "binary_cross_entropy"]
raise SystemExit(warm_cache([call._replace(dtypes=[call.dtypes[0]])]))
"""
    return folder, run_code(code, folder)


def run_code(code, cache):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_warm_cache_compiles_and_says_so(cache):
    folder, result = cache
    assert result.returncode == 0, result.stderr
    first, call, last = result.stdout.splitlines()
    assert first.startswith("Compiling for 1 kinds of calls")
    assert call.startswith("  1/1 ")
    assert call.endswith(" s  binary_cross_entropy, float64")
    assert last.startswith(f"Kept in {folder / 'skxent'}: {n_files()} files")
    code = """
import numpy as np
from skxent.kernels._sigmoid import bernoulli_losses
from skxent.losses import binary_cross_entropy
binary_cross_entropy(np.full(9, 0.5), np.full(9, 0.5))
print(bernoulli_losses.sequential.stats.cache_misses.total())
"""
    assert run_code(code, folder).stdout == "0\n"


def test_clear_cache_removes_ours_and_nothing_else(cache, monkeypatch):
    folder, _ = cache
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    result = run("clear-cache", cwd=folder)
    removed = f"Removed {n_files()} files from {folder / 'skxent'}.\n"
    assert result.stdout == removed
    left = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [path.read_bytes() for path in left] == [b"theirs"] * 2


def test_clear_cache_says_what_it_could_not_remove(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (tmp_path / "skxent" / "a.skxent").mkdir(parents=True)
    result = run("clear-cache", cwd=tmp_path)
    assert result.returncode == 1
    assert "Removed 0 files" in result.stdout
    assert result.stderr.startswith("1 files could not be removed: ")


def test_warm_cache_that_does_not_do_its_work_fails(tmp_path):
    (tmp_path / "file").touch()
    code = """
import numpy as np
from skxent._warm_cache import Call, _make, warm_cache
try:
    _make(Call("nothing", "long_rows_loss", np.dtype), np.float64)
except RuntimeError as error:
    assert "nothing for float64 did not call long_rows_loss" in str(error)
else:
    raise SystemExit("passed")
raise SystemExit(warm_cache([Call("nothing", "", np.dtype, (np.float64,))]))
"""
    result = run_code(code, tmp_path / "file")
    assert result.returncode == 1, result.stderr
    assert result.stdout.splitlines()[-1].startswith("Could not be kept in")


def test_warm_cache_goes_on_after_a_call_that_failed(tmp_path):
    code = """
import numpy as np
from skxent._warm_cache import CALLS, Call, warm_cache
(call,) = [call for call in CALLS if call.what == "binary_cross_entropy"]
calls = [Call("nothing", "long_rows_loss", np.dtype), call]
raise SystemExit(warm_cache([c._replace(dtypes=(np.float64,)) for c in calls]))
"""
    result = run_code(code, tmp_path)
    assert result.returncode == 1
    assert not result.stderr
    lines = sorted(
        line.split(maxsplit=1)[1] for line in result.stdout.splitlines()[1:3]
    )
    assert lines[0].endswith(" s  binary_cross_entropy, float64")
    assert lines[1] == (
        "failed  nothing, float64: RuntimeError: nothing for float64 did not call "
        "long_rows_loss"
    )
    kept, failed = result.stdout.splitlines()[3:]
    assert kept.startswith(f"Kept in {tmp_path / 'skxent'}: {n_files()} files")
    assert failed == "1 calls failed."


@pytest.mark.parametrize("n_threads", [1, 2])
def test_kernels_that_threads_alone_call_are_asked_of_threads_alone(n_threads):
    code = """
import numpy as np
from skxent._warm_cache import Call, _make
from skxent.backends._threads import threads_to_use
try:
    _make(Call("nothing", "", np.dtype, threaded="split_lines"), np.float64)
except RuntimeError as error:
    print(error)
print(threads_to_use())
"""
    many = {"OMP_NUM_THREADS": str(n_threads), "NUMBA_NUM_THREADS": str(n_threads)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | many,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    refused = "nothing for float64 did not call split_lines\n" * (n_threads > 1)
    assert result.stdout == f"{refused}{n_threads}\n"


def test_warm_cache_leaves_no_kernel_out():
    for module in pkgutil.iter_modules(skxent.kernels.__path__, "skxent.kernels."):
        if not module.name.startswith("skxent.kernels._cuda"):
            importlib.import_module(module.name)
    named = {n for call in CALLS for n in f"{call.kernels} {call.threaded}".split()}
    modules = {
        name: (kernel.sequential if isinstance(kernel, Twins) else kernel).__module__
        for name, kernel in KERNELS.items()
    }  # other tests make kernels of their own
    assert named == {n for n, module in modules.items() if module.startswith("skxent.")}
