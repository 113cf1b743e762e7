"""One call of a binary loss: its arguments checked, its results in the caller's form.

Conventions
-----------
n elements, numbered in C order, however the input is laid out. float16 is computed in
float32, everything else in its own dtype; results come back in the dtype of ``input``.
Values are in nats. The kernel of logits reads and writes float16 itself; what others
compute is copied to float32.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxent.backends import Backend, BinaryTargets, backend_for
from skxent.losses import _validation as check
from skxent.losses._call import (
    FLOAT16,
    FLOAT32,
    FLOAT64,
    REDUCTIONS,
    absent,
    cast,
    is_direct,
    number,
)
from skxent.losses._device import is_on_device, on_device
from skxent.losses._ragged import (
    join,
    join_like,
    read,
    split,
    sums_of_entries,
)
from skxent.losses._targets import LARGEST

__all__ = ["BinaryCall", "check_unit_interval", "prepare"]

ONE = np.ones(1)
# Elements that weights are spread over at a time: 8 MB of float64, 1 ms of work.
PIECE_SIZE = 1 << 20


class BinaryCall(NamedTuple):
    """The checked arguments of one call."""

    backend: Backend
    scores: NDArray[Any]  # (n,) logits or probabilities in the dtype that kernels read
    targets: BinaryTargets
    reduction: str
    from_logits: bool
    shape: tuple[int, ...]  # of the input, or of the entries of a list joined
    dtype: np.dtype[Any]  # of the results
    lengths: NDArray[np.int64] | None  # of the entries of a list
    # weight and pos_weight if they are to be spread piece by piece, beside `targets`
    spread: tuple[NDArray[Any] | None, NDArray[Any] | None]

    @property
    def n_elements(self) -> NDArray[np.int64]:
        """Number of elements of each sample; a number is one sample."""
        n_samples = self.shape[0] if self.shape else 1
        lengths = np.ones(n_samples, np.int64) if self.lengths is None else self.lengths
        return lengths * math.prod(self.shape[1:])

    @property
    def scale(self) -> float:
        """What the sum of losses and its gradient are multiplied with.

        The means of the entries of a list stand in the weights: see `prepare`.
        """
        if self.reduction == "sample" and self.lengths is None:
            return 1.0 / max(1, math.prod(self.shape[1:]))
        return 1.0 / max(1, self.scores.size) if self.reduction == "mean" else 1.0

    @property
    def loss_shape(self) -> tuple[int, ...]:
        """Shape of the reduced loss, of the joined losses of a list."""
        if self.reduction == "none" or not self.shape:
            return self.shape
        return self.n_elements.shape if self.reduction == "sample" else ()

    def read(self, value: Any, name: str) -> NDArray[Any]:
        """Return floats of the input's shape, joined if it was a list."""
        if self.lengths is not None:
            value = join_like(value, name, self.lengths)
        return check.check_floats_of_shape(value, name, self.shape)

    def widened(self) -> "BinaryCall":
        """Return the call for kernels that do not read float16."""
        if self.scores.dtype != FLOAT16:
            return self
        target = self.targets.target.astype(FLOAT32, copy=False)
        return self._replace(
            scores=self.scores.astype(FLOAT32),
            targets=self.targets._replace(target=target),
        )

    def weighted_by_output(self, grad_output: Any) -> "BinaryCall":
        """Return the call with the gradient of each loss multiplied with a number."""
        if self.lengths is not None and self.reduction == "none":
            grad_output = join_like(grad_output, "grad_output", self.lengths)
        inflow = check.check_grad_output(grad_output, self.loss_shape)
        if self.lengths is not None and self.reduction == "sample":
            inflow = np.repeat(inflow, self.lengths)
        return self.weighted_by(inflow)

    def weighted_by(self, inflow: NDArray[np.float64]) -> "BinaryCall":
        """Return the call with each loss, or those of a sample, multiplied."""
        inflow = inflow.reshape(inflow.shape + (1,) * (len(self.shape) - inflow.ndim))
        inflow = _periodic(inflow, self.shape)
        # both are lengths of trailing axes: the longer is a multiple of the other
        period = max(inflow.size, self.targets.weight.size)
        with np.errstate(over="ignore", invalid="ignore"):
            weight = _repeated(self.targets.weight, period) * _repeated(inflow, period)
        return self._replace(targets=self.targets._replace(weight=weight))

    def reduce(self, total: float, losses: NDArray[Any], scale: float) -> Any:
        """Return the loss in the shape and dtype that the caller expects."""
        if self.reduction == "none":
            return self.split(cast(losses, self.dtype).reshape(self.shape)[()])
        if self.reduction != "sample":
            empty = self.reduction == "mean" and not self.scores.size
            return number(math.nan if empty else total * scale, self.dtype)
        counts = self.n_elements
        sums = sums_of_entries(losses, counts) * scale
        result = np.where(counts == 0, math.nan, sums)
        return cast(result, self.dtype).reshape(self.loss_shape)[()]

    def split(self, values: Any) -> Any:
        """Return what has the input's shape as a list if the input was one."""
        return values if self.lengths is None else split(values, self.lengths)

    def run(self, gradient: NDArray[Any] | None, *, want_value: bool) -> Any:
        """Return the reduced loss if it is wanted; fill the gradient if it is given."""
        dtype = self.scores.dtype
        losses = absent(1, dtype)
        if gradient is None:
            gradient = losses
        if want_value and self.reduction in ("none", "sample"):
            if self.reduction == "sample" and dtype == FLOAT16:
                dtype = FLOAT32  # they are rounded when they have been added up
            losses = np.empty(self.scores.size, dtype)
        total, scale = 0.0, self.scale
        backend = self.backend
        loss = backend.sigmoid_loss if self.from_logits else backend.bernoulli_loss
        for piece, targets in self._pieces():
            total += loss(
                self.scores[piece], targets, losses[piece], gradient[piece], scale
            )
        return self.reduce(total, losses, scale) if want_value else None

    def _pieces(self) -> Iterator[tuple[slice, BinaryTargets]]:
        """Yield slices of the elements and their targets: one unless weights spread."""
        n = self.scores.size
        if not n:
            return
        size = n
        if any(weight is not None for weight in self.spread):
            row = math.prod(self.shape[1:])
            size = max(1, PIECE_SIZE // row) * row
        for begin in range(0, n, size):
            piece = slice(begin, min(begin + size, n))
            yield piece, self.targets if size == n else self._targets_of(piece)

    def _targets_of(self, piece: slice) -> BinaryTargets:
        """Return the targets of some rows, with their weights."""
        row = math.prod(self.shape[1:])
        rows = slice(piece.start // row, piece.stop // row)
        weights = []
        for periodic, spread in zip(self.targets[1:3], self.spread, strict=True):
            values = periodic[piece] if periodic.size == self.scores.size else periodic
            if spread is not None:
                all_of_them = np.broadcast_to(spread, self.shape)[rows]
                own = all_of_them.astype(np.float64, order="C").reshape(-1)
                own *= _repeated(values, own.size)
                values = own
            weights.append(values)
        return self.targets._replace(
            target=self.targets.target[piece], weight=weights[0], pos_weight=weights[1]
        )

    def curvature(self, vector: Any, out: NDArray[Any] | None) -> Any:
        """Return the Hessian of the loss of logits times a vector."""
        call = self.widened()
        v = call.read(vector, "vector")
        product = call.gradient_buffer(out)
        if np.may_share_memory(product, v):
            v = v.copy()
        v = cast(v, call.scores.dtype).reshape(-1)
        for piece, targets in call._pieces():
            call.backend.sigmoid_curvature(
                call.scores[piece], targets, v[piece], call.scale, product[piece]
            )
        return call.deliver(product, out)

    def gradient_buffer(self, out: NDArray[Any] | None) -> NDArray[Any]:
        """Return the (n,) array that the kernel writes: ``out`` itself if it can."""
        if self.lengths is not None:
            check.refuse_out_for_list(out)
        elif out is not None:
            check.check_out(out, self.shape, self.dtype)
            view = out.reshape(-1)
            spread = tuple(weight for weight in self.spread if weight is not None)
            # numpy takes 0.2 us to tell whether an array shares memory
            operands = tuple(each for each in self.targets[:3] if each is not ONE)
            if is_direct(out, view, self.scores, (*operands, *spread)):
                return view
        return np.empty(self.scores.size, dtype=self.scores.dtype)

    def deliver(self, gradient: NDArray[Any], out: NDArray[Any] | None) -> Any:
        """Return the gradient in the input's shape and dtype, in ``out`` if given."""
        gradient = gradient.reshape(self.shape)
        if out is None:
            return self.split(np.asarray(cast(gradient, self.dtype)))
        if not np.may_share_memory(gradient, out):
            out[...] = cast(gradient, self.dtype)
        return out


def prepare(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    reduction: str,
    label_smoothing: float,
    from_logits: bool,
) -> Any:
    """Check and encode the arguments that all binary losses share.

    The call is a `BinaryCall`, or its like on a device.
    """
    if is_on_device(input):
        device = on_device("_device_binary_call")
        return device.prepare_on_device(
            input, target, weight, pos_weight, reduction, label_smoothing, from_logits
        )
    backend = backend_for(input)
    check.check_option(reduction, "reduction", REDUCTIONS)
    smoothing = check.check_label_smoothing(label_smoothing)
    lengths = None
    came = read(input, "input")
    if isinstance(came, list):
        came, lengths = join(came, "input")
        target = join_like(target, "target", lengths)
        if weight is not None and isinstance(read(weight, "weight"), list):
            weight = join_like(weight, "weight", lengths)
    scores = check.check_floats(came, "input")
    shape, dtype = scores.shape, scores.dtype
    targets = check.check_floats(target, "target")
    if targets.shape != shape:
        raise ValueError(
            f"target must have the shape of input, {shape}; got shape "
            f"{targets.shape}. Reshape or broadcast one to the other."
        )
    weight, spread_weight = _check_weight(weight, "weight", shape)
    pos_weight, spread_pos_weight = _check_weight(pos_weight, "pos_weight", shape)
    if not from_logits:  # what looks at each number comes last
        check_unit_interval(scores)
        if dtype == FLOAT16:
            scores = scores.astype(FLOAT32)
    given = weight, spread_weight, pos_weight, spread_pos_weight
    if scores.dtype != FLOAT64 and any(map(_is_large, given)):
        scores = scores.astype(FLOAT64)
    wanted = scores.dtype
    if wanted == FLOAT16 and targets.dtype != FLOAT16:
        wanted = FLOAT32  # what float16 logits are computed in
    encoded = BinaryTargets(
        cast(targets, wanted).reshape(-1),
        weight,
        pos_weight,
        1.0 - smoothing,
        smoothing / 2,
    )
    call = BinaryCall(
        backend,
        scores.reshape(-1),
        encoded,
        reduction,
        from_logits,
        shape,
        dtype,
        lengths,
        (spread_weight, spread_pos_weight),
    )
    if lengths is None or reduction != "sample":
        return call
    share = 1.0 / np.maximum(1, call.n_elements)
    return call.weighted_by(np.repeat(share, lengths))


def check_unit_interval(probabilities: NDArray[Any]) -> None:
    """Raise if a probability lies outside [0, 1]; nan passes."""
    if not probabilities.size:
        return
    # fmin and fmax pass over nan, and need no array of the input's size
    low = np.fmin.reduce(probabilities, axis=None)
    high = np.fmax.reduce(probabilities, axis=None)
    if low < 0 or high > 1:
        bad = (probabilities < 0) | (probabilities > 1)
        at = tuple(map(int, np.unravel_index(bad.argmax(), bad.shape)))
        raise ValueError(
            f"input must hold probabilities in [0, 1]; got {probabilities[at]} at "
            f"index {at}. Pass logits to binary_cross_entropy_with_logits."
        )


def _check_weight(
    value: Any, name: str, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Return a weight that broadcasts to the input, as a period of its elements.

    Or a period of ones and the weight itself, if spread out it would be a large copy.
    """
    if value is None:
        return ONE, None
    array = check.check_floats(value, name)
    if array.ndim == 0:  # the usual one; to broadcast shapes takes 2 us
        return array.astype(np.float64).reshape(1), None
    check.check_broadcasts(array.shape, name, shape)
    n = math.prod(shape)
    if n > PIECE_SIZE and array.ndim == len(shape) and array.shape[0] > 1:
        if array.size < n or array.dtype != np.float64 or not array.flags.c_contiguous:
            return ONE, array
    return _periodic(array.astype(np.float64, copy=False), shape), None


def _is_large(weight: NDArray[Any] | None) -> bool:
    """Return whether float32 leaves no room for products with a weight.

    Small ones do no harm: what a mean divides by is a number of elements.
    """
    if weight is None or weight is ONE or weight.dtype != np.float64:
        return False
    with np.errstate(over="ignore"):
        return not np.vdot(weight, weight) <= LARGEST**2


def _repeated(values: NDArray[np.float64], period: int) -> NDArray[np.float64]:
    """Return (P,) values as often as the period takes; one alone broadcasts."""
    return values if values.size in (1, period) else np.resize(values, period)


def _periodic(
    values: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the shortest (P,) array that holds element ``f``'s value at ``f % P``.

    What is spread over leading axes alone is not copied.
    """
    while values.ndim and values.shape[0] == 1:
        values = values[0]
    trailing = shape[len(shape) - values.ndim :]
    if values.shape != trailing:
        values = np.broadcast_to(values, trailing)
    return values.reshape(-1)
