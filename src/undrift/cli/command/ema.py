"""`undrift ema`."""

from __future__ import annotations

import argparse

from undrift.description import read_description
from undrift.error import UndriftError
from undrift.recipe.recipe import read_recipe
from undrift.training.averages import adopt, candidates, settled
from undrift.training.setup import plan, prepare


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift ema RUN`."""
    read_description(arguments.run)  # says what is missing
    overrides = {"data_dir": arguments.data_dir} if arguments.data_dir is not None else {}
    name = read_recipe(arguments.run / "config.yaml").recipe
    trainer, _, _, held_out = prepare(plan(name, overrides, arguments.run, False)[0], arguments.run)
    found, notes = candidates(trainer, held_out)
    for note in [*trainer.notes, *notes]:
        print(note)
    if not any(c.held_out < float("inf") for c in found):
        raise UndriftError(f"{arguments.run}: no average of these weights has a finite loss")
    best, chosen = settled(found)
    print(f"held-out loss of {len(best.losses):,} examples, all with the same noise; +- is of the difference to the best")
    for each in found:
        gap, error = each.against(best)
        behind = "the best" if each is best else f"+{gap:.5f} +- {error:.5f}"
        made = f"   (profile off by {100 * each.missed:.1f} %)" if "length" in each.about else ""
        now = "   (in use)" if each.present else ""
        print(f"  {each.name:<28} {each.held_out:.5f}   {behind:<22}{made}{now}".rstrip())
    if chosen.present:
        what = "the best" if chosen is best else f"within the error of the best, {best.name}"
        print(f"what the model samples from, {chosen.name}, is {what}; nothing is changed")
    elif arguments.save:
        adopt(trainer, chosen)
        print(f"the model now samples from: {chosen.name}; training goes on from its state as before")
    else:
        print("to use it: run this again without --no-save")
