"""Arrays of more than 2**31 elements, beside the same numbers in blocks.

    python -m tests.trust.huge [case ...]

Each case needs up to 14 GB of memory and some minutes, so that no suite runs it.
"""

import resource
import sys
import time

import numpy as np

from skxent import losses, metrics

BEYOND = 2**31 + 1_000_003  # elements


def fill(array, rng, scale):
    """Fill an array with random numbers, a block at a time."""
    flat = array.reshape(-1)
    block = rng.normal(scale=scale, size=1 << 22).astype(array.dtype)
    for begin in range(0, flat.size, block.size):
        part = flat[begin : begin + block.size]
        part[:] = block[: part.size]
        part[:3] = begin % 11 - 5.0  # so that no two blocks are alike


def blocks(n, size):
    for begin in range(0, n, size):
        yield slice(begin, min(begin + size, n))


def rows(n_classes, *, with_gradient, columns_first=False):
    """Many rows, or few long ones; their classes side by side or far apart."""
    n = -(-BEYOND // n_classes)
    rng = np.random.default_rng(0)
    shape = (n_classes, n) if columns_first else (n, n_classes)
    z = np.empty(shape, np.float16)
    fill(z, rng, 2.0)
    z = z.T if columns_first else z
    target = rng.integers(n_classes, size=n)
    if n_classes < 128:
        target = target.astype(np.int8)
    size = max(1, n // 64)
    expected = (
        sum(
            float(
                losses.cross_entropy(np.ascontiguousarray(z[b], np.float32), target[b])
            )
            * len(target[b])
            for b in blocks(n, size)
        )
        / n
    )
    assert abs(float(losses.cross_entropy(z, target)) - expected) < 2e-3 * expected
    total = losses.cross_entropy(z[-size:], target[-size:], reduction="none")
    every = losses.cross_entropy(z, target, reduction="none")
    assert (every[-size:] == total).all()
    if not with_gradient:
        return
    out = np.empty_like(z)
    value = losses.cross_entropy_value_and_grad(z, target, out=out, reduction="sum")[0]
    assert value == np.inf or abs(float(value) / n - expected) < 2e-3 * expected
    for b in (slice(0, size), slice(n // 2, n // 2 + size), slice(n - size, n)):
        part = losses.cross_entropy_grad(z[b], target[b], reduction="sum")
        assert np.array_equal(out[b], part)


def binary():
    """Logits of events."""
    rng = np.random.default_rng(1)
    x, q = np.empty(BEYOND, np.float16), np.empty(BEYOND, np.float16)
    fill(x, rng, 2.0)
    fill(q, rng, 0.0)
    np.abs(q, out=q)
    q /= 5
    loss = losses.binary_cross_entropy_with_logits
    parts = [
        float(loss(x[b].astype(np.float32), q[b].astype(np.float32), reduction="sum"))
        for b in blocks(BEYOND, 1 << 25)
    ]
    expected = sum(parts) / BEYOND
    assert abs(float(loss(x, q)) - expected) < 2e-3 * abs(expected)
    grad = losses.binary_cross_entropy_with_logits_grad
    end = slice(BEYOND - 1000, BEYOND)
    wanted = grad(x[end], q[end], reduction="sum")
    got = grad(x, q, reduction="sum", out=x)
    assert np.array_equal(got[end], wanted)


def log_loss():
    """Probabilities in float32 on the disk."""
    import tempfile

    n_classes = 16
    n = -(-BEYOND // n_classes)
    with tempfile.NamedTemporaryFile() as file:
        p = np.memmap(file.name, np.float32, "w+", shape=(n, n_classes))
        row = np.random.default_rng(2).dirichlet(np.ones(n_classes), size=4096)
        for b in blocks(n, 4096):
            p[b] = row[: b.stop - b.start]
        y = (np.arange(n) % n_classes).astype(np.int8)
        expected = (
            sum(
                metrics.log_loss(
                    y[b], p[b], labels=np.arange(n_classes), normalize=False
                )
                for b in blocks(n, 1 << 22)
            )
            / n
        )
        assert abs(metrics.log_loss(y, p) - expected) < 1e-9 * expected
        assert abs(metrics.cross_entropy_loss(y, p) - expected) < 1e-3 * expected


CASES = {
    "rows of 10": lambda: rows(10, with_gradient=True),
    "Fortran order": lambda: rows(10, with_gradient=True, columns_first=True),
    # longer rows: their weights in float64 alone would fill the memory
    "rows of 2**25": lambda: rows(BEYOND // 64, with_gradient=True),
    "rows of 1000": lambda: rows(1000, with_gradient=False),
    "binary": binary,
    "log_loss of a memmap": log_loss,
}


def main(names):
    for name in names or CASES:
        start = time.monotonic()
        CASES[name]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        seconds = time.monotonic() - start
        sys.stdout.write(f"{name}: right, {seconds:.0f} s, peak {peak:.1f} GiB\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
