"""Data: arrays with a spec, and one table of where they come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from undrift.data.array import array
from undrift.data.captions import captions
from undrift.data.dataset import Dataset
from undrift.data.digits import digits
from undrift.data.from_torch import from_torch
from undrift.data.images import images
from undrift.data.mnist import download_mnist, mnist
from undrift.data.spec import Spec
from undrift.data.toys import checkerboard, mixture, mixture_law, moons, swiss_roll, toy
from undrift.error import DataError, nearest, short

__all__ = [
    "DATA",
    "Dataset",
    "Source",
    "Spec",
    "array",
    "as_trained",
    "captions",
    "checkerboard",
    "digits",
    "download_mnist",
    "from_torch",
    "images",
    "load_data",
    "load_split",
    "mixture",
    "mixture_law",
    "mnist",
    "moons",
    "swiss_roll",
    "toy",
]


class Source(NamedTuple):
    """One kind of data.

    Args:
        load: Makes the data set; takes the place first if there is one, then options by name.
        place: What `--data-dir` must name, or None where the data come with the library.
    """

    load: Callable[..., Dataset]
    place: str | None = None


DATA: dict[str, Source] = {
    "digits": Source(digits),
    "captions": Source(captions),
    "mnist": Source(mnist, "the folder with the four IDX files of MNIST"),
    "toy": Source(toy),
    "array": Source(array, "a .npy, .npz or .parquet file"),
    "images": Source(images, "a folder of pictures"),
}


def load_data(kind: str, data_dir: str | Path | None = None, **options: Any) -> Dataset:
    """Data by kind, as recipes and the command line name them.

    Args:
        kind: A key of `DATA`.
        data_dir: The folder or file to read, where the kind needs one.
        options: Arguments of the loader, such as `split="test"` for mnist or `name="moons"` for toy.

    Raises:
        DataError: The kind or an option is unknown (the nearest known name is suggested), an option is of another type, a
            place is missing or superfluous, or the data are not what they should be.

    Example:
        >>> load_data("toy", name="moons", n=100)
        Dataset(moons: 100 of shape (2,), 2 classes)
    """
    source = _source(kind)
    if source.place is not None and not data_dir:  # an empty name would be the current folder
        raise DataError(f"{kind}: the data are read from disk; give --data-dir with {source.place}")
    if source.place is None and data_dir is not None:
        raise DataError(f"{kind}: the data come with the library; leave out --data-dir {data_dir}")
    known = list(inspect.signature(source.load).parameters)[0 if source.place is None else 1 :]
    for option in options:
        if option not in known:
            raise DataError(f'{kind}: option "{option}" is unknown{nearest(option, known)}')
    hints = get_type_hints(source.load)
    for option, value in options.items():
        try:
            TypeAdapter(hints[option]).validate_python(value, strict=True)
        except ValidationError as error:
            lists = ("is_instance_of", "sequence_str")
            wanted = ["a list" if e["type"] in lists else e["msg"].removeprefix("Input should be ") for e in error.errors()]
            raise DataError(f"data.{option}={value}: give {' or '.join(dict.fromkeys(wanted))}") from None
    return source.load(*(() if data_dir is None else (data_dir,)), **options)


def _source(kind: object) -> Source:
    """What reads data of a kind. Raises DataError for a kind that is unknown, or no text."""
    if not isinstance(kind, str) or kind not in DATA:
        raise DataError(f'data "{short(kind)}" is unknown{nearest(short(kind), DATA)}')
    return DATA[kind]


def as_trained(train: Dataset, held_out: Dataset, data_hash: str | None) -> tuple[Dataset, Dataset]:
    """The data of a run as that run reads them, where its hash is that of what earlier versions made of them.

    They rounded every number but bytes to float32 before it was standardised. A run that they began goes on so, bit for bit.

    Args:
        train, held_out: As they are read now.
        data_hash: What the run says of its training part; None: nothing.
    """
    if data_hash in (None, train.content_hash()) or train.raw(torch.tensor([0])).dtype in (torch.uint8, torch.float32):
        return train, held_out
    (old, spec), (rest, _) = train.as_float32(), held_out.as_float32()
    if old.content_hash() != data_hash:
        return train, held_out
    old.spec = rest.spec = spec
    return old, rest


def load_split(
    kind: str, data_dir: str | Path | None = None, fraction: float = 0.2, seed: int = 0, **options: Any
) -> tuple[Dataset, Dataset]:
    """Data to train on and data to judge by: the published test set where there is one, else a split.

    Args:
        kind: A key of `DATA`.
        data_dir: The folder or file to read, where the kind needs one.
        fraction: Share that is held out where the data have no test set of their own.
        seed: Decides which examples those are.
        options: Arguments of the loader.

    Raises:
        DataError: As `load_data`.
    """
    if "split" in inspect.signature(_source(kind).load).parameters and "split" not in options:
        return load_data(kind, data_dir, split="train", **options), load_data(kind, data_dir, split="test", **options)
    return load_data(kind, data_dir, **options).split(fraction, seed)
