"""What commands write: checked before any work, and never over a file that they read or that undrift did not write."""

from __future__ import annotations

import argparse
import os
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from undrift.error import OutputError, UndriftError
from undrift.model import Model
from undrift.plot.picture import kind_of, written_by
from undrift.run import Run
from undrift.schema import parse_json
from undrift.storage import Named, Place, is_stream, open_file, path_of, read_text, signature, write_atomically


def picture_and_numbers(arguments: argparse.Namespace, default: Path) -> tuple[Place, Place]:
    """Before any work: where the picture goes, `--out` or the default, and beside it, as `.json`, the numbers behind it.

    Raises:
        OutputError: one of the two cannot be written, or somebody else's file stands where the numbers go.
    """
    picture: Place = arguments.out or usual_place(arguments, default, ".json")
    numbers = picture.with_suffix(".json")
    if picture == numbers:
        raise OutputError(f"{picture}: the numbers go there, and this is where the picture goes; name a .png")
    if is_stream(path_of(picture)):
        raise OutputError(f"{picture} is no file, and the numbers are written beside the picture; name a .png")
    check_outputs(arguments, (picture, None), (numbers, ".json"))
    return picture, numbers


def check_drawable(
    arguments: argparse.Namespace, model: Model, drawable: bool, pictures: Sequence[str], numbers: Sequence[str]
) -> None:
    """Before any work: of data that cannot be drawn only numbers can be had.

    Args:
        arguments, model: Of the command.
        drawable: Whether its pictures can be drawn.
        pictures, numbers: Its options for either.

    Raises:
        UndriftError: pictures were asked for, or nothing.
    """
    if drawable:
        return
    what = f"data of shape {model.spec.shape} cannot be drawn"
    asked = [f"--{name}" for name in pictures if getattr(arguments, name)]
    if not any(getattr(arguments, name) for name in numbers):
        raise UndriftError(f"{what}; ask for the numbers with --{numbers[0]} FILE{f', without {asked[0]}' if asked else ''}")
    if asked:
        raise UndriftError(f"{what}; leave out {' and '.join(asked)}")


# What an option or argument may name that is read. Data, a mask and an operator may also be words; a file of that name is none.
_READ = ("input", "data", "start", "data_dir", "mask", "operator", "inception")


def inputs(arguments: argparse.Namespace) -> list[Path]:
    """The files and the folders of data that a command reads, besides the runs themselves."""
    given = [str(value).partition(":")[2] if name == "operator" else str(value)
             for name in _READ if (value := getattr(arguments, name, None)) is not None]  # fmt: skip
    for run in getattr(arguments, "runs", None) or [getattr(arguments, "run", None)]:
        with suppress(UndriftError, TypeError):
            given.append(Run(run).recipe.data_dir or "")
    return [Path(word) for word in given if word and os.path.exists(word)]


def _is_read(path: Path, read: Path) -> bool:
    """Whether a path leads to a file that is read, by whatever name, or to a file in a folder that is read, unless it is our own."""
    if not path.exists():
        return False
    if read.is_dir():
        inside = Path(os.path.realpath(read)) in Path(os.path.realpath(path)).parents
        return inside and not written_by(path).startswith("undrift")
    return os.path.samefile(path, read)


def check_outputs(arguments: argparse.Namespace, *outputs: tuple[Place | None, str | None]) -> None:
    """Before any work: can all files of a command be written, none over another, over one that it reads, or over anybody else's?

    Args:
        arguments: Of the command.
        outputs: Where to, and the suffix of what is written there (None: a picture); no place where nothing was asked for.

    Raises:
        OutputError: they cannot.
    """
    files: dict[str, Place] = {}
    for place, suffix in outputs:
        if place is None:
            continue
        check_writable(place, suffix, tuple(name for name in ("npz", "npy") if hasattr(arguments, name)))
        path = path_of(place)
        if is_stream(path):
            continue
        for read in inputs(arguments):
            if _is_read(path, read):
                raise OutputError(f"{place} is read by this command ({read}), and would be lost; name another file")
        real = os.path.normcase(os.path.realpath(path))
        for other, before in files.items():
            if real == other or (os.path.exists(real) and os.path.exists(other) and os.path.samefile(real, other)):
                raise OutputError(f"{before} and {place} are one file, but two are to be written; name another for one of them")
        files[real] = place
        if os.path.exists(real) and os.path.getsize(real) and not ours(Path(real)):
            raise OutputError(f"{place} is there and undrift did not write it; name another file, or move it away")


