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
from skxent.backends._gemm import add_product, load
from skxent.backends._team import Run, team
from skxent.losses import _validation as check
from skxent.losses._call import Call, cast, prepare_call
from skxent.losses._device import is_on_device, on_device
from skxent.losses._linear_operands import (
    check_operand,
    check_outputs,
    layout_of_scores,
)
from skxent.losses._targets import row_weights

__all__ = ["LinearCall", "prepare"]

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
# Terms of a sum of a gradient, which are then added to others. BLAS adds up hundreds at
# a stretch, mostly small ones to the large one of the target: their rounding errors are
# those of torch's products times 1.3 (1000 x 64, 300 classes, root mean square), and
# times 0.9 with this. It takes up to 6 % longer (8000 x 512, 32000 classes).
SUM_LENGTH = 128
# So many scores take little time beside reading the input, and their own sums may be
# short: in one, the gradient of the input was off by 1.1 times as much as torch's
# (2000 x 100, 10 classes, root mean square), and by 0.95 times as much with this.
FEW_SCORES, SHORT_LENGTH = 64, 32


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
        total = 0.0
        with team(self._work()) as run:
            for block in self._blocks(run):
                if self.loss.sample_denominator is None:
                    total += self._loss(slopes.loss, block, losses, run, overwrite=True)
                else:
                    total += self._loss(self.loss, block, losses, run)
                    self._loss(slopes.loss, block, losses[:0], run, overwrite=True)
                slopes.add(block, run)
        return self.loss.reduce(total, losses), slopes.deliver()

    def grad(self, out: tuple[NDArray[Any], ...] | None) -> tuple[NDArray[Any], ...]:
        """Return the gradients of the reduced loss."""
        slopes = _Gradients(self, out)
        no_losses = np.empty(0, self.W.dtype)
        with team(self._work()) as run:
            for block in self._blocks(run):
                self._loss(slopes.loss, block, no_losses, run, overwrite=True)
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
        if len(self.W) <= FEW_SCORES:
            scores.fill(0.0)
            _add_products(block.X, self.W[part].T, scores, SHORT_LENGTH)
        else:
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
            check_outputs(out, call.shapes, dtype)
        self.input = self._buffer(0, call.X.shape, dtype)
        self.weight = self._buffer(1, call.W.shape, call.W.dtype)
        self.bias = np.zeros(len(call.W))
        loss = call.loss.for_gradient()
        scale, self.lacking = _rounded(loss.scale, call.W.dtype)
        self.loss = loss._replace(scale=scale)
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
        product.fill(0.0)
        _add_products(block.scores[:, group], self.call.W[group], product)

    def _add_part(self, block: _Block, part: slice) -> None:
        """Add to the gradients of a part of the weights and of the bias."""
        slopes = block.scores[:, part]
        _add_products(slopes.T, block.X, self.weight[part])
        if self.call.b is not None:
            self.bias[part] += slopes.sum(axis=0, dtype=np.float64)

    def deliver(self) -> tuple[NDArray[Any], ...]:
        """Return the gradients in the shapes and the dtype of the operands."""
        dtype = self.call.loss.dtype
        with np.errstate(all="ignore"):
            self.bias *= self.lacking
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


def _rounded(scale: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the scale as the dtype holds it, and the factor that is lacking.

    If the kernel rounds it, then ``p`` and ``t`` are wrong by different shares, the
    same ones in every row. Where the sums of both cancel, these errors remain: 2 ulp of
    the gradient of the bias for the mean of 1000 rows.
    """
    limits = np.finfo(dtype)
    if not limits.tiny <= abs(scale) <= limits.max:
        return scale, 1.0
    rounded = float(dtype.type(scale))
    return rounded, scale / rounded


def _add_products(
    A: NDArray[Any], B: NDArray[Any], total: NDArray[Any], length: int = SUM_LENGTH
) -> None:
    """Add ``A B``, whose sums are cut into short ones."""
    for terms in _cut(len(B), length):
        add_product(A[:, terms], B[terms], total)


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
    load()  # BLAS, before it is held to one thread
    backend = backend_for(input)
    X = check.check_floats(input, "input")
    dtype = X.dtype
    W = check_operand(linear_weight, "linear_weight", dtype)
    shapes: tuple[tuple[int, ...], ...] = (X.shape, W.shape)
    computed = np.dtype(np.float32) if dtype == np.float16 else dtype
    b = None
    if linear_bias is not None:
        b = check_operand(linear_bias, "linear_bias", dtype)
        shapes = (*shapes, b.shape)
    layout = layout_of_scores(*shapes)
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
    computed = loss.logits.dtype  # float64 if the weights ask for it
    if b is not None:
        b = b.astype(computed, copy=False).reshape(-1)
    n_scores = math.prod(W.shape[:-1])
    W = np.ascontiguousarray(W, dtype=computed).reshape(n_scores, W.shape[-1])
    return LinearCall(loss, np.atleast_2d(X), W, b, shapes)
