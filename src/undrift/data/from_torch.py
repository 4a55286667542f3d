"""A PyTorch `Dataset`, written once to a file that everything here reads."""

from __future__ import annotations

import operator
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from undrift.data.array import array
from undrift.data.dataset import Dataset
from undrift.data.whole import whole
from undrift.error import DataError, OutputError

__all__ = ["from_torch"]


def from_torch(dataset: Any, path: str | Path, classes: Sequence[str] | None = None) -> Dataset:
    """Write the examples of a PyTorch dataset to an `.npz` and return it as a `Dataset` that reads from there.

    Every example is asked for once, in order, and written before the next: neither has to fit in memory. The file is what
    `undrift train array --data-dir FILE` and every command on the run read, so nothing of the dataset's code is needed later.
    Random transforms are frozen in this one pass: leave them out, and let training mirror pictures with `data.flip`.

    Args:
        dataset: Anything with `len()` and `dataset[i]`, each item `x` or `(x, label)`: x a tensor or an array of uint8 or floats,
            all of one shape, or a PIL picture; the label an integer.
        path: The file, ending in `.npz`.
        classes: Names of the classes; default those that the dataset has as `classes`, else the numbers.

    Raises:
        DataError: no examples, examples of several shapes or types, labels that are no integers, or not on every example.
        OutputError: the file cannot be written.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> from_torch(TensorDataset(torch.rand(100, 3, 16, 16), torch.arange(100) % 2), "mine.npz")  # doctest: +SKIP
        Dataset(mine.npz: 100 of shape (3, 16, 16), 2 classes)
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path}: name a file that ends in .npz")
    if len(dataset) == 0:
        raise DataError(f"{type(dataset).__name__}: the dataset is empty; give at least one example")
    names = classes if classes is not None else getattr(dataset, "classes", None)
    try:
        with whole(path) as file:
            _write(dataset, file, names)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); name another file") from None
    return array(path, "channels_first")


def _write(dataset: Any, file: BinaryIO, names: Sequence[str] | None) -> None:
    labels: list[int | None] = []
    first: NDArray[Any] | None = None
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            for i in range(len(dataset)):
                x, label = _item(dataset[i], i)
                if first is None:
                    first = x
                    facts = {"descr": x.dtype.str, "fortran_order": False, "shape": (len(dataset), *x.shape)}
                    np.lib.format.write_array_header_1_0(member, facts)
                if x.shape != first.shape or x.dtype != first.dtype:
                    raise DataError(
                        f"dataset[{i}] is {x.shape} {x.dtype}, but dataset[0] is {first.shape} {first.dtype}; give all one shape and type"
                    )
                member.write(np.ascontiguousarray(x).tobytes())
                labels.append(label)
        known = [label for label in labels if label is not None]
        if known:
            if len(known) < len(labels):
                raise DataError(f"dataset[{labels.index(None)}] has no label, but others have; give all or none")
            with archive.open("labels.npy", "w") as member:
                np.lib.format.write_array(member, _named(known, names), allow_pickle=False)


def _item(item: Any, i: int) -> tuple[NDArray[Any], int | None]:
    """The example as an array of uint8 or float32, channels first, and its label."""
    x, label = item if isinstance(item, (tuple, list)) and len(item) == 2 else (item, None)
    if isinstance(x, (tuple, list)) and len(x) == 1:
        x = x[0]
    if isinstance(x, Image.Image):
        x = np.asarray(x if x.mode in ("L", "RGB", "RGBA") else x.convert("RGB"))
        x = x[None] if x.ndim == 2 else x.transpose(2, 0, 1)
    x = x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
    if x.dtype != np.uint8:
        if x.dtype.kind != "f":
            raise DataError(f"dataset[{i}] holds {x.dtype}; give uint8 (values 0..255), floats, or PIL pictures")
        x = x.astype(np.float32)
    if x.ndim == 0:
        raise DataError(f"dataset[{i}] is a single number; give arrays with at least one axis")
    if label is None:
        return x, None
    try:
        number = operator.index(label)
    except TypeError:
        number = -1
    if number < 0:
        raise DataError(f"dataset[{i}] has the label {label!r}; give integers that count the classes from 0")
    return x, number


def _named(labels: list[int], names: Sequence[str] | None) -> NDArray[Any]:
    """The labels by name where there are names."""
    if names is None:
        return np.array(labels, dtype=np.int64)
    if max(labels) >= len(names):
        raise DataError(
            f"a label is {max(labels)}, but there are {len(names)} classes ({', '.join(map(str, names))}); name all of them"
        )
    return np.array([str(names[label]) for label in labels])
