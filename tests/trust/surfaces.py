"""Every public function with a right call, the roles of its parameters and an oracle.

An oracle takes the same arguments, plain, and computes in float64 or raises.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import scipy.special
import torch

from skxent import losses
from skxent.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from tests import reference
from tests.losses import binary_cases
from tests.trust import rounding

N, C, D = 5, 3, 2
RNG = np.random.default_rng(70)
Z = RNG.normal(size=(N, C))
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
Y = np.array([0, 1, 2, 1, 0])
Q = RNG.dirichlet(np.ones(C), size=N)
W = np.array([0.5, 2.0, 1.25])
S = np.array([1.0, 0.5, 2.0, 0.25, 3.0])
V = RNG.normal(size=(N, C))
X = RNG.normal(size=(N, D))
LW, LB = RNG.normal(size=(C, D)), RNG.normal(size=C)

FLOAT = ("input", "weight", "pos_weight", "sample_weight", "vector", "grad_output")
FLOAT += ("linear_weight", "linear_bias")
SCORES = ("input", "vector", "linear_weight", "linear_bias")  # in one dtype
INTEGER = ("ignore_index", "class_axis")


@dataclass
class Surface:
    """A public function and how it is attacked."""

    name: str
    call: Callable[..., Any]
    arguments: dict[str, Any]  # a right call
    oracle: Callable[..., Any]
    roles: dict[str, str] = field(default_factory=dict)  # of parameters
    optional: tuple[str, ...] = ()  # parameters for which None is right
    but: tuple[str, ...] = ()  # hostile values that are not asked, with the reason
    word_for_word: bool = False  # whether errors are those of the oracle
    rtol: float = 1e-11
    bounds: Callable[..., Any] | None = None  # as in `rounding`

    def __post_init__(self):
        for name, value in self.arguments.items():
            self.roles.setdefault(name, _role(name, value))


def _role(name, value):
    if name == "target":
        first = value[0] if isinstance(value, list) else value
        return "indices" if first.dtype.kind == "i" else "floats"
    if name == "label_smoothing":
        return "number"
    if name in INTEGER:
        return "integer"
    return "floats" if name in FLOAT else "choice"


def _refuse_shapes(input, target, options):
    """Raise where torch would, which the naive oracle leaves to it."""
    input, target = np.asarray(input), np.asarray(target)
    assert input.ndim == 2
    assert target.shape in (input.shape, input.shape[:1])
    assert (target.ndim == 2) == (target.dtype.kind == "f")
    for name, shape in (
        ("weight", input.shape[1:]),
        ("sample_weight", input.shape[:1]),
        ("vector", input.shape),
    ):
        assert options.get(name) is None or np.shape(options[name]) == shape
    assert 0 <= options.get("label_smoothing", 0.0) <= 1


def softmax_oracle(kind, input, target, **options):
    """The naive float64 oracle; ``kind`` is the suffix of the function."""
    options.pop("out", None)
    assert options.pop("class_axis", 1) in (None, 1, -1)
    _refuse_shapes(input, target, options)
    assert options["ignore_index"] < 0 or np.ndim(target) == 1
    if kind == "value":
        return reference.cross_entropy(input, target, **options)
    if kind == "grad":
        assert np.shape(options.get("grad_output", 1.0)) == ()
        return reference.cross_entropy_grad(input, target, **options)
    if kind == "hvp":
        options.pop("from_logits", None)
        return reference.cross_entropy_hvp(input, target, **options)
    return (
        reference.cross_entropy(input, target, **options),
        reference.cross_entropy_grad(input, target, **options),
    )


def of_probabilities_oracle(kind, input, target, **options):
    """The same for probabilities, of which a negative one has no logarithm.

    One without target mass is not looked at, and the derivative by one knows nothing of
    the others.
    """
    p = np.asarray(input, float)
    has_log = p >= 0
    safe = np.where(has_log, p, 1.0)
    plain = {k: v for k, v in options.items() if k not in ("grad_output", "out")}
    plain["reduction"] = "sum"
    has_mass = softmax_oracle("grad", safe, target, **plain) != 0
    gradient = None
    if kind != "value":
        gradient = softmax_oracle("grad", safe, target, **options)
        gradient[~has_log & (gradient != 0)] = np.nan  # and asked for by grad_output
        if kind == "grad":
            return gradient
    read = np.where(has_mass, p, safe)
    value = softmax_oracle("value", read, target, **options)
    return value if kind == "value" else (value, gradient)


def nll_oracle(kind, input, target, **options):
    """Torch's, with weights of samples multiplied on by hand."""
    options.pop("out", None)
    assert options.pop("class_axis") in (None, 1, -1)
    _refuse_shapes(input, target, options)
    s = options.get("sample_weight")
    s = np.ones(len(target)) if s is None else np.array(s, float)
    ignored = np.asarray(target) == options["ignore_index"]
    s[ignored], target = 0.0, np.where(ignored, 0, target)
    w = options.get("weight")
    w = np.ones(np.shape(input)[1]) if w is None else np.asarray(w, float)
    z, rows = np.asarray(input, float), np.arange(len(target))
    share = w[target] * s
    inflow = np.asarray(options.get("grad_output", 1.0))
    assert inflow.shape == ()
    reduction = options["reduction"]
    inflow = np.asarray(1.0) if inflow.item() is None else inflow
    with np.errstate(all="ignore"):
        # a weight of 0 leaves its row out
        terms = -z[rows, target] * share
        terms[(s == 0) | ((share == 0) & np.isinf(z[rows, target]))] = 0.0
        divisor = (share.sum() or np.nan) if reduction == "mean" else 1.0
        value = terms if reduction == "none" else terms.sum() / divisor
        gradient = np.zeros_like(z)
        slope = -share / divisor
        gradient[rows, target] = np.where(s == 0, 0.0, slope * inflow)
    if kind == "value":
        return value
    return gradient if kind == "grad" else (value, gradient)


