"""Where text for people goes: a terminal whose lines nobody but us can write."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from undrift.distributed.launcher import place
from undrift.streams import Bare, Guarded, lines

__all__ = ["Bare", "Guarded", "Terminal", "tell"]

_told: set[str] = set()


def tell(text: str) -> None:
    """Say something that was guessed or passed over, out of the way of results: once in a process, and by the first one of a run."""
    if text not in _told and place().rank == 0:
        _told.add(text)
        Terminal(stderr=True).print(text)


class Terminal(Console):
    """A console that does not colour numbers, fold lines or read markup, and writes out the control characters of what it prints."""

    def __init__(self, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, markup=False, **options)

    @property
    def file(self) -> Any:
        """The stream below a `Guarded` one: bars and colours are control characters of our own."""
        found = super().file
        return found.bare if isinstance(found, Guarded) else found

    @file.setter
    def file(self, new: Any) -> None:
        self._file = new

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, of text with its control characters written out."""
        super().print(*(lines(o) if isinstance(o, str) else o for o in objects), **options)
