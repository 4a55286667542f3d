"""MNIST from its four IDX files, and how to fetch them."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from undrift.data.dataset import Dataset
from undrift.data.idx import read_idx
from undrift.data.spec import Spec
from undrift.error import DataError, OutputError, nearest
from undrift.storage import Named, read_bytes, reason, write_bytes

__all__ = ["FILES", "MIRRORS", "download_mnist", "mnist"]

SPLITS = {"train": "train", "test": "t10k"}

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# Name of each file, then the SHA-256 and the length of what it holds. Not of the .gz itself, whose bytes
# depend on who compressed it: copies of MNIST differ there and are all good.
FILES: Mapping[str, tuple[str, int]] = {
    "train-images-idx3-ubyte.gz": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        47_040_016,
    ),
    "train-labels-idx1-ubyte.gz": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        60_008,
    ),
    "t10k-images-idx3-ubyte.gz": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        7_840_016,
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        10_008,
    ),
}


def mnist(data_dir: str | Path, split: str = "train", labels: bool = True) -> Dataset:
    """Handwritten digits of 28 x 28 pixels: 60,000 for training, 10,000 for testing.

    Args:
        data_dir: Folder with the IDX files under their usual names, `train-images-idx3-ubyte` and so on, with
            `.gz` or without, `-idx3` or `.idx3`.
        split: "train" or "test".
        labels: False: the pictures alone, for a model that knows of no classes.

    Returns:
        x: (N, 1, H, W) uint8 in 0..255, background 0; classes "0" to "9".

    Raises:
        DataError: A file is missing (the names looked for are listed) or damaged, there are more images than
            labels or fewer, or `split` is neither of the two.

    Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition".
    """
    if split not in SPLITS:
        raise DataError(f'mnist: split "{split}" is unknown{nearest(split, SPLITS)}')
    folder = Path(data_dir)
    images = _find(folder, f"{SPLITS[split]}-images", 3)
    named = _find(folder, f"{SPLITS[split]}-labels", 1)
    x, y = read_idx(images, 3), read_idx(named, 1)
    if len(x) != len(y):
        raise DataError(
            f"{folder}: {images.name} has {len(x):,} images but {named.name} has {len(y):,} labels; "
            "take both from one copy of MNIST"
        )
    classes = [str(i) for i in range(10)] if labels else []
    spec = Spec.bounded((1, *x.shape[1:]), 0, 255, integer=True, classes=classes)
    return Dataset(x[:, None], y if labels else None, spec, f"mnist {split}")


def download_mnist(
    data_dir: str | Path,
    *,
    mirrors: Sequence[str] = MIRRORS,
    files: Mapping[str, tuple[str, int]] = FILES,
    timeout: float = 30.0,
) -> Path:
    """Fetch the four files of MNIST, about 11 MB, checking what each one holds.

    A file that is there and right is left alone; one that is there and wrong is replaced. Each file appears
    whole or not at all.

    Args:
        data_dir: Folder to put them in, made if need be.
        mirrors: Addresses that end in "/", tried in turn for each file.
        files: For each file its name and the SHA-256 and length in bytes of its content after decompression.
        timeout: Seconds without an answer after which a mirror is given up.

    Returns:
        The folder.

    Raises:
        DataError: No mirror gave a right copy of some file; each mirror's reason is given.
        OutputError: The folder or a file cannot be written.
    """
    folder = Path(data_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (sha256, size) in files.items():
            if not _holds(folder / name, sha256, size):
                write_bytes(Named(folder / name), _fetch(name, files, mirrors, timeout, folder))
    except OSError as error:
        raise OutputError(f"mnist: cannot write to {folder} ({reason(error)}); choose another folder") from error
    return folder


def _find(folder: Path, stem: str, axes: int) -> Path:
    names = [f"{stem}{dash}idx{axes}-ubyte{end}" for dash in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():  # some archives hold folders of these names
            return folder / name
    where = "" if folder.is_dir() else ", which is not a folder"
    raise DataError(
        f"mnist: no file {', '.join(names[:-1])} or {names[-1]} in {folder}{where}; give the folder with the "
        'four IDX files of MNIST, or fetch them with undrift.data.download_mnist("DIR")'
    )


def _fetch(name: str, files: Mapping[str, tuple[str, int]], mirrors: Sequence[str], timeout: float, folder: Path) -> bytes:
    sha256, size = files[name]
    failures = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + name, timeout=timeout) as reply:
                found: bytes = reply.read(size + 2**16)  # a gzip file is never much longer than what it holds
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(f"{mirror} failed ({getattr(error, 'reason', None) or error})")
            continue
        if _is_content(found, sha256, size):
            return found
        failures.append(f"{mirror} sent something else ({len(found):,} bytes, wrong checksum)")
    raise DataError(
        f"mnist: could not download {name}: {'; '.join(failures)}; "
        f"check the network, or copy {', '.join(files)} to {folder} by hand"
    )


def _is_content(packed: bytes, sha256: str, size: int) -> bool:
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(size + 1)
    except (OSError, EOFError, zlib.error):
        return False
    return len(content) == size and hashlib.sha256(content).hexdigest() == sha256


def _holds(path: Path, sha256: str, size: int) -> bool:
    return path.is_file() and _is_content(read_bytes(path, size + 2**16, own=False), sha256, size)
