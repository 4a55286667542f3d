"""Setting a run up, or taking it up again: its recipe, its data, its model, and its folder on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from undrift.data import Dataset, Spec, as_trained, load_split, mixture_law
from undrift.description import check_description, read_description
from undrift.device import choose_device
from undrift.distributed.processes import Processes
from undrift.error import DataError, ModelError, OutputError, RecipeError
from undrift.exact import GaussianMixture
from undrift.model import Model
from undrift.model_file import build_model
from undrift.noise import Noise
from undrift.objective import DenoisingScoreMatching
from undrift.recipe.build import build_process, check_memory, default_network
from undrift.recipe.options import kinds
from undrift.recipe.read import load_recipe, make_recipe, read_recipe
from undrift.recipe.recipe import Recipe
from undrift.run.groups import FOLDER
from undrift.run.lock import hold
from undrift.storage import reason, write_text
from undrift.threads import as_begun
from undrift.training.checkpoint import described, steps_of
from undrift.training.loggers import check_packages
from undrift.training.memory import check_batch
from undrift.training.settings import MAY_CHANGE, NAME as SETTINGS, Settings, changes, read_settings
from undrift.training.teacher import begin_with, teacher_of, weights_hash
from undrift.training.trainer import Trainer

_READING = "how the data are read; what is read must be the same: that is checked"

# What else may change between two sessions of one run. Everything that is in neither table decides what is learnt, and stays.
_MAY_CHANGE = MAY_CHANGE | {
    "data.axes": _READING, "data.cache": _READING, "data.workers": _READING, "data.skip_bad": _READING,
    "sampling": "samples are drawn so from now on; the training does not see it",
    "data_dir": "the data must be the same: that is checked",
}  # fmt: skip

_PLACES = ("data_dir", "start", "objective.teacher", "objective.guide")


def plan(name: str, overrides: dict[str, Any], out: Path, fresh: bool) -> tuple[Recipe, list[str]]:
    """The recipe of a session: a new run's, or that of the run found in `out` with what may be changed.

    Returns:
        The recipe, and one line for each change to a run taken up again.

    Raises:
        RecipeError: the run in `out` is of another recipe, or a change would make it another run.
    """
    wanted = load_recipe(name, overrides)
    said, given = _flat(wanted.model_dump(mode="json")), {key.partition(".")[0] for key in overrides}
    for key in _PLACES:  # made absolute, however they were given: commands may be run from elsewhere later
        place = said.get(key) if key.partition(".")[0] in given else None
        if place and place != "classifier" and not place.isdecimal() and Path(place).exists():
            overrides = {**overrides, key: str(Path(place).absolute())}
            if fresh and key != "data_dir" and Path(place).resolve() == out.resolve():
                raise RecipeError(f"{key}={place} is the run that --fresh would put aside; choose another --out")
    wanted = load_recipe(name, overrides)
    check_packages(Settings.of(wanted))
    if not (out / "config.yaml").is_file():
        if steps_of(out):
            raise OutputError(f"{out} has states, but no config.yaml; restore it, or choose another --out")
        if out.is_dir() and any(not p.name.startswith(".") for p in out.iterdir()):
            raise OutputError(f"{out} is not empty and holds no run; choose another --out")
        return wanted, []
    if fresh:
        return wanted, []
    saved = read_recipe(out / "config.yaml")
    if saved.recipe != wanted.recipe:
        raise RecipeError(f"{out} holds a run of recipe {saved.recipe}; choose another --out, or --fresh to put that one aside")
    if (before := known(out)) is not None:  # how the model samples may have been chosen since: `undrift frontier`
        saved = make_recipe(saved.model_dump(mode="json") | {"sampling": before[0]["sampling"]}, {})
    if saved.threads is not None and overrides.get("threads") is None:
        overrides = {**overrides, "threads": as_begun(None, saved.threads)}
    recipe = make_recipe(saved.model_dump(mode="json"), overrides)
    old, new = _flat(saved.model_dump(mode="json")), _flat(recipe.model_dump(mode="json"))
    cure = "choose another --out, or --fresh to put the old one aside"
    return recipe, changes(out, old, new, _MAY_CHANGE, cure)


def known(out: Path) -> tuple[dict[str, Any], Spec] | None:
    """What the model of a run is, with the spec of its data: by model.json, or where that is lost or damaged by the newest state.

    Returns:
        None where the run has neither, having saved nothing yet.

    Raises:
        ModelError: model.json is damaged and there is no state, or states that do not say it, as those of earlier versions.
    """
    try:
        return read_description(out)
    except ModelError as error:
        if (found := described(out)) is not None:
            return check_description(found, out / FOLDER)
        lost = not (out / "model.json").exists()
        if lost and not steps_of(out):
            return None
        if lost:
            raise ModelError(
                f"{out} has states, but no model.json, and they do not say on which data they were trained; restore it, or --fresh"
            ) from None
        raise error


def settings_of(folder: Path) -> Settings:
    """How a run was last trained: by its recipe, or as `undrift.fit` was called.

    Raises:
        ModelError: there is no run.
        RecipeError: a recipe that is damaged.
    """
    if (folder / "config.yaml").is_file():
        return Settings.of(read_recipe(folder / "config.yaml"))
    if (folder / SETTINGS).is_file():
        return read_settings(folder)[0]
    raise ModelError(f"{folder} holds no run (no config.yaml); train one with `undrift train digits --out {folder}`")


def put_aside(out: Path) -> Path:
    """Rename a folder to `out.1`, `out.2`, ...: nothing is deleted."""
    number = 1
    while (aside := out.with_name(f"{out.name}.{number}")).exists():
        number += 1
    try:
        return out.rename(aside)
    except OSError as error:
        raise OutputError(f"{out} cannot be put aside: {reason(error)}") from None


def prepare(
    recipe: Recipe, out: Path, fresh: bool = False, processes: Processes | None = None
) -> tuple[Trainer, Recipe, Dataset, Dataset]:
    """Data, model and trainer of a run, and its folder on the disk, which only the first process touches.

    Raises:
        UndriftError: data that are missing or damaged, a recipe that does not fit them, a folder that cannot be written.
    """
    device = choose_device(recipe.device)  # before minutes are spent on the data
    options = {k: v for k, v in recipe.data.items() if k != "kind"}
    train, held_out = load_split(recipe.data.get("kind", ""), recipe.data_dir, recipe.held_out, recipe.seed, **options)
    if recipe.network is None:
        recipe = make_recipe(recipe.model_dump(mode="json"), {"network": default_network(train.spec.shape, device.type)})
    if recipe.threads is None:
        recipe = make_recipe(recipe.model_dump(mode="json"), {"threads": as_begun(None, None)})
    build_process(recipe.model_dump(mode="json")["process"])
    processes = processes or Processes()
    there = (out / "config.yaml").is_file()
    lock, aside, past, empty = None, None, {}, out.is_dir()
    before = known(out) if there and not fresh else None
    if before is not None:
        train, held_out = as_trained(train, held_out, before[0]["trained"].get("data_hash"))
    told = None if recipe.condition is None else recipe.condition.describe(train)
    digest = train.content_hash()
    if there and not fresh and processes.first:
        lock = hold(out)
        sweep(out)
    if before is not None:
        (description, spec), past = before, before[0]["trained"]
        sigma_data = description["sigma_data"]
        if past.get("data_hash", digest) != digest:
            raise ModelError(f"{out} was trained on other data than {train.name}; give the same --data-dir, or --fresh")
    else:
        spec, sigma_data = train.spec, measure(train)
        if not sigma_data:
            raise DataError(f"{train.name}: all values are the same, so there is nothing to learn; give other data")
    parts = parts_of(recipe, sigma_data, told)
    # In this memory: weights, gradient, two moments and the average; on a GPU or in parts only the weights, while they are built.
    copies = 5 if device.type == "cpu" and not recipe.shard else 1
    check_memory(parts["network"], spec.shape, len(spec.classes), parts.get("condition"), copies)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build_model(parts, spec, recipe.sampling, {"data_hash": digest})
    if recipe.start is not None and (fresh or not steps_of(out)):
        begin_with(recipe.start, model)
    teacher = teacher_of(recipe, model)
    if teacher is not None:
        model.trained["teacher_hash"] = weights_hash(teacher)
        if past.get("teacher_hash", model.trained["teacher_hash"]) != model.trained["teacher_hash"]:
            raise ModelError(
                f"{out} learnt from other weights of {recipe.objective.teacher} or its guide; restore them, or --fresh"
            )
    objective = recipe.objective.build(sigma_data, teacher)
    check_times(objective, model)
    if processes.first and (fresh or not there):  # only now that all is known to be good
        if there:
            hold(out).close()  # a training that is at work there would go on in the new folder
            aside = put_aside(out)
        lock = hold(out)
        if (out / "config.yaml").is_file():
            raise OutputError(f"another training has begun in {out} meanwhile; run the command again to go on with it")
    reached = past.get("steps", 0)
    try:
        trainer = Trainer(Settings.of(recipe), model, objective, train, out, processes, _law(recipe, train))
        check_batch(trainer)
    except BaseException:
        if lock is not None and not (out / "config.yaml").is_file():
            undo(out, aside, empty)
        raise
    trainer.lock, trainer.config = lock, recipe.model_dump(mode="json")
    if trainer.progress.step == 0 < reached:
        raise ModelError(
            f"{out} holds a model of step {reached}, but no state to go on from ({out / FOLDER} has none); the model can be used "
            "as it is, and --fresh starts over, keeping it aside"
        )
    saved = read_recipe(out / "config.yaml") if there and not fresh else recipe
    at = trainer.progress
    if (saved.steps, saved.minutes) != (recipe.steps, recipe.minutes) and trainer.fraction(at.step, at.seconds) > 1:
        goal = f"steps={recipe.steps}" if recipe.steps else f"minutes={recipe.minutes:g}"
        raise RecipeError(f"{out} is past {goal} already: {at.step} steps in {at.seconds / 60:.3g} minutes; give a larger one")
    if trainer.progress.step < reached and not trainer.notes:
        trainer.notes.append(
            f"the newest state is gone: the model is of step {reached}; going on from the state of step {trainer.progress.step}"
        )
    if processes.first:  # only now: a change that was refused must not be there when the run is taken up again
        write_text(out / "config.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    return trainer, recipe, train, held_out


def parts_of(recipe: Recipe, sigma_data: float, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    """The parts of the model that a recipe describes; `condition` as its kind describes it."""
    assert recipe.network is not None
    parts = {
        "network": kinds(recipe.network),
        "process": kinds(recipe.process),
        "target": recipe.target,
        "sigma_data": sigma_data,
    }
    return parts if condition is None else {**parts, "condition": condition}


def _law(recipe: Recipe, train: Dataset) -> GaussianMixture | None:
    """The law of the data in model space, where it is known in closed form: that of the toy mixture."""
    if recipe.data.get("kind") != "toy" or train.name != "mixture":
        return None
    means, std = mixture_law()
    scale = float(torch.as_tensor(train.spec.scale, dtype=torch.float64).flatten()[0])
    centres = train.spec.to_model(torch.from_numpy(means).float())
    return GaussianMixture(centres, std / scale, process=build_process(kinds(recipe.process)))


def undo(out: Path, aside: Path | None, stays: bool) -> None:
    """Leave the place of a run that did not begin as it was found: a run put aside back, an empty folder if it `stays`, or nothing."""
    with suppress(OSError):
        (out / ".lock").unlink()
        if aside is not None or not stays:
            out.rmdir()
        if aside is not None:
            aside.rename(out)


def check_times(objective: Callable[..., Tensor], model: Model) -> None:
    """Draw a noise level as the training will. Raises RecipeError for an objective that cannot, with this process."""
    try:
        if isinstance(objective, DenoisingScoreMatching):
            objective.draw_times(model.denoiser, Noise([0]))
    except ValueError as error:
        raise RecipeError(f"objective: {error}") from None


def sweep(out: Path) -> None:
    """Remove what a killed session left half-written; the folder is ours, so nobody is still at it."""
    names = ("model.safetensors", "model.json", "config.yaml", "log.jsonl")
    left = [p for name in names for p in out.glob(f".{name}.*.tmp")] + list((out / FOLDER).glob(".*.tmp"))
    for path in left:
        with suppress(OSError):
            path.unlink()


def measure(train: Dataset) -> float:
    """Standard deviation of the data in model space, over all entries of at most 10,000 examples, or fewer large ones.

    A few at a time: sixty-four large pictures at once would take more memory than the training.
    """
    size = train.spec.size
    rows = torch.linspace(0, len(train) - 1, min(len(train), 10_000, max(64, 2**23 // size)), dtype=torch.float64).long()
    total = square = 0.0
    for some in torch.split(rows, max(1, 2**20 // size)):
        x = train.batch(some)[0].double()
        total, square = total + float(x.sum()), square + float(x.square().sum())
    count = len(rows) * size
    return round(math.sqrt(max(0.0, square - total**2 / count) / (count - 1)), 4)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
