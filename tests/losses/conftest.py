"""Fixtures that more than one module of the losses uses."""

import pytest


@pytest.fixture(params=[1, 3, None], ids=lambda rows: f"block-{rows}")
def linear_block(request, monkeypatch):
    """Blocks of one row, of three, and of all the rows of a small problem."""
    from skxent.losses import _linear_call

    if request.param:
        monkeypatch.setattr(_linear_call, "rows_per_block", lambda *_: request.param)
        # the gradient of the weights is then added up in parts of two classes or so
        monkeypatch.setattr(_linear_call, "PRODUCT_SIZE", 7)
