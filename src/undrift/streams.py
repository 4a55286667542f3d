"""Standard input, output and error: there, harmless, and no trouble where nobody reads. The standard library alone."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from undrift.error import printable

__all__ = ["Bare", "Guarded", "lead_nowhere", "lines", "open_standard"]


def lines(text: str) -> str:
    """A text of several lines, the control characters in each written out."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def open_standard() -> None:
    """Let those of the three that are closed, as for a daemon, lead nowhere.

    Otherwise the next file to be opened would take the place of one, and get what is printed.
    """
    for place, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(place)
        except OSError:
            lead_nowhere(place)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115


def lead_nowhere(descriptor: int) -> None:
    """What is written to a descriptor from now on is lost, and nothing is read from it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:  # it was the first that was free
        os.set_inheritable(nowhere, True)
        return
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


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
            self.give_up()
            return len(text)
        except UnicodeEncodeError:  # a terminal of another alphabet
            encoding = self._stream.encoding or "ascii"
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            raise self._named(error) from None

    def flush(self) -> None:
        """Flush, or do nothing where nobody reads."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self.give_up()
        except OSError as error:
            raise self._named(error) from None

    def _named(self, error: OSError) -> OSError:
        """The error with the place where it happened."""
        error.filename = "standard output" if getattr(self._stream, "name", "") == "<stdout>" else "standard error"
        return error

    def give_up(self) -> None:
        """Let the descriptor lead nowhere, so that the interpreter has nothing to complain of at its end either."""
        with suppress(OSError, ValueError):  # a stream without one has nothing left to be written
            lead_nowhere(self._stream.fileno())


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
