"""Parquet, Hugging Face datasets and PyTorch datasets: real files where the packages are installed, the seams everywhere."""

import datetime
import io
import os
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from conftest import write_pictures
from undrift.data import array, from_torch, images
from undrift.error import BadFiles, DataError, OutputError


def png(value, size=(5, 4)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255 - value)).save(buffer, "PNG")
    return buffer.getvalue()


BROKEN = png(1)[:40]
ROWS = [png(10), png(20), png(30), png(40)]


def reds(data):
    return data.raw()[:, 0, 0, 0].tolist()


# --- a dataset of the package `datasets`, real or a stand-in with the few names that are used


class Image_:
    def __init__(self, decode=True):
        self.decode = decode


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Table:
    """Columns, as `datasets.Dataset` gives them."""

    cache_files = []

    def __init__(self, **columns):
        self.columns = columns

    def __len__(self):
        return len(self["image"])

    @property
    def features(self):
        return {"image": Image_(), "label": ClassLabel(["cat", "dog"])}

    def cast_column(self, column, kind):
        assert column == "image" and kind.decode is False
        return self

    def __getitem__(self, key):
        if isinstance(key, list):
            return {name: [values[i] for i in key] for name, values in self.columns.items()}
        return self.columns[key]


@pytest.fixture
def stand_in(monkeypatch):
    """The package, with the dataset that it loads and the calls to it."""
    package = types.ModuleType("datasets")
    table = Table(image=[{"bytes": row, "path": None} for row in ROWS], label=[1, 0, 0, 1])
    calls = []
    package.Image, package.ClassLabel = Image_, ClassLabel
    package.load_dataset = lambda name, config, split: calls.append((name, config, split)) or table
    package.load_from_disk = lambda place: calls.append(place) or {"train": table}
    package.table, package.calls = table, calls
    monkeypatch.setitem(sys.modules, "datasets", package)
    return package


def test_a_dataset_of_the_hub(stand_in):
    data = images("hf:owner/pets", size=[4, 5], config="small")
    assert stand_in.calls == [("owner/pets", "small", "train")]
    assert data.name == "owner/pets"
    assert reds(data) == [10, 20, 30, 40]
    assert data.spec.classes == ("cat", "dog")
    assert data.labels.tolist() == [1, 0, 0, 1]


def test_a_dataset_on_the_disk(stand_in, tmp_path):
    (tmp_path / "dataset_dict.json").touch()
    stand_in.table["image"][1] = {"bytes": None, "path": str(write_pictures(tmp_path, ["a.png"], (5, 4)) / "a.png")}
    stand_in.table["image"][2] = {"bytes": BROKEN, "path": "x.png"}
    stand_in.table["label"][3] = -1
    with pytest.raises(BadFiles) as caught:
        images(tmp_path, size=[4, 5])
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[1] == "train[3]: has no class: label is -1"
    assert lines[2].startswith("train[2]: is not a picture")
    data = images(tmp_path, size=[4, 5], skip_bad=True)
    assert data.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match=r'data.part "tran" is unknown — did you mean "train"'):
        images(tmp_path, part="tran")


def test_a_dataset_that_does_not_load(stand_in):
    def gone(*_, **__):
        raise ConnectionError("no route\nto host")

    stand_in.load_dataset = gone
    with pytest.raises(DataError, match=r"hf:a/b: cannot be loaded .no route.; check its name, data.part=train and the network"):
        images("hf:a/b")


