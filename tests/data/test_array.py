"""Arrays from files: layouts, units, labels, and nothing that executes."""

import pickle
import zipfile

import numpy as np
import pytest
import torch

from undrift.data.array import array
from undrift.error import DataError

RNG = np.random.default_rng(0)


def npy(folder, x):
    np.save(folder / "my.npy", x)
    return folder / "my.npy"


def npz(folder, **members):
    np.savez(folder / "my.npz", **members)
    return folder / "my.npz"


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "layout", "axes"),
    [
        ((6, 5), "auto", (0, 1)),
        ((6, 5, 4), "auto", (0, None, 1, 2)),
        ((6, 8, 7, 3), "auto", (0, 3, 1, 2)),
        ((6, 8, 7, 1), "auto", (0, 3, 1, 2)),
        ((6, 8, 7, 4), "auto", (0, 3, 1, 2)),
        ((6, 3, 8, 7), "auto", (0, 1, 2, 3)),
        ((6, 2, 8, 8), "auto", (0, 1, 2, 3)),
        ((6, 3, 8, 4), "channels_first", (0, 1, 2, 3)),
        ((6, 8, 7, 2), "channels_last", (0, 3, 1, 2)),
        ((6, 2, 3, 4, 5), "auto", (0, 1, 2, 3, 4)),
    ],
)
def test_layouts_of_bytes(tmp_path, shape, layout, axes):
    x = pixels(*shape)
    data = array(npy(tmp_path, x), layout)
    want = x[:, None] if None in axes else x.transpose(axes)
    assert data.raw().dtype == torch.uint8
    assert np.array_equal(data.raw().numpy(), want)
    assert (data.spec.low, data.spec.high, data.spec.integer) == (0, 255, True)
    assert data.spec.shape == want.shape[1:]


def test_bytes_are_memory_mapped(tmp_path):
    x = array(npy(tmp_path, pixels(6, 8, 8, 3)))._x
    while x.base is not None and not isinstance(x, np.memmap):
        x = x.base
    assert isinstance(x, np.memmap)
    assert x.mode == "r"
    assert isinstance(array(npy(tmp_path, np.zeros((2, 3), np.float32)))._x, np.memmap)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "f2", "f8"])
def test_float_vectors_are_standardised_by_column(tmp_path, kind):
    x = RNG.normal([10, -5], [3, 0.5], (200, 2)).astype(kind)
    data = array(npy(tmp_path, x))
    x0, labels = data.batch(torch.arange(200))
    assert labels is None
    assert x0.mean(0).abs().max() < 1e-5
    assert (x0.std(0, correction=0) - 1).abs().max() < 1e-5
    assert np.array_equal(data.raw().numpy(), x.astype(np.float32))
    assert data.spec.low is None
    assert data.spec.dtype == torch.float32


def test_float_grids_share_their_units(tmp_path):
    x = RNG.normal(3, 2, (50, 2, 4, 4)).astype(np.float32)
    spec = array(npy(tmp_path, x)).spec
    assert spec.shape == (2, 4, 4)
    assert spec.shift == pytest.approx(x.mean(), abs=1e-5)
    assert spec.scale == pytest.approx(x.std(), abs=1e-5)


@pytest.mark.parametrize("key", ["labels", "y"])
def test_npz_with_labels(tmp_path, key):
    data = array(npz(tmp_path, x=pixels(5, 2, 2), **{key: np.array([0, 2, 1, 2, 0], np.uint8)}))
    assert data.labels.tolist() == [0, 2, 1, 2, 0]
    assert data.spec.classes == ("0", "1", "2")


def test_npz_without_labels_and_with_names(tmp_path):
    x = RNG.normal(size=(4, 2))
    assert array(npz(tmp_path, x=x)).labels is None
    data = array(npz(tmp_path, x=x, labels=np.array(["dog", "cat", "dog", "eel"])))
    assert data.spec.classes == ("cat", "dog", "eel")
    assert data.labels.tolist() == [1, 0, 1, 2]


