"""Tables: which column is what, Parquet as arrays, and the optional packages that read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undrift.error import DataError, nearest

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
        raise DataError(f'{where}: {option} "{given}" is unknown{nearest(given, known)}')
    return given if given is not None else next(iter(likely), None)


def open_parquet(path: Path) -> Any:
    """A `pyarrow.parquet.ParquetFile`. Raises DataError."""
    parquet = need("pyarrow.parquet", "parquet", f"{path}: reading Parquet")
    with reading(path):
        return parquet.ParquetFile(path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """While pyarrow reads from a Parquet file: that it is damaged may be found out at any row. Raises DataError."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give a .parquet file") from None
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: is not a readable Parquet file ({reason}); write it again") from None


def read_table(path: Path, label_column: str | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The examples and the labels of a Parquet table of numbers.

    Returns:
        (N, D) floats, a column for each column of numbers; or (N, L) of the type stored, where the one column that is no label
        holds lists of one length L. And the labels, (N,) integers or strings, or None.

    Raises:
        DataError: a column that is neither numbers nor labels, values that are missing, lists of several lengths.
    """
    file = open_parquet(path)
    schema = file.schema_arrow
    told = column_of(schema.names, [n for n in LABELS if n in schema.names], label_column, "data.label_column", str(path))
    columns = [name for name in schema.names if name != told]
    kinds = {name: str(schema.field(name).type) for name in columns}
    lists = [name for name, kind in kinds.items() if "list<" in kind]
    wrong = [
        name
        for name, kind in kinds.items()
        if name not in lists and not kind.startswith(("int", "uint", "float", "double", "half"))
    ]
    if wrong or (lists and len(columns) > 1) or not columns:
        what = (
            f'column "{wrong[0]}" holds {kinds[wrong[0]]}'
            if wrong
            else "lists stand beside other columns, or nothing stands here"
        )
        raise DataError(f"{path}: {what}; keep columns of numbers, or one column of lists of numbers, and one of labels")
    with reading(path):
        table = file.read()
    gaps = {name: table.column(name).null_count for name in schema.names if table.column(name).null_count}
    if gaps:
        name, count = next(iter(gaps.items()))
        raise DataError(f'{path}: column "{name}" lacks {count:,} of {len(table):,} values; fill them in or drop those rows')
    labels = None if told is None else np.array(table.column(told).to_pylist())
    if not lists:
        return np.stack([table.column(name).to_numpy().astype(np.float32) for name in columns], axis=1), labels
    rows = table.column(columns[0]).to_pylist()
    if len(lengths := {len(row) for row in rows}) > 1:
        raise DataError(f"{path}: the lists have from {min(lengths)} to {max(lengths)} numbers; give all one length")
    try:
        x = np.array(rows, dtype=np.uint8 if "uint8" in kinds[columns[0]] else np.float32)
    except (TypeError, ValueError):
        raise DataError(
            f'{path}: column "{columns[0]}" holds {kinds[columns[0]]}; give lists of numbers, all of one shape'
        ) from None
    return x.reshape(len(rows), -1), labels
