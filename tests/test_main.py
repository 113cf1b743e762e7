"""The command line, run as a user runs it."""

import subprocess
import sys

import pytest


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
