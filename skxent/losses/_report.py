"""What a loss class says about itself: one line for each item.

Conventions
-----------
The letters are those of the functions' docstrings: logits ``z``, probabilities ``p``,
targets ``q``, class weights ``w``, sample weights ``s``, the number of classes ``C``.
"""

from typing import Any

from skxent.losses._contracts import FORMS
from skxent.losses._layout import layout_of

__all__ = ["binary_report", "softmax_report"]

WIDTH = 14  # of the column of names


def _report(title: str, items: dict[str, str]) -> str:
    """Return the title and, below it, the items."""
    lines = [f"  {name:<{WIDTH}}{text}" for name, text in items.items()]
    return "\n".join([title, *lines])


def _shown(contract: tuple[int | None, ...] | None) -> str:
    """Return a contract of shapes, of which () is one."""
    return "any" if contract is None else str(contract)


def _options(loss: Any) -> dict[str, str]:
    """Return what is told of every loss in the same words."""
    return {
        "input shape": _shown(loss.input_shape),
        "target shape": _shown(loss.target_shape),
        "options": loss._changed_options() or "defaults",
    }


def _smoothed(target: str, n_outcomes: str, smoothing: float) -> str:
    """Return the formula of the smoothed target."""
    if not smoothing:
        return target
    return f"(1 - {smoothing:g}) {target} + {smoothing:g} / {n_outcomes}"


def softmax_report(loss: Any, classes: tuple[int | None, str]) -> str:
    """Return the report on a loss over classes, whose known number is given."""
    n_classes, source = classes
    target = _smoothed("q_k", "C", loss.label_smoothing)
    if loss.weight is not None:
        target = f"w_k ({target})" if loss.label_smoothing else f"w_k {target}"
    if loss.from_logits:
        formula = f"sum_k t_k (log sum_j exp(z_j) - z_k), t_k = {target}"
    else:
        formula = f"-sum_k t_k log(p_k), t_k = {target}"
    mean = f"sum_i s_i l_i / {_denominator(loss)}"
    return _report(
        type(loss).__name__,
        {
            "form": f"{loss.form}: {FORMS[loss.form]}",
            "input": f"{_scores(loss)}, classes on axis {_class_axis(loss)}",
            "classes": f"C = {n_classes}, from {source}" if source else "any number",
            "row loss": f"l = {formula}, in nats",
            "row weight": f"s = sample_weight or 1{_ignored(loss)}",
            "reduction": {
                "none": "none: s_i l_i of each row i",
                "sum": "sum: sum_i s_i l_i",
                "mean": f"mean: {mean}",
                "sample": f"sample: {mean} in each entry of the first axis",
            }[loss.reduction],
            **_options(loss),
        },
    )


def _class_axis(loss: Any) -> str:
    """Return the axis of the classes as far as it is known."""
    if loss.input_shape is not None:
        return str(layout_of(loss.input_shape, loss.class_axis).axis)
    if loss.class_axis is None:
        return "1, or 0 if there is one axis alone"
    return str(loss.class_axis)


def _ignored(loss: Any) -> str:
    """Return which rows are ignored: by their index, if they can have one."""
    if loss.form == "probabilities":
        return ""
    return f", 0 where the target is {loss.ignore_index}"


def _denominator(loss: Any) -> str:
    """Return what a mean divides by: class weights count beside class indices only."""
    if loss.weight is None or loss.form == "probabilities":
        return "sum_i s_i"
    if loss.form == "index":
        return "sum_i s_i w[y_i]"
    return "(sum_i s_i w[y_i] for indices, sum_i s_i for probabilities)"


def _scores(loss: Any) -> str:
    """Return what the input holds."""
    return "logits z" if loss.from_logits else "probabilities p"


def binary_report(loss: Any) -> str:
    """Return the report on a loss over events."""
    weight = "" if loss.weight is None else "w "
    positive = "" if getattr(loss, "pos_weight", None) is None else "v "
    target = _smoothed("q", "2", loss.label_smoothing)
    if loss.from_logits:
        terms = f"{positive}t log(sigmoid(z)) + (1 - t) log(sigmoid(-z))"
        limit = ""
    else:
        terms = "t log(p) + (1 - t) log(1 - p)"
        limit = ", no logarithm below -100"
    names = ["w = weight"] if weight else []
    names += ["v = pos_weight"] if positive else []
    formula = ", ".join([f"-{weight}({terms})", f"t = {target}", *names])
    return _report(
        type(loss).__name__,
        {
            "form": f"binary: {FORMS['binary']}",
            "input": f"{_scores(loss)}, one for each event",
            "loss": f"l = {formula}{limit}, in nats",
            "reduction": {
                "none": "none: l of each event",
                "sum": "sum: sum of l",
                "mean": "mean: sum of l / number of events",
                "sample": "sample: mean of l in each entry of the first axis",
            }[loss.reduction],
            **_options(loss),
        },
    )
