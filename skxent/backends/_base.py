"""The records and the interface that the rooms above share with every backend.

Conventions
-----------
n rows, K classes. ``logits``, and all that has their shape, are rows (n, K) or planes
``(outer, K, inner)`` with ``n = outer * inner``. An optional vector is an array of
length 0 when it is absent, so that a kernel is compiled once for both cases.
"""

from typing import Any, NamedTuple, Protocol

__all__ = ["Backend", "EncodedTargets"]


class EncodedTargets(NamedTuple):
    """What the kernels need to know about the targets and every option.

    ``t_ik = on_value_k q_ik + off_value_k``, where ``q`` is one-hot for indices.
    Built once per call, never cached on an object.
    """

    target: Any  # (n,) int64 class indices, or probabilities of the logits' shape
    on_value: Any  # (K,) float64
    off_value: Any  # (K,) float64, zero without label smoothing
    row_weight: Any  # (n,) float64, 0 where a row is ignored; (0,) when all are 1
    denominator: float  # what the sum of losses is divided by for the mean

    def rows(self, rows: slice) -> "EncodedTargets":
        """Return the targets of a block of rows; the denominator stays the whole's."""
        row_weight = self.row_weight
        return self._replace(
            target=self.target[rows],
            row_weight=row_weight[rows] if row_weight.size else row_weight,
        )


class Backend(Protocol):
    """Allocation and kernel launches for the arrays of one library and device."""

    def softmax_loss(
        self,
        logits: Any,
        targets: EncodedTargets,
        loss_out: Any,
        gradient_out: Any,
        scale: float,
    ) -> float:
        """Return the sum of the row losses.

        Fills ``loss_out`` (n,) with the row losses and ``gradient_out`` with ``scale``
        times the gradient of the sum, unless they have no rows.
        """

    def softmax_curvature(
        self,
        logits: Any,
        mass: Any,
        row_weight: Any,
        vector: Any,
        scale: float,
        product_out: Any,
    ) -> None:
        """Write ``scale`` times the Hessian of the sum times ``vector``."""

    def probability_loss(
        self,
        probabilities: Any,
        targets: EncodedTargets,
        low: float,
        high: float,
        loss_out: Any,
    ) -> float:
        """Return the sum of ``-t log p``, with ``p`` limited to ``[low, high]``."""

    def probability_grad(
        self,
        probabilities: Any,
        targets: EncodedTargets,
        scale: float,
        gradient_out: Any,
    ) -> None:
        """Write ``scale`` times the gradient of the sum of ``-t log p``."""
