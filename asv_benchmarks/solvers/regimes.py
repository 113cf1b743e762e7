"""The data of each regime, drawn anew from a seed.

A regime is a name and a function that returns X and y (n,), integers from 0. Tables mix
log-normal, binary and correlated normal columns of different scales and offsets; labels
are drawn from a softmax of a random linear model of the standardised columns.
"""

import numpy as np
import scipy.sparse
from entrants import Penalty

__all__ = ["PENALTIES", "REGIMES"]


def make_table(n_samples, n_features, seed):
    """Return correlated columns of mixed kinds and scales."""
    rng = np.random.default_rng(seed)
    n_factors = max(5, n_features // 3)
    loadings = rng.standard_normal((n_factors, n_features))
    loadings /= np.sqrt(1 + np.arange(n_factors))[:, None]
    X = 0.4 * rng.standard_normal((n_samples, n_features))
    X += rng.standard_normal((n_samples, n_factors)) @ loadings
    fifth = n_features // 5
    skewed, binary = X[:, :fifth], X[:, fifth : 2 * fifth]
    np.exp(0.6 * skewed, out=skewed)
    binary[...] = binary > rng.normal(0.7, 0.7, fifth)
    others = X[:, 2 * fifth :]
    others *= np.exp(rng.normal(0, 0.7, others.shape[1]))
    others += rng.normal(0, 2, others.shape[1])
    return X


def draw_labels(X, n_classes, seed):
    """Return labels of a sparse random model of the standardised columns."""
    rng = np.random.default_rng(seed + 1000)
    shape = X.shape[1], n_classes
    coef = 0.6 * rng.standard_normal(shape) * rng.choice([0, 0.3, 1], shape)
    head = X[:5000]
    scores = ((X - head.mean(axis=0)) / head.std(axis=0)) @ coef
    return np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)


def tall(n_samples=1_000_000, n_features=50, n_classes=5, seed=0):
    """Raw columns."""
    X = make_table(n_samples, n_features, seed)
    return X, draw_labels(X, n_classes, seed)


def tall_standardised():
    """Standardised columns."""
    X, y = tall()
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    return X, y


def tall_float32():
    """float32 data."""
    X, y = tall()
    return X.astype(np.float32), y


def badly_scaled():
    """Columns whose scales span eight decades."""
    X, y = tall(200_000, 60, 5, seed=7)
    X *= 10.0 ** np.random.default_rng(7).uniform(-4, 4, 60)
    return X, y


def binary():
    """Two classes."""
    return tall(1_000_000, 100, 2, seed=11)


