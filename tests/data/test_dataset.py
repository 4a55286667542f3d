"""Data sets: batches, splits, hashes, and what is refused."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from undrift.data.dataset import Dataset
from undrift.data.spec import Spec
from undrift.error import DataError

REAL = Spec((3,), None, None, False, 1.0, 2.0, ("a", "b"))
GREY = Spec.bounded((1, 2, 2), 0, 255, integer=True, classes=("a", "b", "c"))


def vectors(n=10, labels=True):
    x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    return Dataset(x, np.arange(n) % 2 if labels else None, REAL, "vectors")


def with_counts(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    spec = Spec((1,), None, None, False, 0.0, 1.0, tuple(map(str, range(len(counts)))))
    return Dataset(np.arange(len(labels), dtype=np.float32)[:, None], labels, spec, "counted")


def ids(dataset):
    return dataset.raw().flatten().long().tolist()


def first_column(dataset):
    return dataset.raw()[:, 0].long().tolist()


def test_batch_gives_model_space_and_labels_of_the_rows_asked_for():
    x0, labels = vectors().batch(torch.tensor([4, 0, 4]))
    assert x0.dtype == torch.float32
    assert x0.tolist() == [[5.5, 6.0, 6.5], [-0.5, 0.0, 0.5], [5.5, 6.0, 6.5]]
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 0, 0]
    assert vectors().batch(torch.tensor([1, 2]))[1].tolist() == [1, 0]
    assert vectors(labels=False).batch(torch.tensor([1]))[1] is None


def test_raw_gives_data_units_and_a_copy():
    x = np.array([[[[0, 1], [2, 255]]]], dtype=np.uint8)
    dataset = Dataset(x, None, GREY, "grey")
    raw = dataset.raw(torch.tensor([0]))
    assert raw.dtype == torch.uint8
    assert raw.tolist() == x.tolist()
    raw.zero_()
    assert dataset.raw().max() == 255


def test_memory_mapped_data_are_not_copied_and_read_alike(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 1, 2, 2), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    memory, file = Dataset(x, None, GREY, "memory"), Dataset(mapped, None, GREY, "file")
    rows = torch.tensor([19, 3, 3])
    assert file._x is mapped
    assert torch.equal(file.batch(rows)[0], memory.batch(rows)[0])
    assert file.split(0.3, 1)[1]._x is mapped
    assert file.content_hash() == memory.content_hash()


@pytest.mark.parametrize("rows", [torch.tensor([10]), torch.tensor([0, -1])])
def test_rows_beyond_the_end(rows):
    with pytest.raises(IndexError, match=r"row (10|-1) is not in 0\.\.9 of vectors"):
        vectors().batch(rows)


@pytest.mark.parametrize("rows", [torch.tensor(1), torch.tensor([1.0]), torch.tensor([True])])
def test_rows_that_are_not_rows(rows):
    with pytest.raises(ValueError, match=r"`rows` must be \(B,\) integers, but it is"):
        vectors().batch(rows)


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**70),
)
def test_split_is_stratified_disjoint_and_complete(counts, fraction, seed):
    data = with_counts(counts)
    possible = sum(counts) - len(counts)  # every class keeps one
    want = min(round(fraction * sum(counts)), possible)
    if want == 0:
        with pytest.raises(DataError, match="leaves nothing to hold out; hold out a larger share"):
            data.split(fraction, seed)
        return
    train, held = data.split(fraction, seed)
    assert sorted(ids(train) + ids(held)) == list(range(sum(counts)))
    assert ids(train) == sorted(ids(train))
    assert len(held) == want
    held_counts = np.bincount(held.labels, minlength=len(counts))
    assert (np.array(counts) - held_counts >= 1).all()
    if want < possible:
        free = np.array(counts) - held_counts > 1
        exact = fraction * np.array(counts)
        assert (held_counts[free] >= np.floor(exact)[free]).all()
        assert (held_counts <= np.ceil(exact) + 1e-9).all()
    for part in (train, held):
        assert np.array_equal(part.labels, data.labels[ids(part)])


def test_split_depends_on_the_seed_only():
    data = with_counts([50, 50])
    torch.manual_seed(1)
    first = ids(data.split(0.2, 7)[1])
    torch.manual_seed(2)
    assert ids(data.split(0.2, 7)[1]) == first
    assert ids(data.split(0.2, 8)[1]) != first


def test_the_keys_of_a_split_belong_to_the_rows():
    """More rows move the threshold, never the order: of the held-out sets one holds the other."""
    small, large = ({row for row in ids(with_counts([n]).split(0.5, 7)[1]) if row < 50} for n in (50, 60))
    assert small <= large or large <= small
    assert 20 <= len(large) <= 30


def test_split_of_a_split():
    train, held = vectors(40).split(0.25, 0)
    again, rest = train.split(0.5, 0)
    assert (len(train), len(held), len(again), len(rest)) == (30, 10, 15, 15)
    assert not {*first_column(again)} & {*first_column(rest), *first_column(held)}
    assert again.labels.tolist() == [value // 3 % 2 for value in first_column(again)]


def test_measured_units_come_from_the_training_part_alone():
    x = np.random.default_rng(0).normal(5, 3, (40, 2)).astype(np.float32)
    whole = Dataset.measured(x, None, "measured")
    train, held = whole.split(0.25, 0)
    assert whole.spec.shift == pytest.approx(x.mean(0))
    assert train.spec.shift == pytest.approx(train.raw().numpy().mean(0))
    assert train.spec.scale == pytest.approx(train.raw().numpy().std(0))
    assert held.spec == train.spec != whole.spec
    fixed = vectors().split(0.5, 0)
    assert fixed[0].spec == fixed[1].spec == REAL


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_bad_fraction(fraction):
    with pytest.raises(ValueError, match=r"`fraction`, the held-out share, must lie in \(0, 1\)"):
        vectors().split(fraction, 0)


def test_content_hash_sees_values_order_labels_shape_and_type_and_no_more():
    x = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)
    base = Dataset(x, [0, 1, 2], GREY, "one").content_hash()
    content = b"uint8 (3, 1, 2, 2) " + x.tobytes() + b"labels" + np.array([0, 1, 2], "<i8").tobytes()
    assert base == hashlib.sha256(content).hexdigest()
    assert Dataset(np.asfortranarray(x), np.array([0, 1, 2], np.int8), GREY, "two").content_hash() == base
    flat = Spec.bounded((4,), 0, 255, integer=True, classes=("a", "b", "c"))
    changed = x.copy()
    changed[2, 0, 1, 1] ^= 1
    others = [
        Dataset(changed, [0, 1, 2], GREY, "value"),
        Dataset(x[::-1], [0, 1, 2], GREY, "order"),
        Dataset(x, [0, 2, 1], GREY, "labels"),
        Dataset(x, None, GREY, "none"),
        Dataset(x.reshape(3, 4), [0, 1, 2], flat, "shape"),
        Dataset(x.astype(np.float32), [0, 1, 2], GREY, "type"),
    ]
    assert len({base, *(other.content_hash() for other in others)}) == 7


def test_content_hash_does_not_depend_on_the_block_size(monkeypatch):
    whole = vectors(50).content_hash()
    monkeypatch.setattr("undrift.data.dataset._BLOCK", 7)
    assert vectors(50).content_hash() == whole


@pytest.mark.parametrize("block", [2**22, 6])
def test_not_finite(block, monkeypatch):
    monkeypatch.setattr("undrift.data.dataset._BLOCK", block)
    x = np.zeros((10, 3), np.float32)
    x[7, 1], x[8, 0], x[9, 2] = np.nan, np.inf, -np.inf
    message = r"mine: 3 of 30 values are NaN or infinite in float32, the first is x\[7, 1\] = nan; correct"
    with pytest.raises(DataError, match=message):
        Dataset(x, None, REAL, "mine")
    with pytest.raises(DataError, match=message):
        Dataset.measured(x, None, "mine")


def test_out_of_range_and_not_whole():
    spec = Spec.bounded((1, 2, 2), 0, 16, integer=True)
    x = np.zeros((2, 1, 2, 2), np.uint8)
    x[1, 0, 1, 0] = 17
    with pytest.raises(DataError, match=r"1 of 8 values are outside 0\.\.16, the first is x\[1, 0, 1, 0\] = 17"):
        Dataset(x, None, spec, "mine")
    with pytest.raises(DataError, match=r"1 of 4 values are not whole numbers, the first is x\[0, 0, 0, 0\]"):
        Dataset(np.array([[[[0.5, 1], [2, 3]]]], np.float32), None, spec, "mine")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 3), np.complex64), "examples must be an array of numbers, not complex64"),
        ([[1.0, 2.0, 3.0]], "examples must be an array of numbers, not list"),
        (np.zeros(3, np.float32), r"expected 2 axes, \(N, 3\), but the array has 1, \(3,\)"),
        (np.zeros((1, 1, 3), np.float32), r"expected 2 axes, \(N, 3\), but the array has 3"),
        (np.zeros((0, 3), np.float32), r"there are no examples, the array has shape \(0, 3\)"),
        (np.zeros((4, 2), np.float32), r"examples have shape \(2,\), but the spec says \(3,\)"),
    ],
)
def test_wrong_array(x, message):
    with pytest.raises(DataError, match=message):
        Dataset(x, None, REAL, "mine")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "4 examples but 2 labels; give each one label"),
        ([0, 1, 2, 3], r"2 labels are not in 0\.\.1, the first is labels\[2\] = 2"),
        ([0, 1, 0, -1], r"1 labels are not in 0\.\.1, the first is labels\[3\] = -1"),
        ([0.0, 1.0, 0.0, 1.0], r"labels must be \(N,\) integers, not \(4,\) float64"),
        ([[0], [1], [0], [1]], r"labels must be \(N,\) integers, not \(4, 1\) int64"),
    ],
)
def test_wrong_labels(labels, message):
    with pytest.raises(DataError, match=message):
        Dataset(np.zeros((4, 3), np.float32), labels, REAL, "mine")


def test_labels_without_classes():
    with pytest.raises(DataError, match="there are labels, but the spec names no classes"):
        Dataset(np.zeros((1, 1), np.float32), [0], Spec((1,), None, None, False, 0.0, 1.0), "mine")
