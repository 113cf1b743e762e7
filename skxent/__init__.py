"""Cross-entropy for people who work in scikit-learn.

``skxent.losses``
    The loss, its gradient and its curvature: arrays in, torch's conventions.
``skxent.metrics``
    Metrics and scorers: ``y_true`` first, any labels, scikit-learn's conventions.
``skxent.linear_model``
    ``SoftmaxRegression``, the classifier that trains on the loss.
``skxent.torch``
    The loss as a module of torch, with autograd. It needs torch, and alone of the rooms
    it is not imported on first use: ``import skxent.torch``.
"""

import importlib
from typing import Any

from skxent import _forks  # noqa: F401, to know of every fork from now on

__all__ = ["__version__", "linear_model", "losses", "metrics"]

__version__ = "0.1.0.dev0"


def __getattr__(name: str) -> Any:
    """Import a room on first use, so that ``import skxent`` costs nothing."""
    if name in __all__:
        return importlib.import_module(f"skxent.{name}")
    raise AttributeError(f"module 'skxent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
