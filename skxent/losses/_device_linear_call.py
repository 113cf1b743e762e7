"""One call of the loss of a linear layer on a CUDA device, over blocks of rows.

Conventions are those of :mod:`skxent.losses._linear_call`. The library of the input
multiplies matrices, on the device; the kernel writes the gradient over the scores.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from skxent.backends import _cuda as backend
from skxent.backends._device_arrays import NumbaArrays, arrays_like
from skxent.kernels._cuda import real_name
from skxent.losses._device_call import DeviceCall, prepare_scores
from skxent.losses._device_operands import dtype_of_input, floats_on_device
from skxent.losses._device_out import check_out_on_device
from skxent.losses._linear_operands import layout_of_scores

__all__ = ["DeviceLinearCall", "prepare_on_device"]

# Scores that exist at a time.
BLOCK_SIZE = 1 << 26


class DeviceLinearCall(NamedTuple):
    """The checked arguments of one call; its methods are those of `LinearCall`."""

    loss: DeviceCall  # of the scores, none of which it holds
    X: Any  # (N, D)
    W: Any  # (C * M, D)
    b: Any  # (1, C * M), or None
    shapes: tuple[tuple[int, ...], ...]  # of input, linear_weight, linear_bias if any

    def weighted_by_output(self, grad_output: Any) -> "DeviceLinearCall":
        """Return the call with the gradient of each loss multiplied with a number."""
        return self._replace(loss=self.loss.weighted_by(grad_output))

    def value(self) -> Any:
        """Return the reduced loss."""
        summary = self.loss.checked_summary()
        losses, total = self.loss.row_losses(), 0.0
        for block in self._blocks():
            total += block.run(losses, has_gradient=False)
        return self.loss.reduced(losses, summary._replace(total=total))

    def value_and_grad(self, out: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return the reduced loss and its gradients."""
        summary = self.loss.checked_summary()
        losses = self.loss.row_losses()
        total, slopes = self._slopes(losses, out)
        return self.loss.reduced(losses, summary._replace(total=total)), slopes

    def grad(self, out: Any) -> tuple[Any, ...]:
        """Return the gradients of the reduced loss."""
        self.loss.check_indices()
        return self._slopes(None, out)[1]

    def _blocks(self) -> Iterator["_Block"]:
        n, n_scores = len(self.X), len(self.W)
        if not n or not n_scores:
            return
        rows = max(1, BLOCK_SIZE // n_scores // 8) * 8  # so that all are aligned
        for begin in range(0, n, rows):
            yield _Block(self, slice(begin, min(begin + rows, n)))

    def _slopes(self, losses: Any, out: Any) -> tuple[float, tuple[Any, ...]]:
        """Return the sum of the losses and the gradients of the operands."""
        arrays: Any = self.loss.call.arrays
        dtype = self.loss.dtype
        self._check_out(out)
        real = real_name(dtype)
        total = 0.0
        of_input = arrays.empty(tuple(self.X.shape), dtype)
        of_weight = arrays.empty(tuple(self.W.shape), real)
        arrays.clear(of_input)
        arrays.clear(of_weight)
        of_bias = arrays.empty((len(self.W),), "float64")
        arrays.clear(of_bias)
        for block in self._blocks():
            total += block.run(losses, has_gradient=True)
            scores = block.scores
            of_input[block.rows] = block.kept(scores @ self.W)
            of_weight += scores.T @ block.X
            of_bias += arrays.column_sums(scores)
        sums = of_input, of_weight, of_bias
        slopes = tuple(
            arrays.cast(array, dtype).reshape(shape)
            for array, shape in zip(sums, self.shapes, strict=False)
        )
        if out is None:
            return total, slopes
        for array, place in zip(slopes, out, strict=True):
            arrays.copy(array, place)
        return total, out

    def _check_out(self, out: Any) -> None:
        """Raise unless ``out`` can receive all the gradients."""
        if out is None:
            return
        if not isinstance(out, tuple) or len(out) != len(self.shapes):
            raise TypeError(
                f"out must be a tuple of {len(self.shapes)} arrays, one for each "
                f"gradient; got {type(out).__name__}."
            )
        for array, shape in zip(out, self.shapes, strict=True):
            arrays, dtype = self.loss.call.arrays, self.loss.dtype
            check_out_on_device(arrays, array, shape, dtype)


class _Block:
    """A block of samples, its scores, and which of the samples count."""

    def __init__(self, call: DeviceLinearCall, rows: slice) -> None:
        self.call = call
        self.rows = rows
        inner = call.loss.layout.n_rows // len(call.X)
        self.losses = slice(rows.start * inner, rows.stop * inner)
        self.ignored = self._ignored(inner)
        # nan would reach the gradient of the weights as 0 * nan
        self.X = self.kept(call.X[rows])
        self.scores = self.X @ call.W.T
        if call.b is not None:
            self.scores += call.b

    def _ignored(self, inner: int) -> Any:
        """Return which samples have ignored rows only, (b,) bool, None for nobody."""
        targets = self.call.loss.targets
        ignored = None
        if targets.has_indices:
            ignored = targets.target[self.losses] == targets.ignore_index
        if targets.row_weight is not None:
            unweighted = targets.row_weight[self.losses] == 0
            ignored = unweighted if ignored is None else ignored | unweighted
        if ignored is None:
            return None
        return ignored.reshape((-1, inner)).all(1)

    def kept(self, rows: Any) -> Any:
        """Return rows with zeros for the samples that are ignored."""
        if self.ignored is None:
            return rows
        arrays: Any = self.call.loss.call.arrays
        zeros = arrays.constant((0.0,), arrays.dtype(rows))
        return arrays.choose(self.ignored[:, None], zeros, rows)

    def run(self, losses: Any, *, has_gradient: bool) -> float:
        """Return the sum of the losses; write the gradient over the scores."""
        loss = self.call.loss
        targets = loss.targets
        by_rows = self.losses if targets.has_indices else self.rows
        weight = targets.row_weight
        part = targets._replace(
            target=targets.target[by_rows],
            row_weight=None if weight is None else weight[self.losses],
        )
        z = self.scores.reshape((-1, *loss.layout.kernel_shape[1:]))
        call = backend.new_call(loss.call.arrays)
        backend.softmax_loss(
            call,
            z,
            part,
            loss.dtype,
            loss.scale,
            None if losses is None else losses[self.losses],
            z if has_gradient else None,
        )
        return backend.summary_on_host(call).total


def prepare_on_device(
    input: Any,
    linear_weight: Any,
    target: Any,
    linear_bias: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    sample_weight: Any,
) -> DeviceLinearCall:
    """Check and encode the arguments."""
    arrays = arrays_like(input)
    if isinstance(arrays, NumbaArrays):
        raise TypeError(
            "input on a device must be an array of torch or cupy, which multiply "
            f"matrices; got {type(input).__name__}. Pass torch.as_tensor(input), which "
            "shares its memory."
        )
    X = arrays.read(input)
    dtype = dtype_of_input(arrays, X)
    W = floats_on_device(arrays, linear_weight, "linear_weight", dtype)
    shapes = [tuple(X.shape), tuple(W.shape)]
    b = None
    if linear_bias is not None:
        b = floats_on_device(arrays, linear_bias, "linear_bias", dtype)
        shapes.append(tuple(b.shape))
    layout = layout_of_scores(*shapes)
    loss = prepare_scores(
        arrays,
        None,
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
    D = X.shape[-1]
    if b is not None:
        b = b.reshape((1, -1))
    X = X.reshape((math.prod(X.shape[:-1]), D))
    W = W.reshape((math.prod(W.shape[:-1]), D))
    if not loss.targets.has_indices:  # those of a single row, too, are cut by rows
        by_rows = (len(X), *layout.kernel_shape[1:])
        soft = loss.targets.target.reshape(by_rows)
        loss = loss._replace(targets=loss.targets._replace(target=soft))
    return DeviceLinearCall(loss, X, W, b, tuple(shapes))
