"""What holds between two ways to ask for the same loss, searched by hypothesis."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skxent.losses import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_hvp,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
)
from tests.losses import cases
from tests.losses.test_cross_entropy_properties import (
    REORDERED,
    dtypes,
    forms,
    reductions,
    search,
    seeds,
    smoothings,
)

EXTREMES = [-np.inf, 0.0, -0.0, 1e-30, 30.0, -30.0, 750.0, -750.0, 6e4]


@search
@given(dtypes, smoothings, reductions, st.lists(st.sampled_from(EXTREMES)), seeds)
def test_binary_is_the_row_of_two_classes(dtype, smoothing, reduction, extremes, seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(scale=4.0, size=5), extremes]).astype(dtype)
    q = rng.integers(0, 9, size=x.size) / 8  # 1 - q is exact in any dtype
    q = q.astype(dtype)
    rows = np.stack([np.zeros_like(x), x], axis=1)
    target = np.stack([1 - q, q], axis=1)
    v = rng.normal(size=x.size).astype(dtype)
    vector = np.stack([np.zeros_like(v), v], axis=1)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    tolerance = 4 * REORDERED[dtype]
    loss = binary_cross_entropy_with_logits(x, q, **options)
    expected = cross_entropy(rows, target, **options)
    gradient = binary_cross_entropy_with_logits_grad(x, q, **options)
    of_rows = cross_entropy_grad(rows, target, **options)[:, 1]
    product = binary_cross_entropy_with_logits_hvp(x, q, v, **options)
    product_of_rows = cross_entropy_hvp(rows, target, vector, **options)[:, 1]
    scale = 1 / x.size if reduction == "mean" else 1.0
    failures = cases.value_mismatch("loss", loss, expected, tolerance)
    failures += cases.mismatch("gradient", gradient, of_rows, tolerance * scale)
    failures += cases.mismatch(
        "product", product, product_of_rows, tolerance * scale * (1 + abs(v))
    )
    assert not failures, "\n".join(failures)


@search
@given(
    dtypes,
    forms,
    st.lists(st.integers(0, 9), min_size=2, max_size=5).filter(
        lambda lengths: len(set(lengths)) > 1
    ),
    st.sampled_from([1, 3, 64, 65]),
    st.sampled_from([*cases.REDUCTIONS, "sample"]),
    seeds,
)
def test_ragged_is_padded_with_ignored_rows(
    dtype, form, lengths, n_classes, reduction, seed
):
    rng = np.random.default_rng(seed)
    z = [cases.make_logits(rng, (n, n_classes), dtype) for n in lengths]
    target = [cases.make_target(rng, form, array.shape, dtype) for array in z]
    shape = (len(z), max(lengths), n_classes)
    padded, kept = np.full(shape, np.nan, dtype), np.zeros(shape[:2])
    padded_target = np.zeros(shape if form == "probabilities" else shape[:2])
    padded_target = padded_target.astype(target[0].dtype)
    for i, n in enumerate(lengths):
        padded[i, :n], padded_target[i, :n], kept[i, :n] = z[i], target[i], 1.0
    options = {
        "class_axis": -1,
        "weight": cases.make_weight(rng, n_classes),
        "reduction": reduction,
    }
    loss = cross_entropy(z, target, **options)
    gradient = cross_entropy_grad(z, target, **options)
    options["sample_weight"] = kept
    expected = cross_entropy(padded, padded_target, **options)
    expected_gradient = cross_entropy_grad(padded, padded_target, **options)
    if reduction == "none":
        loss, expected = np.concatenate(loss), expected[kept != 0]
    # means are taken over the same rows in another order
    np.testing.assert_allclose(loss, expected, rtol=REORDERED[dtype])
    np.testing.assert_allclose(
        np.concatenate(gradient),
        expected_gradient[kept != 0],
        rtol=REORDERED[dtype],
        atol=1e-300,
    )
