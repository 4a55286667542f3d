"""A training session at the terminal: set the run up or take it up again, show how it goes, save, stop cleanly."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from undrift.config import Recipe, build_process, default_network, load_recipe, make_recipe, read_recipe
from undrift.data import Dataset, load_split
from undrift.error import ModelError, OutputError, RecipeError
from undrift.model import Model, build_model, read_description, write_atomically
from undrift.picture import drawable, grid, save_image
from undrift.recipe_condition import describe_condition
from undrift.train.trainer import Report, Trainer, append_log, parts_of

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: no lock
    fcntl = None

# What may change between two sessions of one run. Everything else decides what is learnt, and stays.
_MAY_CHANGE = {
    "steps", "minutes", "learning_rate", "clip", "weight_decay", "device", "precision", "log_every", "checkpoint_every",
    "sample_every", "sampling", "data_dir",
}  # fmt: skip


class Stopped(Exception):
    """Training was interrupted from the keyboard; everything is saved."""


def plan(name: str, overrides: dict[str, Any], out: Path, fresh: bool) -> tuple[Recipe, list[str]]:
    """The recipe of a session: a new run's, or that of the run found in `out` with what may be changed.

    Returns:
        The recipe, and one line for each change to a run taken up again.

    Raises:
        RecipeError: the run in `out` is of another recipe, or a change would make it another run.
    """
    if (there := overrides.get("data_dir")) and Path(there).exists():  # commands may be run from elsewhere later
        overrides = {**overrides, "data_dir": str(Path(there).absolute())}
    wanted = load_recipe(name, overrides)
    if not (out / "config.yaml").is_file():
        if out.is_dir() and any(not p.name.startswith(".") for p in out.iterdir()):
            raise OutputError(f"{out} is not empty and holds no run; choose another --out")
        return wanted, []
    if fresh:
        return wanted, []
    saved = read_recipe(out / "config.yaml")
    if saved.recipe != wanted.recipe:
        raise RecipeError(f"{out} holds a run of recipe {saved.recipe}; choose another --out, or --fresh to put that one aside")
    if (out / "model.json").is_file():  # how the model samples may have been chosen since: `undrift frontier`
        saved = make_recipe(saved.model_dump(mode="json") | {"sampling": read_description(out)[0].get("sampling", {})}, {})
    recipe = make_recipe(saved.model_dump(mode="json"), overrides)
    before, after = _flat(saved.model_dump(mode="json")), _flat(recipe.model_dump(mode="json"))
    changed = [k for k in {**before, **after} if before.get(k) != after.get(k)]
    frozen = [k for k in changed if k.partition(".")[0] not in _MAY_CHANGE]
    if frozen:
        k = frozen[0]
        raise RecipeError(
            f"{out} was trained with {k}={before.get(k)}, not {after.get(k)}: that would be another run; "
            "choose another --out, or --fresh to put the old one aside"
        )
    return recipe, [f"{k} is now {after.get(k)} (was {before.get(k)})" for k in changed]


def put_aside(out: Path) -> Path:
    """Rename a folder to `out.1`, `out.2`, ...: nothing is deleted."""
    number = 1
    while (aside := out.with_name(f"{out.name}.{number}")).exists():
        number += 1
    try:
        return out.rename(aside)
    except OSError as error:
        raise OutputError(f"{out} cannot be put aside: {error.strerror}") from None


def prepare(recipe: Recipe, out: Path, fresh: bool = False) -> tuple[Trainer, Recipe, Dataset, Dataset]:
    """Data, model and trainer of a run, and its folder on the disk.

    Raises:
        UndriftError: data that are missing or damaged, a recipe that does not fit them, a folder that cannot be written.
    """
    options = {k: v for k, v in recipe.data.items() if k != "kind"}
    train, held_out = load_split(recipe.data.get("kind", ""), recipe.data_dir, recipe.held_out, recipe.seed, **options)
    if recipe.network is None:
        recipe = make_recipe(recipe.model_dump(mode="json"), {"network": default_network(train.spec.shape)})
    build_process(recipe.model_dump(mode="json")["process"])
    told, digest = describe_condition(recipe.condition, train), train.content_hash()
    if fresh and (out / "config.yaml").is_file():  # only now that the data are known to be good
        put_aside(out)
    lock = hold(out)
    if (out / "model.json").is_file():
        description, spec = read_description(out)
        if description.get("trained", {}).get("data_hash", digest) != digest:
            raise ModelError(f"{out} was trained on other data than {train.name}; give the same --data-dir, or --fresh")
        sigma_data = description["sigma_data"]
    else:
        spec, sigma_data = train.spec, measure(train)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = build_model(parts_of(recipe, sigma_data, told), spec, recipe.sampling, {"data_hash": digest})
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    write_atomically(out / "config.yaml", lambda p: p.write_text(text))
    trainer = Trainer(recipe, model, train, out)
    trainer.lock = lock
    return trainer, recipe, train, held_out


def hold(out: Path) -> IO[str]:
    """Take the folder for this process, for as long as the returned file is open.

    Raises:
        OutputError: another training holds it, or it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = open(out / ".lock", "w")  # noqa: SIM115 (kept open on purpose)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from None
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise OutputError(
                f"another training is at work in {out}, or a frontier that will write to it; wait for it, or choose another folder"
            ) from None
    return handle


