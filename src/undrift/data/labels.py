"""Which class a picture is of: by the folder it lies in, or by a table `labels.csv`. What does not fit is listed, not guessed."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from undrift.error import DataError, nearest, printable, short
from undrift.storage import read_text, reason

__all__ = ["Labelled", "Problem", "by_folder", "by_table", "numbered"]

_FILE = ("file", "filename", "file_name", "image", "image_id", "img", "path", "name", "id")
_LABEL = ("label", "labels", "class", "category", "target", "y", "breed", "species")
_DELIMITERS = ",;\t|"


class Problem(NamedTuple):
    """One thing that is wrong, and where: a file, or a line of the table."""

    where: str
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.reason}")


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


def by_table(path: Path, names: Sequence[str], label_column: str | None = None) -> Labelled:
    """Classes from a table: one line for each picture, its file and its class, with or without a heading.

    A file is named by its path from the folder, or by less (no folders, no suffix) or more (an absolute path) where that is clear;
    capitals and the form of accents do not matter where they tell no two files apart. What separates the columns, and which of them
    names the files, is what makes most lines name a picture.

    Args:
        path: Separated by commas, semicolons, tabs or bars; UTF-8.
        names: The pictures there are, as relative paths.
        label_column: The heading of the column of classes, where there are more than two columns.

    Raises:
        DataError: the table cannot be read, has no lines, or more columns than two of which none is clearly that of the classes.
    """
    find = _Finder(names)
    lines = _lines(path, find, label_column)
    labels: list[str | None] = [None] * len(names)
    seen: dict[int, int] = {}
    problems, quarrel = [], set()
    for number, file, label in lines:
        where, found = f"{path.name} line {number}", find(file)
        if not label:
            problems.append(Problem(where, f'"{file}" has no class'))
            seen |= {row: number for row in found[:1] if row not in seen}
        elif not found:
            problems.append(Problem(where, f'"{file}" is not in the folder{find.hint(file)}'))
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


class _Finder:
    """Which picture a cell names.

    Args:
        names: The pictures, as relative paths.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._rows: dict[str, list[int]] = defaultdict(list)
        self._alike: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(names):
            pure = PurePosixPath(name)
            keys = {name, pure.name, str(pure.with_suffix("")), pure.stem}
            for key in keys:
                self._rows[key].append(row)
            for key in {self._same(key) for key in keys}:
                self._alike[key].append(row)

    @staticmethod
    def _same(text: str) -> str:
        return unicodedata.normalize("NFC", text).casefold()

    def __call__(self, cell: str) -> list[int]:
        """The rows of the pictures that a cell may mean: none, one, or several."""
        path = PurePosixPath(cell.replace("\\", "/"))
        for start in range(len(path.parts)):  # an absolute path names what lies in the folder by its end
            key = str(PurePosixPath(*path.parts[start:]))
            found = self._rows.get(key) or self._alike.get(self._same(key), [])
            exact = [row for row in found if self.names[row] == key]
            if found:
                return exact or found
        return []

    def hint(self, cell: str) -> str:
        """The end of a message about a cell that names no picture."""
        near = difflib.get_close_matches(cell, self.names, 1, 0.8) if len(self.names) <= 20_000 else []
        return f"; did you mean {near[0]}?" if near else ""


def _lines(path: Path, find: _Finder, label_column: str | None) -> list[tuple[int, str, str]]:
    """Line number, file and class of each line."""
    try:
        text = read_text(path, 2**28, own=False).removeprefix("\ufeff")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; data.labels is auto, folders, none, or the name of a table") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a table ({reason(error)}); save it as CSV in UTF-8") from None
    tables, problem = [], None
    for delimiter in _DELIMITERS:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        except csv.Error as error:
            problem = error
            continue
        rows = [(number, cells) for number, cells in rows if any(cells)]
        if rows:
            tables.append(_Table(rows, find))
    if not tables and problem is not None:
        raise DataError(f"{path}: cannot be read as a table ({problem}); save it as CSV in UTF-8")
    if not tables:
        raise DataError(f"{path}: has no lines; write one for each picture: file,class")
    return max(tables, key=lambda table: (table.columns > 1, table.hits, table.even)).read(path, label_column)


