"""Arrays from files: layouts, units, labels, and nothing that executes."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from undrift.data.array import array
from undrift.data.spec import Spec
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
    assert np.array_equal(data.raw().numpy(), x)
    assert data.spec.low is None
    assert data.raw().dtype == data.spec.dtype == torch.from_numpy(np.empty(0, np.dtype(kind).newbyteorder("="))).dtype


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
        (np.zeros((3, 2), complex), "the values are complex128; save numbers"),
        (np.zeros((3, 2), "M8[s]"), r"the values are datetime64\[s\]; save numbers"),
        (np.array([["a"], ["b"]]), "the values are <U1; save numbers"),
        (
            np.zeros(3, np.float32),
            r"the array has shape \(3,\).*for 3 examples of one number save x\[:, None\], of shape \(3, 1\)",
        ),
        (np.float32(1), r"the array has shape \(\); save"),
        (np.zeros((0, 2), np.float32), r"there are no examples, the array has shape \(0, 2\)"),
        (np.zeros((0, 2, 2), np.uint8), r"there are no examples, the array has shape \(0, 2, 2\)"),
        (
            np.array([[1.0, np.nan], [np.inf, 0.0]]),
            r"2 of 4 values are NaN or infinite .* is x\[0, 1\] = nan",
        ),
        (np.array([[1.0], [1e308]]), r"the values go from 1 to 1e\+308, too far to be standardised; scale them"),
        (np.array([[0], [2**62]]), r"the whole numbers go from 0 to 4,611,686,018,427,387,904, too far for 64 bits"),
        (np.array([[0], [2**63]], np.uint64), r"the whole numbers go from 0 to 9,223,372,036,854,775,808, too far"),
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
    with pytest.raises(DataError, match=r"cannot be read \(it is a folder\)"):
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


# --- numbers keep their digits until they are standardised


FAR = {
    "unix seconds": ("f8", lambda r: 1.7e9 + r.uniform(0, 60, 200)),
    "julian days": ("f8", lambda r: 2_460_000.5 + r.uniform(0, 1, 200)),
    "UTM northings": ("f8", lambda r: 5e6 + r.uniform(0, 1, 200)),
    "milliseconds": ("i8", lambda r: 1_700_000_000_000 + r.permutation(200) * 7),
    "nanoseconds": ("i8", lambda r: 1_700_000_000_000_000_000 + r.permutation(200)),
    "counts": ("u8", lambda r: 2**62 + r.permutation(200)),
    "small integers": ("i2", lambda r: r.permutation(200) - 100),
    "16-bit values": ("u2", lambda r: 60_000 + r.permutation(200)),
    "big-endian": (">f8", lambda r: 1.7e9 + r.uniform(0, 60, 200)),
    "half": ("f2", lambda r: r.normal(0, 1, 200)),
}


@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet"])
@pytest.mark.parametrize("name", FAR)
def test_distinct_values_stay_distinct_and_come_back_in_their_own_type(tmp_path, name, suffix):
    """Rounded to float32 first, as they once were, 200 times of a minute of 2023 are one."""
    kind, make = FAR[name]
    column = make(np.random.default_rng(0)).astype(kind)
    x = np.stack([column, column[::-1]], 1)
    path = tmp_path / f"x.{suffix}"
    if suffix == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        native = x.astype(x.dtype.newbyteorder("="))
        pq.write_table(pa.table({"a": native[:, 0], "b": native[:, 1]}), path)
    elif suffix == "npz":
        np.savez(path, x=x)
    else:
        np.save(path, x)
    data = array(path)
    y, _ = data.batch(torch.arange(200))
    assert y.dtype == torch.float32 and len(y[:, 0].unique()) == len(np.unique(column))
    assert y.mean(0).abs().max() < 0.01 and (y.std(0, correction=0) - 1).abs().max() < 1e-2
    back = data.spec.from_model(y).numpy()
    assert back.dtype == x.dtype.newbyteorder("=")
    if x.dtype.kind in "iu":
        assert np.array_equal(back, x)
    else:
        np.testing.assert_allclose(
            back, x, rtol=0, atol=2e-6 * float(np.ptp(column.astype(float))) + np.spacing(np.abs(column).max())
        )
    train, held_out = data.split(0.25, 0)  # measured again on the training part
    assert train.spec == held_out.spec and train.spec.types == data.spec.types
    assert len(train.content_hash()) == 64 and train.content_hash() != held_out.content_hash()


def test_bools_and_bytes_are_bounded(tmp_path):
    data = array(npy(tmp_path, RNG.random((9, 4)) < 0.5))
    assert (data.spec.low, data.spec.high, data.spec.dtype) == (0, 1, torch.bool)
    y, _ = data.batch(torch.arange(9))
    assert set(y.unique().tolist()) == {-1.0, 1.0} and torch.equal(data.spec.from_model(y), data.raw())


def test_types_of_columns_side_by_side(tmp_path):
    """Whole numbers come back whole, in a type that holds all columns."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {
        "age": np.arange(50, dtype="i2"),
        "when": 1_700_000_000_000 + np.arange(50),
        "dose": RNG.normal(size=50),
        "yes": RNG.random(50) < 0.5,
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    data = array(tmp_path / "t.parquet")
    assert data.spec.types == ("int16", "int64", "float64", "bool") and not data.spec.integer
    y, _ = data.batch(torch.arange(50))
    back = data.spec.from_model(y).numpy()
    assert back.dtype == np.float64
    for i, values in enumerate(columns.values()):
        if i != 2:
            assert np.array_equal(back[:, i], values.astype(float))
    assert np.array_equal(back[:, :2], np.rint(back[:, :2]))
    assert Spec.from_json(data.spec.to_json()) == data.spec
    noisy = data.spec.from_model(10 * torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))).numpy()
    assert noisy[:, 0].min() >= -(2**15) and noisy[:, 0].max() < 2**15 and set(noisy[:, 3]) == {0.0, 1.0}


