"""Losses for torch: modules with autograd, tensors in and tensors out.

Nothing else in the package imports torch, and ``import skxent`` does not import this
room: say ``import skxent.torch``.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "skxent.torch needs torch, which cannot be imported here: "
        f"{error}. Install it with: pip install torch"
    ) from error

from skxent.torch._cross_entropy_loss import CrossEntropyLoss

__all__ = ["CrossEntropyLoss"]
