"""The loss classes compute what torch's classes and what our functions compute."""

import inspect
import itertools
import pickle
import warnings

import numpy as np
import pytest
import torch

from skxent import losses
from skxent.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from tests.losses import cases

RNG = np.random.default_rng(70)
N, C = 12, 4
LOGITS = cases.make_logits(RNG, (N, C))
P = cases.make_probabilities(RNG, (N, C))
LABELS = cases.make_target(RNG, "index", (N, C))
SOFT = cases.make_target(RNG, "probabilities", (N, C))
EVENTS = RNG.uniform(size=(N, C))
VECTOR = RNG.normal(size=(N, C))
WEIGHT = cases.make_weight(RNG, C)
ROW_WEIGHT = cases.make_sample_weight(RNG, N)


def tensors(options):
    """The options with torch's arrays in place of numpy's."""
    return {
        name: torch.tensor(value) if isinstance(value, np.ndarray) else value
        for name, value in options.items()
    }


def check_against_torch(loss, module, input, target, with_hvp=True):
    """Compare value, gradient and curvature of a loss with those of a torch module."""

    def total(z):
        return module(z, torch.tensor(target)).sum()

    z = torch.tensor(input).requires_grad_()
    expected = module(z, torch.tensor(target))
    expected.sum().backward()
    close = {"rtol": 1e-12, "atol": 1e-14}
    value, gradient = loss.value_and_grad(input, target)
    for got in (loss(input, target), loss.update(input, target), value):
        np.testing.assert_allclose(got, expected.detach().numpy(), **close)
    for got in (gradient, loss.grad(input, target)):
        np.testing.assert_allclose(got, z.grad.numpy(), **close)
    if with_hvp:
        vector = np.random.default_rng(71).normal(size=np.shape(input))
        _, product = torch.autograd.functional.hvp(total, z, torch.tensor(vector))
        got = loss.hvp(input, target, vector)
        np.testing.assert_allclose(got, product.numpy(), **close)


@pytest.mark.parametrize("form", cases.FORMS)
def test_agrees_with_torchs_class_over_the_product_of_options(form):
    target = LABELS if form == "index" else SOFT
    for t, options in cases.option_grid(form, (N, C), target, WEIGHT):
        module = torch.nn.CrossEntropyLoss(**tensors(options))
        for given in (form, "auto"):
            check_against_torch(
                CrossEntropyLoss(form=given, **options), module, LOGITS, t
            )


def test_agrees_with_torchs_class_on_images():
    images = cases.make_logits(RNG, (2, 3, 4, 5))
    labels = RNG.integers(3, size=(2, 4, 5))
    weight = cases.make_weight(RNG, 3)
    loss = CrossEntropyLoss(
        weight, input_shape=(None, 3, 4, 5), target_shape=(None, 4, 5)
    )
    module = torch.nn.CrossEntropyLoss(torch.tensor(weight))
    check_against_torch(loss, module, images, labels)
    last = CrossEntropyLoss(weight, class_axis=-1, input_shape=(None, 4, 5, 3))
    np.testing.assert_allclose(
        last(np.moveaxis(images, 1, -1), labels), loss(images, labels), rtol=1e-14
    )


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("pos_weight", [None, WEIGHT], ids=["", "pos_weight"])
@pytest.mark.parametrize("weight", [None, WEIGHT, EVENTS[:, :1]], ids=np.shape)
def test_agrees_with_torchs_binary_classes(weight, pos_weight, reduction):
    options = {"weight": weight, "pos_weight": pos_weight, "reduction": reduction}
    loss = BinaryCrossEntropyLoss(**options)
    module = torch.nn.BCEWithLogitsLoss(**tensors(options))
    check_against_torch(loss, module, LOGITS, EVENTS)
    if pos_weight is not None:
        return
    del options["pos_weight"]
    forms = [
        BinaryCrossEntropyLoss(from_logits=False, **options),
        CrossEntropyLoss(form="binary", from_logits=False, **options),
    ]
    for loss in forms:
        module = torch.nn.BCELoss(**tensors(options))
        check_against_torch(loss, module, P, EVENTS, with_hvp=False)
    module = torch.nn.BCEWithLogitsLoss(**tensors(options))
    loss = CrossEntropyLoss(form="binary", **options)
    check_against_torch(loss, module, LOGITS, EVENTS)


def test_binary_form_takes_a_single_number():
    # Wolfram's CrossEntropyLossLayer["Binary"]
    loss = CrossEntropyLoss(form="binary", from_logits=False)
    np.testing.assert_allclose(loss(0.3, 0.8), 1.0345132322484956, rtol=1e-14)


def test_arguments_come_in_torchs_order_with_torchs_defaults():
    ours = list(inspect.signature(CrossEntropyLoss).parameters.values())
    theirs = list(inspect.signature(torch.nn.CrossEntropyLoss).parameters.values())
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [
        (p.name, p.default) for p in theirs
    ]
    assert all(p.kind is p.KEYWORD_ONLY for p in ours[len(theirs) :])
    options = (WEIGHT, None, 1, None, "sum", 0.1)
    module = torch.nn.CrossEntropyLoss(torch.tensor(WEIGHT), *options[1:])
    check_against_torch(CrossEntropyLoss(*options), module, LOGITS, LABELS)


