"""Your own arrays, from `.npy`, `.npz` and `.parquet` files. Nothing in a file is ever executed."""

from __future__ import annotations

import errno
import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.console import tell
from undrift.data.augment import Augment
from undrift.data.axes import read_axes, reading_of
from undrift.data.dataset import Dataset
from undrift.data.labels import check_class
from undrift.data.table import read_table
from undrift.error import DataError, nearest, short
from undrift.storage import open_file, reason, unpacked

__all__ = ["array"]

_LARGE = 2**20  # bytes, from which an array in an .npz is mapped rather than read
LAYOUTS = ("auto", "channels_first", "channels_last", "images", "sequences", "volumes")
_AXES = {"sequences": 1, "images": 2, "volumes": 3}  # of one example, besides the channels

# What people give besides, and what makes an array of it.
_OTHERS = {
    (
        ".pt",
        ".pth",
        ".ckpt",
        ".pkl",
        ".pickle",
        ".joblib",
    ): "is a pickle, which could run code and is never loaded; where you trust "
    "it, load it yourself and save its numbers: numpy.save('x.npy', x.numpy())",
    (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".json", ".jsonl"): "is a table of text; read it once and write it as Parquet: "
    "pandas.read_csv(...).to_parquet('x.parquet')",
    (".h5", ".hdf5", ".mat", ".nc", ".zarr", ".fits", ".tfrecord", ".feather", ".arrow"): "is of a format that is not read here; "
    "load it with its own library and save its numbers: numpy.save('x.npy', x)",
    (".safetensors",): "holds weights; for examples give a .npy, .npz or .parquet file",
}

