"""Tables: which column is what, Parquet as arrays, and the optional packages that read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.console import tell
from undrift.error import DataError, nearest, short
from undrift.storage import open_file, reason

__all__ = ["LABELS", "column_of", "need", "open_parquet", "read_table", "reading"]

LABELS = ("label", "labels", "class", "fine_label", "category", "target", "y")  # what a column of labels is likely to be called


def need(package: str, extra: str, what: str) -> Any:
    """An optional package, imported only now.

    Raises:
        DataError: it is not installed; the message names the extra that brings it.
    """
    try:
        return import_module(package)
    except ImportError:
        raise DataError(f"{what} needs the package {package.split('.')[0]}; install it: pip install 'undrift[{extra}]'") from None


def column_of(known: Sequence[str], likely: Sequence[str], given: str | None, option: str, where: str) -> str | None:
    """The column that was asked for, else the first likely one, else None. Raises DataError for one that is not there."""
    if given is not None and given not in known:
        raise DataError(f'{where}: {option} "{short(given)}" is unknown{nearest(short(given), [*map(short, known), "none"])}')
    return given if given is not None else next(iter(likely), None)


def open_parquet(path: Path) -> Any:
    """A `pyarrow.parquet.ParquetFile`. Raises DataError."""
    parquet = need("pyarrow.parquet", "parquet", f"{path}: reading Parquet")
    with reading(path):
        open_file(path, own=False).close()  # a pipe or a device would never end
        return parquet.ParquetFile(path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """While pyarrow reads from a Parquet file: that it is damaged may be found out at any row. Raises DataError."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give a .parquet file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not a readable Parquet file ({short(reason(error), 200)}); write it again") from None


def read_table(path: Path, label_column: str | None) -> tuple[NDArray[Any], NDArray[Any] | None, tuple[str, ...] | None]:
    """The examples and the labels of a Parquet table of numbers.

    The columns that pandas wrote as the index of its frame are left out, which is told. A column that is called like labels (`LABELS`)
    is one where it holds whole numbers or text; `label_column` names another, or "none".

    Returns:
        The numbers: (N, D), a column for each column of numbers, in the smallest type that holds them all; or, where the one column
        that is no label holds lists of one length L, (N, L) of the type stored, with one more axis for each list within lists. The
        labels: (N,) integers or strings, or None. The types of the columns; None for those of lists.

    Raises:
        DataError: a column that is neither numbers nor labels, values that are missing, lists of several lengths.
    """
    file = open_parquet(path)
    schema = file.schema_arrow
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise DataError(
            f'{path}: {schema.names.count(twice[0])} columns are called "{short(twice[0])}"; give each a name of its own'
        )
    index = [name for name in schema.names if name in _index(schema.metadata) or _UNNAMED.fullmatch(name)]
    if index and len(index) < len(schema.names):
        tell(f"{path.name}: left out {', '.join(map(short, index))}, the index of the frame that pandas wrote; name what it is, or "
             "write with index=False")  # fmt: skip
    else:
        index = []
    names = [name for name in schema.names if name not in index]
    kinds = {name: str(schema.field(name).type) for name in names}
    told = _labels_of(path, names, kinds, label_column)
    columns = [name for name in names if name != told]
    lists = [name for name in columns if "list<" in kinds[name]]
    wrong = [name for name in columns if name not in lists and kinds[name] not in _NUMBERS]
    if wrong:
        said = [f'column "{short(name)}" holds {_in_words(kinds[name], short(name), told)}' for name in wrong[:3]]
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(f"{path}: {'; '.join(said)}{more}")
    if (lists and len(columns) > 1) or not columns:
        what = "lists stand beside other columns" if columns else "there are no columns of numbers"
        raise DataError(f"{path}: {what}; keep columns of numbers, or one column of lists of numbers, and one of labels")
    with reading(path):
        table = file.read(names)
    gaps = {name: table.column(name).null_count for name in names if table.column(name).null_count}
    if gaps:
        name, count = next(iter(gaps.items()))
        raise DataError(
            f'{path}: column "{short(name)}" lacks {count:,} of {len(table):,} values; fill them in or drop those rows'
        )
    labels = None if told is None else np.array(table.column(told).to_pylist())
    if told is not None and label_column is None and labels is not None:
        tell(f'{path.name}: column "{short(told)}" is read as the class of each row, {len(np.unique(labels)):,} in all; '
             "data.label_column=none makes it a column like the others")  # fmt: skip
    unread = [name for name in columns if name in LABELS and kinds[name] in ("float", "double", "halffloat")]
    if unread and label_column is None:
        tell(f'{path.name}: column "{short(unread[0])}" holds numbers with fractions and is read as a column like the others; for '
             f"classes write whole numbers or text")  # fmt: skip
    if not lists:
        types = tuple(_NUMBERS[kinds[name]] for name in columns)
        return _matrix(path, [table.column(name).to_numpy() for name in columns], columns, types), labels, types
    rows = table.column(columns[0]).to_pylist()
    if len(lengths := {len(row) for row in rows}) > 1:
        raise DataError(f"{path}: the lists have from {min(lengths)} to {max(lengths)} numbers; give all one length")
    inner = schema.field(columns[0]).type
    while "list<" in str(inner):
        inner = inner.value_type
    try:
        x = np.array(rows, dtype=_NUMBERS[str(inner)])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f'{path}: column "{short(columns[0])}" holds {kinds[columns[0]]}; give lists of numbers, all of one shape'
        ) from None
    return x, labels, None