@pytest.mark.parametrize(("place", "package", "extra"), [("hf:a/b", "datasets", "datasets"), ("x.parquet", "pyarrow", "parquet")])
def test_packages_that_are_missing(monkeypatch, tmp_path, place, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.parquet", None)
    (tmp_path / "x.parquet").touch()
    where = place if place.startswith("hf:") else str(tmp_path / place)
    with pytest.raises(DataError, match=rf"needs the package {package}; install it: pip install 'undrift\[{extra}\]'"):
        images(where)


def test_a_real_dataset_saved_to_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["dog", "cat"])})
    rows = {"picture": [{"bytes": row, "path": None} for row in ROWS], "kind": [0, 1, 1, 0]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": made, "test": made.select([2])}).save_to_disk(str(tmp_path / "two"))
    for place, options, want in [("one", {}, [10, 20, 30, 40]), ("two", {}, [10, 20, 30, 40]), ("two", {"part": "test"}, [30])]:
        data = images(tmp_path / place, size=[4, 5], **options)
        assert reds(data) == want
        assert data.spec.classes == ("dog", "cat")
    made.to_parquet(str(tmp_path / "three.parquet"))
    data = images(tmp_path / "three.parquet", size=[4, 5], label_column="kind")
    assert (reds(data), data.labels.tolist(), data.spec.classes) == ([10, 20, 30, 40], [0, 1, 1, 0], ("dog", "cat"))


# --- Parquet


@pytest.fixture
def parquet():
    pytest.importorskip("pyarrow")
    import pyarrow
    from pyarrow import parquet

    return lambda path, **columns: parquet.write_table(pyarrow.table(columns), path, row_group_size=2)


def test_pictures_in_parquet(parquet, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    parquet(folder / "b.parquet", image=ROWS[2:], label=["dog", "cat"])
    parquet(folder / "a.parquet", image=ROWS[:2], label=["cat", "cat"])
    data = images(folder, size=[4, 5])
    assert reds(data) == [10, 20, 30, 40]
    assert [data.spec.classes[i] for i in data.labels] == ["cat", "cat", "dog", "cat"]
    parquet(folder / "b.parquet", image=[ROWS[3], BROKEN, None], label=["dog", "cat", "cat"])
    with pytest.raises(BadFiles) as caught:
        images(folder, size=[4, 5])
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == ["b.parquet#1", "b.parquet#2"]
    assert reds(images(folder, size=[4, 5], skip_bad=True)) == [10, 20, 40]


@pytest.mark.parametrize(("columns", "options", "message"), [
    ({"a": [1, 2]}, {}, "no column holds pictures .bytes of files.; it has a. For numbers: undrift train array"),
    ({"image": ROWS[:2]}, {"image_column": "img"}, 'data.image_column "img" is unknown — did you mean "image"'),
    ({"image": ROWS[:2]}, {"label_column": "kind"}, 'data.label_column "kind" is unknown — known: image'),
    ({"image": ROWS[:0]}, {}, "(has no rows|no column holds)"),
])  # fmt: skip
def test_wrong_parquet(parquet, tmp_path, columns, options, message):
    parquet(tmp_path / "x.parquet", **columns)
    with pytest.raises(DataError, match=message):
        images(tmp_path / "x.parquet", **options)


def test_a_table_of_numbers(parquet, tmp_path):
    parquet(tmp_path / "t.parquet", a=[1, 2, 3], b=[0.5, 1.5, 2.5], label=["x", "y", "x"])
    data = array(tmp_path / "t.parquet")
    assert np.array_equal(data.raw().numpy(), np.array([[1, 0.5], [2, 1.5], [3, 2.5]], np.float32))
    assert (data.spec.classes, data.labels.tolist()) == (("x", "y"), [0, 1, 0])
    parquet(tmp_path / "l.parquet", series=[[1.0, 2.0], [3.0, 4.0]])
    assert array(tmp_path / "l.parquet", "sequences").spec.shape == (1, 2)


@pytest.mark.parametrize(("columns", "message"), [
    ({"a": ["x", "y"]}, 'column "a" holds text or categories: leave the column out, or make it the class of each row, data.label_column=a'),
    ({"a": [1.0, None]}, 'column "a" lacks 1 of 2 values'),
    ({"a": [[1.0], [1.0, 2.0]]}, "the lists have from 1 to 2 numbers"),
    ({"a": [["x"], ["y"]]}, "holds list<.*string>; give lists of numbers"),
])  # fmt: skip
def test_wrong_tables(parquet, tmp_path, columns, message):
    parquet(tmp_path / "t.parquet", **columns)
    with pytest.raises(DataError, match=message):
        array(tmp_path / "t.parquet")


def test_no_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match=r"is not a readable Parquet file"):
        images(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"no such file"):
        array(tmp_path / "y.parquet")


@pytest.mark.parametrize("read", [images, array])
def test_parquet_that_is_damaged_in_a_row(parquet, tmp_path, read):
    """The header of its first page, of which the end of the file, which is read first, knows nothing."""
    path = tmp_path / "x.parquet"
    parquet(path, **({"image": ROWS} if read is images else {"a": [1.0, 2.0, 3.0]}))
    path.write_bytes(path.read_bytes()[:4] + b"\xff" * 64 + path.read_bytes()[68:])
    with pytest.raises(DataError, match=r"x\.parquet: is not a readable Parquet file .*; write it again"):
        read(path)


# --- PyTorch


class Pictures:
    classes = ("zebra", "ant")

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return Image.new("RGB", (5, 4), (10 * i, 0, 0)), i % 2


def test_pytorch_pictures(tmp_path):
    data = from_torch(Pictures(), tmp_path / "p.npz")
    assert data.spec.shape == (3, 4, 5)
    assert reds(data) == [0, 10, 20]
    assert [data.spec.classes[i] for i in data.labels] == ["zebra", "ant", "zebra"]
    assert torch.equal(array(tmp_path / "p.npz", "channels_first").raw(), data.raw())


def test_pytorch_tensors(tmp_path):
    x = torch.randn(5, 2, 7, dtype=torch.float64)
    data = from_torch(TensorDataset(x), tmp_path / "t.npz")
    assert torch.equal(data.raw(), x) and data.raw().dtype == torch.float64
    assert data.labels is None
    data = from_torch(TensorDataset(x, torch.tensor([0, 2, 1, 0, 0])), tmp_path / "t.npz")
    assert data.spec.classes == ("0", "1", "2")


@pytest.mark.parametrize(("items", "message"), [
    ([], "the dataset is empty"),
    ([torch.zeros(2), torch.zeros(3)], r"dataset\[1\] is \(3,\) float32, but dataset\[0\] is \(2,\) float32"),
    ([torch.zeros(2, dtype=torch.complex64)], r"dataset\[0\] holds ndarray complex64; give numbers"),
    ([(torch.zeros(2), 0, 5)], r"dataset\[0\] has 3 parts; give x, or \(x, label\)"),
    ([{"x": 1}], r"dataset\[0\] holds dict object; give numbers"),
    ([torch.zeros(28, 28)], r"can be read in several ways; say which: data.axes=NHW"),
    ([torch.tensor(1.0)], r"dataset\[0\] is a single number"),
    ([(torch.zeros(2), 0), (torch.zeros(2), "a")], r"some labels are texts and some are integers; give one kind"),
    ([(torch.zeros(2), 0.5)], r"dataset\[0\] has the label 0.5; give integers"),
    ([(torch.zeros(2), 0), torch.zeros(2)], r"dataset\[1\] has no label, but others have"),
])  # fmt: skip
def test_wrong_pytorch(tmp_path, items, message):
    with pytest.raises(DataError, match=message):
        from_torch(items, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())  # nothing half-written


def test_wrong_files_for_pytorch(tmp_path):
    with pytest.raises(DataError, match=r"name a file that ends in .npz"):
        from_torch([torch.zeros(2)], tmp_path / "x.npy")
    with pytest.raises(OutputError, match=r"cannot be written"):
        from_torch([torch.zeros(2)], tmp_path / "no" / "x.npz")
    with pytest.raises(DataError, match=r"a label is 3, but there are 2 classes"):
        from_torch([(torch.zeros(2), 3)], tmp_path / "x.npz", classes=["a", "b"])


def pil(mode, values, **info):
    image = Image.fromarray(values) if mode not in ("LA", "P") else Image.fromarray(values).convert(mode)
    image.info.update(info)
    return image


DEEP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "PPM"])
def test_deep_pictures_keep_their_256_levels(tmp_path, mode):
    """Cut off at 8 bits, as they once were, they are black and white."""
    if mode == "PPM":
        content = b"P5\n16 16\n65535\n" + DEEP.astype(">u2").tobytes()
        image = Image.open(io.BytesIO(content))
    else:
        image = Image.frombytes(mode, (16, 16), DEEP.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    data = from_torch([(image, 0), (image, 1)], tmp_path / "x.npz")
    assert data.spec.shape == (1, 16, 16) and np.array_equal(data.raw()[0, 0].numpy(), np.arange(256).reshape(16, 16))


def test_numbers_in_pictures_are_numbers(tmp_path):
    """Modes I and F have no range: they are kept, as those of an array are."""
    for mode, kind in (("F", np.float32), ("I", np.int32)):
        values = np.random.default_rng(0).normal(0, 1000, (2, 16, 16)).astype(kind)
        data = from_torch([Image.fromarray(v, mode) for v in values], tmp_path / "x.npz")
        assert np.array_equal(data.raw()[:, 0].numpy(), values) and data.spec.low is None


def test_transparency_lies_on_white_and_pictures_stand_upright(tmp_path):
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[:2, :, 3] = 255
    for image in (Image.fromarray(clear), Image.fromarray(clear).convert("LA"), Image.fromarray(clear).convert("P")):
        found = from_torch([image], tmp_path / "x.npz").raw()[0]
        assert found[:, :2].max() == 0 and found[:, 2:].min() >= 250, image.mode
        assert from_torch([image], tmp_path / "x.npz", background="black").raw().max() == 0
    tall = Image.new("RGB", (6, 4))
    tall.getexif()[0x0112] = 6
    buffer = io.BytesIO()
    tall.save(buffer, "PNG", exif=tall.getexif())
    assert from_torch([Image.open(buffer)], tmp_path / "x.npz").spec.shape == (3, 6, 4)


@pytest.mark.parametrize(("item", "shape", "wanted"), [
    (torch.zeros(16, 16, 3, dtype=torch.uint8), None, (3, 16, 16)), (torch.zeros(28, 28, dtype=torch.uint8), None, (1, 28, 28)),
    (torch.zeros(3, 32, 32), None, (3, 32, 32)), ([0.1, 0.7], None, (2,)), ((0.1, 0.7, 0.2), "refused", None), (np.zeros(5), None, (5,)),
    (torch.zeros(4, dtype=torch.bfloat16), None, (4,)), (torch.zeros(4, dtype=torch.int16), None, (4,)), ((torch.zeros(4),), None, (4,)),
    ((torch.zeros(4), torch.tensor(1)), None, (4,)), ((torch.zeros(4), np.int64(1)), None, (4,)), ([torch.zeros(4), 1], None, (4,)),
])  # fmt: skip
def test_items_of_any_kind(tmp_path, item, shape, wanted, capsys):
    if shape == "refused":
        with pytest.raises(DataError, match=r"has 3 parts; give x, or \(x, label\)"):
            from_torch([item, item], tmp_path / "x.npz")
        return
    data = from_torch([item, item], tmp_path / "x.npz")
    assert data.spec.shape == wanted and len(data) == 2
    assert (data.labels is not None) == (isinstance(item, (tuple, list)) and len(item) == 2 and not isinstance(item[0], float))
    again = array(tmp_path / "x.npz", axes={1: "NC", 2: "NCL", 3: "NCHW"}[len(wanted)])
    assert again.content_hash() == data.content_hash()


def test_axes_of_items_may_be_named(tmp_path):
    items = [torch.randn(28, 28) for _ in range(3)]
    assert from_torch(items, tmp_path / "x.npz", axes="NHW").spec.shape == (1, 28, 28)
    assert from_torch(items, tmp_path / "x.npz", axes="NLC").spec.shape == (28, 28)
    assert torch.equal(from_torch(items, tmp_path / "x.npz", axes="NLC").raw()[1], items[1].T)


def test_a_dataset_without_length_is_refused_in_a_line(tmp_path):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([torch.zeros(2)])

    for dataset in (Endless(), iter([1]), 3, None):
        with pytest.raises(DataError, match="a dataset with a length and numbered examples is needed") as caught:
            from_torch(dataset, tmp_path / "x.npz")
        assert "\n" not in str(caught.value)


def test_labels_may_be_texts(tmp_path):
    data = from_torch([(torch.zeros(2), "dog"), (torch.ones(2), "cat"), (torch.ones(2), "dog")], tmp_path / "x.npz")
    assert data.spec.classes == ("cat", "dog") and data.labels.tolist() == [1, 0, 1]


# --- Parquet as pandas writes it


@pytest.mark.parametrize("change", [
    lambda df: df[df.a > 0], lambda df: df.sample(frac=1, random_state=0), lambda df: df.set_index(["id", "day"]), lambda df: df.set_index("id").drop(columns="day"),
    lambda df: df.drop(columns=["id", "day"]),
])  # fmt: skip
def test_the_index_of_a_frame_is_no_column(tmp_path, change, capsys, monkeypatch):
    monkeypatch.setattr("undrift.console._told", set())
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40), "id": np.arange(40), "day": np.arange(40) % 7})
    changed = change(frame)
    changed = changed.drop(columns=[c for c in ("id", "day") if c in changed.columns])
    changed.to_parquet(tmp_path / "t.parquet")
    data = array(tmp_path / "t.parquet")
    assert data.spec.shape == (2,) and np.array_equal(data.raw().numpy(), changed[["a", "b"]].to_numpy())
    told = capsys.readouterr().err
    assert ("the index of the frame that pandas wrote" in told) == (not isinstance(changed.index, pd.RangeIndex))


