"""Calls without options on a device, which do not look at class indices before."""

import numpy as np
import pytest
import torch
from numba import cuda

from skxent.losses import (
    _device_plain,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_value_and_grad,
)
from tests import reference
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.arrays import on_host
from tests.cuda.simulated.tensors import on_device, use_host_memory

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks", "general_calls")

SHAPES = [(5, 3), (40, 2), (3, 80), (2, 150)]


@pytest.fixture
def general_calls(monkeypatch):
    """Return the calls that took the general way; forget what shapes have done."""
    calls = []
    prepare = _device_plain.general.prepare_on_device

    def noted(*arguments):
        calls.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(_device_plain.general, "prepare_on_device", noted)
    _device_plain._habit_of.cache_clear()
    return calls


def drawn(shape, dtype=np.float32):
    rng = np.random.default_rng(shape[0])
    z = (3 * rng.standard_normal(shape)).astype(dtype)
    return z, rng.integers(shape[1], size=shape[0])


def there(*arrays):
    return tuple(map(cuda.to_device, arrays))


def same(got, wanted):
    for ours, theirs in zip(got, wanted, strict=True):
        assert np.asarray(on_host(ours)).tobytes() == np.asarray(theirs).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_same_bits_as_the_general_way(shape, dtype, general_calls):
    z, y = drawn(shape, dtype)
    got = cross_entropy_value_and_grad(*there(z, y))
    assert not general_calls
    assert cross_entropy(*there(z, y)) == got[0]
    same([cross_entropy_grad(*there(z, y))], [on_host(got[1])])
    assert not general_calls
    # targets that live on the host are not the plain ones
    wanted = cross_entropy_value_and_grad(cuda.to_device(z), y)
    assert general_calls
    same(got, map(on_host, wanted))
    expected = reference.cross_entropy(z, y)
    assert got[0] == pytest.approx(expected, rel=1e-6)


def test_rows_that_are_ignored_are_noticed(general_calls, monkeypatch):
    launched = []
    softmax_loss = _device_plain.backend.softmax_loss

    def noted(*arguments):
        launched.append(arguments)
        softmax_loss(*arguments)

    # of this module and of the other, which knows it by the backend's name
    monkeypatch.setattr(_device_plain.backend, "softmax_loss", noted)
    z, y = drawn((40, 2))
    cross_entropy(*there(z, y))
    y[[3, 17]] = -100
    for n_calls in (1, 2):  # the second knows it
        loss, gradient = cross_entropy_value_and_grad(*there(z, y))
        assert len(general_calls) == n_calls
        assert loss == pytest.approx(reference.cross_entropy(z, y), rel=1e-6)
        expected = reference.cross_entropy_grad(z, y)
        np.testing.assert_allclose(on_host(gradient), expected, atol=1e-7)
    z, y = drawn((41, 2))  # other batches know it as well
    y[1] = -100
    loss = cross_entropy(*there(z, y))
    assert loss == pytest.approx(reference.cross_entropy(z, y), rel=1e-6)
    assert len(launched) == 5  # two for the first, one for each of the others
    z, y = drawn((41, 3))  # another number of classes does not
    cross_entropy(*there(z, y))
    assert len(general_calls) == 3


@pytest.mark.parametrize("index", [2, -1, 2**40])
def test_an_index_that_is_no_class(index):
    z, y = drawn((40, 2))
    y[5] = index
    with pytest.raises(ValueError, match=f"got {index} at row 5"):
        cross_entropy_value_and_grad(*there(z, y))


def test_nan_stays_nan():
    z, y = drawn((40, 2))
    z[7, 1] = np.nan
    loss, gradient = cross_entropy_value_and_grad(*there(z, y))
    assert np.isnan(loss)
    assert np.isnan(on_host(gradient)[7]).all()
    assert np.isfinite(np.delete(on_host(gradient), 7, axis=0)).all()


@pytest.mark.parametrize("is_ignored", [False, True])
def test_the_gradient_may_take_the_place_of_the_logits(is_ignored):
    z, y = drawn((40, 2))
    if is_ignored:
        y[2] = -100
    logits, target = there(z, y)
    out = cuda.device_array(z.shape, z.dtype)
    wanted = on_host(cross_entropy_grad(logits, target, out=out))
    np.testing.assert_array_equal(on_host(out), wanted)
    result = cross_entropy_grad(logits, target, out=logits)
    assert result is logits
    np.testing.assert_array_equal(on_host(logits), wanted)


@pytest.mark.parametrize("is_ignored", [False, True])
def test_the_gradient_may_overlap_an_input_that_is_copied(is_ignored):
    z, y = drawn((7, 7))
    if is_ignored:
        y[2] = -100
    whole = cuda.to_device(z)
    loss, gradient = cross_entropy_value_and_grad(whole.T, cuda.to_device(y), out=whole)
    assert gradient is whole
    expected = reference.cross_entropy_grad(z.T, y)
    assert loss == pytest.approx(reference.cross_entropy(z.T, y), rel=1e-6)
    np.testing.assert_allclose(on_host(whole), expected, atol=1e-7)


def test_tensors_beside_arrays_of_any_layout(monkeypatch):
    use_host_memory(monkeypatch)
    z, y = drawn((40, 5))
    weight = np.linspace(0.5, 2, 5)
    expected = cross_entropy(z, y, weight=weight)
    for target in (y[::-1].copy()[::-1], y.astype(">i8"), y.astype(">i2")):
        got = cross_entropy(
            on_device(z), target, weight=weight[::-1].astype(">f8").copy()[::-1]
        )
        assert got == pytest.approx(float(expected), rel=1e-6)


def test_a_negated_view_is_read_as_such(monkeypatch):
    use_host_memory(monkeypatch)
    z, y = drawn((40, 5))
    negated = torch._neg_view(torch.as_tensor(-z)).as_subclass(type(on_device(z)))
    got = cross_entropy(negated, on_device(y))
    assert got == pytest.approx(float(cross_entropy(z, y)), rel=1e-6)


def test_another_ignored_index():
    z, y = drawn((40, 2))
    loss = cross_entropy(*there(z, y), ignore_index=1)
    expected = reference.cross_entropy(z, y, ignore_index=1)
    assert loss == pytest.approx(expected, rel=1e-6)


def test_tensors_of_torch(monkeypatch, general_calls):
    use_host_memory(monkeypatch)
    z, y = drawn((40, 2))
    loss, gradient = cross_entropy_value_and_grad(on_device(z), on_device(y))
    assert not general_calls
    assert loss == pytest.approx(reference.cross_entropy(z, y), rel=1e-6)
    expected = reference.cross_entropy_grad(z, y)
    np.testing.assert_allclose(np.asarray(gradient), expected, atol=1e-7)


def test_a_subclass_of_tensors_is_one_of_torch(monkeypatch, general_calls):
    use_host_memory(monkeypatch)
    z, y = drawn((40, 2))
    kind = type("Image", (type(on_device(z)),), {"__module__": "somebody.images"})
    loss, gradient = cross_entropy_value_and_grad(
        on_device(z).as_subclass(kind), on_device(y).as_subclass(kind)
    )
    assert not general_calls
    assert isinstance(gradient, torch.Tensor)
    assert loss == pytest.approx(reference.cross_entropy(z, y), rel=1e-6)
