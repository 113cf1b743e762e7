"""The records and the interface that the rooms above share with every backend.

Conventions
-----------
n rows, K classes. ``logits``, and all that has their shape, are rows (n, K) or planes
``(outer, K, inner)`` with ``n = outer * inner``. An optional vector is an array of
length 0 when it is absent, so that a kernel is compiled once for both cases.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from skxent.kernels import NO_INDEX

__all__ = ["NO_INDEX", "Backend", "BinaryTargets", "EncodedTargets"]


class EncodedTargets(NamedTuple):
    """What the kernels need to know about the targets and every option.

    ``t_ik = on_value_k q_ik + off_value_k``, where ``q`` is one-hot for indices.
    Built once per call, never cached on an object.
    """

    target: Any  # (n,) int64 class indices, or probabilities of the logits' shape
    on_value: Any  # (K,) float64
    off_value: Any  # (K,) float64, zero without label smoothing
    row_weight: Any  # (n,) float64, 0 where a row is ignored; (0,) when all are 1
    ignore_index: int  # class index of rows that are ignored, too; NO_INDEX for none
    denominator: float  # what the sum of losses is divided by for the mean
    # (K,) float64, what rounding took from on_value; (0,) if nothing or unknown
    on_low: Any = np.empty(0)

    def rows(self, rows: Any) -> "EncodedTargets":
        """Return the targets of a slice or of some rows, with the same denominator."""
        row_weight = self.row_weight
        return self._replace(
            target=self.target[rows],
            row_weight=row_weight[rows] if row_weight.size else row_weight,
        )


class BinaryTargets(NamedTuple):
    """Targets and options of elements that are two-class rows (0, x) each.

    With ``q' = on_share q + off_share``, class 1 has the target
    ``weight pos_weight q'`` and class 0 has ``weight (1 - q')``.
    """

    target: Any  # (n,) of the dtype of the logits
    weight: Any  # (P,) float64: element f has entry f % P
    pos_weight: Any  # as weight, with a length of its own
    on_share: float  # 1 - e with label smoothing e
    off_share: float  # e / 2


class Backend(Protocol):
    """Allocation and kernel launches for the arrays of one library and device."""

    MOST_LINEAR_CLASSES: int  # more are faster by products on blocks of rows

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
        times the gradient of the sum, unless they have no rows. The row of a class
        index that is neither ignored nor in [0, K) is nan in all of them.
        """

    def bound_loss(
        self, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Callable[..., float] | None:
        """Return ``softmax_loss`` of logits of a shape and dtype, to be kept.

        It takes the logits, the targets themselves, both outputs, ``scale``, and a
        tuple ``(on_value, off_value, on_low, row_weight, ignore_index)`` of contiguous
        arrays. None where no kernel reads such logits, which ``softmax_loss`` copies.
        """

    def linear_softmax_loss(
        self,
        X: Any,
        coef: Any,
        targets: EncodedTargets,
        scale: float,
        gradient_out: Any,
    ) -> float:
        """Return the sum of the row losses of the logits ``X coef^T``, K up to 256.

        The rows of ``coef`` (K - 1, p), float64, are all classes but the first, whose
        logit is 0. A column more is the intercepts'. Fills ``gradient_out``, of the
        shape and dtype of ``coef``, with ``scale`` times the gradient of the sum. X
        (n, p) is float32 or float64 in any memory order, which changes no bit, read
        once, and copied only if neither rows nor columns lie side by side; products are
        taken in its dtype.
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
        gradient_out: Any,
        scale: float,
    ) -> float:
        """Do as ``softmax_loss`` for probabilities: the sum of ``-t log p``.

        In the loss, not in the gradient ``-t / p``, ``p`` is limited to
        ``[low, high]``.
        """

    def picked_loss(
        self,
        log_probabilities: Any,
        targets: EncodedTargets,
        loss_out: Any,
        gradient_out: Any,
        scale: float,
    ) -> float:
        """Do as ``softmax_loss`` for log-probabilities and class indices."""

    def sigmoid_loss(
        self,
        logits: Any,
        targets: BinaryTargets,
        loss_out: Any,
        gradient_out: Any,
        scale: float,
    ) -> float:
        """Return the sum of the losses of logits (n,) of two-class rows.

        Fills ``loss_out`` (n,) with the losses and ``gradient_out`` (n,) with
        ``scale`` times the gradient of the sum, unless they are empty.
        """

    def sigmoid_curvature(
        self,
        logits: Any,
        targets: BinaryTargets,
        vector: Any,
        scale: float,
        product_out: Any,
    ) -> None:
        """Write ``scale`` times the Hessian of the sum times ``vector`` (n,)."""

    def bernoulli_loss(
        self,
        probabilities: Any,
        targets: BinaryTargets,
        loss_out: Any,
        gradient_out: Any,
        scale: float,
    ) -> float:
        """Do as ``sigmoid_loss`` for probabilities, their logarithms at least -100.

        ``pos_weight`` takes no part.
        """

    def worst_row_sum(self, rows: Any, most: float) -> float:
        """Return the largest distance of the sum of a row of (n, K) from 1.

        Infinite if an entry lies outside ``[0, most]`` or is -0.0.
        """

    def checked_log_loss(
        self,
        rows: Any,
        labels: Any,
        least: int,
        columns: Any,
        row_weight: Any,
        most: float,
        low: float,
        high: float,
    ) -> tuple[float, float]:
        """Return the sum of ``-log p`` of rows (n, K), and their ``worst_row_sum``.

        ``p`` is the probability of the label (n,), an integer, limited to
        ``[low, high]``. It is in column ``columns[label - least]``, or in column
        ``label - least`` if ``columns`` is (0,). The loss is nan if a label has none.
        ``row_weight`` is (n,), or (0,) for ones.
        """

    def survey_indices(
        self,
        target: Any,
        n_classes: int,
        ignore_index: int,
        class_weight: Any,
        row_weight: Any,
    ) -> tuple[int, int, float]:
        """Return how many class indices (n,) are wrong, and how many ignored.

        And the sum of ``class_weight[y] * row_weight`` of the others; both are of
        length 0 where all are 1.
        """

    def class_values(
        self,
        class_weight: Any,
        on_share: tuple[float, float],
        off_share: tuple[float, float],
    ) -> Any:
        """Return ``on_value``, ``off_value``, ``on_low``, (3, K), of shares in parts.

        The weights of classes (K,) times the sums of two numbers, rounded once.
        """

    def match_words(
        self,
        words: Any,
        columns: Any,
        factors: Any,
        shift: int,
        table: Any,
        class_words: Any,
        codes_out: Any,
    ) -> Any:
        """Return some rows whose label is no class, none if each is one.

        Fills ``codes_out`` (n,) uint8 with the class of each label, if it is one. The
        words of labels (n, n_words) and of classes (K, n_words) are uint32; the class
        is ``table[hash]``, with the upper bits, all but ``shift``, of the sum of some
        ``columns`` of words times their odd ``factors`` for a hash.
        """