def test_a_column_that_is_taken_for_labels_is_told_and_can_be_declined(tmp_path, capsys, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("undrift.console._told", set())
    pq.write_table(pa.table({"x": np.arange(64.0), "y": np.arange(64)}), tmp_path / "t.parquet")
    assert len(array(tmp_path / "t.parquet").spec.classes) == 64
    assert 'column "y" is read as the class of each row, 64 in all; data.label_column=none makes' in capsys.readouterr().err
    data = array(tmp_path / "t.parquet", label_column="none")
    assert data.spec.shape == (2,) and data.labels is None and capsys.readouterr().err == ""
    pq.write_table(pa.table({"x": np.arange(64.0), "y": np.linspace(0, 1, 64)}), tmp_path / "t.parquet")
    assert array(tmp_path / "t.parquet").spec.shape == (2,)  # floats are a target and no classes
    with pytest.raises(DataError, match=r'data\.label_column "z" is unknown'):
        array(tmp_path / "t.parquet", label_column="z")


@pytest.mark.parametrize(("items", "classes", "message"), [
    ([(0.0, 0), (1.0, 1), (2.0, 2)], ["crane", "dog", "crane"], '"crane" is the name of several classes'),
    ([(0.0, "a"), (1.0, "a\0")], None, "has control characters"),
    ([(0.0, 0), (1.0, 1)], ["a", ""], "is empty"),
    ([(0.0, 0), (1.0, 1)], 3, "give a list of names"),
    ([(0.0, 0), (1.0, 1)], "ab", "give a list of names"),
    ([(float("nan"), 0), (1.0, 1)], None, "1 of 2 values are NaN"),
    ([(0.0, 5000), (1.0, 1)], None, "labels"),
])  # fmt: skip
def test_what_cannot_be_read_back_leaves_the_file_that_is_there(tmp_path, items, classes, message):
    path = tmp_path / "mine.npz"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match=message):
        from_torch([(torch.tensor([x]), label) for x, label in items], path, classes)
    assert path.read_bytes() == b"mine" and os.listdir(tmp_path) == ["mine.npz"]