def check_writable(place: Place, suffix: str | None = None, numbers: Sequence[str] = ()) -> None:
    """Before any work: can this file be written, a picture unless a suffix says otherwise? `numbers` are options for numbers.

    Raises:
        OutputError: it cannot.
    """
    path, stream = path_of(place), False
    if isinstance(place, Named):
        stream = is_stream(path)
        path = path if stream else Path(os.path.realpath(path))  # what a link leads to is what would be replaced
    belongs = path.name in _OF_A_RUN or path.suffix == ".safetensors"
    if isinstance(place, Named) and suffix != ".safetensors" and belongs and path.exists():
        raise OutputError(f"{place} belongs to a run and would be lost; name another file")
    if path.is_dir():
        raise OutputError(f"{place} is a folder; name a file in it")
    if path.is_block_device() or (not isinstance(place, Named) and is_stream(path) and not path.is_symlink()):
        raise OutputError(f"{place} is a pipe or a device and no file; name another file")
    if stream:  # written to as it is, whatever its name ends in
        return
    if suffix is not None:
        for name in {path_of(place), path}:
            if name.suffix.lower() != suffix and (name.suffix or name == path_of(place)):
                raise OutputError(f"{place}: what goes there is written as {suffix}; name a {suffix}")
    else:
        _check_picture(place, path, numbers)
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        raise OutputError(f"{place} cannot be written: {folder} is not a folder that you may write to") from None


def _check_picture(place: Place, path: Path, numbers: Sequence[str]) -> None:
    """Whether a picture may have this name, and that of the file that a link leads to."""
    named = path_of(place)
    kind, end = kind_of(named), (named.suffix or named.name).lower()
    if kind is None:
        if end[1:] in numbers:
            raise OutputError(
                f"{place}: the picture goes there; for the numbers as {end} use --{end[1:]}, and for --out name a .png"
            )
        raise OutputError(f"{place}: pictures cannot be written as {end}; name a .png")
    if path.suffix and kind_of(path) != kind:
        raise OutputError(f"{place} leads to {path}, which is not named like a picture of this kind; name a .png")


def usual_place(arguments: argparse.Namespace, path: Path, *beside: str) -> Path:
    """Where a command writes if no file was named: there, unless somebody else's file stands there, or one that is read; then beside.

    Args:
        arguments: Of the command.
        path: Of what it writes first.
        beside: Suffixes of what it writes beside that.
    """
    number, place = 1, path
    read = inputs(arguments)

    def taken(place: Path) -> bool:
        return not free(place, arguments.command) or any(_is_read(place, each) for each in read)

    while any(taken(each) for each in (place, *(place.with_suffix(suffix) for suffix in beside))):
        number += 1
        place = path.with_stem(f"{path.stem}-{number}")
    return place


def free(path: Path, command: str) -> bool:
    """Whether nothing stands there, or what this command wrote."""
    return not os.path.lexists(path) or ours(path, command)


def ours(path: Path, command: str | None = None) -> bool:
    """Whether undrift wrote a file, or a command of it where one is named. Of numbers in JSON any command will do."""
    if path.suffix == ".json":
        return _our_numbers(path)
    if path.suffix in (".html", ".md"):
        with suppress(OSError), open_file(path) as file:
            start, end = ('content="undrift ', '"') if path.suffix == ".html" else ("<!-- undrift ", " -->")
            mark = start if command is None else f"{start}{command}{end}"
            return mark.encode() in file.read(1000) or (path.suffix == ".html" and _our_numbers(path.with_suffix(".json")))
        return False
    by = written_by(path)
    return by.startswith("undrift") if command is None else by in (f"undrift {command}", *_BEFORE.get(command, ()))


def _our_numbers(path: Path) -> bool:
    with suppress(OSError, ValueError):
        found = parse_json(read_text(path), finite=False)
        return isinstance(found, dict) and any(keys <= set(found) for keys in _KEYS)
    return False


# Of a JSON file of ours; the second and third of earlier versions.
_KEYS = ({"undrift"}, {"figure", "floor"}, {"study", "findings"})
_BEFORE = {name: ("undrift",) for name in ("cascade", "demo", "study")}  # what earlier versions noted in pictures
_OF_A_RUN = ("model.json", "config.yaml", "log.jsonl", "cascade.json", "noisy_classifier.json", "manifest.json", ".lock")


def write_arrays(place: Place, arrays: dict[str, Any], by: str) -> None:
    """Numpy arrays by name to a `.npz` that says who wrote it, whole or not at all. Raises OutputError if it cannot be written."""

    def write(path: Path) -> None:
        with open(path, "wb") as handle:
            np.savez_compressed(handle, **arrays)
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = signature(by)

    write_atomically(place, write)