def binary_oracle(form, kind, input, target, **options):
    """The formulas of the contract in float64."""
    options.pop("out", None)
    input, target = np.asarray(input, float), np.asarray(target, float)
    assert input.shape == target.shape
    smoothing = options.get("label_smoothing", 0.0)
    assert 0 <= smoothing <= 1
    for name in ("weight", "pos_weight"):
        if options.get(name) is not None:
            assert np.broadcast_shapes(np.shape(options[name]), input.shape) == (
                input.shape
            )
    input = np.where(input == np.inf, np.nan, input)  # by the contract
    names = ("weight", "pos_weight", "label_smoothing")
    weights = {name: options[name] for name in names if name in options}
    masses = binary_cases.masses(target, **weights)
    if kind == "hvp":
        vector = np.asarray(options.pop("vector"), float)
        assert vector.shape == input.shape
        return _binary_hvp(input, target, vector, **options)
    inflow = options.pop("grad_output", None)
    assert inflow is None or np.shape(inflow) == ()
    if form == "logits":
        value, gradient = _logits_by_hand(input, *masses, inflow, options["reduction"])
    else:
        value, gradient = _events_by_hand(input, target, inflow, **options)
    results = {"value": value, "grad": gradient}
    return results.get(kind, (value, gradient))


def _binary_hvp(z, target, vector, *, reduction, **options):
    """The formula, since torch's ``p (1 - p)`` loses its digits where p is near 1."""
    with np.errstate(all="ignore"):
        mass = np.add(*binary_cases.masses(target, **options))
        curvature = mass * scipy.special.expit(z) * scipy.special.expit(-z)
        return curvature * vector / (z.size if reduction == "mean" else 1)


def _logits_by_hand(z, t0, t1, inflow, reduction):
    """The formulas without torch's ``a p - t`` and ``(1 - q) z``.

    These cancel or overflow, and are nan where -inf meets a target of 0.
    """
    with np.errstate(all="ignore"):
        losses = [
            np.where(t == 0, 0.0, t * np.logaddexp(0.0, x))
            for t, x in ((t0, z), (t1, -z))
        ]
        value = np.where(np.isnan(z), np.nan, sum(losses))
        slope = t0 * scipy.special.expit(z) - t1 * scipy.special.expit(-z)
        slope = slope / (z.size if reduction == "mean" else 1)
        if reduction != "none":
            value = value.mean() if reduction == "mean" else value.sum()
        return value, slope if inflow is None else slope * inflow