def digits():
    """Handwritten digits of 8 x 8 pixels, nearly separable."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def images(n_samples=70_000):
    """Digits enlarged to 28 x 28 pixels, turned, shifted and thickened at random."""
    from scipy.ndimage import affine_transform, zoom

    small, labels = digits()
    rng = np.random.default_rng(1)
    bases = [zoom(image.reshape(8, 8) / 16, 2.5, order=3).clip(0, 1) for image in small]
    X = np.empty((n_samples, 784))
    chosen = rng.integers(len(bases), size=n_samples)
    centre = np.full(2, 13.5)
    for row, base in zip(X, chosen, strict=True):
        canvas = np.zeros((28, 28))
        canvas[4:24, 4:24] = bases[base]
        angle, shear = rng.normal(0, 0.16), rng.normal(0, 0.18)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]])
        turn *= np.exp(rng.normal(0, 0.1))
        offset = centre - turn @ (centre + rng.normal(0, 1, 2))
        canvas = affine_transform(canvas, turn, offset, order=1)
        contrast = rng.uniform(1.6, 3.2)
        canvas = (canvas - 0.35) * contrast + 0.35 + rng.normal(0, 0.08)
        row[:] = np.round(canvas.clip(0, 1).ravel() * 255) / 255
    return X, labels[chosen]


def wide():
    """More columns than rows."""
    rng = np.random.default_rng(3)
    n_samples, n_features, n_classes, n_factors = 2000, 20_000, 4, 60
    y = rng.integers(n_classes, size=n_samples)
    means = np.zeros((n_classes, n_features))
    for mean in means:
        told = rng.choice(n_features, 400, replace=False)
        mean[told] = rng.normal(0, 0.35, 400)
    loadings = rng.standard_normal((n_factors, n_features))
    loadings /= np.sqrt(1 + np.arange(n_factors))[:, None]
    X = rng.standard_normal((n_samples, n_factors)) @ loadings + means[y]
    X += rng.standard_normal(X.shape)
    wrong = rng.random(n_samples) < 0.08
    y[wrong] = rng.integers(n_classes, size=wrong.sum())
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def text(n_samples=20_000, n_features=100_000, n_classes=20):
    """Weighted counts of words in rows of unit length, CSR.

    The frequencies of words follow Zipf's law, and each class prefers some of them.
    """
    rng = np.random.default_rng(9)
    y = rng.integers(n_classes, size=n_samples)
    frequency = 1.0 / (10 + np.arange(n_features))
    preference = np.exp(0.9 * rng.standard_normal((n_classes, n_features)))
    chances = np.cumsum(frequency * preference, axis=1)
    chances /= chances[:, -1:]
    rows, columns = [], []
    for i, label in enumerate(y):
        length = int(np.exp(rng.normal(5, 0.6))) + 5
        words = np.searchsorted(chances[label], rng.random(length))
        rows.append(np.full(length, i, dtype=np.int32))
        columns.append(words)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    shape = n_samples, n_features
    X = scipy.sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape).tocsr()
    X.sum_duplicates()
    documents = np.bincount(X.indices, minlength=n_features)
    X.data = (1 + np.log(X.data)) * np.log(n_samples / documents[X.indices])
    lengths = np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1]))
    X.data /= np.repeat(np.maximum(lengths, 1e-12), np.diff(X.indptr))
    # the only ones that saga takes
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X, y


def many_classes(n_samples=50_000, n_features=512, n_classes=1000):
    """Embeddings of a thousand classes."""
    rng = np.random.default_rng(5)
    y = rng.integers(n_classes, size=n_samples)
    basis = rng.standard_normal((128, n_features)) / np.sqrt(128)
    means = 0.9 * rng.standard_normal((n_classes, 128)) @ basis
    X = means[y] + rng.standard_normal((n_samples, 128)) @ basis
    X += 0.5 * rng.standard_normal(X.shape)
    return np.maximum(X - 0.2, 0), y


def square(n_classes=10):
    """As many columns as rows, independent of one another."""
    rng = np.random.default_rng(13)
    X = rng.standard_normal((3000, 3000))
    scores = X @ rng.standard_normal((3000, n_classes)) * (2 / np.sqrt(3000))
    return X, np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)


def square_binary():
    """Two classes."""
    return square(2)


def categories(n_samples=500_000):
    """Four categories of each row, one column for each of their values, CSR."""
    rng = np.random.default_rng(17)
    sizes = 5, 10, 20, 50
    begins = np.cumsum((0, *sizes[:-1]))
    drawn = [rng.zipf(1.5, n_samples) % size for size in sizes]
    columns = (np.stack(drawn, axis=1) + begins).astype(np.int32)
    starts = np.arange(0, columns.size + 1, len(sizes), dtype=np.int32)
    X = scipy.sparse.csr_array((np.ones(columns.size), columns.ravel(), starts))
    X.sort_indices()
    scores = X @ rng.standard_normal((X.shape[1], 3))
    return X, np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)


REGIMES = {
    "tall": tall,
    "tall standardised": tall_standardised,
    "tall float32": tall_float32,
    "badly scaled": badly_scaled,
    "binary": binary,
    "digits": digits,
    "images": images,
    "wide": wide,
    "text": text,
    "many classes": many_classes,
    "square": square,
    "square, binary": square_binary,
    "categories": categories,
    "elastic net, text": text,
    "elastic net, images": images,
    "elastic net, binary": binary,
}
PENALTIES = dict.fromkeys(REGIMES, Penalty()) | {
    "elastic net, text": Penalty(1.0, 0.5),
    "elastic net, images": Penalty(1.0, 0.5),
    "elastic net, binary": Penalty(0.001, 0.5),
}
