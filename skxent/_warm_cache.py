"""``warm-cache``: compile ahead what users call, so that no first call waits for it.

Kernels are reached as users reach them, which compiles them for the types that calls
come with. Each call names the kernels that it is for: a test sees that none is left
out, and a call that does not reach its kernels fails. One that fails, for whatever
reason, is reported and does not keep the others from being made.
"""

import math
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
import scipy.sparse

from skxent.backends._threads import PARALLEL_MIN_SIZE, threads_to_use
from skxent.kernels._cache import files, folders
from skxent.kernels._jit import KERNELS
from skxent.linear_model import SoftmaxRegression
from skxent.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_hvp,
    cross_entropy,
    cross_entropy_hvp,
    linear_cross_entropy,
    nll_loss,
)
from skxent.metrics import cross_entropy_loss, log_loss

__all__ = ["CALLS", "Call", "warm_cache"]

FEW = 8  # rows of a call on one thread
MOST_PROCESSES = 8  # which take 0.5 GB each


class Call(NamedTuple):
    """What is called for each dtype, and the kernels that it is for."""

    what: str
    kernels: str  # names with spaces between
    run: Callable[[type], object]
    dtypes: tuple[type, ...] = (np.float64, np.float32)
    threaded: str = ""  # kernels that only several threads have a use for


