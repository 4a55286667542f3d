"""Where text for people goes: a terminal whose lines nobody but us can write."""

from __future__ import annotations

import os
from typing import Any, TextIO

from rich.console import Console

from undrift.error import printable
from undrift.launcher import place

__all__ = ["Guarded", "Terminal", "tell"]

_told: set[str] = set()


def tell(text: str) -> None:
    """Say something that was guessed or passed over, out of the way of results: once in a process, and by the first one of a run."""
    if text not in _told and place().rank == 0:
        _told.add(text)
        Terminal(stderr=True).print(text)


def lines(text: str) -> str:
    """A text of several lines, the control characters in each written out."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


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


class Bare:
    """A stream whose reader may go away: what is written from then on goes nowhere.

    A training is not lost because a pager was closed, and `undrift status RUN | head -1` has nothing to complain of.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or do nothing where nobody reads."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._nobody_reads()
            return len(text)
        except UnicodeEncodeError:  # a terminal of another alphabet
            encoding = self._stream.encoding or "ascii"
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        """Flush, or do nothing where nobody reads."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._nobody_reads()

    def _nobody_reads(self) -> None:
        """Let the descriptor lead nowhere, so that the interpreter has nothing to complain of at its end either."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class Guarded(Bare):
    """As `Bare`, with the control characters of what is written written out: names come from files.

    Attributes:
        bare: The stream below, for control characters of our own.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.bare = Bare(stream)

    def write(self, text: str) -> int:
        """Write, or do nothing where nobody reads."""
        super().write(lines(text))
        return len(text)
