"""Runs on a real GPU: torch is the oracle there, in float64."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import skxent.torch
from skxent import losses, metrics
from skxent.linear_model import SoftmaxRegression

pytestmark = pytest.mark.gpu

# on both sides of every border between schedules, and of 16 bytes
CLASSES = [2, 3, 8, 31, 33, 64, 65, 100, 129, 1000, 1025, 4099, 8192, 16_384, 50_257]
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 2e-3}
TOLERANCES[torch.bfloat16] = 2e-2
OPTIONS = {
    "plain": {},
    "weights": {"weight": True},
    "smoothing": {"label_smoothing": 0.1},
    "all": {"weight": True, "label_smoothing": 0.1, "reduction": "sum"},
    "rows": {"reduction": "none"},
}


def drawn(shape, dtype=torch.float32, seed=0):
    """Return logits and class indices on the device, some of them ignored."""
    generator = torch.Generator("cuda").manual_seed(seed)
    logits = 3 * torch.randn(shape, device="cuda", generator=generator)
    n_rows = (shape[0], *shape[2:])
    target = torch.randint(shape[1], n_rows, device="cuda", generator=generator)
    target.view(-1)[::7] = -100
    return logits.to(dtype), target


def expected(logits, target, options):
    """Return torch's loss and gradient, in float64."""
    wide = logits.double().clone().requires_grad_()
    loss = F.cross_entropy(wide, target, **options)
    (gradient,) = torch.autograd.grad(loss.sum(), wide)
    return loss.detach(), gradient


def assert_near(got, wanted, dtype):
    got = torch.as_tensor(got, dtype=torch.float64, device="cuda")
    tolerance = TOLERANCES[dtype]
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("n_classes", CLASSES)
def test_cross_entropy(n_classes, options, dtype):
    logits, target = drawn((70, n_classes), dtype)
    options = dict(OPTIONS[options])
    if options.pop("weight", False):
        options["weight"] = torch.linspace(0.5, 2, n_classes, device="cuda")
    wide = {k: v.double() if k == "weight" else v for k, v in options.items()}
    loss, gradient = losses.cross_entropy_value_and_grad(logits, target, **options)
    wanted, wanted_gradient = expected(logits, target, wide)
    assert_near(loss, wanted, dtype)
    assert_near(gradient, wanted_gradient, dtype)
    assert gradient.dtype == dtype
    assert gradient.device == logits.device
    again = losses.cross_entropy_value_and_grad(logits, target, **options)
    assert torch.equal(torch.as_tensor(again[0]), torch.as_tensor(loss))
    assert torch.equal(again[1], gradient)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("n_classes", CLASSES)
def test_without_options(n_classes, dtype):
    from skxent.losses import _device_plain

    _device_plain._habit_of.cache_clear()  # that other tests ignored rows
    logits, target = drawn((700, n_classes), dtype)
    target.clamp_(min=0)  # no row is ignored: nobody looks at the indices before
    loss, gradient = losses.cross_entropy_value_and_grad(logits, target)
    wanted, wanted_gradient = expected(logits, target, {})
    assert_near(loss, wanted, dtype)
    assert_near(gradient, wanted_gradient, dtype)
    general = losses.cross_entropy_value_and_grad(logits, target.cpu())
    assert general[0] == loss
    assert torch.equal(general[1], gradient)


@pytest.mark.filterwarnings("error")
def test_small_calls_do_not_warn():
    logits, target = drawn((3, 5))
    losses.cross_entropy(logits, target)


@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (2, 21, 33, 32), (2, 300, 50)])
def test_planes_and_probabilities(shape):
    logits, target = drawn(shape)
    loss, gradient = losses.cross_entropy_value_and_grad(logits, target)
    wanted, wanted_gradient = expected(logits, target, {})
    assert_near(loss, wanted, torch.float32)
    assert_near(gradient, wanted_gradient, torch.float32)
    soft = drawn(shape, seed=1)[0].softmax(1)
    loss, gradient = losses.cross_entropy_value_and_grad(logits, soft)
    wanted, wanted_gradient = expected(logits, soft.double(), {})
    assert_near(loss, wanted, torch.float32)
    assert_near(gradient, wanted_gradient, torch.float32)


