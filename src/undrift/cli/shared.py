"""What several commands need: the console, sampling options, checks of files before any work."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console

from undrift.config import SAMPLERS
from undrift.data.files import read_examples
from undrift.error import OutputError, UndriftError
from undrift.evaluate.verdict import data_of
from undrift.guidance import guidance_scale
from undrift.model import Model, write_atomically
from undrift.train.guide import named_guide


def console() -> Console:
    """A terminal that does not colour numbers or fold lines."""
    return Console(highlight=False, soft_wrap=True, markup=False)


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


def class_per_sample(text: str, n: int, model: Model) -> list[Any] | None:
    """One class per sample from `--class`, or None."""
    classes = model.spec.classes
    if text not in classes and (text == "none" or (text == "all" and not classes)):
        return None
    if text == "all" and "all" not in classes:
        return [i % len(classes) for i in range(n)]
    names = [word.strip() for word in text.split(",")]
    model.labels(len(names), names)  # says which one is unknown
    return [names[i % len(names)] for i in range(n)]


def prompt_per_sample(arguments: argparse.Namespace, n: int, model: Model) -> list[str]:
    """One text per sample from `--prompt`, in turn; without it a few texts that the model keeps."""
    if arguments.label != "all":
        raise UndriftError("this model reads text and has no classes; use --prompt TEXT instead of --class")
    texts = arguments.prompt or model.examples
    model.condition(len(texts), texts)  # says which word is unknown
    return [texts[i % len(texts)] for i in range(n)]


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


def picture_and_numbers(picture: Path) -> tuple[Path, Path]:
    """Before any work: where the picture goes, and beside it, as `.json`, the numbers behind it.

    Raises:
        OutputError: one of the two cannot be written.
    """
    numbers = picture.with_suffix(".json")
    if picture == numbers:
        raise OutputError(f"{picture}: the numbers go there, and this is where the picture goes; name a .png")
    check_writable(picture)
    check_writable(numbers, ".json")
    return picture, numbers


def check_writable(path: Path, suffix: str | None = None) -> None:
    """Before any work: can this file be written, a picture unless a suffix says otherwise?

    Raises:
        OutputError: it cannot.
    """
    if (
        suffix != ".safetensors"
        and path.exists()
        and (path.name in ("model.json", "config.yaml", "log.jsonl", "cascade.json") or path.suffix == ".safetensors")
    ):
        raise OutputError(f"{path} belongs to a run and would be lost; name another file")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    mine = path.suffix.lower()
    if suffix is not None and mine != suffix:
        raise OutputError(f"{path}: what goes there is written as {suffix}; name a {suffix}")
    if suffix is None and Image.registered_extensions().get(mine, "PNG") not in Image.SAVE:
        raise OutputError(f"{path}: pictures cannot be written as {mine}; name a .png")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        raise OutputError(f"{path} cannot be written: {folder} is not a folder that you may write to") from None


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Numpy arrays by name to a `.npz`, whole or not at all. Raises OutputError if it cannot be written."""

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as handle:
            np.savez_compressed(handle, **arrays)

    write_atomically(path, write)