def _few_and_many(size: int) -> Iterator[int]:
    """Yield numbers of rows of a size that one thread and that all threads compute."""
    yield FEW
    yield -(-PARALLEL_MIN_SIZE // size)


def _softmax(
    function: Any, shape: tuple[int, ...], soft: bool, dtype: type, **options: Any
) -> None:
    """Call a softmax loss of rows of a shape, classes first."""
    for n in _few_and_many(math.prod(shape)):
        rows: Any = np.full((n, *shape), 1 / shape[0], dtype)
        target = rows if soft else np.zeros((n, *shape[1:]), np.int64)
        vector = [rows] if function is cross_entropy_hvp else []
        function(rows, target, *vector, **options)


def _binary(function: Any, dtype: type) -> None:
    """Call a binary loss."""
    for n in _few_and_many(1):
        halves: Any = np.full(n, 0.5, dtype)
        vector = [halves] if function is binary_cross_entropy_with_logits_hvp else []
        function(halves, halves, *vector)


def _linear(dtype: type) -> None:
    """Call the loss of a layer, whose logits are made in blocks."""
    for n in _few_and_many(10):
        features: Any = np.ones((n, 4), dtype)
        linear_cross_entropy(features, np.ones((10, 4), dtype), np.zeros(n, np.int64))


def _metrics(dtype: type) -> None:
    """Call the metrics, for labels and for soft labels."""
    for n in _few_and_many(3):
        rows: Any = np.full((n, 3), 1 / 3, dtype)
        y = np.arange(n) % 3
        log_loss(y, rows)
        log_loss(np.array(["a", "b", "c"])[y], rows)
        for y_true in (y, rows):
            cross_entropy_loss(y_true, rows)
            cross_entropy_loss(y_true, rows, from_logits=True)


def _class_weights(dtype: type) -> None:
    """Call what looks at class weights: for their sum, and for smoothing."""
    options: Any = {"weight": [1.0, 2.0], "label_smoothing": 0.1}
    for n in _few_and_many(1):
        cross_entropy(np.zeros((n, 2), dtype), np.zeros(n, int), **options)


def _fit(kind: str, n_classes: int, dtype: type, **options: Any) -> None:
    """Fit few and many rows, to labels and to soft labels."""
    model = SoftmaxRegression(max_iter=3, **options)
    random = np.random.default_rng(0)
    for n in (1000, 5000):
        # what is sparse and smaller than this is made dense
        shape = (n, 15) if kind == "dense" else (n, 300)
        X: Any = random.normal(size=shape).astype(dtype)
        if kind != "dense":
            X = scipy.sparse.random(*shape, 0.06, kind, dtype, random)
        y = np.arange(n) % n_classes
        model.fit(X, y).predict_proba(X)
        model.fit(X, np.eye(n_classes, dtype=dtype)[y])
        if not options:
            SoftmaxRegression().partial_fit(X, y, classes=range(n_classes))


def _fit_wide(dtype: type) -> None:
    """Fit columns that depend on one another, more than there are rows."""
    random = np.random.default_rng(0)
    shared = random.normal(size=(300, 3)) @ random.normal(size=(3, 600))
    X: Any = (shared + 0.01 * random.normal(size=shared.shape)).astype(dtype)
    SoftmaxRegression().fit(X, np.arange(300) % 2)


def _softmax_calls() -> Iterator[Call]:
    """Yield the calls of softmax losses."""
    for words, shape, kind in (
        ("2 classes", (2,), "two_classes"),
        ("few classes", (10,), "short_rows"),
        ("many classes", (300,), "long_rows"),
        ("images of many classes", (300, 8), "long_planes"),
    ):
        for soft in (False, True):
            what = f"cross_entropy, {words}{', soft labels' * soft}"
            run = partial(_softmax, cross_entropy, shape, soft)
            yield Call(what, f"{kind}_loss", run)
            if kind in ("short_rows", "long_rows"):  # the others compute in float32
                yield Call(what, f"half_{kind}_loss", run, (np.float16,))
        if kind != "two_classes":
            run = partial(_softmax, cross_entropy_hvp, shape, False)
            yield Call(f"cross_entropy_hvp, {words}", f"{kind}_curvature", run)
    for soft in (False, True):
        what = f"cross_entropy of probabilities{', soft labels' * soft}"
        run = partial(_softmax, cross_entropy, (10,), soft, from_logits=False)
        yield Call(what, "probability_loss", run)
    yield Call("nll_loss", "picked_loss", partial(_softmax, nll_loss, (10,), False))


ALL = (np.float64, np.float32, np.float16)
PRODUCTS = "survey_lines gather_products scatter_products"
DUAL = "squared_norms dual_epoch dual_values"
CALLS = [
    *_softmax_calls(),
    Call(
        "binary_cross_entropy_with_logits",
        "sigmoid_losses",
        partial(_binary, binary_cross_entropy_with_logits),
        ALL,
    ),
    Call(
        "binary_cross_entropy_with_logits_hvp",
        "sigmoid_curvatures",
        partial(_binary, binary_cross_entropy_with_logits_hvp),
    ),
    Call(
        "binary_cross_entropy",
        "bernoulli_losses",
        partial(_binary, binary_cross_entropy),
    ),
    Call("linear_cross_entropy", "short_rows_loss", _linear),
    Call("class weights", "survey_indices class_values", _class_weights),
    Call("metrics", "log_losses check_rows match_words", _metrics),
    Call(
        "SoftmaxRegression, 2 classes",
        "linear_rows_loss",
        partial(_fit, "dense", 2),
    ),
    Call(
        "SoftmaxRegression",
        "linear_rows_loss softmax_rows",
        partial(_fit, "dense", 3),
    ),
    Call(
        "SoftmaxRegression, elastic net",
        "shift_features descend_moments",
        partial(_fit, "dense", 3, l1_ratio=0.5),
    ),
    Call(
        "SoftmaxRegression, wide data", "add_gram_of_columns", _fit_wide, (np.float64,)
    ),
    Call(
        "SoftmaxRegression, sparse rows, 2 classes",
        f"{PRODUCTS} {DUAL}",
        partial(_fit, "csr", 2),
        threaded="split_lines",
    ),
    Call(
        "SoftmaxRegression, sparse rows",
        f"{PRODUCTS} {DUAL}",
        partial(_fit, "csr", 3),
    ),
    Call(
        "SoftmaxRegression, sparse rows, weak penalty",
        f"{PRODUCTS} scatter_squares",
        partial(_fit, "csr", 3, C=1e9),
    ),
    Call(
        "SoftmaxRegression, sparse columns",
        f"{PRODUCTS} gather_squares",
        partial(_fit, "csc", 3),
    ),
    Call(
        "SoftmaxRegression, sparse, elastic net",
        "derivatives descend_rows",
        partial(_fit, "csr", 3, l1_ratio=0.5),
    ),
]


def warm_cache(calls: Sequence[Call] = CALLS) -> int:
    """Make the calls in processes of their own; print how it goes.

    Return 0, or 1 if a call failed or there is nowhere to keep what was compiled.
    """
    tasks = [(call, dtype) for call in calls for dtype in call.dtypes]
    n_processes = min(MOST_PROCESSES, numba.get_num_threads(), len(tasks))
    print(
        f"Compiling for {len(tasks)} kinds of calls, {n_processes} at a time:",
        flush=True,
    )
    start = time.perf_counter()
    n_failed = 0
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, spawn) as pool:
        futures = {pool.submit(_make, *task): task for task in tasks}
        for n_done, future in enumerate(as_completed(futures), 1):
            call, dtype = futures[future]
            error = future.exception()
            took = f"{future.result():5.1f} s" if error is None else " failed"
            why = "" if error is None else f": {type(error).__name__}: {error}"
            print(
                f"{n_done:3}/{len(tasks)} {took}  {call.what}, {dtype.__name__}{why}",
                flush=True,
            )
            n_failed += error is not None
    kept = {path.parent for path in files()}
    where = " and ".join(map(str, kept or folders()))
    print(f"{'Kept' if kept else 'Could not be kept'} in {where}: ", end="")
    print(f"{len(list(files()))} files, {time.perf_counter() - start:.0f} s.")
    if n_failed:
        print(f"{n_failed} calls failed.")
    return 0 if kept and not n_failed else 1


def _make(call: Call, dtype: type) -> float:
    """Make a call; return what it took. Raise unless it reached its kernels."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit of three steps has not converged
        call.run(dtype)
    names = call.kernels.split()
    if threads_to_use() > 1:
        names += call.threaded.split()
    for name in names:
        kernel = KERNELS.get(name, ())  # known when its module has been imported
        kernels = kernel if isinstance(kernel, tuple) else [kernel]
        if not any(each.signatures for each in kernels):
            raise RuntimeError(f"{call.what} for {dtype.__name__} did not call {name}")
    return time.perf_counter() - start