class Bomb:
    def __reduce__(self):
        return (RuntimeError, ("code was executed",))


@pytest.mark.parametrize("save", ["npy", "npz", "labels"])
def test_objects_are_never_loaded(tmp_path, save):
    bombs = np.array([Bomb(), Bomb()], dtype=object)
    if save == "npy":
        path = tmp_path / "my.npy"
        np.save(path, bombs, allow_pickle=True)
    else:
        path = npz(tmp_path, **({"x": bombs} if save == "npz" else {"x": np.zeros((2, 1)), "labels": bombs}))
    with pytest.raises(DataError, match="holds Python objects, which could run code and are never loaded"):
        array(path)


def test_a_pickle_is_no_array(tmp_path):
    path = tmp_path / "my.npy"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"my\.npy: is neither \.npy nor \.npz; write it with numpy\.save"):
        array(path)


@pytest.mark.parametrize("keep", [8, 60, 500, -1])
def test_cut_short(tmp_path, keep):
    path = npy(tmp_path, np.zeros((100, 3), np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"my\.npy: the file is damaged or cut short \(.*\); write it again"):
        array(path)


@pytest.mark.parametrize("keep", [30, 700, -1])
def test_npz_cut_short(tmp_path, keep):
    path = npz(tmp_path, x=np.zeros((100, 3), np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"my\.npz: the file is damaged or cut short \(.*\); write it again"):
        array(path)


def test_npz_with_a_flipped_bit_or_a_member_that_is_no_array(tmp_path):
    path = npz(tmp_path, x=np.zeros((100, 3), np.float32))
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"the file is damaged .*CRC"):
        array(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"plain bytes")
    with pytest.raises(DataError, match=r"the file is damaged .*a member is not an array"):
        array(path)


@pytest.mark.parametrize(("old", "new"), [(b"(100, 3)", b"(100,-3)"), (b"'<f4'", b"'<zz'"), (b"(100, 3), }  ", b"(9999999,3),}")])
def test_a_header_that_lies(tmp_path, old, new):
    path = npy(tmp_path, np.zeros((100, 3), np.float32))
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(DataError, match=r"my\.npy: the file is damaged or cut short"):
        array(path)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 2), np.int64), "the values are int64; save them as uint8"),
        (np.zeros((3, 2), np.uint16), "the values are uint16; save them as uint8"),
        (np.zeros((3, 2), bool), "the values are bool; save them as uint8"),
        (np.zeros((3, 2), complex), "the values are complex128; save them"),
        (np.array([["a"], ["b"]]), "the values are <U1; save them"),
        (np.zeros(3, np.float32), r"the array has shape \(3,\); save \(N, ...\), the first axis"),
        (np.float32(1), r"the array has shape \(\); save"),
        (np.zeros((0, 2), np.float32), r"there are no examples, the array has shape \(0, 2\)"),
        (np.zeros((0, 2, 2), np.uint8), r"there are no examples, the array has shape \(0, 2, 2\)"),
        (
            np.array([[1.0, np.nan], [np.inf, 0.0]]),
            r"2 of 4 values are NaN or infinite .* is x\[0, 1\] = nan",
        ),
        (np.array([[1.0], [1e39]]), r"1 of 2 values are NaN or infinite .* is x\[1, 0\] = inf"),
    ],
)
def test_wrong_values(tmp_path, x, message):
    with pytest.raises(DataError, match=rf"my\.npy: {message}"):
        array(npy(tmp_path, x))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "2 labels; give each one label"),
        ([0.0, 1.0, 2.0], r"labels must be one axis of integers or of .* \(3,\) float64"),
        ([[0], [1], [2]], r"labels must be one axis .* \(3, 1\) int64"),
        (["a", "", "b"], r"labels must be one axis .* non-empty strings"),
        ([0, -1, 1], r"labels\[1\] = -1; integer labels count the classes from 0"),
        ([0, 1, 10**9], r"labels\[2\] = 1000000000; integer labels count the classes from 0"),
    ],
)
def test_wrong_labels(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        array(npz(tmp_path, x=np.zeros((3, 2)), labels=np.array(labels)))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"X": np.zeros((3, 2))}, "has no array `x`; it has X"),
        (
            {"x": np.zeros((3, 2)), "label": np.zeros(3)},
            r'array `label` is unknown — did you mean "labels"\?',
        ),
        (
            {"x": np.zeros((3, 2)), "y": np.zeros(3), "labels": np.zeros(3)},
            "has both `labels` and `y`; keep one",
        ),
    ],
)
def test_wrong_members(tmp_path, members, message):
    with pytest.raises(DataError, match=message):
        array(npz(tmp_path, **members))


