"""Files for a model, whose data are known: examples, labels and masks from pictures, `.npy`, `.npz` and `.parquet`.

The model's data settle what training has to guess: the axes of an array, and which number a class has. Nothing in a file is ever
executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from undrift.data.array import check_numbers, named_labels, read_numbers
from undrift.data.axes import fitted
from undrift.data.dataset import Dataset
from undrift.data.decode import over, read_picture
from undrift.data.spec import Spec
from undrift.data.table import read_table
from undrift.error import DataError

__all__ = ["read_data", "read_examples", "read_mask", "values_of"]

ARRAYS = (".npy", ".npz", ".parquet")
Types = tuple[str, ...] | None


def values_of(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None, Types] | None:
    """The array of a file as it is, its labels, and the types of its columns; None where it is a picture by its name. Raises DataError."""
    if path.suffix.lower() not in ARRAYS:
        return None
    return read_table(path, None) if path.suffix.lower() == ".parquet" else (*read_numbers(path), None)


def read_data(path: Path, spec: Spec, labelled: bool = False) -> Dataset:
    """A file as data for a model: arrays as large as may be, memory-mapped, in the type in which they are kept.

    Args:
        path: As for `read_examples`.
        spec: Of the model's data.
        labelled: Whether to read the labels, too: names of the model's classes, or their numbers from 0.

    Raises:
        DataError: as `read_examples`; NaN; a label that is no class of the model.
    """
    found = values_of(path)
    if found is None:
        return Dataset(read_examples(path, spec).numpy(), None, spec, path.name)
    x, labels, types = found
    check_numbers(x if x.ndim > 1 else x[None], str(path))
    x = _laid_out(x, spec, path)
    if labels is None or not labelled:
        return Dataset.of_numbers(x, None, path.name, spec.classes, types=types)
    return Dataset.of_numbers(x, _numbered(labels, len(x), spec, path), path.name, spec.classes, types=types)


def _numbered(labels: NDArray[Any], count: int, spec: Spec, path: Path) -> NDArray[np.int64]:
    """The labels of a file as the model numbers its classes."""
    numbers, names = named_labels(labels, count, path)
    used, where = np.unique(numbers, return_inverse=True)
    try:
        mine = [spec.class_index(names[i] if labels.dtype.kind == "U" else int(i)) for i in used]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return np.array(mine, np.int64)[where]


def read_examples(path: Path, spec: Spec) -> Tensor:
    """Examples in data units, `(B, *spec.shape)`; NaN in arrays of floats marks what is missing.

    A picture's 0..255 are spread over the range of the data (and rounded for integers); arrays are in data units. One example
    may come without the axis that counts them, grey images without the channel, colour images with the channel last.

    Raises:
        DataError: a file that is missing or damaged, another size or shape, a colour picture for grey data, a picture for data
            without a range.
    """
    if path.suffix.lower() in ARRAYS:
        return _shaped(path, spec)
    if len(spec.shape) != 3 or spec.low is None or spec.high is None:
        raise DataError(f"{path}: these data of shape {spec.shape} are no pictures of a fixed range; give a .npy in data units")
    channels, height, width = spec.shape
    image = _picture(path, (width, height))
    if channels not in (1, 3, 4):
        raise DataError(f"{path}: data of {channels} channels do not come from a picture; give a .npy in data units")
    if channels != 4:
        image = over(image, "white")
    if channels == 1:
        colours = np.asarray(image.convert("RGB"))
        if (colours != colours[:, :, :1]).any():
            raise DataError(f"{path}: this is a colour picture, but the model knows grey ones; convert it")
    values = torch.from_numpy(np.array(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))).double()
    x = spec.low + values.view(height, width, channels).movedim(-1, 0) / 255 * (spec.high - spec.low)
    return (x.round() if spec.integer else x).to(spec.dtype)[None]


def read_mask(path: Path, spec: Spec, invert: bool = False) -> Tensor:
    """A mask, `spec.shape` or `(B, *spec.shape)` bool: white pixels, or entries that are not 0, are known.

    Args:
        path: A picture, or an array of bools or of zeros and one other number.
        spec: Of the data.
        invert: White is missing instead.

    Raises:
        DataError: a file that is missing or damaged, another size or shape, more than two values.
    """
    if path.suffix.lower() in ARRAYS:
        x = _shaped(path, spec)
    elif len(spec.shape) != 3:
        raise DataError(f"{path}: these data of shape {spec.shape} are no pictures; give the mask as a .npy")
    else:
        height, width = spec.shape[1:]
        grey = torch.from_numpy(np.array(over(_picture(path, (width, height)), "black").convert("L")))
        x = grey.expand(1, *spec.shape)
    found = torch.unique(x)
    if len(found) > 2 or (len(found) == 2 and bool(found[0] != 0)):
        raise DataError(
            f"{path}: a mask has two values, black (0, missing) and white (known), but this one has "
            f"{len(found)} from {found[0]:g} to {found[-1]:g}; save it without smoothing, as a PNG"
        )
    mask = (x != 0) ^ invert
    return mask[0] if len(mask) == 1 else mask


def _picture(path: Path, size: tuple[int, int]) -> Image.Image:
    """A picture of this width and height, upright and with 8 bits a channel. Raises DataError."""
    picture = read_picture(path)
    if picture.size != size:
        found = f"{picture.width} x {picture.height}"
        raise DataError(f"{path}: is {found} pixels, but the data are {size[0]} x {size[1]}; resize it")
    return picture


def _laid_out(x: NDArray[Any], spec: Spec, path: Path) -> NDArray[Any]:
    """An array as `(B, *spec.shape)`, a view."""
    found = fitted(x, spec.shape)
    if found is None:
        wanted = ", ".join(map(str, spec.shape))
        raise DataError(f"{path}: the array has shape {x.shape}, but the data are ({wanted}) or (N, {wanted}); reshape it")
    return found


def _shaped(path: Path, spec: Spec) -> Tensor:
    """The array of a file as `(B, *spec.shape)`."""
    found = values_of(path)
    assert found is not None
    x = found[0]
    if x.dtype.kind not in "buif":
        raise DataError(f"{path}: the values are {x.dtype}; save numbers")
    x = _laid_out(x, spec, path)
    if x.dtype.kind in "ui":
        if x.dtype.kind == "u" and int(x.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{path}: holds whole numbers above 2^63 - 1, such as {int(x.max())}; save smaller ones, or floats")
        x = x.astype(np.int64)
    elif x.dtype.kind == "f":
        x = x.astype(np.float64 if x.itemsize > 4 else np.float32)
    return torch.from_numpy(np.array(x))
