"""Derivatives, dtypes and what torch's graph does with the loss."""

import itertools
import weakref

import pytest
import torch
from torch import nn

import skxent.torch._autograd as autograd
from skxent.torch import CrossEntropyLoss
from tests.torch.torch_cases import (
    FORMS,
    REDUCTIONS,
    Problem,
    assert_agrees,
    leaf,
    make_problem,
    run,
)

SMALL = ((4,), (3, 4), (2, 3, 2, 2))


def differentiable(problem):
    """The leaves of a problem, those of probabilities too."""
    leaves = [leaf(problem.input)]
    if problem.target.is_floating_point():
        leaves.append(leaf(problem.target))
    return leaves


@pytest.mark.parametrize("shape", SMALL, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_gradcheck_and_gradgradcheck(form, reduction, shape):
    problem = make_problem(shape, form)
    for smoothing, weight in itertools.product((0.0, 0.1), (None, problem.weight)):
        criterion = CrossEntropyLoss(
            weight, reduction=reduction, label_smoothing=smoothing
        )

        def loss(input, target=problem.target, criterion=criterion):
            return criterion(input, target)

        leaves = differentiable(problem)
        assert torch.autograd.gradcheck(loss, leaves)
        assert torch.autograd.gradgradcheck(loss, leaves)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradgradcheck_of_one_of_two_and_of_the_last_axis(reduction):
    z, q, weight = make_problem((3, 4), "probabilities")
    criterion = CrossEntropyLoss(weight, reduction=reduction)
    # the gradient of the target alone
    assert torch.autograd.gradgradcheck(lambda t: criterion(z, t), leaf(q))
    assert torch.autograd.gradgradcheck(lambda x: criterion(x, q), leaf(z))
    z, target, weight = make_problem((2, 3, 2, 2), "index")
    criterion = CrossEntropyLoss(weight, reduction=reduction, class_axis=-1)
    last = leaf(z.movedim(1, -1))
    assert torch.autograd.gradgradcheck(lambda x: criterion(x, target), last)


def test_second_derivative_is_torchs():
    problem = make_problem((33, 10), "index")
    products = []
    for loss_class in (CrossEntropyLoss, nn.CrossEntropyLoss):
        criterion = loss_class(problem.weight, label_smoothing=0.1)
        input = leaf(problem.input)
        (slope,) = torch.autograd.grad(
            criterion(input, problem.target), input, create_graph=True
        )
        (product,) = torch.autograd.grad(slope.square().sum(), input)
        products.append(product)
    torch.testing.assert_close(products[0], products[1], rtol=1e-11, atol=1e-15)


def test_third_derivative_is_refused():
    problem = make_problem((3, 4), "index")
    input = leaf(problem.input)
    loss = CrossEntropyLoss()(input, problem.target)
    (first,) = torch.autograd.grad(loss, input, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match="twice, not three"):
        second.sum().backward()
    # of a product with a constant vector, which needs no gradient itself
    (product,) = torch.autograd.grad(
        (first * torch.ones_like(first)).sum(), input, create_graph=True
    )
    with pytest.raises(RuntimeError, match="twice, not three"):
        (CrossEntropyLoss()(input, problem.target) + product.sum()).backward()
    # asked for so, torch leaves out errors of nodes that no input leads to
    with pytest.raises(RuntimeError, match="twice, not three"):
        torch.autograd.grad((second.square() + input**3).sum(), input)


def test_target_gradient_of_a_class_that_does_not_count():
    z = torch.tensor([[2.0, 0.5, -torch.inf]], requires_grad=True)
    q = torch.tensor([[0.75, 0.25, 0.0]], requires_grad=True)
    CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.0]))(z, q).backward()
    assert q.grad[0, 2] == 0
    assert z.grad.isfinite().all()
    assert (q.grad[0, :2] > 0).all()


# -- What is computed when -----------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """The names of the losses' functions, as they are called."""
    names = []
    for name in ("cross_entropy", "cross_entropy_value_and_grad", "cross_entropy_grad"):
        function = getattr(autograd, name)

        def noted(*args, name=name, function=function, **options):
            names.append(name)
            return function(*args, **options)

        monkeypatch.setattr(autograd, name, noted)
    return names


def test_value_alone_where_no_gradient_is_asked_for(calls):
    z, target, _ = make_problem((6, 5), "index")
    criterion = CrossEntropyLoss()
    plain = criterion(z, target)
    with torch.no_grad():
        without = criterion(leaf(z), target)
    with torch.inference_mode():
        inferred = criterion(z, target)
    assert calls == ["cross_entropy"] * 3
    assert not plain.requires_grad
    assert not without.requires_grad
    assert plain == without == inferred