class _Table:
    """The lines of a table as one delimiter cuts them.

    Attributes:
        columns: The most cells of a line.
        hits: How many pictures are named, in the column that names most. (Different ones: a class "0" may be the name of 0.png too.)
        even: How many lines have as many cells as most.
    """

    def __init__(self, rows: list[tuple[int, list[str]]], find: _Finder) -> None:
        self.rows, self.find = rows, find
        self.columns = max(len(cells) for _, cells in rows)
        some = rows[:: max(1, len(rows) // 500)]
        named = [[find(cells[i]) for _, cells in some if len(cells) > i] for i in range(min(self.columns, 50))]
        hits = [len({rows[0] for rows in column if rows}) for column in named]
        self.hits, self.file = max(hits), hits.index(max(hits))
        lengths = [len(cells) for _, cells in rows]
        self.even = lengths.count(max(set(lengths), key=lengths.count))

    def read(self, path: Path, label_column: str | None) -> list[tuple[int, str, str]]:
        """Line number, file and class of each line below the heading. Raises DataError if no column is clearly that of the classes."""
        first = self.rows[0][1]
        words = [cell.casefold() for cell in first]
        file, heading = self.file, self._is_heading(first)
        if heading and not self.hits and any(word in _FILE for word in words):
            file = next(i for i, word in enumerate(words) if word in _FILE)
        if label_column is not None and (not heading or label_column.casefold() not in words):
            known = ", ".join(map(short, first)) if heading else "no heading"
            raise DataError(f'{path}: data.label_column "{short(label_column)}" is not one of its columns; it has {known}')
        likely = [i for i, word in enumerate(words) if heading and word in _LABEL and i != file]
        if label_column is not None:
            label = words.index(label_column.casefold())
        elif self.columns == 2 or self.columns == 1:
            label = 1 - file
        elif len(likely) == 1:
            label = likely[0]
        else:
            what = f"columns {', '.join(map(short, first))}" if heading else f"{self.columns} columns and no heading"
            raise DataError(
                f"{path}: has {what}; say which holds the class: data.label_column=NAME, or keep two columns, file and class"
            )
        rows = self.rows[1:] if heading else self.rows
        if not rows:
            raise DataError(f"{path}: has no lines; write one for each picture: file,class")
        for number, cells in rows if heading else []:
            if any(cells[len(first) :]):
                raise DataError(
                    f"{path} line {number}: has {len(cells)} cells, but the heading has {len(first)}; write a text with the "
                    'delimiter in it in double quotes, as in "cat, red"'
                )
        return [(n, self._cell(cells, file), self._cell(cells, label)) for n, cells in rows]

    def _is_heading(self, first: list[str]) -> bool:
        """Whether the first line says what the columns are: it names no picture where others do, and no class that others name."""
        words = [cell.casefold() for cell in first]
        if len(words) <= self.file or self.find(first[self.file]) or PurePosixPath(first[self.file]).suffix:
            return False
        if any(word in _FILE for word in words) and (any(word in _LABEL for word in words) or len(words) > 1):
            return True
        others = {cell for _, cells in self.rows[1:] for i, cell in enumerate(cells) if i != self.file}
        return bool(self.hits) and others.isdisjoint(cell for i, cell in enumerate(first) if i != self.file)

    @staticmethod
    def _cell(cells: list[str], i: int) -> str:
        return cells[i] if 0 <= i < len(cells) else ""


def check_class(name: str, where: str) -> None:
    """Raise DataError for a name of a class that no terminal could show and no one could type."""
    if not name or printable(name) != name:
        what = "is empty" if not name else "has control characters, or bytes that are no text"
        raise DataError(f'{where}: the class "{short(name)}" {what}; rename it')


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
            f"({', '.join(map(short, chosen[:3]))}, ...); if these are no classes use data.labels=none, else raise data.max_classes"
        )
    if len({*chosen}) < len(chosen):
        raise DataError(f"data.classes={short(chosen)}: a class is named twice; name each once")
    for name in chosen:
        check_class(name, source)
    number = {name: i for i, name in enumerate(chosen)}
    unknown = [
        Problem(name, f'class "{short(label)}" is not one of data.classes{nearest(short(label), map(short, chosen))}')
        for name, label in zip(names, labels, strict=True)
        if label is not None and label not in number
    ]
    return [-1 if label is None else number.get(label, -1) for label in labels], tuple(chosen), unknown


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """The numbers in a name count as numbers: class 10 comes after class 9; of equal numbers the shorter name comes first."""
    return [_part(part) for part in re.split(r"(\d+)", name) if part], f"{len(name):09}{name}"


def _part(part: str) -> tuple[int, int, str]:
    if not part.isdecimal():
        return 1, 0, part
    digits = "".join(str(unicodedata.decimal(c)) for c in part).lstrip("0")
    return 0, len(digits), digits  # in the order of the numbers, however long they are