_NUMBERS = {
    "bool": "bool", "halffloat": "float16", "float": "float32", "double": "float64",
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")},
}  # fmt: skip


_UNNAMED = re.compile(r"__index_level_\d+__")  # pandas' index, also where another program has copied the table


def _index(metadata: dict[bytes, bytes] | None) -> list[str]:
    """The columns that are the index of a pandas frame, by what pandas writes beside the table."""
    try:
        said = json.loads((metadata or {})[b"pandas"])["index_columns"]
    except (KeyError, TypeError, ValueError):
        return []
    return [name for name in said if isinstance(name, str)] if isinstance(said, list) else []


def _in_words(kind: str, name: str, told: str | None) -> str:
    """What a column of no numbers holds, and what to do with it."""
    if kind.startswith(("timestamp", "date", "time", "duration")):
        return f"dates or times ({kind}): write them as numbers, such as seconds or days, or leave the column out"
    if kind.startswith(("string", "large_string", "dictionary")):
        class_of = "" if told is not None else f", or make it the class of each row, data.label_column={name}"
        return f"text or categories: leave the column out{class_of}"
    return f"no numbers ({kind}): leave the column out"


def _labels_of(path: Path, names: list[str], kinds: dict[str, str], given: str | None) -> str | None:
    """The column of labels, or None."""
    if given == "none" and "none" not in names:
        return None
    whole = ("int", "uint", "string", "large_string", "dictionary", "bool")
    likely = [name for name in LABELS if name in names and kinds[name].startswith(whole)]
    return column_of(names, likely, given, "data.label_column", str(path))


def _matrix(path: Path, columns: list[NDArray[Any]], names: list[str], types: tuple[str, ...]) -> NDArray[Any]:
    """The columns side by side, in a type that holds every value of all of them."""
    kind = np.result_type(*map(np.dtype, types))
    for column, name in zip(columns, names, strict=True):
        if kind.kind == "f" and column.dtype.kind in "iu" and column.dtype.itemsize == 8:
            least, most = int(column.min(initial=0)), int(column.max(initial=0))
            if max(abs(least), abs(most)) > 2**53:
                raise DataError(
                    f'{path}: column "{short(name)}" has whole numbers beyond 2^53 ({max(abs(least), abs(most)):,}), which would lose '
                    "digits beside columns of floats; subtract an offset, or keep whole numbers only"
                )
    return np.stack([column.astype(np.uint8 if kind.kind == "b" else kind) for column in columns], axis=1)