def _events_by_hand(p, target, inflow, *, reduction, **options):
    """The formulas of torch's BCELoss, which refuses targets outside [0, 1]."""
    assert not ((p < 0) | (p > 1)).any()
    t0, t1 = binary_cases.masses(target, **options)
    with np.errstate(all="ignore"):
        logs = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
        losses = -(t1 * logs[0] + t0 * logs[1])
        slopes = ((t0 + t1) * p - t1) / np.maximum(p * (1 - p), 1e-12)
        if reduction == "mean":
            slopes = slopes / p.size
        value = losses if reduction == "none" else getattr(losses, reduction)()
        return value, slopes * (1.0 if inflow is None else inflow)


def linear_oracle(kind, input, linear_weight, target, linear_bias=None, **options):
    """The naive oracle on the scores, and the chain rule."""
    options.pop("out", None)
    X, W = np.asarray(input, float), np.asarray(linear_weight, float)
    b = np.asarray(0.0 if linear_bias is None else linear_bias, float)
    assert X.ndim == W.ndim == 2
    assert linear_bias is None or b.shape == W.shape[:1]
    with np.errstate(all="ignore"):
        z = X @ W.T + b
        if kind == "value":
            return softmax_oracle(kind, z, target, **options)
        slopes = softmax_oracle("grad", z, target, **options)
        # what a row without a gradient holds is no matter, nor what weights do
        out = ~slopes.any(axis=1)
        X = np.where(out[:, np.newaxis], 0.0, X)
        W = np.nan_to_num(W) if out.all() else W
        gradients = (slopes @ W, slopes.T @ X, slopes.sum(axis=0))
        gradients[0][out] = 0.0
        gradients = gradients[: 2 if linear_bias is None else 3]
    if kind == "grad":
        return gradients
    return softmax_oracle("value", z, target, **options), *gradients


SUFFIXES = {"value": "", "grad": "_grad", "value_and_grad": "_value_and_grad"}


def _surfaces_of(name, arguments, oracle, bounds, label="", suffixes=None):
    """Yield a surface for each function of a loss."""
    for kind, suffix in (suffixes or SUFFIXES).items():
        function = getattr(losses, name + suffix)
        given = dict(arguments)
        known = inspect.signature(function).parameters
        if "grad_output" in known:
            given["grad_output"] = np.array(1.5)
        if "vector" in known:
            given["vector"] = V
        if "out" in known:
            given["out"] = None
        given = {key: value for key, value in given.items() if key in known}
        missing = set(known) - set(given)
        assert not missing, (name, missing)
        optional = [key for key in known if known[key].default is None]
        yield Surface(
            function.__name__ + label,
            function,
            given,
            partial(oracle, kind),
            optional=tuple(optional),
            bounds=partial(bounds, kind),
        )