def test_hessian_vector_product():
    logits, target = drawn((40, 130), torch.float64)
    v = drawn((40, 130), torch.float64, seed=2)[0]
    product = losses.cross_entropy_hvp(logits, target, v)
    _, wanted = torch.autograd.functional.hvp(
        lambda x: F.cross_entropy(x, target), logits, v
    )
    assert_near(product, wanted, torch.float64)


@pytest.mark.parametrize("size", [1, 5, 4096, 1_000_003])
def test_binary(size):
    logits, target = drawn((size, 2))[0].T.contiguous()
    target = target.sigmoid()
    loss, gradient = losses.binary_cross_entropy_with_logits_value_and_grad(
        logits, target
    )
    wide = logits.double().clone().requires_grad_()
    wanted = F.binary_cross_entropy_with_logits(wide, target.double())
    assert_near(loss, wanted.detach(), torch.float32)
    (slope,) = torch.autograd.grad(wanted, wide)
    torch.testing.assert_close(gradient.double(), slope, rtol=2e-6, atol=1e-6 / size)


@pytest.mark.parametrize("index", [50, -1, -101, 2**40])
def test_an_index_that_is_no_class_leaves_the_device_alive(index):
    logits, target = drawn((20, 50))
    target[3] = index
    with pytest.raises(ValueError, match=f"got {index} at row 3"):
        losses.cross_entropy(logits, target)
    target[3] = 0
    assert np.isfinite(losses.cross_entropy(logits, target))


def test_other_streams():
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        logits = torch.zeros(20_000, 1000, device="cuda")
        for _ in range(20):  # what the loss has to wait for
            logits += torch.eye(1, 1000, device="cuda") / 20
        target = torch.zeros(20_000, dtype=torch.int64, device="cuda")
        loss, gradient = losses.cross_entropy_value_and_grad(logits, target)
        after = gradient.sum(0)
    side.synchronize()
    assert loss == pytest.approx(np.log(999 + np.e) - 1, rel=1e-5)
    assert after[0].item() == pytest.approx(np.e / (999 + np.e) - 1, rel=1e-4)


def test_cupy():
    cupy = pytest.importorskip("cupy")
    logits, target = drawn((100, 37))
    loss, gradient = losses.cross_entropy_value_and_grad(
        cupy.asarray(logits), cupy.asarray(target)
    )
    wanted, wanted_gradient = expected(logits, target, {})
    assert isinstance(gradient, cupy.ndarray)
    assert_near(loss, wanted, torch.float32)
    assert_near(torch.as_tensor(gradient), wanted_gradient, torch.float32)


def test_arrays_of_numba_that_begin_anywhere():
    from numba import cuda

    logits, target = drawn((101, 3))
    wanted, wanted_gradient = expected(logits[1:], target[1:], {})
    there = cuda.to_device(logits.cpu().numpy())
    loss, gradient = losses.cross_entropy_value_and_grad(
        there[1:], target[1:].cpu().numpy(), out=there[1:]
    )
    assert_near(loss, wanted, torch.float32)
    for found in (gradient, there[1:]):
        found = torch.as_tensor(found.copy_to_host(), device="cuda")
        assert_near(found, wanted_gradient, torch.float32)