def test_whole_numbers_that_would_lose_digits_beside_floats(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(
        pa.table({"ns": [1_700_000_000_000_000_001, 1_700_000_000_000_000_002], "x": [0.1, 0.2]}), tmp_path / "t.parquet"
    )
    with pytest.raises(DataError, match=r'column "ns" has whole numbers beyond 2\^53'):
        array(tmp_path / "t.parquet")


@pytest.mark.parametrize("make", [
    lambda x: x.T.copy().T, lambda x: np.asfortranarray(x), lambda x: np.repeat(x, 2, 0)[::2], lambda x: x[::-1][::-1], lambda x: x,
])  # fmt: skip
@pytest.mark.parametrize("kind", ["?", "u1", "i1", "u2", ">i2", "u4", "i4", "i8", ">i8", "f2", "f4", ">f4", "f8", ">f8", "g"])
def test_every_type_and_layout_of_memory(tmp_path, kind, make):
    x = make((np.random.default_rng(1).random((12, 5)) * 90).astype(kind))
    data, again = array(npy(tmp_path, x)), array(npz(tmp_path, x=x))
    assert data.content_hash() == again.content_hash()
    assert np.array_equal(data.raw().numpy().astype(float), x.astype(float))
    back = data.spec.from_model(data.batch(torch.arange(12))[0]).numpy()
    assert back.dtype == (np.float64 if kind == "g" else x.dtype.newbyteorder("="))
    np.testing.assert_allclose(back.astype(float), x.astype(float), rtol=2e-3 if kind == "f2" else 1e-5, atol=1e-4)


# --- what other files are, and how much memory a file may take


@pytest.mark.parametrize(("name", "content", "message"), [
    ("x.csv", b"a,b\n1,2\n", r"is a table of text; read it once and write it as Parquet: pandas\.read_csv"),
    ("x.pkl", pickle.dumps([1]), "is a pickle, which could run code and is never loaded"),
    ("x.h5", b"\x89HDF\r\n\x1a\n", "is of a format that is not read here"),
    ("x.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", "holds weights; for examples give"),
    ("x.bin", b"what", r"is neither \.npy nor \.npz; write it with numpy\.save"),
])  # fmt: skip
def test_other_files_are_named_with_the_way_out(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        array(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_torch_saved_is_a_pickle_and_not_a_damaged_archive(tmp_path):
    torch.save(torch.zeros(3, 2), tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt: is a pickle, which could run code and is never loaded; .*numpy\.save"):
        array(tmp_path / "x.pt")
    (tmp_path / "x.pt").rename(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz: is a pickle"):
        array(tmp_path / "x.npz")


def test_a_few_compressed_bytes_do_not_become_all_memory(tmp_path):
    """4 GiB of zeros in 4 MB, without making them: the header says it, and the ratio."""
    path = tmp_path / "zeros.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (2**10, 2**19)})
        for _ in range(2**9):
            member.write(bytes(2**20))
    with pytest.raises(DataError, match=r"would unpack to 0\.5 GiB.*write it without compression"):
        array(path)


def test_a_header_that_claims_more_than_its_member_has(tmp_path):
    path = tmp_path / "claims.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**16)})
        member.write(bytes(64))
    with pytest.raises(DataError, match="its header claims an array of shape"):
        array(path)


@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet"])
def test_pipes_and_devices_are_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"x.{suffix}")
    with pytest.raises(DataError, match=r"pipe or a device"):
        array(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize(
    "change", [(b"(50, 3)", b"(True,3"), (b"'descr'", b"'descr "), (b"(50, 3)", b"[50, 3]"), (b"{", b"\x00")]
)
def test_a_header_that_is_no_header(tmp_path, change):
    """Python's own parser of the header raises errors of several kinds."""
    content = io.BytesIO()
    np.save(content, np.zeros((50, 3)))
    (tmp_path / "x.npy").write_bytes(content.getvalue().replace(*change))
    with pytest.raises(DataError, match=r"x.npy: the file is damaged"):
        array(tmp_path / "x.npy")
