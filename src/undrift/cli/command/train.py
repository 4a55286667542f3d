"""`undrift train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from undrift.cli.recipe_keys import keys, recipes
from undrift.cli.shared import console
from undrift.recipe.recipe import add_override, parse_overrides, run_named
from undrift.training.session import Stopped, train_run


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift train RECIPE [key=value ...]`; with the folder of a run as the recipe and no other place to go, that run goes on."""
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
    if arguments.skip_bad:
        add_override(overrides, "data.skip_bad", True, "--skip-bad")
    try:
        train_run(arguments.recipe, overrides, out, arguments.fresh, console(), started)
    except Stopped as stop:
        print(f"\nundrift: {stop}. Go on with: undrift train {arguments.recipe} --out {out}")
        raise KeyboardInterrupt from None