def test_target_alone_needs_no_gradient_of_the_input(calls):
    z, q, _ = make_problem((6, 5), "probabilities")
    CrossEntropyLoss()(z, leaf(q)).backward()
    assert calls == ["cross_entropy"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_backward_reuses_the_gradient_of_the_forward_pass_once(calls, reduction):
    z, target, _ = make_problem((6, 5), "index")
    input = leaf(z)
    loss = CrossEntropyLoss(reduction=reduction)(input, target)
    inflow = torch.full_like(loss, 3.0).detach()
    (first,) = torch.autograd.grad(loss, input, inflow, retain_graph=True)
    assert calls == ["cross_entropy_value_and_grad"]
    expected = first.clone()
    first.zero_()  # it belongs to the caller
    (second,) = torch.autograd.grad(loss, input, inflow, retain_graph=True)
    assert calls[1:] == ["cross_entropy_grad"]
    torch.testing.assert_close(second, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradient_of_the_loss_itself_is_handed_over(calls, reduction, dtype):
    z, target, _ = make_problem((6, 5), "index")
    input = leaf(z.to(dtype))
    loss = CrossEntropyLoss(reduction=reduction)(input, target)
    address = loss.grad_fn.kept["gradient"].data_ptr()
    loss.sum().backward()
    assert calls == ["cross_entropy_value_and_grad"]
    assert input.grad.data_ptr() == address


def test_gradient_is_released_by_the_first_backward():
    z, target, _ = make_problem((6, 5), "index")
    input = leaf(z)
    loss = CrossEntropyLoss()(input, target)
    kept = weakref.ref(loss.grad_fn.kept["gradient"])
    torch.autograd.grad(loss, input, 2 * torch.ones_like(loss))
    assert kept() is None


def test_second_backward_without_retain_graph_is_torchs_error():
    z, target, _ = make_problem((6, 5), "index")
    loss = CrossEntropyLoss()(leaf(z), target)
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


# -- Changes in place ----------------------------------------------------------


@pytest.mark.parametrize("changed", ["input", "target", "weight"])
def test_known_gradient_outlives_changes_in_place(changed):
    z, target, weight = make_problem((6, 5), "index")
    _, expected, _ = run(CrossEntropyLoss, Problem(z, target, weight))
    input = leaf(z)
    tensors = {"input": input * 1.0, "target": target, "weight": weight.clone()}
    loss = CrossEntropyLoss(tensors["weight"])(tensors["input"], tensors["target"])
    tensors[changed].mul_(2)
    loss.backward()
    torch.testing.assert_close(input.grad, expected)


@pytest.mark.parametrize("changed", ["input", "target", "weight"])
@pytest.mark.parametrize("twice", ["retain_graph", "create_graph"])
def test_changes_in_place_are_caught_where_tensors_are_read_again(twice, changed):
    z, target, weight = make_problem((6, 5), "index")
    input = leaf(z)
    tensors = {"input": input * 1.0, "target": target, "weight": weight.clone()}
    loss = CrossEntropyLoss(tensors["weight"])(tensors["input"], tensors["target"])
    if twice == "retain_graph":
        loss.backward(retain_graph=True)
    tensors[changed].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward(create_graph=twice == "create_graph")


def test_inputs_are_not_written_to():
    z, target, weight = make_problem((6, 5), "index")
    before = [tensor.clone() for tensor in (z, target, weight)]
    assert_agrees(Problem(z, target, weight))
    for tensor, copy in zip((z, target, weight), before, strict=True):
        assert torch.equal(tensor, copy)


# -- Dtypes --------------------------------------------------------------------

RTOL = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", RTOL, ids=str)
def test_results_have_the_dtype_of_the_input(dtype, form, reduction):
    problem = make_problem((33, 10), form)
    low = Problem(*(t.to(dtype) if t.is_floating_point() else t for t in problem))
    double = Problem(*(t.double() if t.is_floating_point() else t for t in low))
    inflow = torch.full((33,) if reduction == "none" else (), 1.5)
    got = run(CrossEntropyLoss, low, inflow.to(dtype), reduction=reduction)
    expected = run(nn.CrossEntropyLoss, double, inflow.double(), reduction=reduction)
    for ours, theirs in zip(got, expected, strict=True):
        if theirs is None:
            assert ours is None
            continue
        assert ours.dtype == dtype
        tolerance = RTOL[dtype] * theirs.abs().max().item()
        torch.testing.assert_close(
            ours.double(), theirs, rtol=RTOL[dtype], atol=tolerance
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_second_derivative_of_halves(form, dtype):
    problem = make_problem((6, 5), form)
    low = Problem(*(t.to(dtype) if t.is_floating_point() else t for t in problem))
    double = Problem(*(t.double() if t.is_floating_point() else t for t in low))
    products = []
    for case, loss_class in ((low, CrossEntropyLoss), (double, nn.CrossEntropyLoss)):
        leaves = differentiable(case)
        arguments = [*leaves, case.target][:2]
        loss = loss_class(case.weight)(*arguments)
        slopes = torch.autograd.grad(loss, leaves, create_graph=True)
        total = sum((slope * slope.detach()).sum() for slope in slopes)
        products.append(torch.autograd.grad(total, leaves))
    for got, expected in zip(*products, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(
            got.double(), expected, rtol=0.05, atol=0.02 * expected.abs().max().item()
        )


def test_loss_scale_saves_small_gradients_in_float16():
    # 1 / 10000 of a small probability is 0 in float16, 1000 times that is not
    z = torch.zeros(10000, 4, dtype=torch.float16)
    z[:, 0] = 9
    input = leaf(z)
    loss = CrossEntropyLoss()(input, torch.zeros(10000, dtype=torch.int64))
    loss.backward(torch.tensor(1000.0, dtype=torch.float16))
    expected = 1000 / 10000 * float(torch.softmax(z[0].double(), 0)[1])
    torch.testing.assert_close(input.grad[0, 1].item(), expected, rtol=0.01, atol=0)


def test_probabilities_of_another_dtype():
    z, q, _ = make_problem((6, 5), "probabilities")
    for input_dtype, target_dtype in itertools.permutations(
        [torch.float16, torch.bfloat16, torch.float32, torch.float64], 2
    ):
        input, target = leaf(z.to(input_dtype)), leaf(q.to(target_dtype))
        loss = CrossEntropyLoss()(input, target)
        loss.backward()
        assert loss.dtype == input.grad.dtype == input_dtype
        assert target.grad.dtype == target_dtype


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast(dtype, enabled):
    z, target, _ = make_problem((6, 5), "index")
    results = []
    for loss_class in (CrossEntropyLoss, nn.CrossEntropyLoss):
        input = leaf(z.to(dtype))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = loss_class()(input, target)
        loss.backward()
        results.append((loss, input.grad))
    (loss, gradient), (their_loss, their_gradient) = results
    assert loss.dtype == their_loss.dtype
    assert gradient.dtype == their_gradient.dtype == dtype
    torch.testing.assert_close(loss, their_loss)
    torch.testing.assert_close(gradient, their_gradient, rtol=0.02, atol=1e-2)


# -- Surroundings --------------------------------------------------------------


# the compiler itself looks at the .grad of what follows a break of the graph
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
# and warns of Python 3.13.0
@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")
@pytest.mark.parametrize("compiled", ["step", "module"])
def test_compiled_code_runs_the_loss_as_it_is(compiled):
    # the backend needs no C++ compiler: the point is the break of the graph
    X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 3
    model, criterion = nn.Linear(4, 3), CrossEntropyLoss(label_smoothing=0.1)

    def step(X, y):
        return criterion(2 * model(X), y) + 1

    expected = step(X, y)
    expected.backward()
    slope = model.weight.grad.clone()
    if compiled == "step":
        step = torch.compile(step, backend="eager")
    else:
        criterion = torch.compile(criterion, backend="eager")
    for _ in range(2):
        model.zero_grad()
        loss = step(X, y)
        loss.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(model.weight.grad, slope)


def test_tensors_of_another_device_are_handed_to_the_losses(monkeypatch):
    # a meta tensor stands for that of a GPU, on which the losses do not compute yet
    def value_and_grad(input, target, *, weight):
        assert isinstance(input, torch.Tensor)
        assert not input.requires_grad
        assert input.device == target.device == weight.device == torch.device("meta")
        return input.sum(), torch.empty_like(input)

    monkeypatch.setattr(autograd, "cross_entropy_value_and_grad", value_and_grad)
    criterion = CrossEntropyLoss(torch.ones(4)).to("meta")
    input = torch.empty(5, 4, device="meta", requires_grad=True)
    loss = criterion(input, torch.empty(5, device="meta", dtype=torch.int64))
    assert (loss.device, loss.dtype) == (input.device, input.dtype)
    assert loss.requires_grad


def test_checkpoint():
    from torch.utils.checkpoint import checkpoint

    problem = make_problem((6, 5), "index")
    _, expected, _ = run(CrossEntropyLoss, problem, with_weight=False)
    input = leaf(problem.input)
    loss = checkpoint(CrossEntropyLoss(), input, problem.target, use_reentrant=False)
    loss.backward()
    torch.testing.assert_close(input.grad, expected)
