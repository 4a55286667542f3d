"""What several commands need: the console, sampling options, checks of files before any work."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from undrift.config import SAMPLERS
from undrift.console import Terminal
from undrift.data.files import read_examples
from undrift.error import OutputError, UndriftError
from undrift.evaluate.verdict import data_of
from undrift.guidance import guidance_scale
from undrift.model import Model
from undrift.picture import written_by
from undrift.storage import Named, Place, is_stream, memory, path_of, write_atomically
from undrift.train.guide import named_guide


def console() -> Terminal:
    """Where commands show how they are getting on."""
    return Terminal()


def sampling_options(arguments: argparse.Namespace, guided: bool) -> dict[str, Any]:
    """The options of `Model.draw` that the command line carries."""
    options = {k: getattr(arguments, k) for k in ("sampler", "steps", "grid", "seed")}
    if guided:
        guidance_scale(arguments.scale, arguments.w)  # says what is wrong with it
        options |= {"scale": arguments.scale, "w": arguments.w}
    elif arguments.scale is not None or arguments.w is not None:
        raise UndriftError("--scale and -w guide towards a class; name one with --class, on a model trained with classes")
    return options


def guidance_options(arguments: argparse.Namespace, model: Model) -> dict[str, Any]:
    """What `--guide` names (the run's noise-aware classifier, itself at an earlier step, or a weaker model), `--interval`, `--rescale`."""
    guide = named_guide(arguments.guide, arguments.run, model)
    if isinstance(guide, Model) and arguments.guide.isdecimal():
        arguments.guide = f"step {guide.trained['weights_of_step']}"
    interval = None if arguments.interval is None else tuple(arguments.interval)
    if interval is not None and not 0 <= interval[0] < interval[1]:
        raise UndriftError(f"--interval {interval[0]:g} {interval[1]:g}: two noise levels sigma/alpha, the lower one first")
    if not 0 <= arguments.rescale <= 1:
        raise UndriftError(f"--rescale {arguments.rescale:g}: a share between 0 (none) and 1 (all)")
    return {"guide": guide, "interval": interval, "rescale": arguments.rescale}


def said(model: Model, arguments: argparse.Namespace, guided: bool) -> str:
    """How samples are drawn, in words; the guidance scale in both conventions."""
    usual = model.sampling
    sampler, steps = arguments.sampler or usual.sampler, usual.steps if arguments.steps is None else arguments.steps
    if getattr(arguments, "start", None) is not None:
        steps = max(1, round(arguments.strength * steps))
    calls = SAMPLERS[sampler].evaluations(steps) if sampler in SAMPLERS else steps
    cost = "as many evaluations as it takes" if calls is None else f"{calls} evaluation{'s' * (calls != 1)}"
    text = f"{sampler}, {steps} step{'s' * (steps != 1)} ({cost})"
    if not guided:
        return text
    default = arguments.scale is None and arguments.w is None
    scale = usual.scale if default else float(guidance_scale(arguments.scale, arguments.w))
    by = "" if arguments.guide is None else f" by {arguments.guide}"
    where = "" if arguments.interval is None else " for sigma/alpha from {:g} to {:g}".format(*arguments.interval)
    less = f", rescaled by {arguments.rescale:g}" if arguments.rescale else ""
    return f"{text}, guidance{by} scale {scale:g} (w = {scale - 1:g}){where}{less}"


def class_per_sample(text: str | None, n: int, model: Model, default: str = "all", each: bool = False) -> list[int] | None:
    """One class number per sample from `--class`, in turn; None for no class at all.

    Args:
        text: A class by name or number, several with commas (one that has a comma or quotes in its name in quotes, as in a CSV
            file), `all` (every class in turn) or `none`; None where nothing was said.
        n: How many samples.
        model: Whose classes.
        default: `all` or `none`, where nothing was said.
        each: Whether the samples are inputs of the user's: then several classes are one for each.

    Raises:
        UndriftError: an unknown class; `all` or `none` where a class has this name too; more classes than samples or, with `each`,
            several that are fewer.
    """
    classes = model.spec.classes
    if text in ("all", "none") and text in classes:
        what = "for every class in turn" if text == "all" else "for no class"
        raise UndriftError(
            f"--class {text}: a class has this name, and it is also the word {what}; write '\"{text}\"' for the class"
        )
    word = default if text is None else text.strip()
    if word == "none" or (word == "all" and not classes):
        return None
    chosen = list(range(len(classes))) if word == "all" else model.spec.read_classes(word)
    if word != "all":
        _enough("--class", "classes", len(chosen), n, each)
    model.labels(len(chosen), chosen)  # says what a model of another kind cannot be asked
    return [chosen[i % len(chosen)] for i in range(n)]


def prompt_per_sample(arguments: argparse.Namespace, n: int, model: Model) -> list[str]:
    """One text per sample from `--prompt`, in turn; without it a few texts that the model keeps."""
    if arguments.label is not None:
        raise UndriftError("this model reads text and has no classes; use --prompt TEXT instead of --class")
    texts = arguments.prompt or model.examples
    if arguments.prompt:
        _enough("--prompt", "texts", len(texts), n)
    model.condition(len(texts), texts)  # says which word is unknown
    return [texts[i % len(texts)] for i in range(n)]


def _enough(option: str, what: str, named: int, n: int, each: bool = False) -> None:
    """Raise UndriftError where some of what was named would be left out, or inputs and classes do not go together."""
    if named > n or (each and named not in (1, n)):
        of = f"{n} input{'s' * (n != 1)}" if each else f"{n} sample{'s' * (n != 1)}"
        cure = "give one for all, or one each" if each else "ask for more samples (-n), or name fewer"
        raise UndriftError(f"{option} names {named} {what} for {of}; {cure}")


def examples(arguments: argparse.Namespace, model: Model, n: int) -> torch.Tensor:
    """What the input of a command names, in data units: all of a file, or the first n of the run's own held-out data.

    Raises:
        UndriftError: no such file, or data of another shape.
    """
    if str(arguments.input) != "held-out":
        return read_examples(arguments.input, model.spec)
    held_out = data_of(arguments.run, arguments.data_dir)[1]
    if held_out.spec.shape != model.spec.shape:
        raise UndriftError(f"{held_out.name} has another shape than the model was trained on; give its own --data-dir")
    return held_out.raw(torch.arange(min(n, len(held_out))))


def picture_and_numbers(picture: Place) -> tuple[Place, Place]:
    """Before any work: where the picture goes, and beside it, as `.json`, the numbers behind it.

    Raises:
        OutputError: one of the two cannot be written.
    """
    numbers = picture.with_suffix(".json")
    if picture == numbers:
        raise OutputError(f"{picture}: the numbers go there, and this is where the picture goes; name a .png")
    if is_stream(path_of(picture)):
        raise OutputError(f"{picture} is no file, and the numbers are written beside the picture; name a .png")
    check_writable(picture)
    check_writable(numbers, ".json")
    return picture, numbers


def check_writable(place: Place, suffix: str | None = None) -> None:
    """Before any work: can this file be written, a picture unless a suffix says otherwise?

    Raises:
        OutputError: it cannot.
    """
    path, stream = path_of(place), False
    if isinstance(place, Named):
        stream = is_stream(path)
        path = path if stream else Path(os.path.realpath(path))  # what a link leads to is what would be replaced
    belongs = path.name in _OF_A_RUN or path.suffix == ".safetensors"
    if suffix != ".safetensors" and belongs and path.exists():
        raise OutputError(f"{place} belongs to a run and would be lost; name another file")
    if path.is_dir():
        raise OutputError(f"{place} is a folder; name a file in it")
    if path.is_block_device() or (not isinstance(place, Named) and is_stream(path) and not path.is_symlink()):
        raise OutputError(f"{place} is a pipe or a device and no file; name another file")
    if stream:  # written to as it is, whatever its name ends in
        return
    mine = path_of(place).suffix.lower()
    if suffix is not None and mine != suffix:
        raise OutputError(f"{place}: what goes there is written as {suffix}; name a {suffix}")
    if suffix is None and Image.registered_extensions().get(mine, "PNG") not in Image.SAVE:
        raise OutputError(f"{place}: pictures cannot be written as {mine}; name a .png")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        raise OutputError(f"{place} cannot be written: {folder} is not a folder that you may write to") from None


def usual_place(path: Path, command: str) -> Path:
    """Where a command writes its picture if nothing was said: there, unless somebody else's file stands there; then beside it."""
    number, place = 1, path
    while place.exists() and written_by(place) != f"undrift {command}":
        number += 1
        place = path.with_stem(f"{path.stem}-{number}")
    return place


_OF_A_RUN = ("model.json", "config.yaml", "log.jsonl", "cascade.json", "noisy_classifier.json", "manifest.json", ".lock")


def affordable(what: str, n: int, size: int) -> None:
    """Before any work: do n samples of `size` numbers each fit into memory, twice over?

    Raises:
        UndriftError: they do not; `what` is the option that asked for them.
    """
    needed, free = 8 * n * size, memory()
    if needed > free:
        raise UndriftError(
            f"{what}: that takes {needed / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free; ask for fewer"
        )


def write_arrays(place: Place, arrays: dict[str, Any]) -> None:
    """Numpy arrays by name to a `.npz`, whole or not at all. Raises OutputError if it cannot be written."""

    def write(path: Path) -> None:
        with open(path, "wb") as handle:
            np.savez_compressed(handle, **arrays)

    write_atomically(place, write)
