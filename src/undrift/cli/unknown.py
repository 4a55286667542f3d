"""Words of a command line that mean nothing where they stand, answered with the nearest that does, as it is written there."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from undrift.error import short
from undrift.synonyms import meant


@dataclass(frozen=True)
class Words:
    """What a command understands.

    Attributes:
        prog: The command as it is typed: "undrift sample".
        options: Each option with what its value is called; "" for one without a value.
        keys: Whether it takes keys of a recipe.
    """

    prog: str
    options: Mapping[str, str]
    keys: bool

    @property
    def names(self) -> dict[str, str]:
        """The options by their bare names: `batch_size` for `--batch-size`."""
        return {_bare(option): option for option in self.options}

    def spelled(self, name: str, value: str | None) -> str:
        """An option or a key with its value, as it is typed for this command."""
        option = self.names.get(name)
        if option is None:
            return f"{name}={'...' if value is None else shlex.quote(value)}"
        called = self.options[option]
        return option if not called else f"{option} {called if value is None else shlex.quote(value)}"

    def misplaced(self, word: str) -> str | None:
        """What is wrong with `name=value` where the name is that of an option, or of what an option is; None if it is not."""
        name, _, value = word.partition("=")
        known = list(self.names)
        if self.keys:
            found = [name] if name in known and name not in recipe_keys() else []
        else:
            found = [name] if name in known else meant(name, known)
        return _message(word, found, value, self) if found else None


def explained(word: str, behind: str | None, here: Words, every: Mapping[str, Words]) -> str:
    """The message about a word that a command does not understand.

    Args:
        word: As it was typed, perhaps with its value: `--lr=3`, `steps=20`.
        behind: What stood behind it, and may be its value.
        here: The command.
        every: All commands by name.
    """
    typed, equals, inline = word.partition("=")
    name, value = _bare(typed), inline if equals else behind
    known = [*here.names, *(recipe_keys() if here.keys else ())]
    for match in (_exactly, _nearly):
        if found := match(name, known):
            return _message(word, found, value, here)
        if others := {command: words.names[found[0]] for command, words in every.items() if (found := match(name, words.names))}:
            option = next(iter(others.values()))
            of = ", ".join(command for command, its in others.items() if its == option)
            return f'"{short(word)}" is not understood by {here.prog} — {option} is an option of: {of}'
    keys = [] if here.keys else recipe_keys()
    if found := _exactly(name, keys) or _nearly(name, keys):
        key = f"{found[0]}=..."
        return f'"{short(word)}" is not understood by {here.prog} — {found[0]} is a key of a recipe: undrift train RECIPE {key}'
    return f'"{short(word)}" is not understood; see {here.prog} --help'


def recipe_keys() -> list[str]:
    """Every key that a recipe may have."""
    from undrift.recipe.explain import known_keys
    from undrift.recipe.keys import every  # torch is loaded for a mistake that calls for it, and for no other

    return list(dict.fromkeys([*known_keys(), *(row[0] for rows in every().values() for row in rows)]))


def _bare(typed: str) -> str:
    return typed.lstrip("-").replace("-", "_")


def _exactly(name: str, known: Iterable[str]) -> list[str]:
    """The known names that a word is: the same, the same in another library, or the last part of a key."""
    names = list(known)
    folded = {each.casefold(): each for each in names}
    if name.casefold() in folded:
        return [folded[name.casefold()]]
    return meant(name, names) or [each for each in names if each.rpartition(".")[2] == name.casefold()][:1]


def _nearly(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name.casefold(), list(known), 1, 0.7)


def _message(word: str, found: list[str], value: str | None, here: Words) -> str:
    """What was probably meant, and why it is written otherwise."""
    if len(found) > 1:
        each = " or ".join(here.spelled(name, None) for name in found)
        return f'"{short(word)}" is not understood — the length of a training is {each}'
    option, why = found[0] in here.names, ""
    if option != word.startswith("-"):
        why = ": options are written with dashes" if option else ": keys of a recipe are written without dashes"
    return f'"{short(word)}" is not understood{why} — did you mean "{short(here.spelled(found[0], value))}"?'
