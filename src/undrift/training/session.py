"""A training at work: step after step, with its log, looks, previews and saves; and the session of `undrift train`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from undrift.argument import path as place_of, said
from undrift.console import Terminal
from undrift.data import Dataset
from undrift.distributed.processes import Left, Lost, joined
from undrift.error import UndriftError
from undrift.model import Model
from undrift.model_file import load
from undrift.progress import Bar, duration
from undrift.recipe.read import run_named
from undrift.signals import Leaving, Polite
from undrift.synonyms import in_python
from undrift.threads import using
from undrift.training.checkpoint import steps_of
from undrift.training.divergence import Diverged
from undrift.training.hooks import Watch, peak_memory
from undrift.training.loggers import Boards
from undrift.training.setup import plan, prepare
from undrift.training.trainer import Report, Trainer

SOON = 3.0  # seconds of training after which it is said how long it will take

Logger = Callable[[dict[str, Any]], Any]


class Stopped(Exception):
    """Training was interrupted from the keyboard; everything is saved."""


class Session:
    """A training that is stepped through: `for report in session` trains to the end, saving and looking as the settings say.

    Leave the loop at any time: the state is saved, and another session goes on from there to the same bits.

    Args:
        trainer: What is trained.
        held_out: Examples that it does not see.
        started: `time.perf_counter()` from which the clock of the session runs; default: when the loop begins.
        loggers: Each is given every record of the log as it is written.

    Several processes go through the same loop, and share out all that takes time; the first one writes.

    Attributes:
        watch: What looks after the trainer.
        stopped: Whether it was asked to stop before its end.
    """

    def __init__(self, trainer: Trainer, held_out: Dataset, started: float | None = None, loggers: Sequence[Logger] = ()) -> None:
        self.trainer, self.started, self.loggers = trainer, started, loggers
        self.watch = Watch(trainer, held_out)
        trainer.processes.barrier()  # all have read the log before the first one adds to it
        self.stopped = False
        self._asked = self._told = False
        self._begun = time.perf_counter()

    def stop(self) -> None:
        """Ask it to stop after the step in hand."""
        self._asked = True

    def __iter__(self) -> Iterator[Report]:
        """Train.

        Raises:
            Diverged: the training went wrong; what was saved before is kept.
            Lost: another process is gone.
        """
        trainer = self.trainer
        with ExitStack() as held, Polite() as stop, Leaving(trainer.processes, self._saved), using(trainer.settings.threads):
            if trainer.processes.first:
                boards = held.enter_context(Boards(trainer.settings, trainer.folder, trainer.progress.step, trainer.config))
                self.watch.tell = lambda record: self._tell([boards.add, *self.loggers], record)
            yield from self._steps(stop)

    def _tell(self, loggers: Sequence[Logger], record: dict[str, Any]) -> None:
        for logger in loggers:
            logger(dict(record))

    def _steps(self, stop: Polite) -> Iterator[Report]:
        """Step by step to the end, or until it is enough, or somebody asks to stop."""
        trainer, watch, left = self.trainer, self.watch, False
        self.stopped = self._asked = False
        try:
            watch.before()
            for report in trainer.run(self.started):
                try:
                    watch.after(report)
                except (UndriftError, OSError):
                    raise
                except Exception:  # a logger of the user's own; the step itself is done, and is not lost with it
                    self._saved()
                    raise
                try:
                    yield report
                except GeneratorExit:
                    self._asked = left = True
                self._asked = bool(trainer.processes.largest(float(stop.asked or self._asked)))
                if self._asked or watch.enough:
                    break
            if self._asked and not watch.enough and trainer.fraction(trainer.progress.step, trainer.progress.seconds) < 1:
                self.stopped = True
                watch.save()
            else:
                watch.finish()
            trainer.processes.barrier()  # what the first one has written is there for all
        except Diverged as error:
            watch.diverged(error)
            raise
        except Lost as error:
            raise Lost(f"{error}; {self._saved()}: go on with the same command, on any number of processes") from None
        if left:
            raise GeneratorExit

    def _saved(self) -> str:
        """Save what can be saved without the other processes; how far the run then is, in words."""
        if not self.trainer.in_parts:  # a step that could not be summed has changed nothing
            self.watch.save()
        return f"the run is saved at step {max(steps_of(self.trainer.folder), default=0)}"

    def facts(self, report: Report) -> str:
        """How it goes, in a few words."""
        return f"step {report.step}  loss {self.trainer.progress.loss:.4g}{self.watch.said()}"

    def estimate(self, left: float | None) -> str:
        """Once, when a few steps have been timed: how long the whole will take here, and how to ask for less; "" if that is short."""
        if self._told or left is None or self.watch.steps < 4 or time.perf_counter() - self._begun < SOON:
            return ""
        self._told = True
        settings = self.trainer.settings
        each = settings.batch_size / self.watch.speed
        if settings.steps and left > 600 and self.trainer.processes.first:
            return (
                f"{settings.steps:,} steps will take about {duration(left)} here ({1e3 * each:,.0f} ms each); minutes=60 in place of steps trains "
                "for an hour, and a smaller network or smaller pictures are faster"
            )
        if settings.minutes and not settings.steps:
            many = left / max(each, 1e-9)
            return f"about {many:,.0f} steps fit into the time, each example seen {many * settings.batch_size / len(self.trainer.data):,.1f} times"
        return ""


def run(session: Session, console: Console | None = None) -> None:
    """Train to the end of the run with a bar, logs, previews and saves.

    Raises:
        Stopped: Ctrl-C; the state is saved first.
        Diverged: the training went wrong; what was saved before is kept.
    """
    with Bar("training", console, session.trainer.processes.first) as bar:
        for report in session:
            bar.show(report.fraction, session.facts(report))
            if console is not None and (line := session.estimate(bar.pace.left())):
                console.print(line)
    if session.stopped:
        raise Stopped(f"stopped at step {session.trainer.progress.step}; everything is saved in {session.trainer.folder}")


@in_python
def train(
    recipe: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    fresh: bool = False,
    console: Console | None = None,
    **keys: Any,
) -> Model:
    """`undrift train` in one call: train a model by a recipe, or go on with its run, and return it.

    Args:
        recipe: The name of a recipe ("digits", "mnist", "toy", "images", "array", ...), or the folder of a run to go on with.
        overrides: Keys of the recipe with dots, such as `{"process.beta_max": 15}`.
        out: The folder of the run; default `runs/RECIPE`, or that of the run to go on with.
        fresh: Start over; a run that is there is put aside, not deleted.
        console: Where to say how it goes; default: the terminal.
        keys: Keys of the recipe without dots: `steps=2000, data_dir="photos", process={"kind": "vp"}`.

    Returns:
        The model with the averaged weights, on the CPU.

    Raises:
        UndriftError: an unknown recipe or key, a value that makes no sense, data that cannot be read, a folder that holds another run.
        KeyboardInterrupt: interrupted; everything is saved, and the same call goes on from there.

    Example:
        >>> model = train("digits", steps=2000, out="runs/digits")  # doctest: +SKIP
    """
    if overrides is not None and not isinstance(overrides, Mapping):
        raise TypeError(f"`overrides` is {said(overrides)}: give a dict, such as {{'network.width': 32}}, or steps=2000.")
    given = {**(overrides or {}), **keys}
    if given.get("data_dir") is not None:
        given["data_dir"] = str(given["data_dir"])
    if not isinstance(recipe, str):
        raise TypeError(f"`recipe` is {said(recipe)}: give the name of one, such as 'digits', or the folder of a run.")
    folder = place_of(out, "out", "name a folder") if out is not None else run_named(recipe) or Path("runs") / recipe
    try:
        train_run(recipe, given, folder, fresh, console or Terminal(), time.perf_counter())
    except Stopped as stop:
        raise KeyboardInterrupt(f"{stop}; the same call goes on from there") from None
    except Left:
        raise UndriftError("another process of this run has failed, and says why") from None
    return load(folder)


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
        try:
            processes.same("data or a run at a step", f"{train.content_hash()} {trainer.progress.step}")
            for line in [*changes, *trainer.notes]:
                console.print(line)
            _train(Session(trainer, held_out, started), train, console)
        finally:
            trainer.close()


def over(session: Session) -> str | None:
    """None where there is training left to do; else all that was left to do at the end is done, and this is what was mended, or ""."""
    trainer, watch = session.trainer, session.watch
    if trainer.fraction(trainer.progress.step, trainer.progress.seconds) < 1 and not watch.enough:
        return None
    watch.finish()  # a session may have been killed between its last step and here
    lost = watch.lost() if trainer.processes.first else None
    if not trainer.processes.broadcast(float(lost is not None)):
        return ""
    watch.write()
    return f"{str(lost).partition('; ')[0]}; it is written anew from the state of step {trainer.progress.step}"


def _train(session: Session, train: Dataset, console: Console) -> None:
    """Train to the end, and say what happens. What the others say is not heard."""
    trainer, settings, at = session.trainer, session.trainer.settings, session.trainer.progress
    if (mended := over(session)) is not None:
        if mended:
            console.print(mended)
        ended = trainer.fraction(at.step, at.seconds) >= 1
        more = "To go on give a larger one" if ended else "To go on change patience or until"
        console.print(
            f"{trainer.folder} is trained to its end ({at.step} steps; {session.watch.enough or settings.end}). {more}, to start over "
            "--fresh"
        )
        return
    verb = f"going on at step {at.step}" if at.step else "training"
    console.print(
        f"{verb}: {train.name}, {len(train):,} examples of shape {train.spec.shape}, {len(train.spec.classes)} classes; "
        f"{trainer.model.parameters:,} parameters; {settings.goal} on {trainer.device.type}"
        + (f", {trainer.processes.size} processes" if trainer.processes.size > 1 else "")
    )
    run(session, console)
    at = trainer.progress
    console.print(
        f"trained {at.step} steps in {at.seconds:.0f} s, at most {peak_memory(trainer.device):,} MiB; the model is in {trainer.folder}"
    )
    for line in session.watch.status.lines(brief=True):
        console.print(line)
