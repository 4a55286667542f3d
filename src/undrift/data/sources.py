"""Where pictures come from: a folder of files, Parquet files, or a Hugging Face dataset. Each is a list of entries to decode."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from undrift.data.decode import SUFFIXES, UNREADABLE
from undrift.data.labels import Labelled, Problem, by_folder, by_table
from undrift.data.table import LABELS, column_of, need, open_parquet, reading
from undrift.error import DataError, nearest, short
from undrift.storage import reason

__all__ = ["HUB", "Entry", "Pictures", "pictures"]

HUB = "hf:"  # in front of the name of a dataset on the hub
_PARTS = {"train", "test", "val", "valid", "validation", "eval", "dev"}
_ROWS = 64  # decoded at a time


class Entry(NamedTuple):
    """One picture: its name, and the size (bytes) and time of change (ns) of the file that holds it."""

    name: str
    size: int
    changed: int


@dataclass(frozen=True)
class Pictures:
    """Pictures that can be fetched.

    Attributes:
        origin: Where they are, for messages and as the name of the cache.
        entries: In a fixed order.
        fetch: Row numbers, rising, to what is to be decoded, in that order.
        labelled: Their classes, or None.
        source: Of the classes, for messages.
        problems: What is known to be wrong before anything is decoded.
        notes: What was passed over.
        classes: The names of all classes, where the source knows them.
    """

    origin: str
    entries: list[Entry]
    fetch: Callable[[Sequence[int]], Iterator[Path | bytes]]
    labelled: Labelled | None
    source: str
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: tuple[str, ...] | None = None


def pictures(
    place: str, labels: str, image_column: str | None, label_column: str | None, part: str, config: str | None
) -> Pictures:
    """The pictures at a place, by what lies there.

    Raises:
        DataError: nothing that can be read lies there; options that mean nothing for what does; a package is missing.
    """
    try:
        path = Path(place).expanduser()
    except RuntimeError:
        raise DataError(f"{short(place)}: there is no such user; write the whole path") from None
    if place.startswith(HUB) or any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return _dataset(place, image_column, label_column, part, config, labels)
    if path.is_file() and path.suffix.lower() in (".npy", ".npz"):
        raise DataError(f"{path}: is an array; train on it with: undrift train array --data-dir {path}")
    if path.suffix.lower() == ".parquet" and path.is_file():
        return _parquet([path], path, image_column, label_column, labels)
    if not path.is_dir():
        what = "is a single file" if path.exists() else "does not exist"
        raise DataError(
            f"{path}: {what}; give a folder of pictures (unpack archives first), a .parquet file, or {HUB}OWNER/NAME for the hub"
        )
    entries, problems, others = _scan(path)
    tables = [path / name for name in others if name.lower().endswith(".parquet")]
    if tables and not entries:
        return _parquet(tables, path, image_column, label_column, labels)
    return _folder(path, labels, label_column, entries, problems, others)


def _folder(
    folder: Path, labels: str, label_column: str | None, entries: list[Entry], problems: list[Problem], others: list[str]
) -> Pictures:
    if not entries and not problems:
        if others:
            kinds = sorted({Path(name).suffix or "no suffix" for name in others})
            held = f"its {len(others):,} file{'s are' if len(others) > 1 else ' is'} of other kinds ({', '.join(kinds[:5])})"
        else:
            held = "it is empty"
        raise DataError(f"{folder}: no pictures in this folder, {held}; give one that holds .jpg, .png, .webp, .tif, ...")
    names = [entry.name for entry in entries]
    labelled, source = _labels(folder, names, labels, label_column)
    table = source.removeprefix(f"{folder}/")
    others = [name for name in others if name != table]
    notes = []
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        notes.append(f"{len(others):,} other file{'s' * (len(others) > 1)} passed over ({shown})")

    def fetch(rows: Sequence[int]) -> Iterator[Path | bytes]:
        return (folder / names[row] for row in rows)

    return Pictures(str(folder.resolve()), entries, fetch, labelled, source, problems, notes)


def _labels(folder: Path, names: list[str], labels: str, label_column: str | None) -> tuple[Labelled | None, str]:
    """Classes as `data.labels` says, and where they are from."""
    if labels == "auto" and os.path.lexists(folder / "labels.csv"):  # what cannot be read there is said, and not passed over
        labels = "labels.csv"
    if label_column is not None and (labels == "folders" or (labels in ("auto", "none") and label_column != "none")):
        raise DataError(
            f"{folder}: data.label_column={short(label_column)}, but no table of labels is read here; give data.labels=TABLE.csv too"
        )
    if labels == "none" or label_column == "none":
        return None, ""
    if labels in ("auto", "folders"):
        found = by_folder(names)
        if found is None and labels == "folders":
            raise DataError(f"{folder}: data.labels=folders, but fewer than two folders in it hold pictures")
        if found is not None and labels == "auto" and {str(label).casefold() for label in found.labels if label} <= _PARTS:
            parts = sorted({label for label in found.labels if label})
            raise DataError(
                f"{folder}: {' and '.join(parts)} look like parts of a data set rather than classes; give one of them, "
                f"--data-dir {folder / parts[0]}, or say data.labels=folders, or data.labels=none"
            )
        return found, str(folder)
    path = folder / labels if os.path.lexists(folder / labels) else Path(labels)
    if not path.suffix:
        raise DataError(f'data.labels "{labels}" is unknown; give auto, folders, none, or the name of a table such as labels.csv')
    return by_table(path, names, label_column), str(path)


def _scan(folder: Path) -> tuple[list[Entry], list[Problem], list[str]]:
    """Pictures, pictures that no one here can read, and other files, by relative path; hidden ones are left out."""
    entries, problems, others = [], [], []
    visited: set[tuple[int, int]] = set()
    waiting = [(str(folder), "")]
    while waiting:
        path, prefix = waiting.pop()
        try:
            status = os.stat(path)
        except OSError as error:
            problems.append(Problem(prefix or str(folder), f"cannot be read ({reason(error)})"))
            continue
        if (status.st_dev, status.st_ino) in visited:  # links that lead in a circle
            continue
        visited.add((status.st_dev, status.st_ino))
        try:
            found = list(os.scandir(path))
        except OSError as error:
            problems.append(Problem(prefix, f"is a folder that cannot be read ({error.strerror})"))
            continue
        for item in found:
            name, suffix = prefix + item.name, os.path.splitext(item.name)[1].lower()
            if item.name.startswith(".") or item.name in ("__MACOSX", "Thumbs.db", "desktop.ini"):
                continue
            try:
                is_folder = item.is_dir()
            except OSError:  # a link in a circle
                problems.append(Problem(name, "is a link that leads nowhere"))
                continue
            if is_folder:
                waiting.append((item.path, f"{name}/"))
            elif suffix in UNREADABLE:
                problems.append(Problem(name, f"is of a kind that is not read here ({suffix}); save it as PNG or JPEG"))
            elif suffix not in SUFFIXES:
                others.append(name)
            else:
                try:
                    held = item.stat()
                    entries.append(Entry(name, held.st_size, held.st_mtime_ns))
                except OSError:
                    problems.append(Problem(name, "is a link that leads nowhere"))
    return sorted(entries), sorted(problems), sorted(others)


def _parquet(paths: list[Path], place: Path, image_column: str | None, label_column: str | None, labels: str) -> Pictures:
    files = [open_parquet(path) for path in paths]
    schema = files[0].schema_arrow
    held = {name: str(schema.field(name).type) for name in schema.names}
    images = [
        name for name, kind in held.items() if kind in ("binary", "large_binary") or kind.startswith("struct<bytes: binary")
    ]
    column = column_of(list(held), images, image_column, "data.image_column", str(place))
    if column is None:
        raise DataError(
            f"{place}: no column holds pictures (bytes of files); it has {', '.join(held)}. For numbers: undrift train array"
        )
    told = None if "none" in (labels, label_column) else column_of(
        list(held), [n for n in LABELS if n in held], label_column, "data.label_column", str(place)
    )  # fmt: skip
    if any(not {column, told} - {None} <= {*file.schema_arrow.names} for file in files):
        raise DataError(f"{place}: not all files have the columns {column} and {told}; give those that belong together")
    entries: list[Entry] = []
    values: list[Any] = []
    for path, file in zip(paths, files, strict=True):
        status = path.stat()
        name = path.name if path == place else path.relative_to(place).as_posix()
        entries += [Entry(f"{name}#{i}", status.st_size, status.st_mtime_ns) for i in range(file.metadata.num_rows)]
        with reading(path):
            values += file.read([told]).column(told).to_pylist() if told is not None else []
    classes = _class_names(schema.metadata, told)

    def fetch(rows: Sequence[int]) -> Iterator[Path | bytes]:
        wanted, row = {*rows}, 0
        for path, file in zip(paths, files, strict=True):
            if wanted.isdisjoint(range(row, row + file.metadata.num_rows)):
                row += file.metadata.num_rows
                continue
            with reading(path):
                for batch in file.iter_batches(_ROWS, columns=[column]):
                    here = not wanted.isdisjoint(range(row, row + len(batch)))
                    for cell in batch.column(0).to_pylist() if here else [None] * len(batch):
                        if row in wanted:
                            yield _content(cell)
                        row += 1

    if not entries:
        raise DataError(f"{place}: has no rows; give a file with at least one picture")
    labelled = None if told is None else _named(values, classes, entries, told)
    return Pictures(str(place.resolve()), entries, fetch, labelled, f"{place}, column {told}", classes=classes)


def _class_names(metadata: dict[bytes, bytes] | None, column: str | None) -> tuple[str, ...] | None:
    """What the numbers of a label column mean, where `datasets` wrote the file."""
    try:
        told = json.loads((metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, told))


def _content(cell: Any) -> Path | bytes:
    """What to decode: bytes, or `{"bytes": ..., "path": ...}` as `datasets` writes it."""
    if isinstance(cell, dict):
        if cell.get("bytes") is None and cell.get("path"):
            return Path(cell["path"])
        cell = cell.get("bytes")
    return b"" if cell is None else bytes(cell)


def _named(values: Sequence[Any], classes: tuple[str, ...] | None, entries: Sequence[Entry], column: str) -> Labelled:
    labels: list[str | None] = []
    problems = []
    for value, entry in zip(values, entries, strict=True):
        legal = isinstance(value, (str, int)) and value != "" and not isinstance(value, bool)
        if legal and classes is not None and isinstance(value, int):
            legal = 0 <= value < len(classes)
            labels.append(classes[value] if legal else None)
        else:
            labels.append(str(value) if legal else None)
        if not legal:
            problems.append(Problem(entry.name, f"has no class: {column} is {short(value)}"))
    return Labelled(labels, problems)


def _dataset(
    place: str, image_column: str | None, label_column: str | None, part: str, config: str | None, labels: str
) -> Pictures:
    """A dataset of the package `datasets`, from the disk or from the hub."""
    package: Any = need("datasets", "datasets", f"{place}: reading a Hugging Face dataset")
    try:
        if place.startswith(HUB):
            data = package.load_dataset(place.removeprefix(HUB), config, split=part)
        else:
            data = package.load_from_disk(place)
    except Exception as error:  # of the network, of the hub, of its cache, of the dataset's own making
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{place}: cannot be loaded ({reason}); check its name, data.part={part} and the network") from None
    if isinstance(data, dict):
        if part not in data:
            raise DataError(f'{place}: data.part "{part}" is unknown{nearest(part, data)}')
        data = data[part]
    features = data.features
    images = [name for name, kind in features.items() if isinstance(kind, package.Image)]
    column = column_of(list(features), images, image_column, "data.image_column", place)
    if column is None:
        raise DataError(f"{place}: no column holds pictures; it has {', '.join(features)}; name one with data.image_column")
    data = data.cast_column(column, package.Image(decode=False))  # the bytes: ours is the one decoder
    coded = [name for name, kind in features.items() if isinstance(kind, package.ClassLabel)]
    likely = coded or [name for name in LABELS if name in features]
    told = (
        None if "none" in (labels, label_column) else column_of(list(features), likely, label_column, "data.label_column", place)
    )
    classes = tuple(features[told].names) if told in coded else None
    statuses = [os.stat(file["filename"]) for file in data.cache_files]
    size, changed = sum(s.st_size for s in statuses), max((s.st_mtime_ns for s in statuses), default=0)
    entries = [Entry(f"{part}[{i}]", size, changed) for i in range(len(data))]
    if not entries:
        raise DataError(f"{place}: data.part={part} has no rows; give one with at least one picture")

    def fetch(rows: Sequence[int]) -> Iterator[Path | bytes]:
        for i in range(0, len(rows), _ROWS):
            yield from map(_content, data[list(rows[i : i + _ROWS])][column])

    labelled = None if told is None else _named(data[told][:], classes, entries, told)
    origin = place if place.startswith(HUB) else str(Path(place).resolve())
    return Pictures(
        f"{origin} {config or ''} {part}".replace("  ", " "), entries, fetch, labelled, f"{place}, column {told}", classes=classes
    )