def measure(train: Dataset) -> float:
    """Standard deviation of the data in model space, over all entries of at most 10,000 examples."""
    rows = torch.linspace(0, len(train) - 1, min(len(train), 10_000)).long()
    return round(float(train.batch(rows)[0].double().std()), 4)


def run(trainer: Trainer, out: Path, console: Console, started: float) -> Model:
    """Train to the end of the recipe with a progress line, logs, previews and checkpoints.

    Raises:
        Stopped: Ctrl-C; the state is saved first.
    """
    recipe = trainer.recipe
    session_start, session_seconds, step = trainer.progress.step, trainer.progress.seconds, trainer.progress.step
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %  {task.fields[facts]}")]
    smooth = float("nan")
    spoken = time.perf_counter()
    with Polite() as stop:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("training", total=1.0, facts="")
            for report in trainer.run(started):
                step = report.step
                smooth = report.loss if smooth != smooth else 0.98 * smooth + 0.02 * report.loss
                speed = (step - session_start) * recipe.batch_size / max(1e-9, report.seconds - session_seconds)
                facts = _facts(report, smooth, speed)
                bar.update(task, completed=report.fraction, facts=facts)
                if not console.is_terminal and time.perf_counter() - spoken > 15:
                    spoken = time.perf_counter()
                    console.print(f"training {100 * report.fraction:3.0f} %  {facts}", highlight=False)
                if step % recipe.log_every == 0:
                    append_log(
                        out,
                        {
                            "step": step,
                            "loss": round(smooth, 6),
                            "batch_loss": round(report.loss, 6),
                            "grad_norm": round(report.grad_norm, 5),
                            "learning_rate": report.learning_rate,
                            "examples_per_second": round(speed, 1),
                            "seconds": round(report.seconds, 2),
                        },
                    )
                if step % recipe.checkpoint_every == 0:
                    trainer.save()
                if recipe.sample_every and step % recipe.sample_every == 0 and drawable(trainer.model.spec):
                    save_image(trainer.averaged(preview), out / "samples" / f"step-{step:07d}.png")
                if stop.asked:
                    break
        trainer.save()
        if stop.asked:
            raise Stopped(f"stopped at step {step}; everything is saved in {out}")
    if drawable(trainer.model.spec):
        save_image(trainer.averaged(preview), out / "samples" / f"step-{step:07d}.png")
    return trainer.model


class Polite:
    """While active, Ctrl-C and SIGTERM only ask: the step, the preview or the save in hand is finished first.

    A step cut in two would be saved as one that never happened. A second Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Polite:
        here = threading.current_thread() is threading.main_thread()
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)} if here else {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def preview(model: Model) -> Any:
    """A small picture of what the model makes now: one column per class or text, or 64 samples."""
    examples = model.examples
    columns = min(len(examples), 10) or 8
    n = 6 * columns if len(model.spec.shape) == 3 else 1000
    labels = [examples[i % len(examples)] for i in range(n)] if examples else None
    return grid(model.draw(n, labels, seed=0), model.spec, columns)


def _facts(report: Report, loss: float, speed: float) -> str:
    left = report.seconds * (1 - report.fraction) / max(report.fraction, 1e-9)
    clock = f"{int(left) // 60}:{int(left) % 60:02d}"
    return f"step {report.step}  loss {loss:.4f}  {speed:.0f} examples/s  {clock} left"


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def train_run(name: str, overrides: dict[str, Any], out: Path, fresh: bool, console: Console, started: float) -> None:
    """`undrift train`: plan, prepare, run, and say what happened.

    Raises:
        UndriftError: see `plan` and `prepare`.
        Stopped: see `run`.
    """
    recipe, changes = plan(name, overrides, out, fresh)
    for change in changes:
        console.print(change)
    trainer, recipe, train, _ = prepare(recipe, out, fresh)
    at = trainer.progress
    if trainer.fraction(at.step, at.seconds) >= 1:
        end = f"steps={recipe.steps}" if recipe.steps else f"minutes={recipe.minutes:g}"
        console.print(f"{out} is trained to its end ({at.step} steps; {end}). To go on give a larger one, to start over --fresh")
        return
    goal = f"{recipe.steps} steps" if recipe.steps else f"{recipe.minutes:g} minutes"
    verb = f"going on at step {at.step}" if at.step else "training"
    console.print(
        f"{verb}: {train.name}, {len(train):,} examples of shape {train.spec.shape}, {len(train.spec.classes)} classes; "
        f"{trainer.model.parameters:,} parameters; {goal} on {trainer.device.type}"
    )
    run(trainer, out, console, started)
    console.print(f"trained {trainer.progress.step} steps in {trainer.progress.seconds:.0f} s; the model is in {out}")
