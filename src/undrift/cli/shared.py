"""What several commands need: the console, sampling options, checks of files before any work."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from undrift.console import Terminal
from undrift.data.files import read_examples
from undrift.error import OutputError, UndriftError
from undrift.guidance import guidance_scale
from undrift.model import Model
from undrift.plot.picture import kind_of, written_by
from undrift.recipe.recipe import SAMPLERS, read_recipe
from undrift.run import Run
from undrift.run.guide import named_guide, step_named
from undrift.schema import parse_json
from undrift.storage import Named, Place, is_stream, memory, open_file, path_of, read_text, write_atomically


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
    if isinstance(guide, Model) and step_named(arguments.guide) is not None:
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
    held_out = Run(arguments.run, arguments.data_dir).data()[1]
    if held_out.spec.shape != model.spec.shape:
        raise UndriftError(f"{held_out.name} has another shape than the model was trained on; give its own --data-dir")
    return held_out.raw(torch.arange(min(n, len(held_out))))


def picture_and_numbers(arguments: argparse.Namespace, default: Path) -> tuple[Place, Place]:
    """Before any work: where the picture goes, `--out` or the default, and beside it, as `.json`, the numbers behind it.

    Raises:
        OutputError: one of the two cannot be written, or somebody else's file stands where the numbers go.
    """
    picture: Place = arguments.out or usual_place(arguments, default, ".json")
    numbers = picture.with_suffix(".json")
    if picture == numbers:
        raise OutputError(f"{picture}: the numbers go there, and this is where the picture goes; name a .png")
    if is_stream(path_of(picture)):
        raise OutputError(f"{picture} is no file, and the numbers are written beside the picture; name a .png")
    check_outputs(arguments, (picture, None), (numbers, ".json"))
    if not free(path_of(numbers), arguments.command):
        raise OutputError(
            f"{numbers}: the numbers go there, but undrift did not write that file; name another picture with --out"
        )
    return picture, numbers


def check_drawable(
    arguments: argparse.Namespace, model: Model, drawable: bool, pictures: Sequence[str], numbers: Sequence[str]
) -> None:
    """Before any work: of data that cannot be drawn only numbers can be had.

    Args:
        arguments, model: Of the command.
        drawable: Whether its pictures can be drawn.
        pictures, numbers: Its options for either.

    Raises:
        UndriftError: pictures were asked for, or nothing.
    """
    if drawable:
        return
    what = f"data of shape {model.spec.shape} cannot be drawn"
    asked = [f"--{name}" for name in pictures if getattr(arguments, name)]
    if not any(getattr(arguments, name) for name in numbers):
        raise UndriftError(f"{what}; ask for the numbers with --{numbers[0]} FILE{f', without {asked[0]}' if asked else ''}")
    if asked:
        raise UndriftError(f"{what}; leave out {' and '.join(asked)}")


# What an option or argument may name that is read. Data, a mask and an operator may also be words; a file of that name is none.
_READ = ("input", "data", "start", "data_dir", "mask", "operator", "inception")


def inputs(arguments: argparse.Namespace) -> list[Path]:
    """The files and the folders of data that a command reads, besides the runs themselves."""
    given = [str(value).partition(":")[2] if name == "operator" else str(value)
             for name in _READ if (value := getattr(arguments, name, None)) is not None]  # fmt: skip
    for run in getattr(arguments, "runs", None) or [getattr(arguments, "run", None)]:
        with suppress(UndriftError, TypeError):
            given.append(read_recipe(run / "config.yaml").data_dir or "")
    return [Path(word) for word in given if word and os.path.exists(word)]


def _is_read(path: Path, read: Path) -> bool:
    """Whether a path leads to a file that is read, by whatever name, or to a file in a folder that is read, unless it is our own."""
    if not path.exists():
        return False
    if read.is_dir():
        inside = Path(os.path.realpath(read)) in Path(os.path.realpath(path)).parents
        return inside and not written_by(path).startswith("undrift")
    return os.path.samefile(path, read)


def check_outputs(arguments: argparse.Namespace, *outputs: tuple[Place | None, str | None]) -> None:
    """Before any work: can all files of a command be written, none over another, and none over one that it reads?

    Args:
        arguments: Of the command.
        outputs: Where to, and the suffix of what is written there (None: a picture); no place where nothing was asked for.

    Raises:
        OutputError: they cannot.
    """
    files: dict[str, Place] = {}
    for place, suffix in outputs:
        if place is None:
            continue
        check_writable(place, suffix, tuple(name for name in ("npz", "npy") if hasattr(arguments, name)))
        path = path_of(place)
        if is_stream(path):
            continue
        for read in inputs(arguments):
            if _is_read(path, read):
                raise OutputError(f"{place} is read by this command ({read}), and would be lost; name another file")
        real = os.path.normcase(os.path.realpath(path))
        for other, before in files.items():
            if real == other or (os.path.exists(real) and os.path.exists(other) and os.path.samefile(real, other)):
                raise OutputError(f"{before} and {place} are one file, but two are to be written; name another for one of them")
        files[real] = place


def check_writable(place: Place, suffix: str | None = None, numbers: Sequence[str] = ()) -> None:
    """Before any work: can this file be written, a picture unless a suffix says otherwise? `numbers` are options for numbers.

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
    if suffix is not None:
        for name in {path_of(place), path}:
            if name.suffix.lower() != suffix and (name.suffix or name == path_of(place)):
                raise OutputError(f"{place}: what goes there is written as {suffix}; name a {suffix}")
    else:
        _check_picture(place, path, numbers)
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        raise OutputError(f"{place} cannot be written: {folder} is not a folder that you may write to") from None


