"""What the suites share: profiles, cached inputs, peers and the alternating timer.

asv runs ``setup`` again before every timed call, so whatever a setup needs is made
once per process by a cached function. Inputs are made in place: ``peakmem_`` reports
the peak of the whole process, and a temporary in the setup would be charged to the
code under test. Nothing here runs at import.
"""

import importlib
import os
from functools import cache, partial
from time import perf_counter

import numpy as np

PROFILES = ("quick", "regular", "full")
PROFILE = os.environ.get("SKXENT_BENCH_PROFILE", "regular")
if PROFILE not in PROFILES:
    raise ValueError(
        f"SKXENT_BENCH_PROFILE must be one of {', '.join(PROFILES)}; got {PROFILE!r}."
    )

BOTH_DTYPES = ["float32", "float64"]

# Rows and classes, from one small call up to a vocabulary; the table of the
# documentation has these too. The last ones want 10 GB of memory.
GRID = [
    (32, 3),
    (1000, 10),
    (1_000_000, 2),
    (1_000_000, 10),
    (300_000, 37),
    (100_000, 100),
    (50_000, 1000),
    (2048, 50_257),
    (128, 256_000),
]

BURST_SECONDS = 0.01
MIN_BURSTS = 3


def by_profile(*, quick, regular, full):
    """Return the argument of the profile that was chosen."""
    return {"quick": quick, "regular": regular, "full": full}[PROFILE]


def import_peer(name):
    """Import a peer, or raise what asv takes as a request to skip."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotImplementedError(f"{name} is not installed") from error


def medians(functions, seconds=None):
    """Return each function's median seconds per call, timed in alternating bursts."""
    if seconds is None:
        seconds = by_profile(quick=0.1, regular=1.0, full=1.0)
    for function in functions:
        function()
    times = [[] for _ in functions]
    end = perf_counter() + seconds
    bursts = 0
    while bursts < MIN_BURSTS or perf_counter() < end:
        for function, own_times in zip(functions, times, strict=True):
            burst_end = perf_counter() + BURST_SECONDS
            stop = 0.0
            while stop < burst_end:
                start = perf_counter()
                function()
                stop = perf_counter()
                own_times.append(stop - start)
        bursts += 1
    return [float(np.median(own_times)) for own_times in times]


def ratio_of_medians(ours, peer):
    """Return our median time over the peer's; below 1 we are faster."""
    our_median, peer_median = medians([ours, peer])
    return our_median / peer_median


def copy_call(array):
    """Return a copy of the array into memory that is touched already."""
    return partial(np.copyto, array.copy(), array)


def bandwidths(ours, bytes_moved, array):
    """Return GB/s of our call and of a copy of ``array``, timed alternately."""
    our_median, copy_median = medians([ours, copy_call(array)])
    return bytes_moved / our_median / 1e9, 2 * array.nbytes / copy_median / 1e9


def check_agreement(ours, peer, dtype):
    """Raise unless both calls return the same numbers, so that no ratio is empty."""
    rtol = {"float32": 1e-4, "float64": 1e-10}[dtype]
    for our_part, peer_part in zip(as_tuple(ours()), as_tuple(peer()), strict=True):
        expected = np.asarray(peer_part, dtype=np.float64)
        atol = rtol * np.max(np.abs(expected))
        np.testing.assert_allclose(our_part, expected, rtol=rtol, atol=atol)


def as_tuple(result):
    """Return the parts of a result."""
    return result if isinstance(result, tuple) else (result,)


@cache
def make_logits(shape, dtype):
    """Return normal logits with a standard deviation of 3."""
    logits = np.random.default_rng(0).standard_normal(shape, dtype=np.dtype(dtype))
    logits *= 3
    return logits


@cache
def make_probabilities(shape, dtype):
    """Return rows that are positive and sum to 1."""
    probabilities = np.random.default_rng(1).random(shape, dtype=np.dtype(dtype))
    probabilities += 0.01
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


@cache
def make_indices(shape):
    """Return one class index per row; every class occurs if there are rows enough."""
    n_samples, n_classes = shape
    indices = np.random.default_rng(2).integers(0, n_classes, n_samples)
    indices[:n_classes] = np.arange(n_classes)[:n_samples]
    return indices