def test_columns_of_one_name(tmp_path):
    pyarrow, written = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    a = pyarrow.array([1.0, 2.0])
    written.write_table(pyarrow.Table.from_arrays([a, a], ["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match='2 columns are called "a"; give each a name of its own'):
        array(tmp_path / "t.parquet")


def test_columns_that_are_no_numbers_are_all_named_with_the_way_out(parquet, tmp_path):
    parquet(tmp_path / "t.parquet", day=[datetime.datetime(2026, 1, 1)] * 2, colour=["red", "blue"], x=[1.0, 2.0])
    with pytest.raises(DataError, match=r'"day" holds dates or times .*; column "colour" holds text .*data.label_column=colour'):
        array(tmp_path / "t.parquet")


def test_an_index_without_pandas_own_notes_and_labels_with_fractions_are_told(parquet, tmp_path, capsys):
    parquet(tmp_path / "t.parquet", x=[1.0, 2.0], __index_level_0__=[5, 6], label=[0.0, 1.0])
    assert array(tmp_path / "t.parquet").spec.shape == (2,)
    said = " ".join(capsys.readouterr().err.split())
    assert "left out __index_level_0__" in said and 'column "label" holds numbers with fractions and is read as a column' in said


def test_lists_of_lists_keep_their_axes(parquet, tmp_path):
    parquet(tmp_path / "t.parquet", x=[np.arange(64.0).reshape(8, 8).tolist()] * 3)
    assert array(tmp_path / "t.parquet", axes="NHW").spec.shape == (1, 8, 8)


@pytest.mark.parametrize("made", ["dangling link", "pipe", "folder"])
def test_a_table_of_labels_that_cannot_be_read_is_not_passed_over(tmp_path, made):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    place = tmp_path / "labels.csv"
    if made == "dangling link":
        place.symlink_to(tmp_path / "missing.csv")
    elif made == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(DataError, match=r"labels.csv: (cannot be read|no such file)"):
        images(tmp_path, cache=str(tmp_path / ".cache"))


def test_a_column_of_labels_without_a_table(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    with pytest.raises(DataError, match=r"data.label_column=species, but no table of labels is read here"):
        images(tmp_path, label_column="species", cache=str(tmp_path / ".cache"))