def _check_picture(place: Place, path: Path, numbers: Sequence[str]) -> None:
    """Whether a picture may have this name, and that of the file that a link leads to."""
    named = path_of(place)
    kind, end = kind_of(named), (named.suffix or named.name).lower()
    if kind is None:
        if end[1:] in numbers:
            raise OutputError(
                f"{place}: the picture goes there; for the numbers as {end} use --{end[1:]}, and for --out name a .png"
            )
        raise OutputError(f"{place}: pictures cannot be written as {end}; name a .png")
    if path.suffix and kind_of(path) != kind:
        raise OutputError(f"{place} leads to {path}, which is not named like a picture of this kind; name a .png")
    if not path.suffix and path.exists() and not _is_png(path):
        raise OutputError(f"{place} is there and is no PNG, which is what would replace it; name a .png")


def _is_png(path: Path) -> bool:
    with suppress(OSError), open_file(path, own=False) as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n"
    return False


def usual_place(arguments: argparse.Namespace, path: Path, *beside: str) -> Path:
    """Where a command writes if no file was named: there, unless somebody else's file stands there, or one that is read; then beside.

    Args:
        arguments: Of the command.
        path: Of what it writes first.
        beside: Suffixes of what it writes beside that.
    """
    number, place = 1, path
    read = inputs(arguments)

    def taken(place: Path) -> bool:
        return not free(place, arguments.command) or any(_is_read(place, each) for each in read)

    while any(taken(each) for each in (place, *(place.with_suffix(suffix) for suffix in beside))):
        number += 1
        place = path.with_stem(f"{path.stem}-{number}")
    return place


def free(path: Path, command: str) -> bool:
    """Whether nothing stands there, or what this command wrote."""
    if not os.path.lexists(path):
        return True
    if path.suffix in (".html", ".md"):
        with suppress(OSError), open_file(path) as file:
            mark = f'content="undrift {command}"' if path.suffix == ".html" else f"<!-- undrift {command} -->"
            return mark.encode() in file.read(1000) or (path.suffix == ".html" and _ours(path.with_suffix(".json")))
        return False
    return _ours(path) if path.suffix == ".json" else written_by(path) in (f"undrift {command}", *_BEFORE.get(command, ()))


def _ours(path: Path) -> bool:
    """Whether a file holds numbers that a command of ours wrote."""
    with suppress(OSError, ValueError):
        found = parse_json(read_text(path), finite=False)
        return isinstance(found, dict) and any(keys <= set(found) for keys in _KEYS)
    return False


_KEYS = (
    {"undrift"},
    {"figure", "floor"},
    {"study", "findings"},
)  # of a JSON file of ours; the second and third of earlier versions
_BEFORE = {name: ("undrift",) for name in ("cascade", "demo", "study")}  # what earlier versions noted in pictures


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
