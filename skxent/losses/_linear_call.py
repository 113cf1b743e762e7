"""One call of the loss of a linear layer, over blocks of rows.

Conventions
-----------
N samples, D features, C classes, M = d1 * .. * dK losses per sample, 1 for a weight of
two axes. The scores of a block of b samples are one product ``X W^T``, (b, C * M) in C
order: rows (b, C) or planes (b, C, M) for the kernels. float16 is computed in float32.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxent.backends import backend_for
from skxent.backends._team import Run, team
from skxent.losses import _validation as check
from skxent.losses._call import Call, cast, prepare_call
from skxent.losses._device import is_on_device, on_device
from skxent.losses._layout import Layout, make_layout
from skxent.losses._targets import row_weights

__all__ = ["LinearCall", "layout_of_scores", "prepare"]

# A block is the only part of the scores that exists. The least numbers of rows and of
# elements keep the products efficient, the share and the most bound the memory: the
# weights and their gradient pass through the cache once per block. Measured on one core
# with 512 features: 47, 65, 78, 87 and 89 GFLOP/s for the scores of 64, 128, .. rows.
LEAST_ROWS = 64
GOOD_ROWS = 256  # where LARGEST_SIZE allows
LEAST_SIZE = 1 << 21
LARGEST_SHARE = 32  # of all scores: one in so many
LARGEST_SIZE = 1 << 24
# What a thread does at a time: so many elements of the weights, which it multiplies
# with a block, and of a block's scores for the kernel.
PRODUCT_SIZE = 1 << 20
KERNEL_SIZE = 1 << 19
# There are so many parts of the weights at least, for as many threads, unless they had
# too few scores. For the gradient of the input there are so many at most, since each
# needs memory of its size.
N_PARTS = 8
LEAST_SCORES = 512


def rows_per_block(n_rows: int, n_scores: int) -> int:
    """Return the rows of a block where each has so many scores."""
    most = LARGEST_SIZE // n_scores
    rows = min(max(n_rows // LARGEST_SHARE, GOOD_ROWS), most)
    return max(rows, LEAST_ROWS, LEAST_SIZE // n_scores)


def scores_per_part(n_scores: int, n_features: int) -> int:
    """Return the rows of the weights that are multiplied with a block at a time."""
    most = PRODUCT_SIZE // max(1, n_features)
    return max(1, min(most, max(-(-n_scores // N_PARTS), LEAST_SCORES)))


def _cut(n: int, size: int) -> list[slice]:
    """Return slices of at most ``size`` that make up ``range(n)``."""
    return [slice(begin, min(begin + size, n)) for begin in range(0, n, size)]


class _Block(NamedTuple):
    """A block of samples."""

    rows: slice  # of the input
    X: NDArray[Any]  # (b, D), zeros where all is ignored
    scores: NDArray[Any]  # (b, C * M), a buffer to write the gradient over
    ignored: NDArray[np.bool_]  # (b,)


class LinearCall(NamedTuple):
    """The checked arguments of one call."""

    loss: Call  # of the scores, none of which it holds
    X: NDArray[Any]  # (N, D), in the dtype of the results
    W: NDArray[Any]  # (C * M, D), in the dtype that is computed with
    b: NDArray[Any] | None  # (C * M,), as W
    shapes: tuple[tuple[int, ...], ...]  # of input, linear_weight, linear_bias if any

    @property
    def inner(self) -> int:
        """Number of losses per sample, M."""
        return math.prod(self.shapes[1][1:-1])

    def weighted_by_output(self, grad_output: Any) -> "LinearCall":
        """Return the call with the gradient of each loss multiplied with a number."""
        inflow = self.loss.layout.read_grad_output(grad_output, self.loss.reduction)
        return self._replace(loss=self.loss.weighted_by(inflow))

    def value(self) -> Any:
        """Return the reduced loss."""
        losses = self.loss.row_losses()
        total = 0.0
        with team(self._work()) as run:
            for block in self._blocks(run):
                total += self._loss(self.loss, block, losses, run)
        return self.loss.reduce(total, losses)

    def value_and_grad(
        self, out: tuple[NDArray[Any], ...] | None
    ) -> tuple[Any, tuple[NDArray[Any], ...]]:
        """Return the reduced loss and its gradients."""
        slopes = _Gradients(self, out)
        losses = self.loss.row_losses()
        for_gradient = self.loss.for_gradient()
        total = 0.0
        with team(self._work()) as run:
            for block in self._blocks(run):
                if for_gradient is self.loss:
                    total += self._loss(self.loss, block, losses, run, overwrite=True)
                else:
                    total += self._loss(self.loss, block, losses, run)
                    self._loss(for_gradient, block, losses[:0], run, overwrite=True)
                slopes.add(block, run)
        return self.loss.reduce(total, losses), slopes.deliver()

    def grad(self, out: tuple[NDArray[Any], ...] | None) -> tuple[NDArray[Any], ...]:
        """Return the gradients of the reduced loss."""
        slopes = _Gradients(self, out)
        for_gradient = self.loss.for_gradient()
        no_losses = np.empty(0, self.W.dtype)
        with team(self._work()) as run:
            for block in self._blocks(run):
                self._loss(for_gradient, block, no_losses, run, overwrite=True)
                slopes.add(block, run)
        return slopes.deliver()

    def _work(self) -> int:
        """Return the multiplications that the scores take."""
        return len(self.X) * self.W.size

    def parts(self) -> list[slice]:
        """Return the parts that the scores of a row are computed in."""
        return _cut(len(self.W), scores_per_part(*self.W.shape))

    def _blocks(self, run: Run) -> Iterator[_Block]:
        """Yield the blocks, whose scores lie in one buffer."""
        n, n_scores = len(self.X), len(self.W)
        if not n or not n_scores:
            return
        size = min(n, rows_per_block(n, n_scores))
        buffer = np.empty((size, n_scores), self.W.dtype)
        parts = self.parts()
        for begin in range(0, n, size):
            rows = slice(begin, min(begin + size, n))
            X = np.ascontiguousarray(self.X[rows], dtype=self.W.dtype)
            ignored = self._ignored(rows)
            if ignored.any():
                # nan would reach the gradient of the weights as 0 * nan
                X = np.where(ignored[:, np.newaxis], X.dtype.type(0), X)
            scores = buffer[: len(X)]
            block = _Block(rows, X, scores, ignored)
            run(functools.partial(self._score, block), parts)
            yield block

    def _score(self, block: _Block, part: slice) -> None:
        """Compute a part of the scores of each row of a block."""
        scores = block.scores[:, part]
        np.matmul(block.X, self.W[part].T, out=scores)
        if self.b is not None:
            scores += self.b[part]

    def _ignored(self, rows: slice) -> NDArray[np.bool_]:
        """Return which samples of a block have ignored rows only."""
        weights = row_weights(self.loss.targets.rows(self._losses_of(rows)))
        n = rows.stop - rows.start
        if not weights.size:
            return np.zeros(n, dtype=np.bool_)
        return np.asarray((weights.reshape(n, self.inner) == 0).all(axis=1))

    def _losses_of(self, rows: slice) -> slice:
        """Return where the losses of a block of samples lie among all."""
        return slice(rows.start * self.inner, rows.stop * self.inner)

    def _loss(
        self,
        call: Call,
        block: _Block,
        losses: NDArray[Any],
        run: Run,
        *,
        overwrite: bool = False,
    ) -> float:
        """Return the sum of a block's losses; write the gradient over its scores."""
        n, n_scores = block.scores.shape

        def loss_of(part: slice) -> float:
            scores = block.scores[part].reshape(-1, *call.logits.shape[1:])
            samples = slice(block.rows.start + part.start, block.rows.start + part.stop)
            rows = self._losses_of(samples)
            targets = call.targets.rows(rows)
            if targets.target.ndim > 1:  # probabilities, one entry per sample
                targets = targets._replace(target=call.targets.target[samples])
            return call.backend.softmax_loss(
                scores,
                targets,
                losses[rows],
                scores if overwrite else np.empty((0,) * scores.ndim, scores.dtype),
                call.scale,
            )

        return sum(run(loss_of, _cut(n, -(-KERNEL_SIZE // n_scores))))


class _Gradients:
    """The gradients of one call, added up block by block."""

    def __init__(self, call: LinearCall, out: tuple[NDArray[Any], ...] | None) -> None:
        self.call = call
        self.out = out
        dtype = call.loss.dtype
        if out is not None:
            _check_out(out, call.shapes, dtype)
        self.input = self._buffer(0, call.X.shape, dtype)
        self.weight = self._buffer(1, call.W.shape, call.W.dtype)
        self.bias = np.zeros(len(call.W))
        self.parts = call.parts()
        # of parts, for the gradient of the input
        together = max(1, -(-len(self.parts) // N_PARTS))
        self.groups = _cut(len(call.W), together * scores_per_part(*call.W.shape))
        self.products = np.empty((0, 0, 0), call.W.dtype)

    def _buffer(
        self, place: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return zeros to add to: ``out`` itself if it can be written on the way."""
        if self.out is not None:
            out = self.out[place]
            loss, X, W, b, _ = self.call
            read = [X, W, loss.targets.target, loss.targets.row_weight]
            read += [] if b is None else [b]
            if (
                out.dtype == dtype
                and out.flags.c_contiguous
                and not any(np.may_share_memory(out, array) for array in read)
            ):
                out.fill(0.0)
                return out.reshape(shape)
        return np.zeros(shape, dtype)

    def add(self, block: _Block, run: Run) -> None:
        """Add what the gradient with respect to the scores of a block gives."""
        if self.products.shape[1] < len(block.X):
            shape = (len(self.groups), *block.X.shape)
            self.products = np.empty(shape, self.call.W.dtype)
        products = self.products[:, : len(block.X)]
        tasks = [
            functools.partial(self._multiply, block, group, product)
            for group, product in zip(self.groups, products, strict=True)
        ]
        tasks += [functools.partial(self._add_part, block, part) for part in self.parts]
        run(lambda task: task(), tasks)
        with np.errstate(all="ignore"):
            product = products.sum(axis=0)
            product[block.ignored] = 0  # also where the weights are not finite
            self.input[block.rows] = product

    def _multiply(self, block: _Block, group: slice, product: NDArray[Any]) -> None:
        """Compute what a group of scores adds to the gradient of the input."""
        np.matmul(block.scores[:, group], self.call.W[group], out=product)

    def _add_part(self, block: _Block, part: slice) -> None:
        """Add to the gradients of a part of the weights and of the bias."""
        slopes = block.scores[:, part]
        self.weight[part] += slopes.T @ block.X
        if self.call.b is not None:
            self.bias[part] += slopes.sum(axis=0, dtype=np.float64)

    def deliver(self) -> tuple[NDArray[Any], ...]:
        """Return the gradients in the shapes and the dtype of the operands."""
        dtype = self.call.loss.dtype
        sums = [self.input, self.weight, self.bias]
        shapes = self.call.shapes
        slopes = [
            cast(array, dtype).reshape(shape)
            for array, shape in zip(sums, shapes, strict=False)
        ]
        if self.out is None:
            return tuple(slopes)
        for array, out in zip(slopes, self.out, strict=True):
            if not np.may_share_memory(array, out):
                out[...] = array
        return self.out


def prepare(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    linear_bias: ArrayLike | None,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    sample_weight: ArrayLike | None,
) -> Any:
    """Check and encode the arguments that the functions of a linear layer share."""
    if is_on_device(input):
        return on_device("_device_linear_call").prepare_on_device(
            input,
            linear_weight,
            target,
            linear_bias,
            weight,
            ignore_index,
            reduction,
            label_smoothing,
            sample_weight,
        )
    backend = backend_for(input)
    X = check.check_floats(input, "input")
    dtype = X.dtype
    W = _check_operand(linear_weight, "linear_weight", dtype)
    shapes: tuple[tuple[int, ...], ...] = (X.shape, W.shape)
    computed = np.dtype(np.float32) if dtype == np.float16 else dtype
    b = None
    if linear_bias is not None:
        b = _check_operand(linear_bias, "linear_bias", dtype)
        shapes = (*shapes, b.shape)
    layout = layout_of_scores(*shapes)
    if b is not None:
        b = b.astype(computed, copy=False).reshape(-1)
    loss = prepare_call(
        backend,
        np.empty((0, *layout.kernel_shape[1:]), computed),
        layout,
        dtype,
        target,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        True,
        sample_weight,
    )
    n_scores = math.prod(W.shape[:-1])
    W = np.ascontiguousarray(W, dtype=computed).reshape(n_scores, W.shape[-1])
    return LinearCall(loss, np.atleast_2d(X), W, b, shapes)


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


def _check_operand(value: Any, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a float array of the dtype of the input."""
    array = check.check_floats(value, name)
    if array.dtype != dtype:
        raise TypeError(
            f"{name} must have the dtype of input, {dtype}; got dtype {array.dtype}. "
            "Convert one of them with .astype."
        )
    return array


def _check_out(
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
