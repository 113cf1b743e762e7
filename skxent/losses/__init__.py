"""Cross-entropy losses: arrays in, torch's names and conventions."""

from skxent.losses._cross_entropy import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)

__all__ = [
    "cross_entropy",
    "cross_entropy_grad",
    "cross_entropy_hvp",
    "cross_entropy_value_and_grad",
]
