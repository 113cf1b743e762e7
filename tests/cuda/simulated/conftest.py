"""Fixtures of the tests in the simulator."""

import pytest


@pytest.fixture
def small_blocks(monkeypatch):
    """Launch a warp to a block: the simulator runs one thread after another."""
    from skxent.backends import _cuda_calls as calls
    from skxent.kernels import _cuda as kernels

    monkeypatch.setattr(kernels, "BLOCK", 32)
    monkeypatch.setattr(calls, "SUM_BLOCK", 32)
