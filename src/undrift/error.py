"""Errors for people: one line that says what is wrong, where, and what to do.

An `UndriftError` is raised at the boundary (files, recipes, the command line) and is meant to be printed
without a traceback. Inside the library a wrong argument is an ordinary `ValueError` or `TypeError`.
"""

from __future__ import annotations

import difflib
import reprlib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["BadFiles", "DataError", "ModelError", "OutputError", "RecipeError", "UndriftError", "nearest", "printable", "short"]


class UndriftError(Exception):
    """Something the user can mend. The message is one line: what is wrong, where, what to do."""


class DataError(UndriftError):
    """Data that is missing, damaged, or not of the kind that was asked for."""


class BadFiles(DataError):
    """Several files that cannot be used: the first line says how many and what to do, each further line names one and why."""


class ModelError(UndriftError):
    """A saved model that is missing, damaged, or does not fit the request."""


class RecipeError(UndriftError):
    """A recipe or an override with an unknown name or an impossible value."""


class OutputError(UndriftError):
    """A result that cannot be written where it was asked for."""


def nearest(word: object, known: Iterable[object]) -> str:
    """The end of a message about an unknown name: the name that was probably meant, or else all that are
    known.

    Args:
        word: What was given.
        known: The names that would have been accepted, in the order in which to list them.

    Returns:
        ` — did you mean "x"?` where a known name is close (capitals aside), ` — known: a, b, c` where none
        is, and the empty string where nothing is known.

    Example:
        >>> nearest("mnits", ["digits", "mnist"])
        ' — did you mean "mnist"?'
        >>> nearest("cat", ["digits", "mnist"])
        ' — known: digits, mnist'
    """
    names = [str(name) for name in known]
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.casefold(), name)
    close = difflib.get_close_matches(str(word).casefold(), folded, n=1)
    if close:
        return f' — did you mean "{folded[close[0]]}"?'
    return f" — known: {', '.join(names)}" if names else ""


def short(value: object, most: int = 60) -> str:
    """A value for a message: printable, cut where it is long, and in quotes where its ends could not be seen."""
    if isinstance(value, str):
        text = printable(value if len(value) <= most else f"{value[:most]}...")
        return text if text and value == value.strip() else f'"{text}"'
    return printable(_brief(most).repr(value))


@lru_cache(maxsize=8)
def _brief(most: int) -> reprlib.Repr:
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxother, brief.maxlong = 3, most, most, most
    return brief


def printable(text: str) -> str:
    """A text whose control characters are written out (`\\x1b`), so that a name can neither forge a line nor steer a terminal."""
    return "".join(c.encode("unicode_escape").decode("ascii") if _steers(c) else c for c in text)


def _steers(c: str) -> bool:
    """Whether a character does something instead of standing for something: ends a line, moves the cursor, turns the direction."""
    return unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