def test_defaults_are_attributes():
    loss = CrossEntropyLoss()
    assert loss.weight is None
    assert loss.ignore_index == -100
    assert loss.reduction == "mean"
    assert loss.label_smoothing == 0.0
    assert loss.form == "auto"
    assert loss.from_logits is True
    for name in ("size_average", "reduce", "class_axis", "input_shape", "target_shape"):
        assert getattr(loss, name) is None


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize(
    ("size_average", "reduce"),
    [pair for pair in itertools.product([None, True, False], repeat=2) if any(pair)]
    + [(False, None), (None, False), (False, False)],
)
def test_deprecated_arguments_are_mapped_as_torch_does(size_average, reduce, reduction):
    old = {"size_average": size_average, "reduce": reduce, "reduction": reduction}
    with pytest.warns(UserWarning, match="will be deprecated"):
        module = torch.nn.CrossEntropyLoss(**old)
    with pytest.warns(FutureWarning, match=f"reduction='{module.reduction}'") as caught:
        loss = CrossEntropyLoss(**old)
    assert caught[0].filename == __file__
    assert loss.reduction == module.reduction
    check_against_torch(loss, module, LOGITS, LABELS)
    # Only the reduction is left of them, so that nothing warns again.
    assert loss == CrossEntropyLoss(reduction=module.reduction)
    assert loss.size_average is None
    assert loss.reduce is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(loss)) == loss
        assert eval(repr(loss)) == loss


@pytest.mark.parametrize("target", [LABELS, SOFT], ids=cases.FORMS)
@pytest.mark.parametrize("reduction", ["mean", "sample"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_methods_are_the_functions_with_the_options(from_logits, reduction, target):
    options = {
        "weight": WEIGHT,
        "ignore_index": -2,
        "reduction": reduction,
        "label_smoothing": 0.1,
        "class_axis": 1,
    }
    loss = CrossEntropyLoss(from_logits=from_logits, **options)
    rows = {"sample_weight": ROW_WEIGHT}
    options |= rows
    inflow = RNG.normal(size=N) if reduction == "sample" else 2.0
    input = LOGITS if from_logits else P
    if from_logits:
        expected = losses.cross_entropy_hvp(input, target, VECTOR, **options)
        out = np.empty_like(input)
        assert loss.hvp(input, target, VECTOR, out=out, **rows) is out
        assert cases.same_bits(out, expected)
    options["from_logits"] = from_logits
    expected = losses.cross_entropy(input, target, **options)
    assert cases.same_bits(loss(input, target, **rows), expected)
    assert cases.same_bits(loss.update(input, target, **rows), expected)
    out = np.empty_like(input)
    value, gradient = loss.value_and_grad(input, target, out=out, **rows)
    assert gradient is out
    assert cases.same_bits(value, expected)
    expected = losses.cross_entropy_grad(input, target, **options)
    assert cases.same_bits(gradient, expected)
    expected = losses.cross_entropy_grad(input, target, grad_output=inflow, **options)
    assert loss.grad(input, target, grad_output=inflow, out=out, **rows) is out
    assert cases.same_bits(out, expected)


@pytest.mark.parametrize("reduction", ["mean", "sample"])
def test_binary_methods_are_the_functions_with_the_options(reduction):
    options = {
        "weight": WEIGHT,
        "pos_weight": EVENTS,
        "reduction": reduction,
        "label_smoothing": 0.1,
    }
    loss = BinaryCrossEntropyLoss(**options)
    inflow = RNG.normal(size=N) if reduction == "sample" else 2.0
    data = (LOGITS, EVENTS)
    value = losses.binary_cross_entropy_with_logits(*data, **options)
    gradient = losses.binary_cross_entropy_with_logits_grad(*data, **options)
    assert cases.same_bits(loss(*data), value)
    assert cases.same_bits(loss.update(*data), value)
    out = np.empty_like(LOGITS)
    both = loss.value_and_grad(*data, out=out)
    assert both[1] is out
    assert cases.same_bits(both[0], value)
    assert cases.same_bits(both[1], gradient)
    assert loss.grad(*data, grad_output=inflow, out=out) is out
    expected = losses.binary_cross_entropy_with_logits_grad(
        *data, grad_output=inflow, **options
    )
    assert cases.same_bits(out, expected)
    assert loss.hvp(*data, VECTOR, out=out) is out
    expected = losses.binary_cross_entropy_with_logits_hvp(*data, VECTOR, **options)
    assert cases.same_bits(out, expected)


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropyLoss(from_logits=False),
        CrossEntropyLoss(form="binary", from_logits=False),
        BinaryCrossEntropyLoss(from_logits=False),
    ],
)
def test_curvature_of_probabilities_is_refused(loss):
    with pytest.raises(ValueError, match=r"^hvp .* logits.*from_logits=True"):
        loss.hvp(P, SOFT, VECTOR)
