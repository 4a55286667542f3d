"""Find the best average of the weights, after a training.

Combines the snapshots of a run to averages of many lengths (Karras et al. 2024), compares their held-out loss, and makes the best one the
model that is sampled.
"""

from __future__ import annotations

import argparse

from undrift.cli import options
from undrift.error import UndriftError


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run."""
    options.run_folder(parser)
    options.data_dir(parser)
    parser.add_argument("--no-save", dest="save", action="store_false", help="only compare; leave the model as it is")


def run(arguments: argparse.Namespace, started: float) -> None:
    """Print the averages with their losses, and adopt the best."""
    from undrift.description import read_description
    from undrift.run import Run
    from undrift.training.averages import adopt, candidates, settled
    from undrift.training.setup import plan, prepare

    read_description(arguments.run)  # says what is missing
    overrides = {"data_dir": arguments.data_dir} if arguments.data_dir is not None else {}
    name = Run(arguments.run).recipe.recipe
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
