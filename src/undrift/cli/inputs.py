"""What commands read: data that are filled in or restored, and the class or text of each sample."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from undrift.data.files import read_examples
from undrift.error import UndriftError
from undrift.model import Model
from undrift.model_file import load
from undrift.run import Run


def model_of(arguments: argparse.Namespace, folder: Path | None = None, **usual: Any) -> Model:
    """The model that a command is about, or another one, with the weights, on the device and in the precision that were asked for.

    Raises:
        ModelError, UndriftError: as `undrift.load`.
    """
    names = ("weights", "device", "precision", "compile")
    asked = usual | {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return load(arguments.run if folder is None else folder, **asked)


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
    chosen = classes_named(text, model, default)
    if chosen is None:
        return None
    if text is not None and text.strip() != "all":
        _enough("--class", "classes", len(chosen), n, each)
    model.labels(len(chosen), chosen)  # says what a model of another kind cannot be asked
    return [chosen[i % len(chosen)] for i in range(n)]


def classes_named(text: str | None, model: Model, default: str = "all") -> list[int] | None:
    """The class numbers that `--class` names, each once; None for no class at all. Arguments and errors as `class_per_sample`."""
    classes = model.spec.classes
    if text in ("all", "none") and text in classes:
        what = "for every class in turn" if text == "all" else "for no class"
        raise UndriftError(
            f"--class {text}: a class has this name, and it is also the word {what}; write '\"{text}\"' for the class"
        )
    word = default if text is None else text.strip()
    if word == "none" or (word == "all" and not classes):
        return None
    return list(range(len(classes))) if word == "all" else model.spec.read_classes(word)


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
    held_out = Run(arguments.run, arguments.data_dir).data()[1]
    if held_out.spec.shape != model.spec.shape:
        raise UndriftError(f"{held_out.name} has another shape than the model was trained on; give its own --data-dir")
    return held_out.raw(torch.arange(min(n, len(held_out))))
