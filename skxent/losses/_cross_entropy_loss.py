"""``CrossEntropyLoss``: the options of ``cross_entropy`` as an object.

Conventions
-----------
C classes, N samples. ``input`` is (C,), (N, C) or (N, C, d1, .., dK), or has its
classes on ``class_axis``; for ``form="binary"`` it has any shape. Results come back in
its dtype. Values are in nats.
"""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from skxent.losses import _validation as check
from skxent.losses._call import REDUCTIONS
from skxent.losses._contracts import (
    FORMS,
    Contract,
    check_contract,
    check_contracts_agree,
    check_form,
    check_shape,
    known_classes,
    refuse_class_options,
)
from skxent.losses._criterion import (
    BINARY,
    SOFTMAX,
    Criterion,
    Functions,
    legacy_reduction,
    read_only_copy,
)
from skxent.losses._layout import check_class_axis
from skxent.losses._report import binary_report, softmax_report

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(Criterion):
    """Cross-entropy with its options held: call it with an input and a target.

    The counterpart of ``torch.nn.CrossEntropyLoss``, whose arguments come first and in
    its order. A call computes what :func:`cross_entropy` computes with the same
    options, or with ``form="binary"`` what :func:`binary_cross_entropy_with_logits`
    does.

    A loss can pin down what it is fed with: `form` says which kind of target it takes,
    `input_shape` and `target_shape` which shapes, and a call with anything else raises.

    Parameters
    ----------
    weight : array-like of shape (C,), default=None
        Weight of each class; None stands for ones. For ``form="binary"`` a weight of
        each element, of any shape that broadcasts to that of the input. It is copied.
    size_average : bool, default=None
        Deprecated by torch, see `reduce`.
    ignore_index : int, default=-100
        Rows with this class index add nothing. Only for class indices.
    reduce : bool, default=None
        Deprecated by torch. If it or `size_average` is given, the two take the place of
        `reduction`: ``"none"`` for ``reduce=False``, else ``"sum"`` for
        ``size_average=False``, else ``"mean"``.
    reduction : {"none", "sum", "mean", "sample"}, default="mean"
        As for :func:`cross_entropy`.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over all classes.
    form : {"auto", "index", "probabilities", "binary"}, default="auto"
        Which targets the loss takes: class indices of the shape of the input without
        its class axis, or probabilities of the classes of the shape of the input;
        ``"auto"`` takes both and tells them apart by the shape. For ``"binary"`` each
        element of the target is the probability, in [0, 1], of one event.
    from_logits : bool, default=True
        Whether the input holds logits rather than probabilities.
    class_axis : int, default=None
        The axis of the input that holds the classes; None stands for axis 1, or 0 if
        there is one axis alone.
    input_shape : tuple of int or None, default=None
        The shape that every input must have, with None for any length, such as
        ``(None, 3, 32, 32)``. None alone stands for any shape.
    target_shape : tuple of int or None, default=None
        The shape that every target must have, likewise.

    Raises
    ------
    TypeError
        If an option is of another type.
    ValueError
        If an option lies out of its range, has no meaning for the `form`, or
        contradicts another.

    Warns
    -----
    FutureWarning
        If `size_average` or `reduce` is given.

    See Also
    --------
    cross_entropy : The function.
    BinaryCrossEntropyLoss : Independent events, with a weight of the positive ones.

    Notes
    -----
    Every parameter is an attribute of its name. `weight` is a read-only array;
    `size_average` and `reduce` are None once they are mapped to `reduction`, so that
    the loss equals the one made with that `reduction`.

    ``repr`` shows the options that differ from their defaults, in the order of the
    constructor, and arrays of more than 10 entries by dtype and shape. Losses are equal
    if they are of one type and their options are, arrays by value. They are not
    hashable, since attributes can be assigned to, which passes by the checks of the
    constructor.

    The forms are those of Wolfram's ``CrossEntropyLossLayer``, whose class indices
    count from 1 and whose classes lie on the last axis (``class_axis=-1`` here).

    Examples
    --------
    >>> from skxent.losses import CrossEntropyLoss
    >>> loss = CrossEntropyLoss(reduction="sum", label_smoothing=0.1)
    >>> loss
    CrossEntropyLoss(reduction='sum', label_smoothing=0.1)
    >>> print(f"{loss([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [0, 1]):.4f}")
    0.8025
    >>> loss.grad([2.0, 1.0, 0.0], 0).round(4)
    array([-0.2681,  0.2114,  0.0567])
    >>> images = CrossEntropyLoss(form="index", input_shape=(None, 3, 32, 32))
    >>> print(images.describe())
    CrossEntropyLoss
      form          index: class indices of the input's shape without the class axis
      input         logits z, classes on axis 1
      classes       C = 3, from input_shape
      row loss      l = sum_k t_k (log sum_j exp(z_j) - z_k), t_k = q_k, in nats
      row weight    s = sample_weight or 1, 0 where the target is -100
      reduction     mean: sum_i s_i l_i / sum_i s_i
      input shape   (None, 3, 32, 32)
      target shape  any
      options       form='index', input_shape=(None, 3, 32, 32)
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        form: str = "auto",
        from_logits: bool = True,
        class_axis: int | None = None,
        input_shape: Contract | None = None,
        target_shape: Contract | None = None,
    ) -> None:
        self.weight = read_only_copy(weight, "weight")
        self.size_average = None
        self.ignore_index = check.check_ignore_index(ignore_index)
        self.reduce = None
        self.reduction = legacy_reduction(size_average, reduce, reduction)
        check.check_option(self.reduction, "reduction", REDUCTIONS)
        self.label_smoothing = check.check_label_smoothing(label_smoothing)
        check.check_option(form, "form", tuple(FORMS))
        self.form = form
        self.from_logits = check.check_flag(from_logits, "from_logits")
        self.class_axis = check_class_axis(class_axis)
        self.input_shape = check_contract(input_shape, "input_shape")
        self.target_shape = check_contract(target_shape, "target_shape")
        if form == "binary":
            refuse_class_options(self.ignore_index, self.class_axis)
        else:
            if form == "probabilities":
                check.refuse_ignore_index(self.ignore_index)
            if self.weight is not None:
                check.check_class_weight(self.weight, self.weight.size)
            self._known_classes()
        check_contracts_agree(
            form, self.input_shape, self.target_shape, self.class_axis
        )

    def __call__(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Return the loss.

        Parameters
        ----------
        input : array-like
            Logits, or probabilities with ``from_logits=False``, as for
            :func:`cross_entropy`.
        target : array-like
            Class indices or probabilities, as `form` says.
        sample_weight : array-like, default=None
            Weight of each sample or row, as for :func:`cross_entropy`. Not for
            ``form="binary"``.

        Returns
        -------
        loss : numpy scalar or array
            What :func:`cross_entropy` returns, in nats.

        Raises
        ------
        TypeError
            As :func:`cross_entropy`.
        ValueError
            As :func:`cross_entropy`, and if the target is of another form or a shape
            breaks its contract.
        """
        functions, options = self._admit(input, target, sample_weight)
        return functions.value(input, target, **options)

    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        grad_output: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> Any:
        """Return the gradient of the loss with respect to its input.

        Parameters
        ----------
        input, target, sample_weight : array-like
            As for a call of the loss.
        grad_output : array-like of the shape of the loss, default=None
            Gradient of something else with respect to the loss, which the result is
            multiplied with; None stands for ones.
        out : ndarray of the shape and dtype of `input`, default=None
            Receives the gradient.

        Returns
        -------
        gradient : ndarray of the shape and dtype of `input`, or list of them
            What :func:`cross_entropy_grad` returns.

        Raises
        ------
        TypeError
            As a call of the loss, and if `out` is not an array.
        ValueError
            As a call of the loss, and if `out` or `grad_output` does not fit.
        """
        functions, options = self._admit(input, target, sample_weight)
        return functions.grad(
            input, target, grad_output=grad_output, out=out, **options
        )

    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> tuple[Any, Any]:
        """Return the loss and its gradient.

        Parameters
        ----------
        input, target, sample_weight : array-like
            As for a call of the loss.
        out : ndarray of the shape and dtype of `input`, default=None
            Receives the gradient. After an error its content is undefined.

        Returns
        -------
        loss : numpy scalar or array
            What a call returns.
        gradient : ndarray of the shape and dtype of `input`, or list of them
            What :meth:`grad` returns.

        Raises
        ------
        TypeError
            As a call of the loss, and if `out` is not an array.
        ValueError
            As a call of the loss, and if `out` does not fit.
        """
        functions, options = self._admit(input, target, sample_weight)
        loss, gradient = functions.value_and_grad(input, target, out=out, **options)
        return loss, gradient

    def hvp(
        self,
        input: ArrayLike,
        target: ArrayLike,
        vector: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> Any:
        """Return the product of the Hessian of the loss of logits with a vector.

        Parameters
        ----------
        input, target : array-like
            As for a call of the loss.
        vector : array-like of the shape of `input`
            What the Hessian is multiplied with.
        sample_weight : array-like, default=None
            As for a call of the loss.
        out : ndarray of the shape and dtype of `input`, default=None
            Receives the product.

        Returns
        -------
        product : ndarray of the shape and dtype of `input`, or list of them
            What :func:`cross_entropy_hvp` returns.

        Raises
        ------
        TypeError
            As a call of the loss, and if `out` is not an array.
        ValueError
            As a call of the loss, if `vector` or `out` does not fit, and with
            ``from_logits=False``.
        """
        functions, options = self._admit(input, target, sample_weight)
        product: NDArray[Any] = functions.hvp(input, target, vector, out=out, **options)
        return product

    def update(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Return the loss: brainpy's name for the call.

        Parameters
        ----------
        input, target, sample_weight : array-like
            As for a call of the loss.

        Returns
        -------
        loss : numpy scalar or array
            What a call returns.
        """
        return self(input, target, sample_weight=sample_weight)

    def describe(self) -> str:
        """Return a report on the loss: form, shapes, formula and options.

        Returns
        -------
        report : str
            One line for each item, without a line break at the end.
        """
        if self.form == "binary":
            return binary_report(self)
        return softmax_report(self, self._known_classes())

    def _known_classes(self) -> tuple[int | None, str]:
        """Return the number of classes and the option that gives it."""
        return known_classes(
            self.form,
            self.weight,
            self.input_shape,
            self.target_shape,
            self.class_axis,
        )

    def _admit(
        self, input: Any, target: Any, sample_weight: Any
    ) -> tuple[Functions, dict[str, Any]]:
        """Check form and contracts; return the functions and the options for them."""
        check_shape(input, "input", self.input_shape)
        check_shape(target, "target", self.target_shape)
        check_form(self.form, input, target)
        options = {
            "weight": self.weight,
            "reduction": self.reduction,
            "label_smoothing": self.label_smoothing,
        }
        if self.form == "binary":
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight must be None for a loss with form='binary', which "
                    "weighs elements; got an array. Make the loss with a weight that "
                    "broadcasts to the input."
                )
            return BINARY[self.from_logits], options
        options |= {
            "ignore_index": self.ignore_index,
            "class_axis": self.class_axis,
            "sample_weight": sample_weight,
        }
        return SOFTMAX[self.from_logits], options
