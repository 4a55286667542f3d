"""Folders of pictures: labels, bad files, the cache, random views with addresses."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import write_pictures
from undrift.data import images, store
from undrift.data.augment import Augment
from undrift.data.images import Images
from undrift.error import BadFiles, DataError, OutputError
from undrift.noise import Noise

CLASSES = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(4)]


@pytest.fixture
def decoded(monkeypatch):
    """The items that were decoded, in order."""
    import undrift.data.store as module

    seen, decode = [], module.decode
    monkeypatch.setattr(module, "decode", lambda item, policy: seen.append(item) or decode(item, policy))
    return seen


@pytest.fixture
def mine(tmp_path):
    return write_pictures(tmp_path / "mine", CLASSES)


def table(folder, text, name="labels.csv"):
    (folder / name).write_text(text)
    return folder


def test_a_folder_of_classes(mine):
    data = images(mine, size=[8, 12])
    assert isinstance(data, Images)
    assert data.spec.shape == (3, 8, 12)
    assert data.spec.classes == ("cat", "dog")
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    with Image.open(mine / "dog/1.png") as image:
        middle = (0, 16 / 2 - 20 * 8 / 12 / 2, 20, 16 / 2 + 20 * 8 / 12 / 2)  # as wide as it is, 2/3 as tall as wide
        want = np.asarray(image.resize((12, 8), Image.Resampling.LANCZOS, box=middle)).astype(int)
    assert np.abs(data.raw(torch.tensor([5]))[0].numpy().transpose(1, 2, 0) - want).max() <= 1


def test_pictures_as_they_are(tmp_path):
    folder = write_pictures(tmp_path / "same", ["b.png", "a.png"], size=(9, 7))
    data = images(folder, size=(7, 9))
    for row, name in enumerate(["a.png", "b.png"]):  # in the order of their names
        with Image.open(folder / name) as image:
            assert np.array_equal(data.raw(torch.tensor([row]))[0].numpy(), np.asarray(image).transpose(2, 0, 1))
    assert data.labels is None and data.spec.classes == ()


@pytest.mark.parametrize(("names", "labels", "want"), [
    (["one/a.png", "one/b.png"], "auto", None),
    (CLASSES, "none", None),
    (["x/c9/a.png", "x/c10/b.png", "y/a.png"], "auto", ("x", "y")),
    (["9/a.png", "10/a.png", "2/a.png"], "auto", ("2", "9", "10")),
    (["train/a.png", "test/b.png"], "folders", ("test", "train")),
])  # fmt: skip
def test_classes_by_folder(tmp_path, names, labels, want):
    data = images(write_pictures(tmp_path, names), size=4, labels=labels)
    assert data.spec.classes == (want or ())


def test_parts_are_no_classes(tmp_path):
    with pytest.raises(DataError, match=r"test and train look like parts of a data set rather than classes; give one of them"):
        images(write_pictures(tmp_path, ["train/a.png", "test/b.png"]), size=4)


@pytest.mark.parametrize("text", [
    "file,label\na.png,dog\nsub/b.png,cat\n",
    "a.png,dog\nsub/b.png,cat\n",
    "\ufefflabel;id\ndog;a\ncat;b\n",
    "filename\tsplit\tclass\na.png\tx\tdog\nb.png\ty\tcat\n",
])  # fmt: skip
def test_tables(tmp_path, text):
    folder = table(write_pictures(tmp_path / "mine", ["a.png", "sub/b.png"]), text)
    data = images(folder, size=4)
    assert [data.spec.classes[i] for i in data.labels] == ["dog", "cat"]
    assert data.spec.classes == ("cat", "dog")


def test_a_table_elsewhere_and_the_order_of_classes(tmp_path):
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png"])
    path = tmp_path / "kinds.csv"
    path.write_text("a.png,1\nb.png,0\n")
    assert images(folder, size=4, labels=str(path)).labels.tolist() == [1, 0]
    assert images(folder, size=4, labels=str(path), classes=[1, 0, 7]).labels.tolist() == [0, 1]


def test_everything_wrong_is_listed_once(tmp_path):
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.jpg", "x/a.png", "y.png", "z.png"])
    (folder / "c.jpg").write_bytes((folder / "c.jpg").read_bytes()[:-200])
    (folder / "d.png").touch()
    (folder / "e.heic").write_bytes(b"...")
    table(folder, "a.png,cat\nb.png,dog\nb.png,cat\nno.png,cat\nc.jpg,cat\nx/a.png,\ny,cat\ny.png,cat\n")
    with pytest.raises(BadFiles) as caught:
        images(folder, size=4)
    first, *lines = str(caught.value).splitlines()
    assert first == f"8 things are wrong with {folder}; mend them, or go on without with --skip-bad:"
    assert [line.strip() for line in lines] == [
        "e.heic: is of a kind that is not read here (.heic); save it as PNG or JPEG",
        'labels.csv line 3: "b.png" was named before, on line 2',
        'labels.csv line 4: "no.png" is not in the folder',
        'labels.csv line 6: "x/a.png" has no class',
        'labels.csv line 8: "y.png" was named before, on line 7',
        "z.png: has no class in labels.csv",
        "c.jpg: is damaged or cut short (Truncated File Read)",
        "d.png: is empty (0 bytes)",
    ]
    with pytest.raises(BadFiles) as again:  # from the manifest
        images(folder, size=4)
    assert str(again.value) == str(caught.value)


def test_going_on_without_bad_files(tmp_path, capsys):
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.png"])
    table(folder, "a.png,cat\nb.png,dog\nb.png,cat\nc.png,dog\n")
    (folder / "d.png").write_text("no picture")
    data = images(folder, size=4, skip_bad=True)
    assert [data.spec.classes[i] for i in data.labels] == ["cat", "dog"]  # b.png has two classes: neither
    assert np.array_equal(
        data.raw().numpy(), images(folder, size=4, labels="none", skip_bad=True).raw(torch.tensor([0, 2])).numpy()
    )
    assert f"2 things are wrong with {folder}: going on with 2 of 4 pictures; the list is in" in capsys.readouterr().err


def test_nothing_left(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(BadFiles, match=r"1 thing is wrong with .*, and no picture is left:\n  a.png: is empty"):
        images(tmp_path, size=4, skip_bad=True)


@pytest.mark.parametrize(("make", "message"), [
    (lambda p: None, "no pictures in this folder, it is empty; give one that holds .jpg"),
    (lambda p: [(p / f"{i}.txt").touch() for i in range(3)], r"no pictures in this folder, its 3 files are of other kinds \(.txt\)"),
])  # fmt: skip
def test_folders_without_pictures(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        images(tmp_path)


def test_wrong_places(tmp_path):
    with pytest.raises(DataError, match=r"does not exist; give a folder of pictures"):
        images(tmp_path / "gone")
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"is an array; train on it with: undrift train array --data-dir"):
        images(tmp_path / "x.npy")
    (tmp_path / "x.tar").touch()
    with pytest.raises(DataError, match=r"is a single file; give a folder of pictures .unpack archives first"):
        images(tmp_path / "x.tar")


def test_more_classes_than_allowed(tmp_path):
    folder = write_pictures(tmp_path, [f"{i}/a.png" for i in range(5)])
    with pytest.raises(DataError, match=r"5 classes for 5 pictures, more than data.max_classes=4 \(0, 1, 2, ...\); if these are"):
        images(folder, size=4, max_classes=4)


def test_classes_that_are_not_allowed(mine):
    with pytest.raises(BadFiles, match=r'dog/0.png: class "dog" is not one of data.classes — did you mean "dogs"'):
        images(mine, size=4, classes=["cat", "dogs"])


@pytest.mark.parametrize(("options", "message"), [
    ({"size": 0}, "data.size=0: give a side in pixels"),
    ({"size": [3]}, r"data.size=\[3\]: give a side"),
    ({"size": "big"}, "data.size=big"),
    ({"flip": "sideways"}, 'data.flip "sideways" is unknown'),
    ({"random_crop": -1}, "data.random_crop=-1: give a number of pixels from 0 up"),
    ({"labels": "tables"}, 'data.labels "tables" is unknown'),
    ({"labels": "my.csv"}, "my.csv: no such file"),
    ({"labels": "none", "classes": ["a"]}, "data.classes are given, but the pictures have no labels"),
])  # fmt: skip
def test_wrong_options(mine, options, message):
    with pytest.raises(DataError, match=message):
        images(mine, **options)


def test_other_files_and_hidden_ones(mine, capsys):
    (mine / "notes.txt").touch()
    (mine / ".hidden.png").touch()
    assert len(images(mine, size=4)) == 8
    assert "1 other file passed over (notes.txt)" in capsys.readouterr().err


def test_links_in_a_circle(mine):
    (mine / "cat" / "again").symlink_to(mine)
    assert len(images(mine, size=4, labels="none")) == 8


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_pipes_and_devices_are_not_waited_for(mine):
    os.mkfifo(mine / "cat" / "pipe.png")
    os.symlink(os.devnull, mine / "cat" / "device.png")
    with pytest.raises(
        BadFiles,
        match=r"(?s)cat/device.png: cannot be read \(it is a pipe or a device.*cat/pipe.png: cannot be read \(it is a pipe",
    ):
        images(mine, size=4)


def test_copies_are_named(mine, capsys):
    (mine / "dog/9.png").write_bytes((mine / "cat/0.png").read_bytes())
    images(mine, size=4)
    assert "1 are exact copies of others, which may be held out" in capsys.readouterr().err


# --- the cache


def test_a_second_start_decodes_nothing(mine, decoded):
    first = images(mine, size=4)
    assert len(decoded) == 8
    second = images(mine, size=4)
    assert len(decoded) == 8
    assert torch.equal(first.raw(), second.raw())
    assert first.content_hash() == second.content_hash()
    base = second._x
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap) and base.mode == "r"


def test_changes_are_noticed_and_only_they_are_decoded(mine, decoded, capsys):
    before = images(mine, size=4)
    write_pictures(mine, ["dog/1.png", "dog/new.png"], seed=7)
    (mine / "cat/0.png").unlink()
    decoded.clear()
    after = images(mine, size=4)
    assert [p.name for p in decoded] == ["1.png", "new.png"]
    assert "is not as it was: 1 new, 1 changed, 1 removed" in capsys.readouterr().err
    assert torch.equal(after.raw()[:4], before.raw()[1:5])
    assert not torch.equal(after.raw()[4], before.raw()[5])
    assert after.content_hash() != before.content_hash()
    fresh = images(mine, size=4, cache=str(mine.parent / "other"))
    assert torch.equal(fresh.raw(), after.raw())
    assert fresh.content_hash() == after.content_hash()


def test_a_touched_file_is_the_same_data(mine, decoded):
    before = images(mine, size=4).content_hash()
    os.utime(mine / "cat/0.png", ns=(1, 1))
    decoded.clear()
    assert images(mine, size=4).content_hash() == before
    assert len(decoded) == 1


def test_another_policy_is_another_map(mine, decoded):
    images(mine, size=4)
    images(mine, size=4, fit="stretch")
    assert len(decoded) == 16
    images(mine, size=4, labels="none")  # not a matter of pixels
    assert len(decoded) == 16


@pytest.mark.parametrize("damage", ["manifest", "cut", "gone"])
def test_a_damaged_cache_is_made_again(mine, tmp_path, damage):
    cache = tmp_path / "cache"
    before = images(mine, size=4, cache=str(cache)).raw()
    pixels, manifest = next(cache.glob("*/pixels-*.npy")), next(cache.glob("*/manifest.json"))
    if damage == "manifest":
        manifest.write_text(manifest.read_text()[:-9])
    elif damage == "cut":
        pixels.write_bytes(pixels.read_bytes()[:-9])
    else:
        pixels.unlink()
    assert torch.equal(images(mine, size=4, cache=str(cache)).raw(), before)
    assert len(list(cache.glob("*/pixels-*.npy"))) == 1


def test_an_interrupted_decoding_leaves_what_was_there(mine, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    images(mine, size=4, cache=str(cache))
    before = sorted(p.name for p in cache.glob("*/*"))
    write_pictures(mine, ["dog/new.png"])
    monkeypatch.setattr(store, "decode", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        images(mine, size=4, cache=str(cache))
    assert sorted(p.name for p in cache.glob("*/*")) == before


def test_a_start_that_was_killed_leaves_nothing_for_long(mine, tmp_path):
    cache = tmp_path / "cache"
    images(mine, size=4, cache=str(cache))
    left = next(cache.glob("mine-*")) / ".pixels-0.npy.1.tmp"
    left.touch()
    write_pictures(mine, ["dog/new.png"])
    images(mine, size=4, cache=str(cache))
    assert not left.exists()


def test_several_at_once_decode_once(mine, decoded):
    """As several processes of one run: the lock is on a file, and holds between threads too."""
    with ThreadPoolExecutor(3) as pool:
        hashes = {made.content_hash() for made in pool.map(lambda _: images(mine, size=4), range(3))}
    assert len(hashes) == 1
    assert len(decoded) == 8


def test_names_that_are_no_text(tmp_path):
    write_pictures(tmp_path, ["a.png"])
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/\xff.png")
    open(os.fsencode(tmp_path) + b"/\xfe.png", "w").close()
    assert len(images(tmp_path, size=4, skip_bad=True)) == 1


def test_a_cache_that_cannot_be_written(mine, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written .*; name another folder with data.cache=DIR"):
        images(mine, size=4, cache=str(tmp_path / "file"))
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(OutputError, match=r"8 pictures of .3, 4, 4. take .* GiB, but .* GiB are free"):
        images(mine, size=4, cache=str(tmp_path / "full"))


def test_the_manifest(mine, tmp_path):
    images(mine, size=4, cache=str(tmp_path / "cache"))
    facts = json.loads(next((tmp_path / "cache").glob("mine-*/manifest.json")).read_text())
    assert facts["policy"] == {"height": 4, "width": 4, "fit": "crop", "channels": 3, "background": "white"}
    name, size, changed, content, pixels, remark = facts["pictures"][0]
    status = (mine / "cat/0.png").stat()
    assert (name, size, changed, remark) == ("cat/0.png", status.st_size, status.st_mtime_ns, "")
    assert len(content) == len(pixels) == 32


def test_threads_change_nothing(tmp_path):
    folder = write_pictures(tmp_path / "many", [f"{i:03d}.png" for i in range(100)])
    one, three = (images(folder, size=4, workers=n, cache=str(tmp_path / str(n))) for n in (1, 3))
    assert torch.equal(one.raw(), three.raw())
    assert one.content_hash() == three.content_hash()


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("UNDRIFT_CACHE", "there")
    assert store.cache_folder("here").name == "here"
    assert store.cache_folder().name == "there"
    monkeypatch.delenv("UNDRIFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / "undrift"


# --- random views


def test_views_have_addresses(mine):
    data = images(mine, size=[6, 8], random_crop=4, flip="both")
    assert data.spec.shape == (3, 6, 8)
    rows, noise = torch.tensor([3, 1, 3]), Noise(range(3)).fold("step", 5)
    one, again, later = (
        data.batch(rows, noise)[0],
        data.batch(rows, noise)[0],
        data.batch(rows, Noise(range(3)).fold("step", 6))[0],
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, later)
    assert torch.equal(data.batch(rows[1:], noise[1:])[0], one[1:])  # whoever else is in the batch
    assert torch.equal(data.batch(rows)[0], data.batch(rows)[0])  # without noise nothing is random


def test_every_view_is_a_window_of_the_picture_and_all_are_seen():
    x = torch.arange(2 * 5 * 6).view(1, 2, 5, 6).repeat(400, 1, 1, 1)
    augment = Augment("both", 2)
    seen = {tuple(v.flatten().tolist()) for v in augment(x, Noise(range(400)))}
    windows = [x[0, :, i : i + 3, j : j + 4].flip(d) for i in range(3) for j in range(3) for d in ((), (1,), (2,), (1, 2))]
    assert seen == {tuple(w.flatten().tolist()) for w in windows}  # one of 36 is missed by 400 with p < 36 (35/36)^400 = 5e-4
    assert torch.equal(augment(x, None)[0], x[0, :, 1:4, 1:5])


@pytest.mark.parametrize(("flip", "axis"), [(True, 3), ("horizontal", 3), ("vertical", 2)])
def test_half_are_mirrored(flip, axis):
    x = torch.rand(500, 1, 3, 4)
    y = Augment.of(flip, 0)(x, Noise(range(500)))
    mirrored = (y == x.flip(axis)).flatten(1).all(1)
    assert ((y == x).flatten(1).all(1) ^ mirrored).all()
    assert 190 < mirrored.sum() < 310  # 60 is 5.4 standard deviations


def test_no_views_asked_for():
    assert Augment.of(False, 0) is None


def test_parts_keep_their_hashes_and_views(mine):
    data = images(mine, size=4, flip=True)
    train, held_out = data.split(0.25, 0)
    assert (len(train), len(held_out)) == (6, 2)
    assert train.augment == data.augment
    assert train.content_hash() != held_out.content_hash()
    assert set(train.labels) == set(held_out.labels) == {0, 1}


# --- a cache that is not what was decoded


def inverted(path):
    x = np.load(path, mmap_mode="r+")
    x[3] = 255 - x[3]
    x.flush()


def zero_tail(path):
    raw = path.read_bytes()
    path.write_bytes(raw[:-40] + bytes(40))


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("damage", [inverted, zero_tail, cut])
def test_a_damaged_cache_is_decoded_again(mine, tmp_path, damage, decoded, capsys):
    cache = tmp_path / "cache"
    first = images(mine, size=4, cache=str(cache))
    whole, before = first.raw(), first.content_hash()
    decoded.clear()
    damage(next(cache.glob("mine-*/pixels-*.npy")))
    again = images(mine, size=4, cache=str(cache))
    assert torch.equal(again.raw(), whole) and again.content_hash() == before
    assert len(decoded) == (8 if damage is cut else 1)
    assert damage is cut or "1 pictures are not there as they were decoded" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [inverted, zero_tail])
def test_a_large_cache_is_compared_as_it_is_read(mine, tmp_path, damage, monkeypatch):
    """No picture is trained on before it was found to be what was decoded; the next start decodes it again."""
    cache = tmp_path / "cache"
    whole = images(mine, size=4, cache=str(cache)).raw()
    monkeypatch.setattr(store, "_AT_ONCE", 0)
    damage(next(cache.glob("mine-*/pixels-*.npy")))
    data = images(mine, size=4, cache=str(cache))
    assert torch.equal(data.raw(torch.tensor([0, 1])), whole[:2])
    with pytest.raises(
        DataError, match=r"the cache is damaged, (cat/3|dog/3)\.png is not there as it was decoded; .*run the same command"
    ):
        data.raw()
    assert torch.equal(images(mine, size=4, cache=str(cache)).raw(), whole)


@pytest.mark.parametrize("change", [
    lambda m, f: m.update(map="../../precious.npy"), lambda m, f: m.update(map=str(f / "precious.npy")), lambda m, f: m.update(map="precious.npy"),
    lambda m, f: m.update(map=3), lambda m, f: m.update(pictures=[[1, 2]]), lambda m, f: m.update(pictures=None), lambda m, f: m.update(format=9),
    lambda m, f: m["pictures"][0].__setitem__(1, "x"), lambda m, f: m.clear(),
])  # fmt: skip
def test_a_manifest_is_not_believed(mine, tmp_path, change):
    cache = tmp_path / "cache"
    whole = images(mine, size=4, cache=str(cache)).raw()
    path = next(cache.glob("mine-*/manifest.json"))
    np.save(path.parent / "precious.npy", np.zeros((8, 3, 4, 4), np.uint8))
    np.save(tmp_path / "precious.npy", np.zeros((8, 3, 4, 4), np.uint8))
    manifest = json.loads(path.read_text())
    change(manifest, path.parent)
    path.write_text(json.dumps(manifest))
    assert torch.equal(images(mine, size=4, cache=str(cache)).raw(), whole)


@pytest.mark.parametrize("name", ["manifest.json", "bad_files.txt"])
def test_links_in_a_cache_are_not_followed(mine, tmp_path, name):
    cache = tmp_path / "cache"
    whole = images(mine, size=4, cache=str(cache)).raw()
    path = next(cache.glob("mine-*")) / name
    (tmp_path / "target").write_text("precious")
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "target")
    write_pictures(mine, ["dog/new.png"])
    (mine / "dog" / "broken.png").write_bytes(b"no picture")
    data = images(mine, size=4, cache=str(cache), skip_bad=True)
    assert len(data) == 9 and torch.equal(data.raw()[:8], whole)
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize("name", ["manifest.json", "map"])
def test_pipes_in_a_cache_are_not_waited_for(mine, tmp_path, name):
    cache = tmp_path / "cache"
    whole = images(mine, size=4, cache=str(cache)).raw()
    folder = next(cache.glob("mine-*"))
    path = folder / name if name != "map" else next(folder.glob("pixels-*.npy"))
    path.unlink()
    os.mkfifo(path)
    if name == "manifest.json":
        with pytest.raises(OutputError, match="a pipe or a device stands there"):
            images(mine, size=4, cache=str(cache))
    else:
        assert torch.equal(images(mine, size=4, cache=str(cache)).raw(), whole)


def test_links_in_a_circle_are_bad_files_and_can_be_skipped(mine):
    (mine / "cat" / "loop").symlink_to("loop")
    (mine / "cat" / "up").symlink_to("..")
    with pytest.raises(BadFiles, match="cat/loop: is a link that leads nowhere"):
        images(mine, size=4)
    assert len(images(mine, size=4, skip_bad=True)) == 8


def test_names_forge_no_line_in_the_list_of_bad_files(mine, capsys):
    (mine / "cat" / "x\nundrift: all is well.png").write_bytes(b"")
    (mine / "cat" / "y\x1b[2J.png").write_bytes(b"")
    with pytest.raises(BadFiles) as caught:
        images(mine, size=4)
    assert str(caught.value).count("\n") == 2 and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(("variable", "value", "message"), [
    ("UNDRIFT_CACHE", "~nosuchuser/x", "names no folder of a user; name a folder with data.cache=DIR or UNDRIFT_CACHE"),
    ("HOME", None, "there is no home folder to keep decoded pictures in"),
])  # fmt: skip
def test_no_home_is_said(mine, monkeypatch, variable, value, message):
    for name in ("UNDRIFT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if value is None:
        from pathlib import Path

        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory.")))
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(OutputError, match=message):
        images(mine, size=4)


def test_a_large_picture_of_16_bits_takes_little_more_than_its_size(tmp_path):
    """Of 9,400 x 9,400 pixels, in a process that may have 1.5 GB: once it took 2.4."""
    code = (
        "import resource, sys, numpy as np; from undrift.data.decode import Policy, decode; from pathlib import Path\n"
        "import torch; used = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 900 * 2**20,) * 2)\n"
        "found = decode(Path(sys.argv[1]), Policy(8, 8)); print(found.remark, found.pixels is not None)"
    )
    Image.fromarray(np.zeros((9400, 9400), np.uint16)).save(tmp_path / "x.png", compress_level=1)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.png")], capture_output=True, text=True)
    assert done.stdout.strip().endswith("True"), done.stdout + done.stderr
