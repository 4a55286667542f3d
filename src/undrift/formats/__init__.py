"""Files in which a model leaves undrift: to add a format, write its file and add its line here. Read `export` first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from undrift.error import UndriftError, nearest, short
from undrift.formats import torch_program
from undrift.model import Model


class Format(NamedTuple):
    """A format.

    Attributes:
        suffix: Of its files.
        write: Writes a model to a path. Raises UndriftError for a model that it cannot hold.
        check: Reads what was written back. Raises UndriftError unless it computes what the model computes.
    """

    suffix: str
    write: Callable[[Model, Path], None]
    check: Callable[[Model, Path], None]


FORMATS: dict[str, Format] = {"torch": Format(".pt2", torch_program.write, torch_program.check)}


def format_named(name: str) -> Format:
    """The format of a name. Raises UndriftError for an unknown one."""
    if name not in FORMATS:
        raise UndriftError(f'format "{short(name)}" is unknown{nearest(short(name), FORMATS)}')
    return FORMATS[name]
