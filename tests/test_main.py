"""The command line, run as a user runs it."""

import subprocess
import sys
from importlib.util import find_spec

import numba
import pytest

import skxent


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
