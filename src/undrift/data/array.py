"""Your own arrays, from `.npy`, `.npz` and `.parquet` files. Nothing in a file is ever executed."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.data.augment import Augment
from undrift.data.dataset import Dataset
from undrift.data.spec import Spec
from undrift.data.table import read_table
from undrift.error import DataError, nearest

__all__ = ["array"]

_LARGE = 2**20  # bytes, from which an array in an .npz is mapped rather than read
LAYOUTS = ("auto", "channels_first", "channels_last", "images", "sequences", "volumes")
_AXES = {"sequences": 1, "images": 2, "volumes": 3}  # of one example, besides the channels

# What NumPy and zipfile raise on a file that is broken, encrypted, or claims an impossible size.
_DAMAGE = (
    ValueError,
    TypeError,
    EOFError,
    SyntaxError,
    OverflowError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def array(path: str | Path, layout: str = "auto", flip: bool | str = False, label_column: str | None = None) -> Dataset:
    """Examples from a file: `.npy` with the examples, `.npz` with `x` and, if wanted, `labels` (or `y`), or a `.parquet` table.

    The type of the numbers says what they are:

    - uint8 are values in 0..255, seen by the model in [-1, 1]. Two axes are vectors (N, D); three are grey
      images (N, H, W); four are images (N, H, W, C) if the last axis has length 1, 3 or 4, and (N, C, H, W)
      otherwise, or as `layout` says; five or more stay as they are, volumes (N, C, D, H, W).
    - floats are (N, *D) without bounds, standardised: vectors (N, D) by column, anything of more axes as a
      whole: sequences (N, C, L), images (N, C, H, W), volumes (N, C, D, H, W). float32 stays as it is; float16 and
      float64 become float32.

    A `.npy` of uint8 or float32, and an `.npz` that is not compressed, are memory-mapped: they may be larger than memory, and
    must not change while in use. Integer labels count from 0 and classes are named "0", "1", ...; labels that are strings are
    the names themselves, numbered in alphabetical order. Of a table every column of numbers is a column of the vectors (one
    column of lists of one length: the examples); a column named label, class or the like is the labels.

    Args:
        path: The file.
        layout: Where the channels are: "channels_first" or "channels_last". Or what the examples are, so that those without
            an axis for channels get one: "sequences" (N, L), "images" (N, H, W), "volumes" (N, D, H, W).
        flip: Whether training sees mirrored pictures: true is "horizontal", or "vertical", "both". See `Augment`.
        label_column: Of a table, where it is not found by itself.

    Returns:
        x: (N, *D) uint8 or float32, images as (C, H, W).

    Raises:
        DataError: The file is missing, damaged or not of these formats, needs pickle (object arrays), has
            other numbers than these, NaN or infinities (their number and the first place), no examples, or
            wrong labels.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise DataError(f'array: layout "{layout}" is unknown{nearest(layout, LAYOUTS)}')
    augment = Augment.of(flip, 0)
    if path.suffix.lower() == ".parquet":
        x, labels = read_table(path, label_column)
    elif label_column is not None:
        raise DataError(f"{path}: data.label_column is of .parquet tables; an .npz has its labels as `labels`")
    else:
        x, labels = read_numbers(path)
    name = path.name
    if x.dtype.kind not in "uf" or (x.dtype.kind == "u" and x.dtype != np.uint8):
        raise DataError(f"{path}: the values are {x.dtype}; save them as uint8 (values 0..255) or float32")
    if x.ndim < 2:
        raise DataError(f"{path}: the array has shape {x.shape}; save (N, ...), the first axis counting examples")
    if x.size == 0:
        raise DataError(f"{path}: there are no examples, the array has shape {x.shape}; give at least one")
    numbers, classes = (None, ()) if labels is None else _classes(labels, len(x), path)
    x = _laid_out(x, layout, path)
    if x.dtype == np.uint8:
        return Dataset(x, numbers, Spec.bounded(x.shape[1:], 0, 255, integer=True, classes=classes), name, augment)
    if x.dtype != np.float32:
        with np.errstate(over="ignore"):  # too large for float32: found below, with its place
            x = x.astype(np.float32)
    return Dataset.measured(x, numbers, name, classes, augment)


def read_numbers(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The array of a `.npy`, or `x` and the labels of a `.npz`, as they are. Raises DataError."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start == b"\x93NUMPY":
            return np.load(path, mmap_mode="r", allow_pickle=False), None
        if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            with np.load(path, allow_pickle=False) as members:
                found, labels = _npz(path, members)
            return found, labels
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give a .npy or .npz file") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: cannot be read ({reason}); give a .npy or .npz file") from error
    except _DAMAGE as error:
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            raise DataError(
                f"{path}: holds Python objects, which could run code and are never loaded; "
                "save plain numbers, as in x.astype('float32')"
            ) from error
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"{path}: the file is damaged or cut short ({first}); write it again") from error
    raise DataError(f"{path}: is neither .npy nor .npz; write it with numpy.save or numpy.savez")


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
    found = _mapped(path, members), None if key is None else members[key]
    if not all(part is None or isinstance(part, np.ndarray) for part in found):
        raise ValueError("a member is not an array")
    return found


def _mapped(path: Path, members: Any) -> Any:
    """`x`, memory-mapped where it is large and not compressed; its checksum is verified either way."""
    info = members.zip.NameToInfo.get("x.npy")
    if info is None or info.compress_type != zipfile.ZIP_STORED or info.file_size < _LARGE:
        return members["x"]
    with members.zip.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
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


def _classes(labels: NDArray[Any], count: int, path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Labels as numbers, and the names of the classes."""
    if labels.dtype.kind == "U" and labels.ndim == 1 and labels.size and all(labels.tolist()):
        names, numbers = np.unique(labels, return_inverse=True)
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


def _laid_out(x: NDArray[Any], layout: str, path: Path) -> NDArray[Any]:
    """With the channels first: (N, C, ...); vectors (N, D) as they are."""
    if layout in _AXES:
        axes = _AXES[layout]
        if x.ndim not in (axes + 1, axes + 2):
            raise DataError(f"{path}: data.layout={layout} wants {axes + 1} axes, or {axes + 2} with channels, not {x.shape}")
        x = x[:, None] if x.ndim == axes + 1 else x
    if layout == "channels_last" and x.ndim > 2:
        return np.moveaxis(x, -1, 1)
    if layout == "images" or (layout == "auto" and x.dtype == np.uint8):
        if x.ndim == 3:
            return x[:, None]
        if x.ndim == 4 and x.shape[-1] in (1, 3, 4) and not (layout == "images" and x.shape[1] == 1):
            return np.moveaxis(x, -1, 1)
    return x
