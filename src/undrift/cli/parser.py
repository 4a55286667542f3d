"""The grammar of the whole command line, put together from its commands; on the standard library alone, so that help is instant."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from undrift import __version__
from undrift.cli.command import commands
from undrift.cli.unknown import Words, explained
from undrift.error import nearest


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, which knows the options that were given from those that were left out."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and leave with exit code 2."""
        if "invalid choice" in message and "argument command" in message:
            word = message.split("invalid choice: ")[1].split("'")[1]
            message = f'command "{word}" is unknown{nearest(word, commands())}'
        self.exit(2, f"undrift: {message}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse does, but that a message cannot be written is an error."""
        if message:
            (file or sys.stderr).write(message)

    def no_defaults(self) -> None:
        """From now on an option that is left out is no attribute of the arguments; `defaults` keeps its value."""
        options = [a for a in self._actions if a.option_strings and a.default is not argparse.SUPPRESS]
        self.defaults = {a.dest: a.default for a in options}
        for action in options:
            action.default = argparse.SUPPRESS

    @property
    def words(self) -> Words:
        """What may stand on a command line of this command."""
        options = {action.option_strings[-1]: action for action in self._actions if action.option_strings}
        values = {option: "" if a.nargs == 0 else str(a.metavar or a.dest.upper()) for option, a in options.items()}
        return Words(self.prog, values, any(action.dest == "overrides" for action in self._actions))


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the whole command line, and those of its commands by name."""
    parser = Parser(prog="undrift", description="Score-based diffusion models: train, sample, look, judge.")
    parser.add_argument("--version", action="version", version=f"undrift {__version__}")
    choices = parser.add_subparsers(dest="command", metavar="command", parser_class=Parser)
    for name, module in commands().items():
        text = inspect.getdoc(module) or ""
        each = choices.add_parser(name, help=text.partition("\n")[0], description=text, add_help=False)
        module.grammar(each)
        if "--help" not in each.words.options:
            each.add_argument("-h", "--help", action="help", help="show this")
        each.no_defaults()
    return parser, dict(choices.choices)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; `key=value` may stand anywhere after the recipe, also behind options.

    Returns:
        The arguments, those that were left out at their defaults; `given` holds the names of the others.
    """
    words = sys.argv[1:] if words is None else list(words)
    parser, known = build_parser()
    arguments, rest = parser.parse_known_args(words)
    every = {name: each.words for name, each in known.items()}
    if arguments.command is None:
        if rest:
            parser.error(explained(rest[0], _behind(rest[0], words), parser.words, every))
        parser.print_help()
        parser.exit()
    command = known[arguments.command]
    arguments.given = frozenset(vars(arguments)) - {"command"}
    for name, value in command.defaults.items():
        if name not in arguments.given:
            setattr(arguments, name, value)
    here = every[arguments.command]
    if here.keys:
        more = [word for word in rest if "=" in word and not word.startswith("-")]
        arguments.overrides, rest = [*(arguments.overrides or []), *more], [word for word in rest if word not in more]
    for word in rest:
        command.error(explained(word, _behind(word, words), here, every))
    for word in arguments.overrides if here.keys else _no_files(command, arguments):
        if (message := here.misplaced(word)) is not None:
            command.error(message)
    return arguments


def _behind(word: str, words: Sequence[str]) -> str | None:
    """What stands behind a word, if it may be its value."""
    after = words[words.index(word) + 1 :][:1] if word in words else []
    return after[0] if after and (after[0][:1] != "-" or after[0][1:2].isdigit()) else None


def _no_files(command: Parser, arguments: argparse.Namespace) -> Iterator[str]:
    """Words `name=value` that were taken for the name of a file or folder, but there is none."""
    for action in command._actions:
        if not action.option_strings:
            value = getattr(arguments, action.dest)
            for word in map(str, value if isinstance(value, list) else [value]):
                if "=" in word and not os.path.lexists(word):
                    yield word
