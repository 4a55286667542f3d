"""Train, sample and judge a small model in one go.

Ends with what to look at, and what to try next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from undrift.cli import options
from undrift.cli.types import name
from undrift.error import UndriftError


def grammar(parser: argparse.ArgumentParser) -> None:
    """A recipe, changes to it, and where the run goes."""
    parser.add_argument("recipe", type=name, nargs="?", default="digits", help="digits (default) or mnist")
    options.recipe_changes(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Train, sample, judge and show."""
    from functools import partial

    from undrift.cli.outputs import usual_place
    from undrift.console import Terminal
    from undrift.demo import demo
    from undrift.recipe.read import add_override, parse_overrides
    from undrift.training.session import Stopped

    if "=" in arguments.recipe:
        arguments.recipe, arguments.overrides = "digits", [arguments.recipe, *arguments.overrides]
    if arguments.recipe not in ("digits", "mnist"):
        raise UndriftError(f'the demo is of digits or mnist, not "{arguments.recipe}"; train that with undrift train')
    overrides = parse_overrides(arguments.overrides)
    if arguments.data_dir is not None:
        add_override(overrides, "data_dir", arguments.data_dir, "--data-dir")
    if arguments.device is not None:
        add_override(overrides, "device", arguments.device, "--device")
    out = arguments.out or Path("runs") / arguments.recipe
    try:
        demo(arguments.recipe, overrides, out, arguments.fresh, Terminal(), started, partial(usual_place, arguments))
    except Stopped as stop:
        print(f"\nundrift: {stop}. Go on with the same command")
        raise KeyboardInterrupt from None
