"""What a row gives does not depend on its neighbours, nor on how the rows lie.

Short rows are computed in blocks that share one power of 2, groups that this does not
suit in another way (``kernels/_flat_rows.py``): the same bits are to come of both.
"""

import numpy as np
import pytest

from skxent.losses import cross_entropy, cross_entropy_grad

SPREADS = {"near": 1.0, "apart": 10.0, "far apart": 60.0, "out of range": 300.0}


TARGETS = ["indices", "smoothed", "much smoothed", "probabilities", "any numbers"]


def make_rows(spread, n_classes, dtype, targets):
    """Return rows at different heights; some with -inf, some without a softmax."""
    rng = np.random.default_rng(n_classes)
    n = 331
    z = rng.normal(0, spread, (n, n_classes)) + rng.normal(0, spread, (n, 1))
    if spread == 10:
        z[rng.random(z.shape) < 0.05] = -np.inf
    if spread == 60:
        z[70, 0], z[200, 1], z[201] = np.nan, np.inf, -np.inf
    y = rng.integers(0, n_classes, n)
    weight = rng.random(n)
    weight[rng.random(n) < 0.1] = 0
    options = {"weight": rng.random(n_classes), "ignore_index": 1}
    if "smoothed" in targets:
        options["label_smoothing"] = 0.1 if targets == "smoothed" else 0.7
    if targets in ("probabilities", "any numbers"):
        del options["ignore_index"]
        power = rng.choice([1, 40], (n, 1))  # some rows have one class alone
        y = rng.random(z.shape) ** power - (0.1 if targets == "any numbers" else 0)
        y = (y / y.sum(axis=1, keepdims=True)).astype(dtype)
        y[5] = 0
    return z.astype(dtype), y, weight, options


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 8, 10, 16, 17, 37, 256, 300, 3000])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("targets", TARGETS)
def test_a_row_gives_the_same_bits_in_any_company(targets, spread, n_classes, dtype):
    z, y, weight, options = make_rows(SPREADS[spread], n_classes, dtype, targets)
    losses = cross_entropy(z, y, sample_weight=weight, reduction="none", **options)
    gradient = cross_entropy_grad(
        z, y, sample_weight=weight, reduction="sum", **options
    )
    orders = np.random.default_rng(0).permutation(len(y)), np.arange(5, len(y), 7)
    for rows in orders:
        some = {"sample_weight": weight[rows], **options}
        alone = cross_entropy(z[rows], y[rows], reduction="none", **some)
        slopes = cross_entropy_grad(z[rows], y[rows], reduction="sum", **some)
        assert alone.tobytes() == losses[rows].tobytes()
        assert slopes.tobytes() == gradient[rows].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [10, 37, 300, 1000, 5000])
@pytest.mark.parametrize("height", [30.0, 800.0, 9000.0])
@pytest.mark.parametrize("targets", TARGETS)
def test_heights_of_neighbours_do_not_matter(targets, height, n_classes, dtype):
    z, y, weight, options = make_rows(1.0, n_classes, dtype, targets)
    z, y, weight = z[:35], y[:35], weight[:35]
    z[::2] += height
    z[3::5] -= height
    z[7, : n_classes // 2] = -np.inf  # and a row that begins far below
    options = {"sample_weight": weight, **options}
    losses = cross_entropy(z, y, reduction="none", **options)
    gradient = cross_entropy_grad(z, y, reduction="sum", **options)
    for i in range(len(y)):
        options["sample_weight"] = weight[i : i + 1]
        row = z[i : i + 1], y[i : i + 1]
        alone = cross_entropy(*row, reduction="none", **options)
        slopes = cross_entropy_grad(*row, reduction="sum", **options)
        assert alone.tobytes() == losses[i : i + 1].tobytes()
        assert slopes.tobytes() == gradient[i : i + 1].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 10, 17, 256, 300])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("targets", TARGETS)
def test_planes_give_the_bits_of_rows(targets, spread, n_classes, dtype):
    z, y, weight, options = make_rows(SPREADS[spread], n_classes, dtype, targets)
    options["sample_weight"] = weight
    planes = np.asfortranarray(z)
    # the sum of the losses of many classes is cut elsewhere
    for reduction in ("none", "sum", "mean")[: 1 if n_classes > 256 else 3]:
        rows, columns = (
            cross_entropy(x, y, reduction=reduction, **options) for x in (z, planes)
        )
        assert rows.tobytes() == columns.tobytes()
    gradients = [cross_entropy_grad(x, y, **options) for x in (z, planes)]
    assert gradients[0].tobytes() == gradients[1].tobytes()