# What NumPy and zipfile raise on a file that is broken, encrypted, or claims an impossible size.
_DAMAGE = (
    ValueError,
    TypeError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,  # of NumPy's reader of headers
    OverflowError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def array(
    path: str | Path,
    layout: str = "auto",
    flip: bool | str = False,
    label_column: str | None = None,
    axes: str | None = None,
) -> Dataset:
    """Examples from a file: `.npy` with the examples, `.npz` with `x` and, if wanted, `labels` (or `y`), or a `.parquet` table.

    The type of the numbers says what they are. uint8 are values in 0..255, and bool those in 0..1, seen by the model in [-1, 1];
    all other numbers have no bounds and are standardised in double precision: vectors (N, D) by column, anything of more axes as a
    whole. Samples come back in the type of the data, whole numbers as whole numbers.

    How the axes are read is guessed where it is not said (`undrift.data.axes`), and told on the error stream; an array that can be
    read in two ways is refused.

    A `.npy`, and an `.npz` that is not compressed, are memory-mapped: they may be larger than memory, and must not change while in
    use. Integer labels count from 0 and classes are named "0", "1", ...; labels that are strings are the names themselves, numbered
    in alphabetical order. Of a table every column of numbers is a column of the vectors (one column of lists of one length: the
    examples); a column named label, class or the like is the labels.

    Args:
        path: The file.
        layout: Where the channels are: "channels_first" or "channels_last". Or what the examples are, so that those without
            an axis for channels get one: "sequences" (N, L), "images" (N, H, W), "volumes" (N, D, H, W).
        flip: Whether training sees mirrored pictures: true is "horizontal", or "vertical", "both". See `Augment`.
        label_column: Of a table, where it is not found by itself; "none": no column is one of labels.
        axes: What each axis is, such as "NHWC" or "NLC"; see `undrift.data.axes`.

    Returns:
        x: (N, *D) in the type of the file, the channels first.

    Raises:
        DataError: The file is missing, damaged or not of these formats, needs pickle (object arrays), has
            no numbers, NaN or infinities (how many and the first place), no examples, axes that can be read in two ways, or wrong
            labels.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise DataError(f'array: layout "{layout}" is unknown{nearest(layout, LAYOUTS)}')
    if axes is not None and layout != "auto":
        raise DataError(f"array: data.axes={axes} and data.layout={layout} both say what the axes are; give one of them")
    augment = Augment.of(flip, 0)
    types: tuple[str, ...] | None = None
    if path.suffix.lower() == ".parquet":
        x, labels, types = read_table(path, label_column)
    elif label_column is not None:
        raise DataError(f"{path}: data.label_column is of .parquet tables; an .npz has its labels as `labels`")
    else:
        x, labels = read_numbers(path)
    check_numbers(x, str(path))
    numbers, classes = (None, ()) if labels is None else named_labels(labels, len(x), path)
    x = _laid_out(x, layout, axes, path)
    return Dataset.of_numbers(x, numbers, path.name, classes, augment, types)


def check_numbers(x: NDArray[Any], where: str) -> None:
    """Refuse an array that holds no examples.

    Raises:
        DataError: other values than numbers, fewer than two axes, no examples.
    """
    if x.dtype.kind not in "bfiu":
        raise DataError(f"{where}: the values are {x.dtype}; save numbers: floats, whole numbers, or uint8 for 0..255")
    if x.ndim == 1 and len(x):
        raise DataError(
            f"{where}: the array has shape {x.shape}; the first axis counts examples and each needs an axis of its own: for "
            f"{len(x):,} examples of one number save x[:, None], of shape ({len(x)}, 1); for one example x[None], of shape (1, {len(x)})"
        )
    if x.ndim < 2:
        raise DataError(f"{where}: the array has shape {x.shape}; save (N, ...), the first axis counting examples")
    if x.size == 0:
        raise DataError(f"{where}: there are no examples, the array has shape {x.shape}; give at least one")


def read_numbers(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The array of a `.npy`, or `x` and the labels of a `.npz`, as they are. Raises DataError."""
    try:
        with open_file(path, own=False) as file:
            start = file.read(6)
        if start == b"\x93NUMPY":
            return np.load(path, mmap_mode="r", allow_pickle=False), None
        if start[:4] in (b"PK\x03\x04", b"PK\x05\x06") and not _is_pickle(path):
            with np.load(path, allow_pickle=False) as members:
                found, labels = _npz(path, members)
            return found, labels
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give a .npy or .npz file") from error
    except OSError as error:
        cure = "" if error.errno in (errno.EFBIG, errno.ENOMEM) else "; give a .npy or .npz file"
        raise DataError(f"{path}: cannot be read ({reason(error)}){cure}") from error
    except _DAMAGE as error:
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            raise DataError(
                f"{path}: holds Python objects, which could run code and are never loaded; "
                "save plain numbers, as in x.astype('float32')"
            ) from error
        raise DataError(f"{path}: the file is damaged or cut short ({short(reason(error), 200)}); write it again") from error
    suffix = path.suffix.lower()
    what = next((said for suffixes, said in _OTHERS.items() if suffix in suffixes), None)
    if what is None and start[:4] == b"PK\x03\x04":
        what = next(iter(_OTHERS.values()))
    raise DataError(f"{path}: {what or 'is neither .npy nor .npz; write it with numpy.save or numpy.savez'}")


def _is_pickle(path: Path) -> bool:
    """Whether an archive is one that torch.save wrote."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") or name == "data.pkl" for name in archive.namelist())


def _npz(path: Path, members: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    names = list(members.files)
    if "x" not in names:
        raise DataError(f"{path}: has no array `x`; it has {', '.join(names) or 'nothing'}")
    if "labels" in names and "y" in names:
        raise DataError(f"{path}: has both `labels` and `y`; keep one")
    unknown = [name for name in names if name not in ("x", "labels", "y")]
    if unknown:
        raise DataError(f"{path}: array `{unknown[0]}` is unknown{nearest(unknown[0], ('x', 'labels', 'y'))}")
    key = next((name for name in ("labels", "y") if name in names), None)
    for name in ("x", key):
        if name is not None:
            _check_member(path, members, name)
    found = _mapped(path, members), None if key is None else members[key]
    if not all(part is None or isinstance(part, np.ndarray) for part in found):
        raise ValueError("a member is not an array")
    return found


def _check_member(path: Path, members: Any, name: str) -> None:
    """Whether an array of an archive may be taken into memory. Raises NotAFile."""
    info = members.zip.NameToInfo.get(f"{name}.npy")
    if info is None:
        return
    if info.compress_type != zipfile.ZIP_STORED or name != "x" or info.file_size < _LARGE:
        unpacked(path, info.compress_size, info.file_size)
        with members.zip.open(info) as file:  # the header may claim more than the member has, and NumPy would believe it
            shape, _, dtype = _header(file)
            if not dtype.hasobject and math.prod(shape) * dtype.itemsize > info.file_size:
                raise ValueError(f"its header claims an array of shape {shape}, which it does not hold")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array, from its beginning."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    return found


def _mapped(path: Path, members: Any) -> Any:
    """`x`, memory-mapped where it is large and not compressed; its checksum is verified either way."""
    info = members.zip.NameToInfo.get("x.npy")
    if info is None or info.compress_type != zipfile.ZIP_STORED or info.file_size < _LARGE:
        return members["x"]
    with members.zip.open(info) as file:
        shape, fortran, dtype = _header(file)
        start = file.tell()
        if dtype.hasobject or info.file_size - start != math.prod(shape) * dtype.itemsize:
            return members["x"]  # which says what is wrong
        while file.read(2**22):  # raises where the checksum differs
            pass
    with path.open("rb") as archive:
        archive.seek(info.header_offset + 26)  # the local header: 30 bytes, the name, extra fields; then the member
        lengths = np.frombuffer(archive.read(4), "<u2")
    offset = info.header_offset + 30 + int(lengths.sum()) + start
    return np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")


def named_labels(labels: NDArray[Any], count: int, path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The labels of a file as numbers, and the names of the classes. Raises DataError."""
    if labels.dtype.kind == "U" and labels.ndim == 1 and labels.size and all(labels.tolist()):
        names, numbers = np.unique(labels, return_inverse=True)
        for name in names.tolist():
            check_class(name, f"{path}: labels")
        return numbers, tuple(names.tolist())
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.size == 0:
        raise DataError(
            f"{path}: labels must be one axis of integers or of non-empty strings, but they are {labels.shape} {labels.dtype}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= max(count, 1000):
        where = int(np.argmin(labels) if low < 0 else np.argmax(labels))
        raise DataError(
            f"{path}: labels[{where}] = {labels[where]}; integer labels count the classes from 0, "
            "save codes of another kind as strings"
        )
    return labels, tuple(map(str, range(high + 1)))


def _laid_out(x: NDArray[Any], layout: str, axes: str | None, path: Path) -> NDArray[Any]:
    """With the channels first: (N, C, ...); vectors (N, D) as they are."""
    if axes is not None:
        return read_axes(axes, x.shape, str(path)).laid_out(x)
    if layout in _AXES:
        count = _AXES[layout]
        if x.ndim not in (count + 1, count + 2):
            raise DataError(f"{path}: data.layout={layout} wants {count + 1} axes, or {count + 2} with channels, not {x.shape}")
        x = x[:, None] if x.ndim == count + 1 else x
        return np.moveaxis(x, -1, 1) if layout == "images" and x.shape[-1] in (1, 3, 4) and x.shape[1] != 1 else x
    if layout == "channels_last" and x.ndim > 2:
        return np.moveaxis(x, -1, 1)
    if layout == "channels_first" and x.ndim > 2:
        return x
    reading = reading_of(x.shape, x.dtype, str(path))
    if reading.guessed:
        tell(f"{path.name}: read as {reading.said(x.shape)}; to read it otherwise give data.axes")
    return reading.laid_out(x)
