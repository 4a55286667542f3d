"""MNIST from files, and the download from a mirror on this machine."""

import functools
import gzip
import hashlib
import os
import struct
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from undrift.data.mnist import FILES, download_mnist, mnist
from undrift.error import DataError, OutputError

NAMES = list(FILES)


def idx(x):
    return struct.pack(f">I{x.ndim}I", 0x800 + x.ndim, *x.shape) + x.astype(np.uint8).tobytes()


def tiny(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


CONTENT = dict(zip(NAMES, [idx(x) for split in (tiny(7, 0), tiny(4, 1)) for x in split], strict=True))
TABLE = {name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in CONTENT.items()}


def fill(folder, rename=lambda name: name, pack=gzip.compress):
    for name, content in CONTENT.items():
        (folder / rename(name)).write_bytes(pack(content))
    return folder


@pytest.mark.parametrize(
    ("rename", "pack"),
    [
        (lambda name: name, gzip.compress),
        (lambda name: name.removesuffix(".gz"), bytes),
        (lambda name: name.replace("-idx", ".idx"), gzip.compress),
        (lambda name: name.replace("-idx", ".idx").removesuffix(".gz"), bytes),
    ],
)
def test_reads_both_splits_under_all_names(tmp_path, rename, pack):
    fill(tmp_path, rename, pack)
    for split, (x, y) in {"train": tiny(7, 0), "test": tiny(4, 1)}.items():
        data = mnist(tmp_path, split)
        assert np.array_equal(data.raw().numpy()[:, 0], x)
        assert np.array_equal(data.labels, y)
        assert data.spec.shape == (1, 28, 28)
        assert (data.spec.low, data.spec.high, data.spec.classes) == (0, 255, tuple("0123456789"))


def test_pictures_alone(tmp_path):
    data = mnist(fill(tmp_path), labels=False)
    assert data.labels is None and data.spec.classes == ()
    assert np.array_equal(data.raw().numpy()[:, 0], tiny(7, 0)[0])


def test_the_training_split_is_the_default(tmp_path):
    assert len(mnist(str(fill(tmp_path)))) == 7


def test_a_folder_with_the_name_of_a_file_is_passed_over(tmp_path):
    fill(tmp_path, lambda name: name.replace("-idx", ".idx").removesuffix(".gz"), bytes)
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    assert len(mnist(tmp_path)) == 7


def test_missing_file_lists_the_names_and_says_how_to_get_it(tmp_path):
    fill(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert len(mnist(tmp_path, "train")) == 7
    with pytest.raises(
        DataError,
        match=r"no file t10k-labels-idx1-ubyte\.gz, t10k-labels-idx1-ubyte, t10k-labels\.idx1-ubyte\.gz or "
        r"t10k-labels\.idx1-ubyte in .*; give the folder .* or fetch them with undrift\.data\.download_mnist",
    ):
        mnist(tmp_path, "test")
    with pytest.raises(DataError, match="nowhere, which is not a folder; give the folder"):
        mnist(tmp_path / "nowhere")


def test_images_and_labels_that_do_not_match(tmp_path):
    fill(tmp_path)
    (tmp_path / NAMES[1]).write_bytes(CONTENT[NAMES[3]])
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz has 7 images but train-.* has 4 labels; take"):
        mnist(tmp_path)


def test_swapped_files_and_labels_that_are_no_digits(tmp_path):
    fill(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(CONTENT[NAMES[1]])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: wrong magic .* of labels"):
        mnist(tmp_path)
    fill(tmp_path)
    (tmp_path / NAMES[1]).write_bytes(idx(np.array([0, 1, 2, 3, 4, 5, 10])))
    with pytest.raises(DataError, match=r"mnist train: 1 labels are not in 0\.\.9, .* labels\[6\] = 10"):
        mnist(tmp_path)


def test_unknown_split(tmp_path):
    with pytest.raises(DataError, match=r'mnist: split "trian" is unknown — did you mean "train"\?'):
        mnist(tmp_path, "trian")


@pytest.fixture
def mirror(tmp_path):
    """An HTTP mirror of the tiny files: (its folder, its address, the paths asked for)."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield fill(folder), f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_download_from_http_is_readable_and_leaves_nothing_else(tmp_path, mirror):
    _, address, asked = mirror
    there = download_mnist(tmp_path / "a" / "b", mirrors=[address], files=TABLE)
    assert sorted(path.name for path in there.iterdir()) == sorted(NAMES)
    assert np.array_equal(mnist(there, "test").raw().numpy()[:, 0], tiny(4, 1)[0])
    assert len(asked) == 4


def test_download_keeps_what_is_right_and_replaces_what_is_wrong(tmp_path, mirror):
    _, address, asked = mirror
    there = tmp_path / "data"
    there.mkdir()
    fill(there, pack=functools.partial(gzip.compress, compresslevel=1))  # other bytes, same content
    kept = (there / NAMES[0]).read_bytes()
    (there / NAMES[1]).write_bytes(gzip.compress(CONTENT[NAMES[1]])[:-9])
    download_mnist(there, mirrors=[address], files=TABLE)
    assert asked == [f"/{NAMES[1]}"]
    assert (there / NAMES[0]).read_bytes() == kept
    assert gzip.decompress((there / NAMES[1]).read_bytes()) == CONTENT[NAMES[1]]


def test_download_goes_on_to_the_next_mirror(tmp_path, mirror):
    folder, address, _ = mirror
    bad = tmp_path / "bad"
    bad.mkdir()
    fill(bad, pack=lambda content: gzip.compress(content[:-1] + bytes([content[-1] ^ 1])))
    addresses = [f"{(tmp_path / 'empty').as_uri()}/", f"{bad.as_uri()}/", address]
    there = download_mnist(tmp_path / "data", mirrors=addresses, files=TABLE)
    for name in NAMES:
        assert (there / name).read_bytes() == (folder / name).read_bytes()


def test_download_refuses_other_content_and_writes_nothing(tmp_path, mirror):
    folder, address, _ = mirror
    (folder / NAMES[0]).write_bytes(b"<html>please log in</html>")
    (folder / NAMES[1]).unlink()
    there = tmp_path / "data"
    with pytest.raises(DataError, match=r"could not download train-images.*127.*something else \(26 bytes, wrong checksum\)"):
        download_mnist(there, mirrors=[address], files=TABLE)
    assert list(there.iterdir()) == []
    (folder / NAMES[0]).write_bytes(gzip.compress(CONTENT[NAMES[0]]))
    with pytest.raises(DataError, match=r"could not download train-labels.*failed \(.*[Nn]ot found"):
        download_mnist(there, mirrors=[address], files=TABLE)
    assert [path.name for path in there.iterdir()] == [NAMES[0]]


def test_download_without_network_is_one_line(tmp_path, mirror):
    dead = "http://127.0.0.1:9/"  # the discard port: nobody listens
    with pytest.raises(DataError, match=r"could not download .*:9/ failed \(.*refused\); check the network, or copy ") as caught:
        download_mnist(tmp_path / "data", mirrors=[dead], files=TABLE)
    assert "\n" not in str(caught.value)


def test_download_to_where_nothing_can_be_written(tmp_path, mirror):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"mnist: cannot write to .*file \(File exists\); choose"):
        download_mnist(tmp_path / "file", mirrors=[mirror[1]], files=TABLE)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, mirror, monkeypatch, step):
    there = tmp_path / "data"
    there.mkdir()
    (there / NAMES[0]).write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OutputError, match="No space left on device"):
        download_mnist(there, mirrors=[mirror[1]], files=TABLE)
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {NAMES[0]: b"old"}


@pytest.mark.skipif("UNDRIFT_MNIST" not in os.environ, reason="UNDRIFT_MNIST names no folder with MNIST")
def test_the_real_files():
    folder = Path(os.environ["UNDRIFT_MNIST"])
    train, test = mnist(folder, "train"), mnist(folder, "test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert train.raw().float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)
    x0, _ = test.batch(torch.arange(1000))
    assert torch.equal(test.spec.from_model(x0), test.raw(torch.arange(1000)))
    dead = "http://127.0.0.1:9/"
    if all((folder / name).is_file() for name in FILES):  # their content has the checksums of the table
        assert download_mnist(folder, mirrors=[dead]) == folder