class Exporting:
    """A tensor that is known by DLPack alone."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_dlpack(is_transposed):
    logits, target = drawn((100, 37))
    wanted, wanted_gradient = expected(logits, target, {})
    if is_transposed:
        logits = logits.T.contiguous().T
    loss, gradient = losses.cross_entropy_value_and_grad(
        Exporting(logits), Exporting(target)
    )
    assert_near(loss, wanted, torch.float32)
    found = torch.as_tensor(gradient.copy_to_host(), device="cuda")
    assert_near(found, wanted_gradient, torch.float32)


def test_what_another_stream_still_writes_is_waited_for():
    from numba import cuda

    logits, target = drawn((1000, 37))
    wanted, _ = expected(logits, target, {})
    there = cuda.to_device(logits.cpu().numpy())
    late, work = torch.zeros_like(target), torch.ones(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(50):
            work = work @ work / 4096
        late.copy_(target)
        loss = losses.cross_entropy(there, late)
    assert_near(loss, wanted, torch.float32)


@pytest.mark.parametrize("n_classes", CLASSES)
def test_the_mean_of_no_rows_has_no_gradient(n_classes):
    logits, target = drawn((20, n_classes))
    target.fill_(-100)
    loss, gradient = losses.cross_entropy_value_and_grad(logits, target)
    assert np.isnan(loss)
    assert not gradient.any()


def test_the_input_is_read_before_the_gradient_takes_its_place():
    logits, target = drawn((100, 37))
    rows = logits.log_softmax(1)
    wanted, wanted_gradient = losses.nll_loss_value_and_grad(rows, target)
    loss, gradient = losses.nll_loss_value_and_grad(rows, target, out=rows)
    assert loss == wanted
    assert gradient is rows
    torch.testing.assert_close(gradient, wanted_gradient, rtol=0, atol=0)


def test_module_of_torch():
    logits, target = drawn((64, 300))
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    skxent.torch.CrossEntropyLoss(label_smoothing=0.1)(ours, target).backward()
    torch.nn.CrossEntropyLoss(label_smoothing=0.1)(theirs, target).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=2e-5, atol=1e-8)


def test_linear_layer():
    X, target = drawn((500, 40), torch.float64)
    W = drawn((700, 40), torch.float64, seed=3)[0]
    target = torch.randint(700, (500,), device="cuda")
    loss, (of_input, of_weight) = losses.linear_cross_entropy_value_and_grad(
        X, W, target
    )
    x, w = X.clone().requires_grad_(), W.clone().requires_grad_()
    wanted = F.cross_entropy(x @ w.T, target)
    slopes = torch.autograd.grad(wanted, (x, w))
    assert_near(loss, wanted.detach(), torch.float64)
    assert_near(of_input, slopes[0], torch.float64)
    assert_near(of_weight, slopes[1], torch.float64)


def test_metrics():
    logits, _ = drawn((1000, 7), torch.float64)
    y = np.random.default_rng(0).integers(7, size=1000)
    proba = logits.softmax(1)
    for name in ("log_loss", "cross_entropy_loss", "d2_log_loss_score"):
        metric = getattr(metrics, name)
        assert metric(y, proba) == pytest.approx(metric(y, proba.cpu().numpy()))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_softmax_regression(n_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 30))
    y = (X @ rng.normal(size=(30, n_classes)) + rng.gumbel(size=n_classes)).argmax(1)
    there = torch.as_tensor(X, device="cuda")
    host = SoftmaxRegression(tol=1e-6).fit(X, y)
    model = SoftmaxRegression(tol=1e-6).fit(there, y)
    assert model.coef_.device == there.device
    np.testing.assert_allclose(model.coef_.cpu(), host.coef_, rtol=1e-4, atol=1e-5)
    assert (model.predict(there).cpu().numpy() == host.predict(X)).mean() > 0.999
    proba = model.predict_proba(there).cpu().numpy()
    np.testing.assert_allclose(proba, host.predict_proba(X), atol=1e-5)


SANITIZED = """
import torch
from skxent.losses import cross_entropy_value_and_grad, cross_entropy_hvp
for n_classes in (2, 10, 65, 1000, 5000, 50_257):
    logits = torch.randn(9, n_classes, device="cuda")
    target = torch.randint(n_classes, (9,), device="cuda")
    cross_entropy_value_and_grad(logits, target)
    cross_entropy_value_and_grad(logits, logits.softmax(1))
    cross_entropy_hvp(logits, target, logits)
"""


@functools.cache
def sanitizer():
    return shutil.which("compute-sanitizer")


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck"])
def test_sanitizer_finds_nothing(tool):
    if sanitizer() is None:
        pytest.skip("compute-sanitizer is not installed")
    arguments = [sanitizer(), "--tool", tool, "--error-exitcode", "9"]
    ran = subprocess.run(
        [*arguments, sys.executable, "-c", SANITIZED],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