def test_missing_folder_and_unknown_layout(tmp_path):
    with pytest.raises(DataError, match=r"none\.npy: no such file; give a \.npy or \.npz file"):
        array(tmp_path / "none.npy")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        array(tmp_path)
    with pytest.raises(DataError, match=r'layout "channel_last" is unknown — did you mean "channels_last"\?'):
        array(npy(tmp_path, pixels(2, 2, 2)), "channel_last")


# --- what the examples are, and files larger than memory


@pytest.mark.parametrize(
    ("shape", "layout", "want"),
    [
        ((6, 9), "sequences", (1, 9)),
        ((6, 2, 9), "sequences", (2, 9)),
        ((6, 2, 9), "auto", (2, 9)),
        ((6, 8, 9), "images", (1, 8, 9)),
        ((6, 8, 9, 3), "images", (3, 8, 9)),
        ((6, 3, 8, 9), "images", (3, 8, 9)),
        ((6, 8, 9, 2), "channels_last", (2, 8, 9)),
        ((6, 5, 8, 9), "volumes", (1, 5, 8, 9)),
        ((6, 2, 5, 8, 9), "volumes", (2, 5, 8, 9)),
        ((6, 5, 8, 9, 2), "channels_last", (2, 5, 8, 9)),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_what_the_examples_are(tmp_path, shape, layout, want, kind):
    if kind == np.uint8 and (shape, layout) == ((6, 2, 9), "auto"):
        want = (1, 2, 9)  # three axes of bytes are grey images
    x = RNG.integers(0, 256, shape).astype(kind)
    data = array(npy(tmp_path, x), layout)
    assert data.spec.shape == want
    assert data.raw().double().sum() == x.sum(dtype=np.float64)


def test_axes_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match=r"data.layout=volumes wants 4 axes, or 5 with channels, not \(6, 9\)"):
        array(npy(tmp_path, pixels(6, 9)), "volumes")


def test_mirrored_in_training(tmp_path):
    data = array(npy(tmp_path, pixels(6, 8, 7, 3)), flip=True)
    assert data.augment is not None
    with pytest.raises(DataError, match=r"data.flip and data.random_crop are for pictures, but these data have shape \(5,\)"):
        array(npy(tmp_path, pixels(6, 5)), flip=True)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_npz_is_memory_mapped(tmp_path, order):
    x = np.asarray(RNG.normal(size=(500, 3, 600)).astype(np.float32), order=order)
    path = npz(tmp_path, labels=np.arange(500) % 3, x=x)
    data = array(path)
    base = data._x
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert np.array_equal(data.raw().numpy(), x)
    assert data.labels.tolist() == [i % 3 for i in range(500)]
    np.savez_compressed(tmp_path / "small.npz", x=x)
    assert np.array_equal(array(tmp_path / "small.npz").raw().numpy(), x)


def test_a_large_npz_with_a_flipped_bit(tmp_path):
    path = npz(tmp_path, x=np.zeros((500, 3, 600), np.float32))
    content = bytearray(path.read_bytes())
    content[2_000_000] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"the file is damaged .*CRC"):
        array(path)
