"""A PyTorch `Dataset`, written once to a file that everything here reads."""

from __future__ import annotations

import operator
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from undrift.console import tell
from undrift.data.array import array
from undrift.data.axes import Reading, read_axes, reading_of
from undrift.data.dataset import Dataset
from undrift.data.decode import as_seen, over
from undrift.data.labels import check_class
from undrift.error import DataError, OutputError, nearest, short
from undrift.storage import Named, beside, reason

__all__ = ["from_torch"]


def from_torch(
    dataset: Any, path: str | Path, classes: Sequence[str] | None = None, axes: str | None = None, background: str = "white"
) -> Dataset:
    """Write the examples of a PyTorch dataset to an `.npz` and return it as a `Dataset` that reads from there.

    Every example is asked for once, in order, and written before the next: neither has to fit in memory. The file is what
    `undrift train array --data-dir FILE` and every command on the run read, so nothing of the dataset's code is needed later.
    Random transforms are frozen in this one pass: leave them out, and let training mirror pictures with `data.flip`.

    PIL pictures are read as `images` reads files: upright, 16 bits as 8, transparency on the background. Arrays and tensors are read
    as `array` reads them: the axes are guessed where they are not named, and that is told.

    Args:
        dataset: Anything with `len()` and `dataset[i]`, each item `x` or the tuple `(x, label)`: x a tensor, an array or a list of
            numbers, all of one shape, or a PIL picture; the label an integer, or a text.
        path: The file, ending in `.npz`.
        classes: Names of the classes; default those that the dataset has as `classes`, else the numbers.
        axes: Of the examples together, such as "NHWC" for items (H, W, C); see `undrift.data.axes`.
        background: What transparent pixels of PIL pictures lie on: "white" or "black".

    Raises:
        DataError: no examples, a dataset without length, examples of several shapes or types, axes that can be read in two ways, NaN
            or infinities, two classes of one name, labels that are neither integers nor texts, or not on every example.
        OutputError: the file cannot be written.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> from_torch(TensorDataset(torch.rand(100, 3, 16, 16), torch.arange(100) % 2), "mine.npz")  # doctest: +SKIP
        Dataset(mine.npz: 100 of shape (3, 16, 16), 2 classes)
    """
    path, name = Path(path), type(dataset).__name__
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path}: name a file that ends in .npz")
    if background not in ("white", "black"):
        raise DataError(f'background "{short(background)}" is unknown{nearest(background, ("white", "black"))}')
    try:
        count = len(dataset)
        dataset.__getitem__  # noqa: B018
    except (TypeError, AttributeError, NotImplementedError):
        raise DataError(
            f"{name}: a dataset with a length and numbered examples is needed; take an iterable one apart first, as in list(dataset)"
        ) from None
    if count == 0:
        raise DataError(f"{name}: the dataset is empty; give at least one example")
    names = classes if classes is not None else getattr(dataset, "classes", None)
    try:
        with beside(Named(path), lambda part: _read(part, name)) as part, open(part, "wb") as file:
            _write(dataset, count, file, names, axes, background)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({reason(error)}); name another file") from None
    return _read(path, name)


def _read(path: Path, name: str) -> Dataset:
    """What was written. Raises DataError in the dataset's name."""
    try:
        return array(path, axes="N" + _STORED[np.load(path)["x"].ndim])
    except DataError as error:
        raise DataError(f"{name}: {str(error).removeprefix(f'{path}: ')}") from None


_STORED = {2: "C", 3: "CL", 4: "CHW", 5: "CDHW"}  # how examples of so many axes, theirs and N, are written


def _write(dataset: Any, count: int, file: BinaryIO, names: Sequence[str] | None, axes: str | None, background: str) -> None:
    labels: list[int | str | None] = []
    first: NDArray[Any] | None = None
    reading = Reading("")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            for i in range(count):
                x, label, picture = _item(dataset[i], i, background)
                if first is None:
                    first = x
                    reading = _reading(type(dataset).__name__, (count, *x.shape), x.dtype, axes, picture)
                    shape = (count, *reading.laid_out(x[None]).shape[1:])
                    np.lib.format.write_array_header_1_0(member, {"descr": x.dtype.str, "fortran_order": False, "shape": shape})
                if x.shape != first.shape or x.dtype != first.dtype:
                    raise DataError(
                        f"dataset[{i}] is {x.shape} {x.dtype}, but dataset[0] is {first.shape} {first.dtype}; give all one shape and type"
                    )
                member.write(np.ascontiguousarray(reading.laid_out(x[None])[0]).tobytes())
                labels.append(label)
        known = [label for label in labels if label is not None]
        if known:
            if len(known) < len(labels):
                raise DataError(f"dataset[{labels.index(None)}] has no label, but others have; give all or none")
            with archive.open("labels.npy", "w") as member:
                np.lib.format.write_array(member, _named(known, names), allow_pickle=False)


