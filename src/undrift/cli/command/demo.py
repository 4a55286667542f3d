"""`undrift demo`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from undrift import demo as demonstration
from undrift.cli.command.sample import film
from undrift.cli.shared import console, usual_place
from undrift.error import UndriftError
from undrift.recipe.recipe import add_override, parse_overrides
from undrift.training.session import Stopped


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift demo`."""
    if "=" in arguments.recipe:
        arguments.recipe, arguments.overrides = "digits", [arguments.recipe, *arguments.overrides]
    if arguments.recipe not in ("digits", "mnist"):
        raise UndriftError(f'the demo is of digits or mnist, not "{arguments.recipe}"; train that with undrift train')
    overrides = parse_overrides(arguments.overrides)
    if arguments.data_dir is not None:
        add_override(overrides, "data_dir", arguments.data_dir, "--data-dir")
    out = arguments.out or Path("runs") / arguments.recipe
    try:
        draw, place = partial(film, by="undrift demo"), partial(usual_place, arguments)
        demonstration.demo(arguments.recipe, overrides, out, arguments.fresh, console(), started, draw, place)
    except Stopped as stop:
        print(f"\nundrift: {stop}. Go on with the same command")
        raise KeyboardInterrupt from None
