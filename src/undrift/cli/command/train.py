"""Train a model from a recipe, or continue a training that was stopped.

A run is continued by the same command, or by undrift train RUN.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from undrift.cli import options
from undrift.cli.types import name

SHARED = True


class _Help(argparse.Action):
    """`--help`, which behind a recipe is left to `run`, since the keys of a recipe are known to it alone."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=options.get("help"))

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, "recipe", None) is None:
            parser.print_help()
            parser.exit()
        namespace.help = parser.format_help()


def grammar(parser: argparse.ArgumentParser) -> None:
    """A recipe, changes to it, and where the run goes."""
    parser.add_argument("-h", "--help", action=_Help, help="show this; behind a recipe also all its keys, each with its value")
    parser.add_argument(
        "recipe",
        type=name,
        nargs="?",
        help=f"one of {', '.join(options.RECIPES)}; the folder of a run; or list (default), which says what each recipe is for",
    )
    options.recipe_changes(parser)
    parser.add_argument(
        "--skip-bad", action="store_true", help="images: leave out files that cannot be read, and say how many they are"
    )


def run(arguments: argparse.Namespace, started: float) -> None:
    """Train, or list recipes or the keys of one."""
    from undrift.console import Terminal
    from undrift.recipe.keys import keys, recipes
    from undrift.recipe.read import add_override, parse_overrides, run_named
    from undrift.training.session import Stopped, train_run

    if arguments.recipe in (None, "list"):
        print(*recipes(), sep="\n")
        return
    if arguments.help:
        print(arguments.help)
        print(*keys(arguments.recipe), sep="\n")
        return
    out = arguments.out or run_named(arguments.recipe) or Path("runs") / arguments.recipe
    overrides = parse_overrides(arguments.overrides)
    if arguments.data_dir is not None:
        add_override(overrides, "data_dir", arguments.data_dir, "--data-dir")
    if arguments.device is not None:
        add_override(overrides, "device", arguments.device, "--device")
    if arguments.skip_bad:
        add_override(overrides, "data.skip_bad", True, "--skip-bad")
    try:
        train_run(arguments.recipe, overrides, out, arguments.fresh, Terminal(), started)
    except Stopped as stop:
        print(f"\nundrift: {stop}. Go on with: undrift train {arguments.recipe} --out {out}")
        raise KeyboardInterrupt from None
