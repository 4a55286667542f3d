"""What several commands need: the console, sampling options, checks of files before any work."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from undrift.classifier import load_classifier
from undrift.config import SAMPLERS
from undrift.error import OutputError, UndriftError
from undrift.guidance import NoisyClassifier, guidance_scale
from undrift.model import Model, load


def console() -> Console:
    """A terminal that does not colour numbers or fold lines."""
    return Console(highlight=False, soft_wrap=True, markup=False)


def sampling_options(arguments: argparse.Namespace, guided: bool) -> dict[str, Any]:
    """The options of `Model.draw` that the command line carries."""
    options = {k: getattr(arguments, k) for k in ("sampler", "steps", "grid", "seed")}
    if guided:
        options |= {"scale": arguments.scale, "w": arguments.w}
    elif arguments.scale is not None or arguments.w is not None:
        raise UndriftError("--scale and -w guide towards a class; name one with --class, on a model trained with classes")
    return options


def guide(arguments: argparse.Namespace, model: Model) -> NoisyClassifier | Model | None:
    """What `--guide` names: the run's noise-aware classifier, or a weaker model."""
    if arguments.guide == "classifier":
        return load_classifier(arguments.run, model)
    return None if arguments.guide is None else load(arguments.guide)


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
    return f"{text}, guidance{by} scale {scale:g} (w = {scale - 1:g})"


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


def check_writable(path: Path) -> None:
    """Before any work: can this file be written?

    Raises:
        OutputError: it cannot.
    """
    if path.exists() and (
        path.name in ("model.json", "config.yaml", "log.jsonl", "cascade.json") or path.suffix == ".safetensors"
    ):
        raise OutputError(f"{path} belongs to a run and would be lost; name another file")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    suffix = path.suffix.lower()
    if suffix != ".npz" and Image.registered_extensions().get(suffix, "PNG") not in Image.SAVE:
        raise OutputError(f"{path}: pictures cannot be written as {suffix}; name a .png")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        raise OutputError(f"{path} cannot be written: {folder} is not a folder that you may write to") from None
