"""Values and gradients beside those of torch, in float64."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from skxent.losses import cross_entropy_value_and_grad
from skxent.torch import CrossEntropyLoss
from tests.torch.torch_cases import (
    FORMS,
    OPTIONS,
    REDUCTIONS,
    SHAPES,
    Problem,
    assert_agrees,
    leaf,
    make_problem,
    row_shape,
    run,
)


@pytest.mark.parametrize("with_weight", [False, True], ids=["plain", "weight"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_agrees_with_torch_over_the_product_of_options(form, shape, with_weight):
    problem = make_problem(shape, form)
    rng = torch.Generator().manual_seed(1)
    for options in OPTIONS:
        assert_agrees(problem, with_weight=with_weight, **options)
        rows = row_shape(shape) if options["reduction"] == "none" else ()
        inflow = torch.randn(rows, generator=rng, dtype=torch.float64)
        assert_agrees(problem, inflow, with_weight=with_weight, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ignore_index_inside_the_classes(reduction):
    problem = make_problem((12, 4), "index")
    problem = problem._replace(target=problem.target.clamp(min=0))
    assert_agrees(problem, ignore_index=2, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_all_rows_ignored(reduction):
    problem = make_problem((5, 4), "index")
    problem = problem._replace(target=torch.full((5,), -100))
    assert_agrees(problem, reduction=reduction)


@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 3), (2, 4, 0)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_empty_batch(form, reduction, shape):
    assert_agrees(make_problem(shape, form), reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("inflow", [np.inf, np.nan])
def test_infinite_inflow_leaves_ignored_rows_at_zero(inflow, reduction):
    problem = make_problem((9, 4), "index")
    if reduction != "none":
        problem = problem._replace(target=torch.full((9,), -100))
        flow = torch.tensor(inflow, dtype=torch.float64)
    else:
        flow = torch.ones(9, dtype=torch.float64)
        flow[problem.target == -100] = inflow
    _, gradient, _ = run(CrossEntropyLoss, problem, flow, reduction=reduction)
    assert (gradient[problem.target == -100] == 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nan_in_ignored_rows_does_no_harm(reduction):
    problem = make_problem((9, 4), "index")
    inflow = torch.full((9,) if reduction == "none" else (), 2.0)
    clean = run(CrossEntropyLoss, problem, inflow, reduction=reduction)
    problem.input[problem.target == -100] = np.nan
    loss, gradient, _ = run(CrossEntropyLoss, problem, inflow, reduction=reduction)
    assert torch.equal(loss, clean[0])
    assert torch.equal(gradient, clean[1])


STRIDED = {
    "transposed": lambda z: z.mT.contiguous().mT,
    "every other row": lambda z: z.repeat_interleave(2, 0)[::2],
    "every other class": lambda z: z.repeat_interleave(2, 1)[:, ::2],
    "expanded": lambda z: z[:1].expand(z.shape),
    "negative view": lambda z: torch.complex(z, -z).conj().imag,
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("form", FORMS)
def test_strided_tensors(form, layout, reduction):
    z, target, weight = make_problem((8, 5), form)
    z = STRIDED[layout](z)
    if form == "probabilities" and layout != "expanded":
        target = STRIDED[layout](target)
    assert layout == "negative view" or not z.is_contiguous()
    expected = run(
        nn.CrossEntropyLoss,
        Problem(z.resolve_neg(), target, weight),
        torch.ones(8, dtype=z.dtype) if reduction == "none" else None,
        reduction=reduction,
    )
    base = z.detach().requires_grad_()
    loss = CrossEntropyLoss(weight, reduction=reduction)(base, target)
    (gradient,) = torch.autograd.grad(loss.sum(), base)
    torch.testing.assert_close(loss.detach(), expected[0])
    torch.testing.assert_close(gradient, expected[1])


def test_channels_last_memory_and_strided_targets():
    problem = make_problem((3, 5, 4, 6), "index")
    target = problem.target.repeat_interleave(2, 2)[:, :, ::2]
    input = problem.input.to(memory_format=torch.channels_last)
    assert_agrees(problem._replace(input=input, target=target))


def test_class_axis():
    z, target, weight = make_problem((3, 5, 4, 6), "index")
    for reduction in REDUCTIONS:
        last = leaf(z.movedim(1, -1))
        criterion = CrossEntropyLoss(weight, reduction=reduction, class_axis=-1)
        loss = criterion(last, target)
        inflow = torch.arange(float(loss.numel()), dtype=z.dtype).reshape(loss.shape)
        loss.backward(inflow)
        problem = Problem(z, target, weight)
        theirs = run(nn.CrossEntropyLoss, problem, inflow, reduction=reduction)
        torch.testing.assert_close(loss.detach(), theirs[0])
        torch.testing.assert_close(last.grad.movedim(-1, 1), theirs[1])


@pytest.mark.parametrize("form", FORMS)
def test_the_numbers_are_those_of_the_losses(form):
    z, target, _ = make_problem((33, 10), form)
    for dtype in (torch.float16, torch.float32, torch.float64):
        input = leaf(z.to(dtype))
        loss = CrossEntropyLoss()(input, target)
        loss.backward()
        expected = cross_entropy_value_and_grad(input.detach().numpy(), target.numpy())
        assert loss.item() == expected[0]
        np.testing.assert_array_equal(input.grad.numpy(), expected[1])


def test_uint8_targets():
    problem = make_problem((9, 4), "index")
    problem = problem._replace(target=problem.target.clamp(min=0).to(torch.uint8))
    assert_agrees(problem)


def test_training_reaches_the_weights_of_torch():
    rng = torch.Generator().manual_seed(2)
    X = torch.randn(200, 8, generator=rng, dtype=torch.float64)
    y = torch.randint(4, (200,), generator=rng)
    start = nn.Linear(8, 4, dtype=torch.float64)
    trained = []
    for loss_class in (CrossEntropyLoss, nn.CrossEntropyLoss):
        model = copy.deepcopy(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        criterion = loss_class(label_smoothing=0.05)
        for _ in range(50):
            optimizer.zero_grad()
            criterion(model(X), y).backward()
            optimizer.step()
        trained.append(model.weight.detach())
    torch.testing.assert_close(trained[0], trained[1], rtol=1e-11, atol=1e-13)
    assert (trained[0] - start.weight).abs().max() > 0.1


# -- The module ----------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "sum", "label_smoothing": 0.1, "ignore_index": 3},
        {"weight": torch.tensor([1.0, 2.0, 0.5])},
    ],
    ids=["defaults", "numbers", "weight"],
)
def test_module_is_torchs(options):
    ours, theirs = CrossEntropyLoss(**options), nn.CrossEntropyLoss(**options)
    assert isinstance(ours, nn.CrossEntropyLoss)
    assert repr(ours) == repr(theirs)
    assert ours.extra_repr() == theirs.extra_repr()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert list(ours.parameters()) == []
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for name in ("reduction", "label_smoothing", "ignore_index"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_weight_follows_the_module():
    criterion = CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5]))
    assert criterion.to(torch.float64).weight.dtype == torch.float64
    assert criterion.half().weight.dtype == torch.float16
    assert criterion.to("meta").weight.device.type == "meta"


def test_module_is_copied_and_pickled():
    z, target, weight = make_problem((6, 5), "index")
    criterion = CrossEntropyLoss(weight, reduction="sum", class_axis=1)
    expected = criterion(z, target)
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert twin(z, target) == expected
        assert twin.class_axis == 1


def test_options_can_be_assigned_to():
    z, target, _ = make_problem((6, 5), "index")
    criterion = CrossEntropyLoss()
    criterion.reduction, criterion.label_smoothing = "sum", 0.2
    torch.testing.assert_close(
        criterion(z, target),
        nn.CrossEntropyLoss(reduction="sum", label_smoothing=0.2)(z, target),
    )


@pytest.mark.parametrize("reduce", [None, False, True])
@pytest.mark.parametrize("size_average", [None, False, True])
def test_deprecated_arguments(size_average, reduce):
    if size_average is None and reduce is None:
        assert CrossEntropyLoss(None, None, -100, None).reduction == "mean"
        return
    with pytest.warns(FutureWarning, match="use reduction=") as caught:
        ours = CrossEntropyLoss(None, size_average, -100, reduce)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="deprecated"):
        theirs = nn.CrossEntropyLoss(None, size_average, -100, reduce)
    assert ours.reduction == theirs.reduction


def test_positional_arguments_have_torchs_order():
    weight = torch.tensor([1.0, 2.0])
    criterion = CrossEntropyLoss(weight, None, 1, None, "sum", 0.25)
    assert criterion.weight is weight
    assert (criterion.ignore_index, criterion.reduction) == (1, "sum")
    assert criterion.label_smoothing == 0.25