def of_losses():
    """Yield the surfaces of the functions of `skxent.losses`."""
    common = {"weight": W, "reduction": "mean", "sample_weight": S, "class_axis": -1}
    softmax = common | {"ignore_index": -100, "label_smoothing": 0.1}
    both = SUFFIXES | {"hvp": "_hvp"}
    for label, target in (("-indices", Y), ("-probabilities", Q)):
        logits = softmax | {"input": Z, "target": target, "from_logits": True}
        yield from _surfaces_of(
            "cross_entropy", logits, softmax_oracle, rounding.of_softmax, label, both
        )
        given = logits | {"input": P, "from_logits": False}
        yield from _surfaces_of(
            "cross_entropy",
            given,
            of_probabilities_oracle,
            rounding.of_probabilities,
            label + "-of_p",
        )
    linear = softmax | {"input": X, "linear_weight": LW, "linear_bias": LB}
    yield from _surfaces_of(
        "linear_cross_entropy",
        linear | {"target": Y},
        linear_oracle,
        rounding.of_linear,
    )
    nll = common | {"ignore_index": -100, "input": Z, "target": Y}
    yield from _surfaces_of("nll_loss", nll, nll_oracle, rounding.of_nll)
    binary = {"target": Q, "weight": W, "pos_weight": W, "reduction": "mean"}
    binary |= {"label_smoothing": 0.1}
    yield from _surfaces_of(
        "binary_cross_entropy_with_logits",
        binary | {"input": Z},
        partial(binary_oracle, "logits"),
        partial(rounding.of_events, "logits"),
        suffixes=both,
    )
    del binary["pos_weight"]
    yield from _surfaces_of(
        "binary_cross_entropy",
        binary | {"input": P},
        partial(binary_oracle, "probabilities"),
        partial(rounding.of_events, "probabilities"),
    )


LENGTHS = [2, 3, 1, 4]
RAGGED = np.random.default_rng(74)
LIST_Z = [RAGGED.normal(size=(n, C)) for n in LENGTHS]
LIST_P = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in LIST_Z]
LIST_Q = [RAGGED.dirichlet(np.ones(C), size=n) for n in LENGTHS]
LIST_Y = [RAGGED.integers(C, size=n) for n in LENGTHS]


def ragged_oracle(oracle, kind, input, target, **options):
    """The oracle of the rows of all entries, each array cut again."""
    input, target = [[np.asarray(entry) for entry in a] for a in (input, target)]
    for x, y in zip(input, target, strict=True):
        assert x.shape[:1] == y.shape[:1]
        assert x.ndim == input[0].ndim
        assert x.shape[1:] == input[0].shape[1:]
        assert x.ndim > 1
    lengths = [len(x) for x in input]
    s = options.get("sample_weight")
    if s is not None:
        assert np.shape(s) == (len(input),)
        options["sample_weight"] = np.repeat(np.asarray(s, float), lengths)
    result = oracle(kind, np.concatenate(input), np.concatenate(target), **options)
    cuts = np.cumsum(lengths)[:-1]
    if kind == "value":
        return result
    if kind == "value_and_grad":
        return result[0], np.split(result[1], cuts)
    return np.split(result, cuts)


def ragged_bounds(bounds, kind, *, input, target, **options):
    """The bounds of the rows of all entries, as `ragged_oracle`."""

    def of_all(kind, input, target, **options):
        found = bounds(kind, input=input, target=target, **options)
        return found if len(found) > 1 else found[0]

    return ragged_oracle(of_all, kind, input, target, **options)


def of_ragged_losses():
    """Yield the surfaces of the losses of lists of arrays of different lengths."""
    roles = {"input": "lists of floats", "target": "lists of floats"}
    # one array of another dtype; gradients below 1e-30, of which nothing is promised
    but = ("float16", "float32", "1e300", "-1e300")
    softmax = {"weight": W, "reduction": "mean", "class_axis": -1}
    softmax |= {"sample_weight": np.array([1.0, 0.5, 2.0, 0.25])}
    softmax |= {"ignore_index": -100, "label_smoothing": 0.1, "from_logits": True}
    binary = {"weight": W, "pos_weight": W, "reduction": "mean", "label_smoothing": 0.1}
    for name, given, oracle, bounds in (
        (
            "cross_entropy",
            softmax | {"input": LIST_Z, "target": LIST_Y},
            softmax_oracle,
            rounding.of_softmax,
        ),
        (
            "cross_entropy",
            softmax | {"input": LIST_Z, "target": LIST_Q},
            softmax_oracle,
            rounding.of_softmax,
        ),
        (
            "binary_cross_entropy_with_logits",
            binary | {"input": LIST_Z, "target": LIST_Q},
            partial(binary_oracle, "logits"),
            partial(rounding.of_events, "logits"),
        ),
    ):
        of_indices = given["target"] is LIST_Y
        of_kind = roles | ({"target": "lists of indices"} if of_indices else {})
        for surface in _surfaces_of(
            name,
            given,
            partial(ragged_oracle, oracle),
            partial(ragged_bounds, bounds),
        ):
            label = "-lists of indices" if of_indices else "-lists"
            surface.name += label
            surface.roles |= of_kind
            surface.but = but
            yield surface


