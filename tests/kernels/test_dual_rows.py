"""Rows of the dual beside a search for their minimum."""

import numba
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax, xlogy

from skxent.backends._sparse import compress, dual_epoch, dual_values, squared_norms
from skxent.kernels._dual_rows import UNLIKELY, solve_pair, solve_row
from skxent.kernels._simd import pointer, spread, store
from tests.sparse_data import draw_sparse


@numba.njit
def solve(z, share, c, n_classes, u):
    solve_row(pointer(z), pointer(share), c, n_classes, pointer(u))


@numba.njit
def solve_second(z, share, c, u):
    out = pointer(u)
    x = spread(z, out)
    store(solve_pair(x, spread(share, out), spread(c, out)), out, 0)


def padded(row, fill, dtype):
    width = 64 // np.dtype(dtype).itemsize
    out = np.full(-(-len(row) // width) * width, fill, dtype)
    out[: len(row)] = row
    return out


def objective(u, z, share, c):
    return xlogy(u, u).sum() - u @ z + c / 2 * ((u - share) ** 2).sum()


def minimum(z, share, c):
    """Return the minimum over the simplex, by bisection of the multiplier."""

    def total(nu):
        low, high = np.full(len(z), -700.0), np.zeros(len(z))
        for _ in range(60):  # log u
            middle = (low + high) / 2
            less = middle + c * np.exp(middle) < z + c * share - nu
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        return np.exp(low)

    least, most = z.min() - c - 50, z.max() + c + 50
    for _ in range(60):
        nu = (least + most) / 2
        least, most = (nu, most) if total(nu).sum() > 1 else (least, nu)
    u = total(nu)
    return u / u.sum()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 8, 20])
@pytest.mark.parametrize("c", [0.01, 1.0, 30.0, 1000.0])
def test_a_row_takes_most_of_its_decrease(c, n_classes, dtype):
    rng = np.random.default_rng(0)
    for width in (0.5, 3, 12):
        z = rng.normal(0, width, n_classes).astype(dtype)
        for share in (
            np.eye(n_classes)[0],
            rng.dirichlet(np.ones(n_classes)),
            softmax(z.astype(float) + rng.normal(0, 0.1, n_classes)),
        ):
            wide = padded(z, UNLIKELY, dtype)
            u = np.empty_like(wide)
            solve(wide, padded(share, 0, dtype), dtype_of(c, dtype), n_classes, u)
            got = u[:n_classes].astype(float)
            assert got.sum() == pytest.approx(1, abs=1e-5)
            if n_classes == 2:  # of both classes, c / 2 |u - P|^2 is c (u_1 - P_1)^2
                c_of_one = dtype_of(2 * c, dtype)
                second = dtype_of(share[1], dtype)
                solve_second(z[1] - z[0], second, c_of_one, u)
                got = np.array([1 - float(u[0]), float(u[0])])
            args = z.astype(float), share.astype(dtype).astype(float), c
            least, before = objective(minimum(*args), *args), objective(args[1], *args)
            rest = objective(got / got.sum(), *args) - least
            tiny = 1e-5 if dtype == "float32" else 1e-9
            assert rest <= 0.75 * (before - least) + tiny * (1 + c)
            if c <= 1:
                assert rest <= 0.05 * (before - least) + tiny


def dtype_of(c, dtype):
    return np.dtype(dtype).type(c)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 20])
def test_epochs_close_the_gap(n_classes, dtype):
    rng = np.random.default_rng(0)
    n, p = 150, 400
    X = draw_sparse(n, p, 0.05, rng)
    matrix = compress(X.data, X.indices, X.indptr, p)
    norms = squared_norms(matrix)
    target = np.eye(n_classes)[rng.integers(0, n_classes, n)]
    first = 1 if n_classes == 2 else 0
    target = np.ascontiguousarray(target[:, first:])
    mass = rng.uniform(0, 2, n)
    mass[:10] = 0
    ridge, pull = 2.0, 5.0
    coef = np.zeros((p, target.shape[1]), dtype)
    bias = np.zeros(target.shape[1], dtype)
    shares = target.astype(dtype)
    gaps = []
    for _ in range(25):
        dual_epoch(
            matrix,
            rng.permutation(n),
            mass,
            mass * (norms / ridge + 1 / pull),
            np.array([1 / ridge, 1 / pull]),
            coef,
            bias,
            shares,
        )
        residual = mass[:, None] * (target - shares)
        rounding = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(coef, X.T @ residual / ridge, atol=rounding)
        np.testing.assert_allclose(bias, residual.sum(axis=0) / pull, atol=rounding)
        at = bias.astype(float)
        values = dual_values(matrix, coef, at, shares, target, mass)
        gaps.append(values.gap)
        outputs = X @ coef.astype(float)
        z, u, t = outputs + at, shares.astype(float), target
        if n_classes == 2:
            z = np.hstack([0 * z, z])
            u, t = (np.hstack([1 - part, part]) for part in (u, t))
        exact = mass @ rel_entr(u, softmax(z, axis=1)).sum(axis=1)
        rounding = 1e-5 if dtype == "float32" else 1e-9
        assert values.gap == pytest.approx(exact, rel=1e-6, abs=rounding)
        exact = -mass @ (t * log_softmax(z, axis=1)).sum(axis=1)
        assert values.loss == pytest.approx(exact, rel=rounding)
        exact = np.vdot(residual, outputs)
        assert values.pulled == pytest.approx(exact, rel=rounding, abs=rounding)
    assert (shares[:10] == target[:10]).all()  # rows without mass
    assert gaps[-1] < 1e-5 * gaps[0]
