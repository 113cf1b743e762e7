"""Which class each label is, by both twins."""

import numpy as np
import pytest

from skxent.kernels import _words

SHIFT = 26


@pytest.mark.parametrize("twin", ["parallel", "sequential"])
@pytest.mark.parametrize("columns", [[1], [0, 2]])
def test_labels_get_the_class_whose_words_they_have(twin, columns):
    rng = np.random.default_rng(0)
    class_words = rng.integers(0, 2**32, (5, 3), dtype=np.uint32)
    factors = rng.integers(0, 2**32, len(columns), dtype=np.uint32) | np.uint32(1)
    hashes = (class_words[:, columns] * factors).sum(axis=1, dtype=np.uint32)
    hashes >>= np.uint32(SHIFT)
    assert len(set(hashes.tolist())) == 5
    table = np.zeros(1 << 32 - SHIFT, np.uint8)
    table[hashes] = np.arange(5)
    codes = rng.integers(0, 5, 1000).astype(np.uint8)
    words = class_words[codes]
    words[[310, 315, 999], [0, 1, 2]] += np.uint32(1)  # of no class
    found, missed = np.empty(1000, np.uint8), np.empty(10, np.int64)
    match = getattr(_words.match_words, twin)
    match(
        0,
        10,
        words,
        np.array(columns),
        factors,
        SHIFT,
        table,
        class_words,
        100,
        found,
        missed,
    )
    assert missed.tolist() == [-1, -1, -1, 310, -1, -1, -1, -1, -1, 999]
    np.testing.assert_array_equal(found[:310], codes[:310])
    np.testing.assert_array_equal(found[400:999], codes[400:999])