def _held(kind, options, method):
    """Return a call that makes a loss from options and calls a method of it."""

    def call(**arguments):
        made = {key: arguments.pop(key) for key in options}
        return getattr(kind(**made), method)(**arguments)

    return call


def of_loss_classes():
    """Yield the surfaces of the loss classes, options and calls together."""
    options = {
        "weight": W,
        "size_average": None,
        "ignore_index": -100,
        "reduce": None,
        "reduction": "mean",
        "label_smoothing": 0.1,
        "form": "auto",
        "from_logits": True,
        "class_axis": 1,
        "input_shape": (None, C),
        "target_shape": None,
    }

    def oracle(kind, **arguments):
        for name in ("size_average", "reduce", "form", "input_shape", "target_shape"):
            assert arguments.pop(name) == options[name]
        return softmax_oracle(kind, **arguments)

    calls = {
        "__call__": ("value", {}),
        "update": ("value", {}),
        "grad": ("grad", {"grad_output": np.array(1.5), "out": None}),
        "value_and_grad": ("value_and_grad", {"out": None}),
        "hvp": ("hvp", {"vector": V, "out": None}),
    }
    # None stands for no weight, no contract, and an output that is made
    optional = ("weight", "size_average", "reduce", "class_axis", "input_shape")
    optional += ("target_shape", "out", "sample_weight", "grad_output")
    for method, (kind, more) in calls.items():
        yield Surface(
            f"CrossEntropyLoss.{method}",
            _held(CrossEntropyLoss, options, method),
            options | {"input": Z, "target": Y, "sample_weight": S} | more,
            partial(oracle, kind),
            optional=optional,
            roles={"target_shape": "contract"},
            bounds=partial(rounding.of_softmax, kind),
        )
    of_binary = {
        "weight": W,
        "pos_weight": W,
        "reduction": "mean",
        "label_smoothing": 0.1,
        "from_logits": True,
        "input_shape": (None, C),
        "target_shape": None,
    }

    def of_events(kind, **arguments):
        for name in ("from_logits", "input_shape", "target_shape"):
            assert arguments.pop(name) == of_binary[name]
        return binary_oracle("logits", kind, **arguments)

    for method, (kind, more) in calls.items():
        yield Surface(
            f"BinaryCrossEntropyLoss.{method}",
            _held(BinaryCrossEntropyLoss, of_binary, method),
            of_binary | {"input": Z, "target": Q} | more,
            partial(of_events, kind),
            roles={"target_shape": "contract"},
            optional=(*optional, "pos_weight"),
            bounds=partial(rounding.of_events, "logits", kind),
        )


def _as_tensor(value):
    """Return a tensor where torch has one for an array, else the value itself."""
    if type(value) is not np.ndarray:
        return value
    try:
        return torch.from_numpy(value.copy())
    except (TypeError, ValueError):
        return value


def of_torch():
    """Yield the surface of the module for torch."""
    from skxent.torch import CrossEntropyLoss as Module

    def call(input, target, weight, **options):
        input, target, weight = map(_as_tensor, (input, target, weight))
        return Module(weight, **options)(input, target).detach().numpy()

    def oracle(**arguments):
        for name in ("size_average", "reduce"):
            assert arguments.pop(name) is None
        return softmax_oracle("value", **arguments)

    options = {"size_average": None, "reduce": None, "reduction": "mean"}
    options |= {"ignore_index": -100, "label_smoothing": 0.1, "class_axis": 1}
    yield Surface(
        "torch.CrossEntropyLoss",
        call,
        {"input": Z, "target": Y, "weight": W} | options,
        oracle,
        optional=("weight", "size_average", "reduce", "class_axis"),
        bounds=partial(rounding.of_softmax, "value"),
    )
