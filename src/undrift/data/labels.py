"""Which class a picture is of: by the folder it lies in, or by a table `labels.csv`. What does not fit is listed, not guessed."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from undrift.error import DataError, nearest

__all__ = ["Labelled", "Problem", "by_folder", "by_table", "numbered"]

_FILE = ("file", "filename", "file_name", "image", "image_id", "img", "path", "name", "id")
_LABEL = ("label", "labels", "class", "category", "target", "y", "breed", "species")


class Problem(NamedTuple):
    """One thing that is wrong, and where: a file, or a line of the table."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class Labelled(NamedTuple):
    """The class of each picture by name, None where it has none that is known, and what was wrong."""

    labels: list[str | None]
    problems: list[Problem]


def by_folder(names: Sequence[str]) -> Labelled | None:
    """The first folder in each relative path is the class; None where fewer than two folders hold pictures."""
    found = [PurePosixPath(name).parts[0] if "/" in name else None for name in names]
    if len({label for label in found if label is not None}) < 2:
        return None
    beside = [Problem(name, "has no class: it lies beside the class folders") for name in names if "/" not in name]
    return Labelled(list(found), beside)


def by_table(path: Path, names: Sequence[str]) -> Labelled:
    """Classes from a table: one line for each picture, its file and its class, with or without a heading.

    A file is named by its path from the folder, or by less (no folders, no suffix) where that is clear.

    Args:
        path: Comma, semicolon or tab separated, UTF-8.
        names: The pictures there are, as relative paths.

    Raises:
        DataError: the table cannot be read, or has no lines.
    """
    lines = _lines(path)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        pure = PurePosixPath(name)
        for key in {name, pure.name, str(pure.with_suffix("")), pure.stem}:
            rows[key].append(row)
    labels: list[str | None] = [None] * len(names)
    seen: dict[int, int] = {}
    problems, quarrel = [], set()
    for number, file, label in lines:
        where, key = f"{path.name} line {number}", str(PurePosixPath(file.replace("\\", "/")))
        found = rows.get(key, [])
        exact = [row for row in found if names[row] == key]
        found = exact or found
        if not label:
            problems.append(Problem(where, f'"{file}" has no class'))
            seen |= {row: number for row in found[:1] if row not in seen}
        elif not found:
            problems.append(Problem(where, f'"{file}" is not in the folder'))
        elif len(found) > 1:
            problems.append(Problem(where, f'"{file}" may be {names[found[0]]} or {names[found[1]]}; write the path'))
        elif found[0] in seen:
            problems.append(Problem(where, f'"{file}" was named before, on line {seen[found[0]]}'))
            quarrel |= {found[0]} if labels[found[0]] != label else set()
        else:
            seen[found[0]], labels[found[0]] = number, label
    for row in quarrel:
        labels[row] = None
    problems += [Problem(name, f"has no class in {path.name}") for row, name in enumerate(names) if row not in seen]
    return Labelled(labels, problems)


def _lines(path: Path) -> list[tuple[int, str, str]]:
    """Line number, file and class of each line."""
    try:
        text = path.read_text("utf-8-sig")
        heading = text.split("\n", 1)[0]
        reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=heading.count))
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; data.labels is auto, folders, none, or the name of a table") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); save it as CSV in UTF-8") from None
    file, label = 0, 1
    first = [cell.casefold() for cell in lines[0][1]] if lines else []
    if any(cell in _FILE for cell in first) and (any(cell in _LABEL for cell in first) or len(first) == 2):
        file = next(i for i, cell in enumerate(first) if cell in _FILE)
        label = next((i for i, cell in enumerate(first) if cell in _LABEL), 1 - file)
        lines = lines[1:]
    if not lines:
        raise DataError(f"{path}: has no lines; write one for each picture: file,class")
    return [(n, cells[file] if file < len(cells) else "", cells[label] if label < len(cells) else "") for n, cells in lines]


def numbered(
    labels: Sequence[str | None], names: Sequence[str], classes: Sequence[str] | None, most: int, source: str
) -> tuple[list[int], tuple[str, ...], list[Problem]]:
    """Classes as numbers, -1 for none.

    Args:
        labels: By name.
        names: Of the pictures, for messages.
        classes: All that may occur, in the order in which to number them; None for those that occur, sorted (numbers as numbers).
        most: How many classes there may be.
        source: Of the labels, for messages.

    Raises:
        DataError: more classes than `most`, or none.
    """
    found = {label for label in labels if label is not None}
    chosen = sorted(found, key=_natural) if classes is None else list(map(str, classes))
    if len(chosen) > most:
        raise DataError(
            f"{source}: {len(chosen):,} classes for {len(labels):,} pictures, more than data.max_classes={most:,} "
            f"({', '.join(chosen[:3])}, ...); if these are no classes use data.labels=none, else raise data.max_classes"
        )
    if len({*chosen}) < len(chosen):
        raise DataError(f"data.classes={chosen}: a class is named twice; name each once")
    number = {name: i for i, name in enumerate(chosen)}
    unknown = [
        Problem(name, f'class "{label}" is not one of data.classes{nearest(label, chosen)}')
        for name, label in zip(names, labels, strict=True)
        if label is not None and label not in number
    ]
    return [-1 if label is None else number.get(label, -1) for label in labels], tuple(chosen), unknown


def _natural(name: str) -> list[tuple[int, int, str]]:
    """The numbers in a name count as numbers: class 10 comes after class 9."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
