"""The operands of a linear layer: their shapes, dtypes and gradients' arrays checked.

Conventions
-----------
``input`` is (D,) or (N, D), ``linear_weight`` (C, D) or (C, d1, .., dK, D) and
``linear_bias`` of the shape of ``linear_weight`` but its last axis.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxent.losses import _validation as check
from skxent.losses._layout import Layout, make_layout

__all__ = ["check_operand", "check_outputs", "layout_of_scores"]


def layout_of_scores(
    input: tuple[int, ...],
    linear_weight: tuple[int, ...],
    linear_bias: tuple[int, ...] | None = None,
) -> Layout:
    """Return the layout of the scores of operands of these shapes, which must fit."""
    if len(input) not in (1, 2):
        raise ValueError(
            "input must have shape (D,) or (N, D) with D features; got shape "
            f"{input}. Reshape further axes into the first."
        )
    D = input[-1]
    if len(linear_weight) < 2 or linear_weight[-1] != D:
        raise ValueError(
            f"linear_weight must have shape (C, {D}) or (C, d1, .., dK, {D}) for input "
            f"of shape {input}; got shape {linear_weight}."
        )
    if len(linear_weight) > 2 and len(input) == 1:
        raise ValueError(
            f"input must have shape (N, D) for linear_weight of {len(linear_weight)} "
            f"axes; got shape {input}. Pass input[None, :] and target[None]."
        )
    if linear_bias is not None and linear_bias != linear_weight[:-1]:
        raise ValueError(
            f"linear_bias must have shape {linear_weight[:-1]}, one entry per score; "
            f"got shape {linear_bias}."
        )
    axis = len(input) - 1
    return make_layout((*input[:-1], *linear_weight[:-1]), axis, axis)


def check_operand(value: Any, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a float array of the dtype of the input."""
    array = check.check_floats(value, name)
    if array.dtype != dtype:
        raise TypeError(
            f"{name} must have the dtype of input, {dtype}; got dtype {array.dtype}. "
            "Convert one of them with .astype."
        )
    return array


def check_outputs(
    out: Any, shapes: tuple[tuple[int, ...], ...], dtype: np.dtype[Any]
) -> None:
    """Raise unless ``out`` can receive all the gradients."""
    rule = f"out must be a tuple of {len(shapes)} arrays, one for each gradient"
    if not isinstance(out, tuple):
        raise TypeError(f"{rule}; got a {type(out).__name__}.")
    if len(out) != len(shapes):
        raise ValueError(f"{rule}; got {len(out)}.")
    names = ("input", "linear_weight", "linear_bias")
    for i, (array, shape) in enumerate(zip(out, shapes, strict=True)):
        check.check_out(array, shape, dtype, f"out[{i}]", names[i])
    for i, j in itertools.combinations(range(len(out)), 2):
        if np.shares_memory(out[i], out[j]):
            raise ValueError(
                f"out must hold arrays of their own memory; got out[{i}] and out[{j}] "
                "that share some. Pass separate arrays."
            )
