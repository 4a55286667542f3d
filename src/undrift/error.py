"""Errors for people: one line that says what is wrong, where, and what to do.

An `UndriftError` is raised at the boundary (files, recipes, the command line) and is meant to be printed
without a traceback. Inside the library a wrong argument is an ordinary `ValueError` or `TypeError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["BadFiles", "DataError", "ModelError", "OutputError", "RecipeError", "UndriftError", "nearest"]


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