def _reading(name: str, shape: tuple[int, ...], kind: np.dtype[Any], axes: str | None, picture: bool) -> Reading:
    """How the axes of the examples together are read; said where it was guessed."""
    if axes is not None:
        return read_axes(axes, shape, name)
    if picture:
        return Reading("NCHW")
    reading = reading_of(shape, kind, name)
    if not reading.axes:
        raise DataError(
            f"{name}: examples of {len(shape) - 1} axes, {shape[1:]}, are more than volumes with channels; flatten some"
        )
    if reading.guessed:
        tell(f"{name}: read as {reading.said(shape)}; to read it otherwise give axes")
    return reading


def _item(item: Any, i: int, background: str) -> tuple[NDArray[Any], int | str | None, bool]:
    """The example as an array of numbers, its label, and whether it was a picture, which has the channels first then."""
    x, label = item, None
    if isinstance(item, tuple):
        if len(item) not in (1, 2):
            raise DataError(
                f"dataset[{i}] has {len(item)} parts; give x, or (x, label): wrap the dataset, or take it apart first"
            )
        x, label = (*item, None)[:2]
    elif isinstance(item, list) and len(item) == 2 and _is_example(item[0]) and not _is_example(item[1]):
        x, label = item
    if isinstance(x, (tuple, list)) and len(x) == 1 and _is_example(x[0]):
        x = x[0]
    picture = isinstance(x, Image.Image)
    if isinstance(x, Image.Image) and x.mode in ("I", "F") and x.format != "PPM":
        x = np.asarray(x)[None]  # numbers without a range, as in an array
    elif isinstance(x, Image.Image):
        seen = np.asarray(over(as_seen(x), background))
        x = seen[None] if seen.ndim == 2 else seen.transpose(2, 0, 1)
    x = _numbers(x, i)
    if x.ndim == 0:
        raise DataError(f"dataset[{i}] is a single number; give arrays with at least one axis")
    return x, None if label is None else _label(label, i), picture


def _is_example(value: Any) -> bool:
    """Whether something is rather an example than a label: an array with axes, or a picture."""
    return isinstance(value, Image.Image) or getattr(value, "ndim", 0) > 0 or isinstance(value, (list, tuple))


def _numbers(x: Any, i: int) -> NDArray[Any]:
    """An example as an array of numbers in the byte order of this machine."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        x = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    try:
        found = np.asarray(x)
    except (TypeError, ValueError):
        found = np.empty(0, object)
    if found.dtype.kind not in "biuf":
        raise DataError(f"dataset[{i}] holds {type(x).__name__} {found.dtype}; give numbers (uint8 is 0..255), or PIL pictures")
    if found.dtype.itemsize > 8:
        found = found.astype(np.float64)
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def _label(label: Any, i: int) -> int | str:
    if isinstance(label, str) and label:
        return label
    try:
        number = operator.index(label)
    except TypeError:
        number = -1
    if number < 0:
        raise DataError(f"dataset[{i}] has the label {short(label)}; give integers that count the classes from 0, or texts")
    return number


def _named(labels: list[int | str], names: Sequence[str] | None) -> NDArray[Any]:
    """The labels by name where there are names."""
    if names is not None and (isinstance(names, (str, bytes)) or not isinstance(names, Iterable)):
        raise DataError(f"classes={short(names)}: give a list of names")
    names = None if names is None else list(map(str, names))
    for name in [*(names or []), *(label for label in labels if isinstance(label, str))]:
        check_class(name, "classes")  # NumPy's texts would lose a NUL at their end
    if names is not None and len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f'classes: "{short(twice)}" is the name of several classes, which would become one; give each its own')
    numbers = [label for label in labels if isinstance(label, int)]
    if len(numbers) < len(labels):
        if numbers:
            raise DataError("some labels are texts and some are integers; give one kind")
        return np.array(labels)
    if names is None:
        return np.array(numbers, dtype=np.int64)
    if max(numbers) >= len(names):
        raise DataError(
            f"a label is {max(numbers)}, but there are {len(names)} classes ({short(', '.join(names))}); name all of them"
        )
    return np.array([names[number] for number in numbers])
