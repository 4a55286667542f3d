"""A training session at the terminal: show how it goes, save, stop cleanly, say what came of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from undrift.data import Dataset
from undrift.distributed.processes import GO_ON, STOP, Lost, joined
from undrift.signals import Leaving, Polite
from undrift.training.checkpoint import steps_of
from undrift.training.divergence import Diverged
from undrift.training.hooks import Watch, peak_memory
from undrift.training.loggers import Boards
from undrift.training.setup import plan, prepare
from undrift.training.trainer import Report, Trainer


class Stopped(Exception):
    """Training was interrupted from the keyboard; everything is saved."""


def run(trainer: Trainer, held_out: Dataset, console: Console, started: float) -> Watch:
    """Train to the end of the recipe with a progress line, logs, previews and checkpoints.

    Raises:
        Stopped: Ctrl-C; the state is saved first.
        Diverged: the training went wrong; what was saved before is kept.
    """
    with Boards(trainer.recipe, trainer.folder, trainer.progress.step) as boards, Polite() as stop:
        watch = Watch(trainer, held_out, boards.add)
        with Leaving(trainer.processes, lambda: _saved(trainer, watch)):
            _steps(trainer, watch, stop, console, started)
    return watch


def _steps(trainer: Trainer, watch: Watch, stop: Polite, console: Console, started: float) -> None:
    """Step by step to the end, or until it is enough, or somebody asks to stop."""
    with trainer.processes.helped():
        watch.before()
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %  {task.fields[facts]}")]
    spoken = time.perf_counter()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=1.0, facts="")
        try:
            for report in trainer.run(started):
                with trainer.processes.helped():
                    watch.after(report)
                facts = _facts(report, watch)
                bar.update(task, completed=report.fraction, facts=facts)
                if not console.is_terminal and time.perf_counter() - spoken > 15:
                    spoken = time.perf_counter()
                    console.print(f"training {100 * report.fraction:3.0f} %  {facts}", highlight=False)
                stop.asked |= trainer.processes.agree(STOP if stop.asked else GO_ON) >= STOP
                if trainer.processes.told(float(stop.asked or bool(watch.enough))):
                    break
        except Diverged as error:
            watch.diverged(error)
            raise
        except Lost as error:
            saved = _saved(trainer, watch)
            raise Lost(f"{error}; {saved}: go on with the same command, on any number of processes") from None
    at_its_end = watch.enough or trainer.fraction(trainer.progress.step, trainer.progress.seconds) >= 1
    with trainer.processes.helped():
        if stop.asked and not at_its_end:
            watch.save()
            raise Stopped(f"stopped at step {trainer.progress.step}; everything is saved in {trainer.folder}")
        watch.finish()


def _saved(trainer: Trainer, watch: Watch) -> str:
    """Save what can be saved without the other processes; how far the run then is, in words."""
    if trainer.shards is None:  # a step that could not be summed has changed nothing
        watch.save()
    return f"the run is saved at step {max(steps_of(trainer.folder), default=0)}"


def follow(trainer: Trainer, started: float) -> None:
    """The same training in a process that is not the first: no log, no looks, no files, but help with previews.

    Raises:
        Left: the first process failed.
        Lost: another process is gone.
    """
    trainer.serve()
    with Polite() as stop, Leaving(trainer.processes, lambda: "this one leaves it, to be resumed from its last state"):
        try:
            for _ in trainer.run(started):
                trainer.serve()
                trainer.processes.agree(STOP if stop.asked else GO_ON)
                if trainer.processes.told(0.0):
                    break
        except Lost as error:
            raise Lost(f"{error}; go on from the last state with the same command, on any number of processes") from None
    trainer.serve()


def _facts(report: Report, watch: Watch) -> str:
    left = report.seconds * (1 - report.fraction) / max(report.fraction, 1e-9)
    clock = f"{int(left) // 60}:{int(left) % 60:02d}"
    seen = watch.said()
    return f"step {report.step}  loss {watch.trainer.progress.loss:.4f}{seen}  {watch.speed:.0f} examples/s  {clock} left"


def train_run(name: str, overrides: dict[str, Any], out: Path, fresh: bool, console: Console, started: float) -> None:
    """`undrift train`: plan, prepare, run, and say what happened.

    Raises:
        UndriftError: see `plan` and `prepare`.
        Stopped, Diverged: see `run`.
    """
    with joined() as processes:
        with processes.one_first():
            fresh = fresh and processes.first
            recipe, changes = plan(name, overrides, out, fresh)
            trainer, _, train, held_out = prepare(recipe, out, fresh, processes)
            if processes.first:
                for change in changes:
                    console.print(change)
        processes.same("data or a run at a step", f"{train.content_hash()} {trainer.progress.step}")
        if processes.first:
            _lead(trainer, train, held_out, out, console, started)
        elif processes.told(0.0):
            trainer.serve()
        else:
            follow(trainer, started)


def _lead(trainer: Trainer, train: Dataset, held_out: Dataset, out: Path, console: Console, started: float) -> None:
    """The session of the first process, or of the only one."""
    recipe = trainer.recipe
    for note in trainer.notes:
        console.print(note)
    at = trainer.progress
    watch = Watch(trainer, held_out)
    over = trainer.fraction(at.step, at.seconds) >= 1
    if trainer.processes.told(float(over or bool(watch.enough))):
        with trainer.processes.helped():
            watch.finish()  # a session may have been killed between its last step and here
            if (lost := watch.lost()) is not None:
                watch.write()
                console.print(f"{lost.partition('; ')[0]}; it is written anew from the state of step {at.step}")
        end = watch.enough or (f"steps={recipe.steps}" if recipe.steps else f"minutes={recipe.minutes:g}")
        more = "To go on give a larger one" if over else "To go on change patience or until"
        console.print(f"{out} is trained to its end ({at.step} steps; {end}). {more}, to start over --fresh")
        return
    goal = f"{recipe.steps} steps" if recipe.steps else f"{recipe.minutes:g} minutes"
    verb = f"going on at step {at.step}" if at.step else "training"
    console.print(
        f"{verb}: {train.name}, {len(train):,} examples of shape {train.spec.shape}, {len(train.spec.classes)} classes; "
        f"{trainer.model.parameters:,} parameters; {goal} on {trainer.device.type}"
        + (f", {trainer.processes.size} processes" if trainer.processes.size > 1 else "")
    )
    watch = run(trainer, held_out, console, started)
    at = trainer.progress
    console.print(
        f"trained {at.step} steps in {at.seconds:.0f} s, at most {peak_memory(trainer.device):,} MiB; the model is in {out}"
    )
    for line in watch.status.lines(brief=True):
        console.print(line)
