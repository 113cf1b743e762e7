"""Class indices of labels beside those of numpy's sort."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skxent.metrics._codes import find_codes

N = 20_000  # several blocks
INDICES = np.random.default_rng(0).integers(0, 10, N)
WORDS = np.array(
    ["cat", "dog", "bird", "horse", "ant", "bee", "whale", "a", "aardvark", "cats"]
)
INTEGERS = np.array([-7, -3, 0, 4, 5, 9, 11, 40, 90, 100])
KINDS = {
    "classes": np.arange(10),
    "integers": INTEGERS,
    "int8": INTEGERS.astype(np.int8),
    "uint8": (INTEGERS + 100).astype(np.uint8),
    "uint64": (INTEGERS + 100).astype(np.uint64),
    "far apart": INTEGERS * 10**12,
    "far and large": np.arange(10).astype(np.uint64) * 10**18 + 2**63,
    "floats": INTEGERS * 0.5,
    "float32": (INTEGERS * 0.5).astype(np.float32),
    "words": WORDS,
    "long words": np.char.add(WORDS, "x" * 40),
    "first letters": np.char.add(WORDS, "same"),
    "objects": WORDS.astype(object),
}
BOOLEANS = np.array([False, True])


def assert_codes_are_numpys(y, labels, n_classes):
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    found = find_codes(y, labels, n_classes)
    assert found is not None
    if labels is None:
        np.testing.assert_array_equal(found.classes, classes)
        np.testing.assert_array_equal(found.codes, codes)
    else:
        np.testing.assert_array_equal(found.classes, labels)
        np.testing.assert_array_equal(np.asarray(labels)[found.codes], y)


@pytest.mark.parametrize("names", KINDS.values(), ids=KINDS.keys())
def test_codes_are_those_of_a_sort(names):
    y = names[INDICES]
    for labels in (None, np.unique(names)):
        assert_codes_are_numpys(y, labels, 10)
        assert_codes_are_numpys(y[:200], labels, 10)
        assert_codes_are_numpys(np.repeat(y, 2)[::2], labels, 10)
        assert_codes_are_numpys(pd.Series(y), labels, 10)
    assert_codes_are_numpys(y.tolist(), None, 10)
    assert_codes_are_numpys(tuple(y.tolist()), np.unique(names).tolist(), 10)


def test_booleans():
    y = BOOLEANS[INDICES % 2]
    for labels in (None, BOOLEANS, [False, True]):
        assert_codes_are_numpys(y, labels, 2)
    assert_codes_are_numpys(y.tolist(), None, 2)


@pytest.mark.parametrize("names", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("place", [1, N // 2 + 1, N - 1])
@pytest.mark.parametrize("rare", [0, 9])
def test_a_class_that_occurs_once(names, place, rare):
    names = np.unique(names)
    y = np.delete(names, rare)[INDICES % 9]
    y[place] = names[rare]
    assert_codes_are_numpys(y, None, 10)


@pytest.mark.parametrize("names", KINDS.values(), ids=KINDS.keys())
def test_labels_that_do_not_occur(names):
    names = np.unique(names)
    assert_codes_are_numpys(names[INDICES % 5 + 3], names, 10)


@pytest.mark.parametrize("names", KINDS.values(), ids=KINDS.keys())
def test_another_number_of_classes_and_unknown_labels_need_a_closer_look(names):
    names = np.unique(names)
    y = names[INDICES]
    for n_classes in (9, 11):
        assert find_codes(y, None, n_classes) is None
    assert find_codes(y, names, 11) is None
    for missing in (0, 5, 9):
        assert find_codes(y, np.delete(names, missing), 9) is None


def test_labels_of_another_width():
    y = np.array(["b", "a", "c"])
    for labels in (["a", "b", "c", "long"], np.array(["a", "b", "c", "long"], "O")):
        assert find_codes(y, labels, 4).codes.tolist() == [1, 0, 2]
    assert find_codes(y.astype("U30"), ["a", "b", "c"], 3).codes.tolist() == [1, 0, 2]
    y = np.array([1, 0, 2], dtype=np.int8)
    assert find_codes(y, np.array([0, 1, 2, 300]), 4).codes.tolist() == [1, 0, 2]
    y = np.array([1, 0.5], dtype=np.float32)
    assert find_codes(y, np.array([0.5, 1]), 2).codes.tolist() == [1, 0]
    assert find_codes(y, np.array([0.5 + 1e-12, 1]), 2) is None


UNUSUAL = {
    "nan": [0.0, np.nan],
    "zeros of both signs": [0.0, -0.0, 1e30],
    "infinity": [0.5, np.inf],
    "none": ["a", None],
    "numbers among strings": ["a", 1],
    "strings among numbers": [1, "a"],
    "bytes": [b"a", b"b"],
    "null characters": ["a", "a\0"],
    "lists": [[0], [1]],
    "lists of lengths": [[0], [1, 2]],
    "lists among strings": ["a", ["b"]],
    "nothing": [],
    "rows": np.eye(2),
    "a column": np.array([[0], [1]]),
    "complex numbers": np.array([1j, 2j]),
    "dates": np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]"),
    "another byte order": np.array([0, 1], dtype=">i4"),
    "float16": np.array([0.5, 1], dtype=np.float16),
    "a mask": np.ma.array([0, 1], mask=[0, 1]),
    "a string": "ab",
    "a set": {0, 1},
    "integers that may be missing": pd.Series([0, 1], dtype="Int64"),
    "a frame": pd.DataFrame({"y": [0, 1]}),
}


@pytest.mark.parametrize("y", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_unusual_labels_need_a_closer_look(y):
    assert find_codes(y, None, 2) is None


@pytest.mark.parametrize(
    "labels",
    [[1, 0], [0, 0], [0.0, 1.0], ["0", "1"], [False, True], [[0, 1]], [0, "a"], 3],
    ids=str,
)
def test_unusual_classes_need_a_closer_look(labels):
    assert find_codes([0, 1, 1], labels, 2) is None


values = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=6),
    st.lists(st.floats(width=32), min_size=2, max_size=6),
    st.lists(st.text(max_size=5), min_size=2, max_size=6),
    st.lists(st.booleans(), min_size=2, max_size=6),
)


@given(values)
@settings(max_examples=300, deadline=None)
def test_whatever_is_found_is_right(y):
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    for sequence in (y, np.asarray(y)):
        found = find_codes(sequence, None, len(classes))
        if found is not None:
            np.testing.assert_array_equal(found.classes, classes)
            np.testing.assert_array_equal(found.codes, codes)


def test_many_classes_of_many_words_find_a_hash():
    rng = np.random.default_rng(0)
    for width in (1, 3, 30):
        letters = rng.integers(97, 101, (200, width)).astype(np.uint32)
        names = np.unique(letters.view(f"U{width}"))
        y = names[np.arange(2000) % len(names)]
        assert_codes_are_numpys(y, None, len(names))
